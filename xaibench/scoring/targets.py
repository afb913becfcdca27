"""Which class of each clip is explained."""

from __future__ import annotations

from xaibench.errors import DataError
from xaibench.results.parts import EACH_LABEL
from xaibench.sound.dataset import Dataset
from xaibench.sound.each_label import EachLabel

PREDICTED = "predicted"  # the class predicted for the clean clip
LABEL = "label"  # the clip's one label
LABELS = EACH_LABEL  # each of its labels, as a clip of its own
TARGETS = (PREDICTED, LABEL, LABELS)


def with_target(dataset: Dataset, target: str) -> Dataset:
    """Return the clips that a target asks about: those of a dataset, or one for each label of theirs.

    Args:
        dataset: the clips.
        target: one of TARGETS.

    Raises:
        DataError: each clip has one label, and all labels are asked for, or the other way round.
    """
    several = next((clip for clip in dataset.clips if clip.others), None)
    if target == LABELS and several is None:
        raise DataError(f"every clip of {dataset.name} has one label; explain it with --target {LABEL}")
    if target == LABEL and several is not None:
        raise DataError(
            f"clips of {dataset.name} have several labels, such as {several.id} "
            f"({', '.join(dataset.labels(several))}); --target {LABELS} explains each, --target {PREDICTED} the "
            "predicted class"
        )
    return EachLabel(dataset) if target == LABELS else dataset
