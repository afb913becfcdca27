"""What the benchmark asks of an explanation method."""

from __future__ import annotations

import abc
import copy
from typing import Any, ClassVar, Self

from torch import Tensor

from xaibench.classifiers import capabilities
from xaibench.classifiers.base import Classifier
from xaibench.explaining.explanation import Explanation, Polarity
from xaibench.explaining.parameters import checked
from xaibench.sound.batch import Batch


class Explainer(abc.ABC):
    """An explanation method; subclasses declare what it is and implement `explain`.

    Attributes:
        title: the name used in papers.
        family: of methods that work alike, such as "gradient"; listings are grouped by it.
        reference: paper or definition.
        description: one sentence on how it works.
        polarity: "absolute" for sensitivity maps, "positive" for contribution maps and for maps
            that are never negative.
        requires: capabilities that the classifier must offer, such as "attentions"; "ground_truth" where
            the clips' events must be known. A name that nobody has registered works too.
        attenuates: whether its mask of an area a is a gain of a in every bin, and not the top bins of a map.
        control: whether it is a map to compare methods with, rather than a method.
        native_mask: whether its map is a mask as it is, from 0 to 1; it is then scored as that too.
        repeatable: whether it can explain changed clips, too, and other weights of the classifier; maps made elsewhere
            cannot. Metrics that ask for that fail on it.
        protocols: names of the protocols that score it.
        forwards_parameter: name of the parameter that says how many forward passes the map of a clip takes, where these
            are many: it is told before they are paid for.
        parameters: everything beside classifier and clip that decides the map, with its values, which `explain` reads
            here. They are part of the results, and can be set by name (`with_parameters`).
        choices: the values that some parameters may take; one with a single choice cannot be changed. Of a number,
            words that it may be instead, such as "auto".
    """

    title: ClassVar[str]
    family: ClassVar[str] = "other"
    reference: ClassVar[str]
    description: ClassVar[str]
    polarity: ClassVar[Polarity]
    requires: ClassVar[frozenset[str]] = frozenset()
    control: ClassVar[bool] = False
    native_mask: ClassVar[bool] = False
    attenuates: ClassVar[bool] = False
    repeatable: ClassVar[bool] = True
    protocols: ClassVar[frozenset[str]] = frozenset({"standard", "spectrogram"})
    forwards_parameter: ClassVar[str | None] = None
    parameters: dict[str, Any] = {}
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {}

    @abc.abstractmethod
    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        """Attribute the target classes of a batch.

        Args:
            classifier: frozen, in evaluation mode; must be left as it was found.
            batch: clips, as pictures (batch, freq, time); random draws come from `batch.generator`. The function to
                explain is `classifier.logits_of(x, batch.phase, batch.samples)`, and the clips as they are give
                `classifier.logits_of_clips(batch)`.
            target: class indices (batch,).

        Returns:
            A map for every clip, of the size of its picture.
        """

    def with_parameters(self, **changes: Any) -> Self:
        """Return a copy with other values of some parameters.

        Raises:
            XaibenchError: no such parameter, or not a value of the kind of the present one.
        """
        kinds = {**self.parameters, **type(self).parameters}  # a number that is a word now may be a number again
        changed, values = copy.copy(self), checked(self.title, kinds, self.choices, changes)
        changed.parameters = {**self.parameters, **values}
        if changed.parameters == type(self).parameters:
            del changed.parameters  # so that it is the same as one of which nothing was ever set
        return changed

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        """Why this method makes no sense here, or None."""
        available = set(classifier.capabilities) | ({capabilities.GROUND_TRUTH} if has_ground_truth else set())
        missing = sorted(map(str, set(self.requires) - available))
        return capabilities.refusal(missing[0], classifier) if missing else None
