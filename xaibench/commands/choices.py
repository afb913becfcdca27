"""Options that several commands share, and what their values mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.errors import DataError, XaibenchError

if TYPE_CHECKING:
    import torch

    from xaibench.data.base import Dataset

DatasetOption = Annotated[
    str, typer.Option("--dataset", help="Which clips; [bold]xaibench datasets[/bold] lists them.", metavar="NAME")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder in ESC-50's layout (meta/esc50.csv, audio/).", metavar="FOLDER"),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of every random draw.", min=0, max=2**31 - 1)]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda or cuda:N.", metavar="DEVICE")
]


def open_dataset(name: str, data_dir: Path | None) -> Dataset:
    """The dataset of a name, read from `data_dir` if it lives in a folder.

    Raises:
        RegistryError: unknown name.
        DataError: the folder is missing where one is needed, or given where none is.
    """
    import inspect

    from xaibench import registry

    kind = registry.load("datasets", name)
    if not inspect.signature(kind).parameters:
        if data_dir is not None:
            raise DataError(f"{name} is generated and reads no folder; leave out --data-dir")
        return kind()
    if data_dir is None:
        raise DataError(f"{name} needs --data-dir FOLDER; get it with 'xaibench data fetch esc50'")
    return kind(data_dir)


def open_device(name: str) -> torch.device:
    """The torch device of an option value.

    Raises:
        XaibenchError: no such device on this machine.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, index = name.partition(":")
    if kind not in {"cpu", "cuda"} or (colon and (kind == "cpu" or not index.isdecimal())):
        raise XaibenchError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise XaibenchError(f"no device '{name}': torch sees {torch.cuda.device_count()} GPUs; use --device cpu")
    return torch.device(name)
