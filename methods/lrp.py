"""Layer-wise relevance propagation for convolutional networks.

The relevance of the logit goes back layer by layer, each layer sharing it among its inputs, to the first layer that has
a rule. From there the gradient goes on: through the front end to the picture, or, for a classifier that does not read
the picture, through front end and synthesis to the gains of its bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._captum import TargetScore
from ._gains import along_input
from ._lrp_rules import BATCH_NORMS, LAYERS, RULES, Layer, layer_of

# Linear, or linear in pieces through zero: sums of relevance pass them unchanged, in evaluation mode.
_PASSED = (
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.Unflatten),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.ZeroPad1d, nn.ZeroPad2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Upsample),
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict),
)
_OF_TORCH = "torch.nn.modules."
_FRONT_END = "front_end"
# Rounding and epsilon move the sum by 3e-6 of the logits (cnn-micro on synth).
TOLERANCE = 1e-3


class Lrp(Explainer):
    """LRP with one rule for convolutions and epsilon for linear layers; batch norm is merged into the layer before."""

    title = "LRP"
    family = "rules"
    reference = (
        "Bach et al., PLoS ONE 10(7), 2015; Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019"
    )
    description = (
        "the logit, shared out backwards: every convolution shares by its rule (z-plus, gamma or epsilon), every "
        "linear layer by epsilon, down to the first of them, and from there by the gradient"
    )
    polarity = "positive"
    requires = frozenset({"gradients"})
    parameters = {"rule": "z-plus"}
    choices = {"rule": RULES}

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        reason = super().refusal(classifier, has_ground_truth)
        return _without_rule(classifier) if reason is None else reason

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        reads = "picture" in classifier.capabilities
        score, phase = TargetScore(classifier, batch.samples), None if reads else batch.phase
        found = propagate(classifier, lambda: score(batch.x, phase), target, self.parameters["rule"])
        x = batch.x.clone().requires_grad_()
        with torch.enable_grad(), _inputs_of(found.first) as inputs:
            score(x, phase)
        (slope,) = torch.autograd.grad(inputs, x, found.shares)
        return Explanation(along_input(batch.x, slope, reads), batch.picture_shape)


class Propagated:
    """Relevance at the inputs of the first layers.

    Attributes:
        first: the layers that read no other's output, in the order of their calls.
        inputs: what they read.
        shares: relevance of these inputs, divided by them.
        of_bias: relevance that biases, and epsilon, have taken on the way.
    """

    def __init__(self) -> None:
        self.first: list[nn.Module] = []
        self.inputs: list[Tensor] = []
        self.shares: tuple[Tensor, ...] = ()
        self.of_bias = 0.0

    @property
    def total(self) -> float:
        """Relevance of all inputs of all clips."""
        return sum(float((a.detach() * c).double().sum()) for a, c in zip(self.inputs, self.shares, strict=True))


def propagate(classifier: Classifier, ask: Callable[[], Tensor], target: Tensor, rule: str) -> Propagated:
    """Propagate the target's score back to the inputs of the first layers.

    Args:
        classifier: to be explained.
        ask: computes scores (batch, classes), with the classifier.
        target: class indices (batch,).
        rule: of convolutions.

    Raises:
        ExplanationError: what arrives, and what biases took, does not sum to the scores: something between the layers
            is not linear in pieces.
    """
    found, carried = Propagated(), [0.0]
    with torch.enable_grad(), _rules(classifier, rule, found, carried):
        chosen = ask().gather(1, target[:, None])
        if not found.first:
            raise ExplanationError(f"{classifier.name} has no layer with a rule: no nn.Conv or nn.Linear was run")
        found.shares = torch.autograd.grad(chosen.sum(), found.inputs, materialize_grads=True)
    should = float(chosen.detach().double().sum())
    slack = TOLERANCE * (abs(should) + 0.1 * carried[0])
    if not abs(found.total + found.of_bias - should) <= slack:
        raise ExplanationError(
            f"{classifier.name} computes something between its layers that is not linear in pieces: relevance and what "
            f"biases take of it sum to {found.total + found.of_bias:.4g}, the logits to {should:.4g}. LRP is for "
            "convolutions, linear layers and ReLU; use integrated-gradients"
        )
    return found


class _Carry(torch.autograd.Function):
    """A layer's output, whose gradient goes back to its input by the layer's rule."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, z: Tensor, layer: Layer, note: Callable[[Tensor, Tensor], None]) -> Tensor:
        ctx.save_for_backward(a, z)
        ctx.layer, ctx.note = layer, note
        return z.clone()  # z itself is kept as it is, also where a ReLU works in place

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor, None, None, None]:
        a, z = ctx.saved_tensors
        passed, relevance = ctx.layer.back(a, z, arrived[0]), z * arrived[0]
        ctx.note(relevance.double().sum() - (a * passed).double().sum(), relevance.abs().sum())
        return passed, None, None, None


@contextmanager
def _rules(classifier: Classifier, rule: str, found: Propagated, carried: list[float]) -> Iterator[None]:
    """Give every layer its rule inside `with`; `found` learns which are first, `carried` the most that one carries."""
    made: list[tuple[Tensor, nn.Module, Tensor]] = []  # outputs of layers, with the layer and its input

    def note(taken: Tensor, amount: Tensor) -> None:
        found.of_bias += float(taken)
        carried[0] = max(carried[0], float(amount))

    def lead(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        a, norm = given[0], None
        if isinstance(module, BATCH_NORMS):
            before = next((one for one in made if one[0] is a), None)
            if before is not None and not (isinstance(before[1], nn.Linear) and a.ndim != 2):
                norm, module, a = module, before[1], before[2]
        layer = layer_of(module, rule, a, norm)
        assert layer is not None
        if not a.requires_grad:
            a = a.detach().requires_grad_()
            found.first.append(module)
            found.inputs.append(a)
        carrying = _Carry.apply(a, output.detach(), layer, note)
        if norm is None and not isinstance(module, BATCH_NORMS):
            made.append((carrying, module, a))
        return carrying

    hooks = [one.register_forward_hook(lead) for _, one in _behind_front_end(classifier) if isinstance(one, LAYERS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _inputs_of(layers: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what some layers read, call by call."""
    inputs: list[Tensor] = []
    hooks = [
        one.register_forward_pre_hook(lambda module, given: inputs.append(given[0])) for one in dict.fromkeys(layers)
    ]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _without_rule(classifier: Classifier) -> str | None:
    """Name a module of torch that is not linear in pieces, behind the front end."""
    known = (*_PASSED, *LAYERS)
    for name, module in _behind_front_end(classifier):
        unknown = type(module).__module__.startswith(_OF_TORCH) and not isinstance(module, known)
        if unknown or getattr(module, "track_running_stats", True) is False:
            return (
                f"has no rule for {type(module).__name__} ({name} of {classifier.name}): its rules are those of "
                "convolutions, linear layers, batch norm and ReLU"
            )
    return None


def _behind_front_end(classifier: Classifier) -> Iterator[tuple[str, nn.Module]]:
    for name, module in classifier.named_modules():
        if name.partition(".")[0] != _FRONT_END:
            yield name, module
