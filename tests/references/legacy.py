"""The original recipes' numbers, derived from their checkpoints' tensors without this project's code.

Sources: shared/reference/README.md; Quantus 0.6 for SPS and COMP. Axes are the recipes', (time, freq).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from torch import Tensor
from torch.nn import functional

from tests.support.lazy import Lazy

transformers = Lazy("transformers")
quantus = Lazy("quantus")

Heard = tuple[Tensor, Tensor, Tensor]  # cosines, map before it is resized, last feature map or states
State = dict[str, Tensor]


def state_of(path: Path) -> State:
    """A state dict in single precision."""
    content = torch.load(path, weights_only=True)
    return {key: value.float() if value.is_floating_point() else value for key, value in content.items()}


def log_magnitude(path: Path) -> Tensor:
    """The recipes' input of a sound file: (1, 431, 513)."""
    samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    z = torch.stft(
        samples / samples.max(),
        1024,
        hop_length=186,
        win_length=372,
        window=torch.hamming_window(372),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return torch.log1p(torch.sqrt(z.real**2 + z.imag**2 + 1e-14)).transpose(1, 2)


def network(folder: Path, family: str) -> Callable[[Tensor], Heard]:
    """The classifier of a folder as the recipe calls it."""
    config = json.loads((folder / "config.json").read_text())
    config.pop("model_type")
    body: Any
    if family == "focalnet":
        body = transformers.FocalNetBackbone(transformers.FocalNetConfig(**config))
    else:
        body = transformers.ViTModel(
            transformers.ViTConfig(**config, attn_implementation="eager"), add_pooling_layer=False
        )
    body.load_state_dict(state_of(folder / "embedding_model.ckpt"), strict=False)
    body.eval()
    head = state_of(folder / "classifier.ckpt")

    def cosines(embedding: Tensor) -> Tensor:
        norm = "blocks.0.norm."
        centred = (embedding - head[norm + "running_mean"]) / torch.sqrt(head[norm + "running_var"] + 1e-5)
        hidden = (centred * head[norm + "weight"] + head[norm + "bias"]) @ head["blocks.1.w.weight"].T
        hidden = hidden + head["blocks.1.w.bias"]
        weight = head["weight"]
        return (hidden / hidden.norm(dim=1, keepdim=True)) @ (weight / weight.norm(dim=1, keepdim=True)).T

    def hear(x: Tensor) -> Heard:
        image = functional.interpolate(x[:, None], (224, 224), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
        if family == "vit":
            output = body(image, output_attentions=True)
            attention = output.attentions[-1].mean(dim=1)[:, 0, 1:]
            side = int(attention.shape[1] ** 0.5)
            states = output.last_hidden_state
            return cosines(states.mean(dim=1)), attention.reshape(-1, side, side), states
        seen: list[Tensor] = []
        tap = body.focalnet.encoder.stages[-1].layers[-1].modulation.projection_context
        hook = tap.register_forward_hook(lambda module, args, output: seen.append(output))
        last = body(image).feature_maps[-1]
        hook.remove()
        return cosines(last.mean(dim=(2, 3))), seen[0].square().sum(dim=1).sqrt(), last

    return hear


@torch.inference_mode()
def amt(hear: Callable[[Tensor], Heard], x: Tensor) -> dict[str, Any]:
    """Mask, input fidelity, faithfulness and mask fraction of one clip (1, 431, 513)."""
    logits, small, _ = hear(x)
    full = functional.interpolate(small[:, None], x.shape[1:], mode="bilinear", antialias=True)[0, 0]
    mask = full >= float(np.quantile(full.numpy(), 0.90))
    kept = hear(x * mask)[0]
    c = int(logits.argmax())
    return {
        "mask": mask.numpy(),
        "input_fidelity": float(int(kept.argmax()) == c),
        "faithfulness": float(logits.softmax(1)[0, c] - kept.softmax(1)[0, c]),
        "mask_fraction": float(mask.float().mean()),
    }


def soft_mask(state: State, features: Tensor, target: int, classes: int, enlarge: bool = True) -> Tensor:
    """The recipe's interpreter on one feature map (1, dim, h, w), a FocalNet's enlarged: (1, time, freq)."""

    def norm(x: Tensor, name: str) -> Tensor:
        shape = (1, -1, 1, 1)
        scale = state[name + ".weight"] / torch.sqrt(state[name + ".running_var"] + 1e-5)
        return (x - state[name + ".running_mean"].view(shape)) * scale.view(shape) + state[name + ".bias"].view(shape)

    def weights(name: str) -> tuple[Tensor, Tensor]:
        return state[name + ".weight"], state[name + ".bias"]

    size = (2 * features.shape[2], 2 * features.shape[3])
    h = functional.interpolate(features, size, mode="bilinear", antialias=True) if enlarge else features
    a = functional.relu(norm(functional.conv2d(h, *weights("adapter.block.0"), padding=1), "adapter.block.1"))
    h = h + norm(functional.conv2d(a, *weights("adapter.block.3")), "adapter.block.4")
    h = functional.conv2d(h, *weights("down"), stride=2, padding=1)
    book = state["codebook.embedding.weight"]
    positions = np.linspace(-0.5, classes - 0.51, len(book))
    own = [i for i, position in enumerate(positions) if int(np.rint(position)) == target]
    quantised = torch.empty_like(h)
    for i in range(h.shape[2]):
        for j in range(h.shape[3]):
            distances = [float((h[0, :, i, j].double() - book[code].double()).square().sum()) for code in own]
            quantised[0, :, i, j] = book[own[int(np.argmin(distances))]]
    h = functional.conv_transpose2d(quantised, *weights("up"), stride=2, padding=1)
    for index, stride in ((0, (4, 5)), (3, 2), (6, 2), (9, 2)):
        h = functional.conv_transpose2d(h, *weights(f"decoder.{index}"), stride=stride, padding=1)
        h = norm(functional.relu(h), f"decoder.{index + 2}")
    return torch.sigmoid(functional.conv_transpose2d(h, *weights("decoder.12"), padding=1))[:, 0, :431]


@torch.inference_mode()
def piq(hear: Callable[[Tensor], Heard], state: State, x: Tensor) -> dict[str, float]:
    """The PIQ recipe's metrics of one clip (1, 431, 513)."""
    logits, _, features = hear(x)
    c = int(logits.argmax())
    mask = soft_mask(state, features, c, logits.shape[1])
    kept, removed = hear(mask * x)[0], hear((1 - mask) * x)[0]
    full, inside, outside = (one.double().softmax(1)[0] for one in (logits, kept, removed))
    twice, twice_inside = full.softmax(0), inside.softmax(0)
    numbers: dict[str, Any] = {"model": None, "x_batch": x[:, None].numpy(), "y_batch": np.array([c])}
    sparse, complex_ = (
        one(a_batch=mask[:, None].numpy().copy(), softmax=False, device="cpu", **numbers)[0]
        for one in (
            quantus.Sparseness(return_aggregate=False, abs=True, disable_warnings=True),
            quantus.Complexity(return_aggregate=False, abs=True, disable_warnings=True),
        )
    )
    return {
        "AI": 100.0 * float(inside[c] > full[c]),
        "AD": 100 * max(0.0, float(twice[c] - twice_inside[c])) / float(twice[c] + 1e-10),
        "AG": 100 * max(0.0, float(inside[c] - full[c])) / float(1 - full[c] + 1e-10),
        "FF": float(full[c] - outside[c]),
        "Fid_In": float(int(kept.argmax()) == c),
        "mask_mean": float(mask.mean()),
        "SPS": float(sparse),
        "COMP": float(complex_),
    }


def table(path: Path) -> pd.DataFrame:
    """Reference values by clip."""
    return pd.read_csv(path).set_index("clip")
