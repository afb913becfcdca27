"""Which mixtures a classifier decides by their labelled sound: only there can a map be asked to find it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.sound.dataset import Clip
from xaibench.sound.mixtures import Mixtures

LEAST_RISE = 0.25
BATCH = 16


def decided(classifier: Classifier, dataset: Mixtures, clips: Sequence[Clip]) -> pd.DataFrame:
    """Tell for each mixture whether a classifier goes by the labelled sound.

    It does if it predicts the label for the mixture and for the labelled sound alone, another class for the other
    sound alone, and gives the label at least 0.25 more probability in the mixture than in the other sound alone.

    Args:
        classifier: in evaluation mode; it must know the classes of the clips.
        dataset: the mixtures.
        clips: of it.

    Returns:
        One row for each clip: clip, fold, ratio (in dB), rise (of the label's probability), decided.
    """
    known = {name: place for place, name in enumerate(classifier.classes)}
    rows = []
    for start in range(0, len(clips), BATCH):
        part = clips[start : start + BATCH]
        stems = [dataset.stems_at(clip, classifier.sample_rate, classifier.samples) for clip in part]
        wholes = [dataset.waveform_at(clip, classifier.sample_rate, classifier.samples) for clip in part]
        mixed = _probabilities(classifier, [torch.from_numpy(one) for one in wholes])
        alone, other = (_probabilities(classifier, [torch.from_numpy(two[which]) for two in stems]) for which in (0, 1))
        for place, clip in enumerate(part):
            label = known.get(dataset.classes[clip.label], -1)
            right = all(int(p[place].argmax()) == label for p in (mixed, alone))
            rise = float(mixed[place, label] - other[place, label]) if label >= 0 else 0.0
            counts = right and int(other[place].argmax()) != label and rise > LEAST_RISE
            rows.append((clip.id, clip.fold, dataset.mixtures[clip.id].ratio, rise, counts))
    return pd.DataFrame(rows, columns=["clip", "fold", "ratio", "rise", "decided"])


def yields(found: pd.DataFrame) -> pd.DataFrame:
    """Count what `decided` found by ratio: columns ratio, clips, decided; the last row, of ratio "all", is the sum."""
    by_ratio = found.groupby("ratio")["decided"].agg(["size", "sum"]).reset_index()
    by_ratio.columns = pd.Index(["ratio", "clips", "decided"])
    whole = pd.DataFrame([["all", len(found), int(found["decided"].sum())]], columns=by_ratio.columns)
    return pd.concat([by_ratio.astype({"ratio": object}), whole], ignore_index=True)


@torch.inference_mode()
def _probabilities(classifier: Classifier, waveforms: Sequence[Tensor]) -> Tensor:
    """Probabilities (batch, classes) of waveforms of one length, each (samples,)."""
    logits = classifier.logits(torch.stack(list(waveforms)).to(classifier.device)).double().cpu()
    if classifier.activation == "sigmoid":
        return torch.sigmoid(logits)
    return torch.softmax(classifier.temperature * logits, dim=1)
