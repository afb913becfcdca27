"""The loop survives strangers' methods and metrics, and maps that cannot be scored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.support.evaluating import config_of, run
from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results import selection, store
from xaibench.results.parts import PART_CLIPS
from xaibench.scoring.config import methods_on
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth


class _Method(Explainer):
    """Constant maps; what strangers write wrongly is overridden below."""

    title = "Stranger"
    reference = "nobody"
    description = "the spectrogram's own shape"
    polarity = "positive"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(self.map(batch), batch.picture_shape)

    def map(self, batch: Batch) -> Any:
        return batch.x.clone()


class Raises(_Method):
    """Raises over several lines."""

    def map(self, batch: Batch) -> Any:
        raise KeyError("no such thing\nand more")


class WrongShape(_Method):
    """Forgets to resize."""

    def map(self, batch: Batch) -> Any:
        return batch.x[:, ::2]


class Nothing(_Method):
    """Forgets to return."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Any:
        return None


class Integers(_Method):
    """Returns counts."""

    def map(self, batch: Batch) -> Any:
        return batch.x.long()


class FailsLater(_Method):
    """Raises on the second part."""

    def map(self, batch: Batch) -> Any:
        if "synth-336" in batch.clip_ids:
            raise ValueError("part two")
        return batch.x.clone()


class Unserialisable(_Method):
    """Parameters that JSON cannot hold."""

    parameters: ClassVar[dict[str, Any]] = {"level": torch.ones(1)}


class Silent(_Method):
    """Exceptions with an empty message."""

    def map(self, batch: Batch) -> Any:
        raise RuntimeError


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Unprintable(_Method):
    """Exceptions that cannot be printed."""

    def map(self, batch: Batch) -> Any:
        raise Unspeakable


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (Raises(), "KeyError: 'no such thing\\nand more'"),
        (WrongShape(), "the map has shape (1, 257, 108), expected (1, 513, 108) (batch, freq, time)"),
        (Nothing(), "explain() returned NoneType, expected an Explanation"),
        (Integers(), "the map is torch.int64, expected a floating-point tensor"),
        (Unserialisable(), "TypeError: Object of type Tensor is not JSON serializable"),
        (Silent(), "RuntimeError"),
        (Unprintable(), "Unspeakable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Explainer) else "",
)
def test_a_method_that_fails_is_named_and_the_others_go_on(
    method: Explainer, reason: str, tmp_path: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    methods = {"before": _Method(), "broken": method, "later": _Method()}
    events = run(config_of(synth, methods), loaded, tmp_path)
    assert [(event.method, event.kind) for event in events] == [
        ("before", "scored"),
        ("broken", "failed"),
        ("later", "scored"),
    ]
    assert events[1].reason == reason
    assert set(store.read_rows(tmp_path)["method"]) == {"before", "later"}
    assert not (tmp_path / "cnn" / "broken").exists()


def test_a_polarity_that_nobody_knows_is_refused(tmp_path: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    """Whatever is not "absolute" would count as "positive"."""

    class Typo(_Method):
        polarity = "Absolute"  # type: ignore[assignment]

    _, refused = methods_on(config_of(synth, {"typo": Typo(), "m": _Method()}), loaded)
    assert refused == {"typo": "has the polarity 'Absolute'; choose 'absolute' or 'positive'"}


def test_a_method_that_fails_later_keeps_its_finished_parts(
    tmp_path: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    config = config_of(synth, {"late": FailsLater(), "other": _Method()}, clips=2 * PART_CLIPS + 1)
    assert config.clips[PART_CLIPS].id == "synth-336"
    events = run(config, loaded, tmp_path)
    kinds = [(event.method, event.kind) for event in events]
    # Left after it failed: the third part is not tried.
    assert kinds.count(("late", "scored")) == 1
    assert kinds.count(("late", "failed")) == 1
    assert kinds.count(("other", "scored")) == 3
    assert store.read_rows(tmp_path).groupby("method")["clip"].nunique().to_dict() == {
        "late": PART_CLIPS,
        "other": 2 * PART_CLIPS + 1,
    }


class Defective(_Method):
    """NaN in the first clip's map, infinity in the second's, zeros in the third's; the fourth is fine."""

    def map(self, batch: Batch) -> Any:
        maps = batch.x.clone()
        for i, clip in enumerate(batch.clip_ids):
            index = int(clip[-1])
            if index < 2:
                maps[i, 100, 100] = (float("nan"), float("-inf"))[index]
            elif index == 2:
                maps[i] = 0
        return maps


def test_maps_that_cannot_be_scored_are_undefined_with_a_reason(
    tmp_path: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    config = config_of(synth, {"defective": Defective(), "fine": _Method()}, ["faithfulness", "sparseness"], 4)
    assert [clip.id[-1] for clip in config.clips] == ["0", "1", "2", "3"]
    events = run(config, loaded, tmp_path)
    assert {event.kind for event in events} == {"scored"}
    rows = store.read_rows(tmp_path)
    rows["index"] = rows["clip"].str[-1].astype(int)
    mine, fine = rows[rows["method"] == "defective"], rows[rows["method"] == "fine"]
    assert len(mine) == len(fine) == 4 * 5
    assert set(mine.loc[mine["index"] == 0, "reason"]) == {"the map holds NaN"}
    assert set(mine.loc[mine["index"] == 1, "reason"]) == {"the map holds infinite values"}
    assert mine.loc[mine["index"] < 2, "value"].isna().all()
    # An all-zero map has no sparseness; its masks are random by the tie rule, so its FF is defined.
    zero = mine[mine["index"] == 2].set_index("metric")
    assert zero.loc[["faithfulness"], "value"].notna().all()
    assert np.isnan(zero.loc["sparseness", "value"])
    assert isinstance(zero.loc["sparseness", "reason"], str)
    good = mine[mine["index"] == 3]
    assert good["reason"].isna().all()
    expected = fine[fine["index"] == 3]
    # A bad neighbour changes nothing.
    np.testing.assert_allclose(good["value"].to_numpy(), expected["value"].to_numpy(), rtol=0, atol=1e-6)
    stored = pd.read_parquet(tmp_path / "cnn" / "defective" / "part-000.parquet", dtype_backend="pyarrow")
    assert stored["value"].isna().sum() == 2 * 5 + 1


class _Metric(Metric):
    """A metric whose value is 1; what strangers write wrongly is overridden below."""

    title = "Stranger"
    family = "invented"
    reference = "nobody"
    description = "one"
    traps = "none"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(torch.ones(len(context)))


def _of(make: Callable[[ScoringContext], Any]) -> Metric:
    class Made(_Metric):
        def score(self, context: ScoringContext, area: float | None) -> Any:
            return make(context)

    return Made()


def _fail(context: ScoringContext) -> Scores:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_fail, "metric mine failed: ZeroDivisionError: division by zero"),
        (lambda e: torch.ones(len(e)), r"metric mine failed: score() returned Tensor, expected Scores"),
        (lambda e: scores(torch.ones(len(e) + 1)), "metric mine failed: values have shape (4,)"),
        (lambda e: scores(torch.ones(len(e), 2)), "metric mine failed: values have shape (3, 2)"),
        (lambda e: scores(torch.ones(())[None]), "metric mine failed: values have shape (1,)"),
        (lambda e: scores(torch.full((len(e),), 1.5)), "metric mine failed: it is 1.5, and its bounds are 0 and 1"),
    ],
)
def test_a_metric_that_fails_is_named(
    make: Callable[[ScoringContext], Any], reason: str, tmp_path: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    events = run(config_of(synth, {"m": _Method()}, {"mine": _of(make)}), loaded, tmp_path)
    assert [event.kind for event in events] == ["failed"]
    assert events[0].reason.startswith(reason)
    assert "\n" not in events[0].reason


def test_a_direction_is_a_yes_or_a_no(tmp_path: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    class Turned(_Metric):
        higher_is_better = "no"  # type: ignore[assignment]

    (event,) = run(config_of(synth, {"m": _Method()}, {"mine": Turned()}), loaded, tmp_path)
    assert event.reason == "metric mine failed: higher_is_better is 'no', expected True or False"


def test_values_that_are_no_numbers_get_a_reason(tmp_path: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    metric = _of(lambda e: scores(torch.tensor([float("nan"), float("inf"), 1.0])))
    run(config_of(synth, {"m": _Method()}, {"mine": metric}), loaded, tmp_path)
    rows = store.read_rows(tmp_path)
    assert rows["reason"].tolist()[:2] == ["mine is nan", "mine is inf"]
    assert rows["value"].isna().tolist() == [True, True, False]
    assert rows["reason"].isna().tolist() == [False, False, True]


def test_what_is_scored_of_an_answer_that_is_no_number_is_undefined(
    tmp_path: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    """argmax of NaN is a class, and NaN is not above anything: without this, such a part keeps each decision."""
    quiet = copy.deepcopy(loaded.classifier)
    answer = quiet.logits

    def logits(waveform: torch.Tensor) -> torch.Tensor:
        found = answer(waveform)
        power = waveform.square().mean(dim=1, keepdim=True)
        return found.masked_fill((power > 0) & (power < 8e-4), torch.nan)  # less than any whole clip has

    quiet.logits = logits  # type: ignore[method-assign]
    run(config_of(synth, ("random",), ("fidelity_in", "sparseness"), 4), LoadedClassifier("cnn", quiet, ""), tmp_path)
    rows = store.read_rows(tmp_path)
    kept = rows[rows["metric"] == "fidelity_in"]
    broken = kept["reason"].str.startswith("the classifier gives NaN", na=False)
    assert broken.any() and not broken.all() and kept.loc[broken, "value"].isna().all()
    assert rows.loc[rows["metric"] == "sparseness", "value"].notna().all()


def test_a_classifier_without_an_answer_fails_every_pair_and_writes_nothing(
    synth: Synth, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    """NaN would make some class the largest, and every score one of it."""
    broken = copy.deepcopy(loaded.classifier)
    with torch.no_grad():
        next(broken.head.parameters())[0, 0] = torch.nan  # type: ignore[union-attr,operator]
    events = run(
        config_of(synth, ("energy", "random"), ("sparseness",), 2), LoadedClassifier("cnn", broken, ""), tmp_path
    )
    assert [event.kind for event in events] == ["failed", "failed"]
    assert {event.reason.partition(" (")[0] for event in events} == {"the classifier gives NaN or infinite logits"}
    assert not list(tmp_path.rglob("part-*"))


@pytest.mark.parametrize("place", [0, PART_CLIPS + 3])
def test_a_clip_without_an_answer_costs_its_own_part(
    place: int, synth: Synth, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    config = config_of(synth, ("energy", "random"), ("sparseness",), 2 * PART_CLIPS + 1)
    odd = torch.from_numpy(synth.waveform_at(config.clips[place], 16_000))
    broken = copy.deepcopy(loaded.classifier)

    def speechless(module: Any, given: Any, output: Tensor) -> Tensor:
        alike = torch.stack([torch.equal(one[: len(odd)], odd[: len(one)]) * torch.ones(()) for one in given[0]])
        return output.masked_fill(alike.bool()[:, None], torch.nan)

    answer = broken.logits
    broken.logits = lambda waveform: speechless(broken, (waveform,), answer(waveform))  # type: ignore[method-assign]
    events = run(config, LoadedClassifier("cnn", broken, ""), tmp_path)
    failed = [event for event in events if event.kind == "failed"]
    assert len(failed) == 2 and {event.method for event in failed} == {"energy", "random"}
    assert all(event.of_clips and f"({config.clips[place].id})" in event.reason for event in failed)
    expected = [c.id for i, c in enumerate(config.clips) if i // PART_CLIPS != place // PART_CLIPS]
    rows = store.read_rows(tmp_path)
    assert sorted(set(rows["clip"])) == sorted(expected)
    assert selection.incomplete([tmp_path]).endswith("has 2 of 3 parts and 1 more); 'xaibench status' says more")
