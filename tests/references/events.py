"""Slow second versions of the scores of events: segment by segment, frame by frame, in exact fractions of a second."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score


class Clip(NamedTuple):
    """What is known of a clip; the map (freq, time) and the signed one, frames that sound, and its events in s."""

    importance: np.ndarray
    signed: np.ndarray
    audible: np.ndarray
    events: list[tuple[float, float]]
    seconds: Fraction
    hop: Fraction


def known(clip: Clip) -> list[bool]:
    """Whether at least half of each tenth of a second is in an event, by a hundred points in each."""
    found, start = [], Fraction(0)
    while start < clip.seconds:
        end = min(start + Fraction(1, 10), clip.seconds)
        points = [float(start + (end - start) * Fraction(2 * i + 1, 200)) for i in range(100)]
        inside = [any(low <= point < high for low, high in clip.events) for point in points]
        found.append(sum(inside) >= 50)
        start = end
    return found


def projected(clip: Clip, projection: str) -> list[float | None]:
    """One number for each segment; None where it does not sound."""
    columns: list[list[np.ndarray]] = [[] for _ in known(clip)]
    for frame, sounds in enumerate(clip.audible):
        if sounds:
            place = min(int(frame * clip.hop / Fraction(1, 10)), len(columns) - 1)
            source = clip.signed if projection == "mean" else clip.importance
            columns[place].append(source[:, frame].astype(np.float64))
    if projection == "maximum":
        return [max(float(one.max()) for one in frames) if frames else None for frames in columns]
    by_bin = [[float(one.mean() if projection == "mean" else one.sum()) for one in frames] for frames in columns]
    return [sum(frames) / len(frames) if frames else None for frames in by_bin]


def score(clip: Clip, name: str) -> float:
    """Score a clip by scikit-learn."""
    projection = {"event_auc_mean": "mean", "event_auc_max": "maximum"}.get(name, "positive")
    values = projected(clip, projection)
    pairs = [(value, label) for value, label in zip(values, known(clip), strict=True) if value is not None]
    importance, labels = np.array([value for value, _ in pairs]), np.array([label for _, label in pairs])
    if name.startswith("event_auc"):
        return float(roc_auc_score(labels, importance))
    count = round(0.2 * len(labels)) if name.endswith("_20") else int(labels.sum())
    chosen = importance >= np.sort(importance)[-count]  # no ties here
    agreement = f1_score if "f1" in name else jaccard_score
    return float(agreement(labels, chosen))
