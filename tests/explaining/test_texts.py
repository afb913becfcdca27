"""What a method says in words reaches whoever asked, whichever way its maps take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import xaibench as xb
from tests.support.lazy import Lazy
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.windows import Windowed
from xaibench.errors import ExplanationError
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.cache import ExplanationCache, Made
from xaibench.explaining.explanation import Explanation, validate
from xaibench.explaining.joined import by_windows
from xaibench.sound.batch import Batch

toys = Lazy("xaibench.testing.toys")


class Telling(xb.Explainer):
    """Says which clip it is."""

    title = "Telling"
    reference = "none"
    description = "names the clip"
    polarity = "positive"

    def explain(self, classifier: xb.Classifier, batch: Batch, target: torch.Tensor) -> Explanation:
        return Explanation(batch.x.clone(), batch.picture_shape, batch.clip_ids)


def test_there_is_a_text_for_each_clip_or_none() -> None:
    maps = torch.ones(2, 3, 4)
    for texts in ((), ("a", "b")):
        assert validate(Explanation(maps, (3, 4), texts), (2, 3, 4)).texts == texts
    for odd in (("a",), ("a", 5)):
        with pytest.raises(ExplanationError, match="texts must be one str for each of the 2 clips, or none at all"):
            validate(Explanation(maps, (3, 4), odd), (2, 3, 4))  # type: ignore[arg-type]


def test_micro_batches_and_the_cache_keep_texts(tmp_path: Path) -> None:
    batch, cache = toys.toy_batch(3), ExplanationCache(tmp_path)
    bound = BoundExplainer(Telling(), Forwarder(toys.toy_classifier(), 2))
    made = bound.explain(batch, torch.zeros(3, dtype=torch.long))
    assert made.texts == batch.clip_ids
    cache.keep({"clip": "a"}, Made(replace(made, map=made.map[:1], texts=made.texts[:1]), 1.0, None))
    found = cache.find({"clip": "a"})
    assert found is not None and found.explanation.texts == batch.clip_ids[:1]


def test_windows_tell_one_after_another() -> None:
    classifier = toys.toy_classifier()
    long = toys.toy_batch(2, seconds=7.5)
    joined = by_windows(
        lambda inner, window: Telling().explain(inner, window, torch.zeros(2)), Windowed(classifier), long
    )
    first, second = joined.texts
    assert first.startswith("from 0 s: toy-0@0; from ") and first.endswith(f"s: toy-0@{40_000}")
    assert second.startswith("from 0 s: toy-1@0; ")


def test_python_has_the_text() -> None:
    waveform = toys.toy_batch(1).waveform
    explained = xb.explain(toys.toy_classifier(), waveform[0].numpy(), Telling)
    assert explained.text == "sound"
    assert xb.explain(toys.toy_classifier(), waveform[0].numpy(), "energy").text == ""
