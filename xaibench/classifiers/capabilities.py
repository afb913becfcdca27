"""Capabilities: what only some classifiers (or clips) have and some explainers require.

A capability is a name, such as "attentions": explainers list it in `requires`, classifiers in
`capabilities`. Any name works. One that is registered (entry point group `xaibench.capabilities`)
also has a sentence for refusals and the interface that comes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.errors import RegistryError
from xaibench.sound.batch import Batch

GROUND_TRUTH = "ground_truth"


@dataclass(frozen=True, kw_only=True)
class Capability:
    """What is known of a registered capability.

    Attributes:
        refusal: why an explainer refuses a classifier that lacks it, after the explainer's name;
            {classifier} and {family} stand for the classifier's.
        protocol: what a classifier that offers it has, as a typing.Protocol; None where it has nothing to call.
    """

    refusal: str
    protocol: type | None = None


class Mapped(Protocol):
    """A classifier that can say where a map of its own lies on the picture."""

    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        """Bring maps (batch, h, w) to the picture (batch, *shape)."""


class Modulated(Mapped, Protocol):
    """A classifier that gathers context by focal modulation."""

    @property
    def modulation(self) -> nn.Module:
        """The module whose output (batch, channels, h, w) is the last block's modulator."""


class FeatureMapped(Mapped, Protocol):
    """A classifier with a spatial feature map.

    Attributes:
        feature_maps: a module whose output is the map, (batch, channels, h, w).
    """

    feature_maps: nn.Module

    def map_layers(self) -> dict[str, nn.Module]:
        """Modules whose output is such a map, `feature_maps` among them, by name."""


class FeaturePyramid(Mapped, Protocol):
    """A classifier that gives several feature maps of pictures."""

    def feature_pyramid(self, x: Tensor) -> list[Tensor]:
        """Feature maps (batch, channels, h, w), shallow to deep."""


class PictureReader(Protocol):
    """A classifier that can be fed pictures as they are."""

    def picture_logits(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of pictures (batch, freq, time)."""


class Attentive(Mapped, Protocol):
    """A transformer on patches of the picture, or on stretches of time.

    Attributes:
        patch_grid: patches along (freq, time), in the order of their tokens; (1, n) where tokens are stretches of time.
        special_tokens: tokens before those of the patches, such as CLS. They gather what the head reads; where there
            are none, every token does.
    """

    patch_grid: tuple[int, int]
    special_tokens: int

    def logits_and_attentions(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Logits (batch, classes) of clips as they are, and the attention of every block from which they were made.

        Attentions stand first to last, each (batch, heads, tokens, tokens). Where autograd records the pass, the logits
        have gradients with respect to them.
        """


class RuleBased(Mapped, Protocol):
    """A classifier that decides by rules over concepts that have places.

    Attributes:
        concepts: a module whose output (batch, concepts, h, w) is what each place adds to the truth of each concept;
            over all places it sums to this truth, from 0 to 1.
        concept_names: of the concepts, in words.
    """

    @property
    def concepts(self) -> nn.Module: ...

    @property
    def concept_names(self) -> tuple[str, ...]: ...

    def literals(self) -> Tensor:
        """What the rules ask for, (classes, rules, concepts): 1 a concept, -1 that there is none of it, 0 neither."""

    def confidences(self) -> Tensor:
        """Truth (classes, rules) of rules of which all concepts are as asked for."""


GRADIENTS = Capability(refusal="needs gradients, which {classifier} (a black box) does not give")
PICTURE = Capability(
    refusal="needs a classifier that reads pictures, and {classifier} hears sound", protocol=PictureReader
)
FEATURE_MAP = Capability(
    refusal="needs a feature map, which {classifier} does not name; wrap it with layer=...", protocol=FeatureMapped
)
FEATURE_PYRAMID = Capability(
    refusal="needs feature maps of several sizes, which {classifier} ({family}) does not give", protocol=FeaturePyramid
)
MODULATION = Capability(refusal="needs focal modulation, which {classifier} ({family}) has not", protocol=Modulated)
ATTENTIONS = Capability(refusal="needs attention weights, which {classifier} ({family}) has not", protocol=Attentive)
RULES = Capability(refusal="needs rules over concepts, which {classifier} ({family}) has not", protocol=RuleBased)
RECTIFIERS = Capability(refusal="needs ReLU as the only non-linearity, which {classifier} ({family}) has not")
KNOWN_EVENT = Capability(refusal="needs clips with ground truth, such as --dataset synth")


def find(name: str) -> Capability:
    """What is registered of a capability; a plain sentence where nothing (usable) is."""
    plain = Capability(refusal=f"needs the capability '{name}', which {{classifier}} ({{family}}) does not offer")
    try:
        found = registry.load("capabilities", name)
    except RegistryError:  # a stranger's capability, or a broken one: the refusal stands all the same
        return plain
    return found if isinstance(found, Capability) else plain


def refusal(name: str, classifier: Classifier) -> str:
    """The sentence for a classifier that lacks a capability, to be read after the explainer's name."""
    # No str.format: braces in a stranger's sentence, or in a name, must not end a run.
    return find(name).refusal.replace("{classifier}", classifier.name).replace("{family}", classifier.family)


def missing_members(name: str, classifier: Classifier) -> list[str]:
    """Members that a capability's protocol has and the classifier has not."""
    protocol = find(name).protocol
    kinds = () if protocol is None else protocol.__mro__[:-3]  # without Protocol, Generic and object
    members = {name for kind in kinds for name in (*vars(kind), *vars(kind).get("__annotations__", {}))}
    # hasattr, since isinstance on a protocol does not see a module's submodules from Python 3.12 on.
    return [member for member in sorted(members) if not member.startswith("_") and not hasattr(classifier, member)]
