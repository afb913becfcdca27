"""The map of a long clip, joined of those of its windows."""

from __future__ import annotations

from collections.abc import Callable

import torch

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.windows import Windowed
from xaibench.explaining.explanation import Explanation, validate
from xaibench.sound.batch import Batch


def by_windows(explain: Callable[[Classifier, Batch], Explanation], classifier: Windowed, batch: Batch) -> Explanation:
    """Explain clips window by window; where windows overlap, the map is the mean of theirs.

    A window that holds nothing but digital silence explains nothing: its map is 0. What the method says of the windows
    in words is joined, each with the second at which it begins.

    Args:
        explain: what the method says of clips that the windows' classifier hears.
        classifier: that hears the clips by windows.
        batch: clips of one length, at least that of a window.

    Raises:
        ExplanationError: the method breaks its contract.
    """
    waveform, samples = batch.waveform, batch.samples
    assert waveform is not None and samples is not None
    starts = classifier.starts(samples)
    if len(starts) == 1:
        return explain(classifier.inner, batch)
    joined, heard = torch.zeros_like(batch.x), batch.x.new_zeros(batch.picture_shape[1])
    said: list[list[str]] = [[] for _ in batch.clip_ids]
    for start in starts:
        part = waveform[:, start : start + classifier.window].contiguous()
        # Random draws are a window's own: the same ones in every window would not average out.
        ids = tuple(f"{clip}@{start}" for clip in batch.clip_ids)
        window = Batch.of_sound(part, ids, classifier.domain, batch.seed)
        made = validate(explain(classifier.inner, window), tuple(window.x.shape))
        for one, text in zip(said, made.texts, strict=False):
            one.append(f"from {start / classifier.sample_rate:g} s: {text}")
        assert window.audible is not None
        maps = torch.where(window.audible.any(dim=1)[:, None, None], made.map.detach().float(), 0.0)
        first = classifier.first_frame(start, samples)
        frames = min(maps.shape[2], len(heard) - first)
        joined[:, :, first : first + frames] += maps[:, :, :frames]
        heard[first : first + frames] += 1
    return Explanation(joined / heard, made.native_shape, tuple("; ".join(one) for one in said) if made.texts else ())
