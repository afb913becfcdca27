"""Which device computes."""

from __future__ import annotations

import torch

from xaibench.errors import XaibenchError

AUTO = "auto"


def device_named(name: str = AUTO) -> torch.device:
    """Return a device by name: cpu, cuda, cuda:N, or auto, which is a GPU if there is one.

    Raises:
        XaibenchError: the name is unknown, or this machine has no such device.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, index = name.partition(":")
    if kind not in {"cpu", "cuda"} or (colon and (kind == "cpu" or not index.isdecimal())):
        raise XaibenchError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise XaibenchError(f"no device '{name}': torch sees {torch.cuda.device_count()} GPUs; use --device cpu")
    return torch.device(name)
