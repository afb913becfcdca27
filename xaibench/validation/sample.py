"""The clips of which a validation can ask a classifier, and what so many of them can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xaibench.classifiers.forward import listener
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import DataError, UnsupportedPairError
from xaibench.results import power
from xaibench.sound import subset
from xaibench.sound.dataset import Clip, Dataset
from xaibench.validation.questions import where
from xaibench.validation.reference_maps import reference_maps

_AT_ONCE = 32  # clips whose sounds are in memory together
_EXAMPLE = 0.1  # a difference for which the recordings are told that it takes


@dataclass(frozen=True)
class Sample:
    """The clips on which the metrics are tested with one classifier.

    Attributes:
        loaded: the classifier.
        clips: those that it decides by their labelled event, as far as the dataset knows.
        decided: how many of such clips there are.
        reasons: why it does not decide others by their event, and how many these are.
        pairs: how many pairs of maps are tested together.
        fewest: recordings below which there is no verdict.
    """

    loaded: LoadedClassifier
    clips: tuple[Clip, ...]
    decided: int
    reasons: Counter[str]
    pairs: int
    fewest: int

    @property
    def recordings(self) -> int:
        return len({clip.src_file for clip in self.clips})

    def sentence(self) -> str:
        """Say how many clips there are, and which differences so many cannot show."""
        said = f"{self.loaded.label}: {len(self.clips)} of {self.decided} clips, {self.recordings} recordings"
        if self.reasons:
            listed = "; ".join(f"{count} because {reason}" for reason, count in self.reasons.most_common())
            said += f" (it does not decide {self.reasons.total()} more by their labelled event: {listed})"
        if self.recordings < self.fewest:
            return f"{said}. Nothing can be shown by fewer than {self.fewest} recordings"
        if "gradients" not in self.loaded.classifier.capabilities:
            said += ". Without its gradients nothing is asked of metrics of robustness and randomisation"
        least = power.smallest_difference(self.recordings, self.pairs)
        need = power.recordings_for(_EXAMPLE, self.pairs)
        return (
            f"{said}. Mean differences below {least:.2f} cannot be shown where those of recordings deviate by "
            f"{power.DEVIATION}, as in FF; {_EXAMPLE} takes {need} recordings"
        )


def choose(loaded: LoadedClassifier, dataset: Dataset, folds: Sequence[int], limit: int, seed: int = 0) -> Sample:
    """Draw at most `limit` clips of some folds, of all classes, that the classifier decides by their labelled event.

    Raises:
        DataError: the dataset has no ground truth.
        UnsupportedPairError: there is no such clip; says why.
    """
    if not dataset.has_ground_truth:
        raise DataError(
            f"{dataset.name} has no ground truth, of which maps of known quality could be made; choose a dataset that "
            "has, such as synth or esc10-mix"
        )
    clips, asked = dataset.in_folds(folds), listener(loaded.classifier)
    starts = range(0, len(clips), _AT_ONCE)
    reasons = [reason for start in starts for reason in dataset.undecided(clips[start : start + _AT_ONCE], asked)]
    decided = [clip for clip, reason in zip(clips, reasons, strict=True) if reason is None]
    counted = Counter(reason for reason in reasons if reason is not None)
    if not decided:
        raise UnsupportedPairError(
            f"{loaded.label} decides none of {len(clips)} clips of {dataset.name} by their labelled sound, so no map "
            f"can be asked to find it (most often {counted.most_common(1)[0][0]}); choose another classifier or dataset"
        )
    question = where(tuple(reference_maps(dataset)))
    chosen = tuple(subset.sample(dataset, decided, limit, seed))
    return Sample(loaded, chosen, len(decided), counted, len(question.order), question.fewest)
