"""The interpreter network of SpeechBrain's PIQ recipe, with its parameters under the recipe's own names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaibench.errors import CheckpointError

KERNEL, STRIDE = 4, 2  # of the two convolutions around the codebook
# Kernel (time, freq) and stride of the decoder's transposed convolutions, each padded by one.
DECODER = (((3, 3), (4, 5)), ((4, 1), (2, 2)), ((4, 1), (2, 2)), ((4, 2), (2, 2)))
LAST_KERNEL = (10, 8)
FEATURE_SIZE = (14, 14)  # from this size the strides lead to 431 x 513


class RecipeInterpreter(nn.Module):
    """Network from a feature map to a soft mask, through the nearest codes of the predicted class (arXiv 2303.12659).

    The axes are those of the recipe, (time, freq). A feature map of 14 x 14 gives a mask of 431 x 513.

    Args:
        dim: channels of the feature map, of the codes and of every hidden layer.
        codes: number of vectors in the codebook.
        classes: number of classes that share them.
    """

    code_class: Tensor

    def __init__(self, dim: int, codes: int, classes: int) -> None:
        super().__init__()
        self.codebook = _Codebook(codes, dim)
        self.adapter = _Adapter(dim)
        self.down = nn.Conv2d(dim, dim, KERNEL, STRIDE, padding=1)
        self.up = nn.ConvTranspose2d(dim, dim, KERNEL, STRIDE, padding=1)
        hidden: list[nn.Module] = []
        for kernel, stride in DECODER:
            hidden += [nn.ConvTranspose2d(dim, dim, kernel, stride, padding=1), nn.ReLU(), nn.BatchNorm2d(dim)]
        self.decoder = nn.Sequential(*hidden, _ToOneChannel(dim, LAST_KERNEL))
        # Derived from the sizes, and therefore not part of the weights.
        self.register_buffer("code_class", code_classes(codes, classes), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # halves the decoder's time

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Return soft masks (batch, time, freq) in (0, 1).

        Args:
            features: (batch, dim, h, w), both even.
            target: predicted classes in training order, (batch,).
        """
        codes = self.nearest(self.down(self.adapter(features)), target)
        quantised = self.codebook.embedding(codes).permute(0, 3, 1, 2)
        return torch.sigmoid(self.decoder(self.up(quantised)))[:, 0]

    def nearest(self, features: Tensor, target: Tensor) -> Tensor:
        """Find the nearest code of the target's class at every position: indices (batch, h, w).

        The distances are in double precision. Trained codes lie close together, and in float32 the rounding of a matrix
        product would decide near ties.
        """
        book = self.codebook.embedding.weight.double()
        places = features.permute(0, 2, 3, 1).double()
        distance = book.square().sum(dim=1) - 2 * places @ book.T  # without |z|^2, which is the same for all codes
        others = self.code_class != target[:, None]
        return distance.masked_fill(others[:, None, None], float("inf")).argmin(dim=-1)


class _Codebook(nn.Module):
    def __init__(self, codes: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, dim)


class _Adapter(nn.Module):
    """Residual block in front of the codebook."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 1),
            nn.BatchNorm2d(dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.block(features)


class _ToOneChannel(nn.ConvTranspose2d):
    """Transposed convolution to one channel, as one product and a sum of shifts: four times as fast on a CPU."""

    def __init__(self, dim: int, kernel: tuple[int, int]) -> None:
        super().__init__(dim, 1, kernel, padding=1)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        height, width = (size + kernel - 3 for size, kernel in zip(features.shape[2:], LAST_KERNEL, strict=True))
        taps = torch.einsum("bchw,ck->bkhw", features, self.weight.flatten(1)).flatten(2)
        assert self.bias is not None
        return functional.fold(taps, (height, width), LAST_KERNEL, padding=1) + self.bias


def code_classes(codes: int, classes: int) -> Tensor:
    """Assign codes to classes, int64 (codes,), in shares that are as equal as possible."""
    return torch.linspace(-0.5, classes - 0.51, codes).round().long()


def from_state(state: Mapping[str, Tensor], classes: int, source: str) -> RecipeInterpreter:
    """Build the frozen interpreter of a state dict; the codebook gives its sizes.

    Args:
        state: floating-point tensors in float32.
        classes: number of classes of the classifier.
        source: name of the file, for errors.

    Raises:
        CheckpointError: a key is missing or unknown, a shape does not fit, or a class has no code.
    """
    book = state.get("codebook.embedding.weight")
    if book is None or book.ndim != 2:
        raise CheckpointError(
            f"{source}: no codebook ('codebook.embedding.weight', codes x channels); expected psi_model.ckpt of "
            "the recipe's PIQ with vector quantisation"
        )
    codes, dim = book.shape
    with torch.device("meta"):  # no memory is allocated for sizes that do not fit
        wanted = RecipeInterpreter(dim, codes, 1).state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        what, keys = ("lacks", missing) if missing else ("has the unknown", extra)
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        raise CheckpointError(
            f"{source} {what} '{keys[0]}'{more}; expected the recipe's interpreter with an adapter that down-samples"
        )
    for key, tensor in wanted.items():
        if state[key].shape != tensor.shape:
            raise CheckpointError(
                f"{source}: '{key}' has shape {tuple(state[key].shape)}, expected {tuple(tensor.shape)} for "
                f"{codes} codes of {dim} channels"
            )
    without = sorted(set(range(classes)) - set(code_classes(codes, classes).tolist()))
    if without:
        raise CheckpointError(
            f"{source}: {codes} codes are too few for {classes} classes; was it fitted to another set?"
        )
    interpreter = RecipeInterpreter(dim, codes, classes)
    interpreter.load_state_dict(dict(state))
    return interpreter.eval().requires_grad_(False)
