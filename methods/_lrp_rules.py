"""Rules of layer-wise relevance propagation for layers that are linear in their input.

Relevance R of a value a is carried as c = R / a, so that everything between the layers that is linear (pools, sums,
slices, ReLU where it is open) is autograd's own business: there LRP-0 is the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RULES = ("z-plus", "gamma", "epsilon")
EPSILON, GAMMA = 1e-6, 0.25

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, *BATCH_NORMS)


@dataclass(frozen=True)
class Layer:
    """A layer z = W a + b, with the batch norm behind it merged into W and b.

    Attributes:
        times: computes W a, of a and W.
        weight: W.
        bias: b, so that it can be added to z; 0 where there is none.
        rule: one of RULES.
    """

    times: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    bias: Tensor
    rule: str

    def back(self, a: Tensor, z: Tensor, c: Tensor) -> Tensor:
        """Take c of the output back to c of the input.

        Epsilon: Bach et al., equation 58; z-plus: equation 60 there, with alpha = 1 and beta = 0; gamma: Montavon et
        al., 2019, table 1, for inputs and outputs of both signs.
        """
        relevance, w, b = z * c, self.weight, self.bias
        if self.rule == "epsilon":
            return self._pulled(a, w, relevance / _away_from_zero(z))
        high, low, raised, lowered = a.clamp(min=0), a.clamp(max=0), w.clamp(min=0), w.clamp(max=0)
        if self.rule == "z-plus":
            rising = self.times(high, raised) + self.times(low, lowered) + b.clamp(min=0)
            s = relevance / _away_from_zero(rising)
            return torch.where(a > 0, self._pulled(a, raised, s), self._pulled(a, lowered, s))
        gain, loss = w + GAMMA * raised, w + GAMMA * lowered
        rising = self.times(high, gain) + self.times(low, loss) + b + GAMMA * b.clamp(min=0)
        falling = self.times(high, loss) + self.times(low, gain) + b + GAMMA * b.clamp(max=0)
        s = torch.where(z > 0, relevance, 0) / _away_from_zero(rising)
        t = torch.where(z < 0, relevance, 0) / _away_from_zero(falling)
        of_high = self._pulled(a, gain, s) + self._pulled(a, loss, t)
        of_low = self._pulled(a, loss, s) + self._pulled(a, gain, t)
        return torch.where(a > 0, of_high, of_low)

    def _pulled(self, a: Tensor, weight: Tensor, s: Tensor) -> Tensor:
        """W^T s, of the shape of a."""
        with torch.enable_grad():
            asking = a.detach().requires_grad_()
            made = self.times(asking, weight)
        return torch.autograd.grad(made, asking, s)[0]


def layer_of(module: nn.Module, rule: str, a: Tensor, norm: nn.Module | None = None) -> Layer | None:
    """Return a module as a layer that reads `a`, with the batch norm behind it; None if it is none.

    The rule is that of convolutions; linear layers have epsilon, as in the composites of Kohlbrenner et al.,
    arXiv 1910.09840.
    """
    if isinstance(module, BATCH_NORMS):
        scale, shift = _affine(module)
        over = (-1, *(1,) * (a.ndim - 2))
        return Layer(torch.mul, scale.reshape(over), shift.reshape(over), "epsilon")
    if isinstance(module, nn.Linear):
        times: Callable[[Tensor, Tensor], Tensor] = F.linear
        over, rule = (-1,), "epsilon"
    elif isinstance(module, CONVOLUTIONS):
        convolve = cast(Any, module)._conv_forward  # with the module's own stride, padding and groups
        times, over = (lambda a, w: convolve(a, w, None)), (-1, *(1,) * (module.weight.ndim - 2))
    else:
        return None
    weight = module.weight.detach()
    bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
    if norm is not None:
        scale, shift = _affine(norm)
        weight, bias = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), bias * scale + shift
    return Layer(times, weight, bias.reshape(over), rule)


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift (channels,) of a batch norm in evaluation mode."""
    of: Any = norm
    scale = (of.running_var + of.eps).rsqrt()
    if of.weight is None:
        return scale, -of.running_mean * scale
    scale = of.weight.detach() * scale
    return scale, of.bias.detach() - of.running_mean * scale


def _away_from_zero(z: Tensor) -> Tensor:
    return z + torch.where(z < 0, -EPSILON, EPSILON)
