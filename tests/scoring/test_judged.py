"""A run asks the judge of its classifier where metrics need one, says where there is none, and mixes no two judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.evaluating import config_of, open_folder, run, values
from tests.support.judges import write_judge
from xaibench import registry
from xaibench.benchmark.run import Run
from xaibench.classifiers import judge
from xaibench.classifiers.loaded import LoadedClassifier, load
from xaibench.errors import CheckpointError, ResultsError, UnsupportedPairError
from xaibench.results import store
from xaibench.results.comparison import compare
from xaibench.results.parts import read_part
from xaibench.scoring.config import RunConfig
from xaibench.scoring.local import Local
from xaibench.scoring.part import Part, Scoring
from xaibench.sound.synth import Synth

METRICS = ["f_fidelity_minus", "f_fidelity_plus", "sparseness"]


@pytest.fixture
def config(synth: Synth, tmp_path: Path) -> RunConfig:
    return replace(config_of(synth, ["energy"], METRICS, 2), explainers=tmp_path / "fitted")


def test_the_judge_is_asked_and_named(config: RunConfig, loaded: LoadedClassifier, tmp_path: Path) -> None:
    made = write_judge(config.explainers, loaded, "synth")
    run(config, loaded, tmp_path / "run")
    assert set(store.read_rows(tmp_path / "run")["metric"]) == set(METRICS)
    (path,) = store.parts_of(tmp_path / "run")
    info = read_part(path)[1]
    assert info.judge_sha256 == made.card.weights_sha256
    assert info.forwards == 2 * 2 * 10  # the judge's passes of changed clips count, and those of whole ones do not
    # By the metric itself, with the judge in its hands.
    part = Part(Scoring(config, loaded, open_folder(tmp_path / "other", config)), 0)
    (pair,) = Run(config, (loaded,), (5,), 2).taking_part[loaded.label]
    context = part.context(pair)
    context.judge = type(part.forwarder)(made.of(loaded.classifier), 16)
    scores = values(tmp_path / "run")
    for name in METRICS[:2]:
        expected = registry.create("metrics", name).score(context, None).values
        found = torch.tensor(scores[scores.index.get_level_values("metric") == name].to_numpy())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True)


def test_where_there_is_no_judge_a_line_says_so_and_the_other_metrics_are_scored(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    work = Run(config, (loaded,), (5,), 2)
    (sentence,) = work.judges()
    assert sentence.startswith(
        f"left out: f_fidelity_minus and f_fidelity_plus on {loaded.label}, which has no judge in "
    )
    assert "make one with 'xaibench judge" in sentence and sentence in work.warnings()
    run(config, loaded, tmp_path / "run")
    assert set(store.read_rows(tmp_path / "run")["metric"]) == {"sparseness"}
    alone = replace(config, metrics={name: config.metrics[name] for name in METRICS[:2]})
    with pytest.raises(UnsupportedPairError, match=r"f_fidelity_minus, f_fidelity_plus: .* has no judge"):
        run(alone, loaded, tmp_path / "alone")


def test_a_judge_that_is_not_accepted_is_not_asked(config: RunConfig, loaded: LoadedClassifier, tmp_path: Path) -> None:
    write_judge(config.explainers, loaded, "synth", masked_accuracy=0.9)
    (sentence,) = Run(config, (loaded,), (5,), 2).judges()
    assert "which has a judge that is not accepted: its accuracy falls from 1.000 to 0.900" in sentence
    run(config, loaded, tmp_path / "run")
    assert set(store.read_rows(tmp_path / "run")["metric"]) == {"sparseness"}


def test_another_judge_is_another_number(config: RunConfig, loaded: LoadedClassifier, tmp_path: Path) -> None:
    write_judge(config.explainers, loaded, "synth")
    run(config, loaded, tmp_path / "first")
    assert [event.kind for event in run(config, loaded, tmp_path / "first")] == ["found"]
    write_judge(config.explainers, loaded, "synth", seed=1)
    with pytest.raises(ResultsError, match="was made by other code of metric f_fidelity_minus"):
        run(config, loaded, tmp_path / "first")
    run(replace(config, methods={"random": registry.create("methods", "random")}), loaded, tmp_path / "second")
    with pytest.raises(ResultsError, match=f"cannot be compared: {loaded.label} had another judge"):
        compare([tmp_path / "first", tmp_path / "second"])


def test_damaged_weights_of_a_judge_cost_the_metrics_and_say_so(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    made = write_judge(config.explainers, loaded, "synth")
    (made.folder / judge.WEIGHTS).write_bytes(b"nothing")
    (event,) = run(config, loaded, tmp_path / "run")
    assert event.kind == "failed" and "does not hold the files that its card describes" in event.reason


def test_a_judge_that_is_damaged_costs_only_who_needs_it(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    made = write_judge(config.explainers, loaded, "synth")
    (made.folder / judge.JudgeCard.FILE).write_text("{")
    other = replace(config, metrics={"sparseness": config.metrics["sparseness"]})
    run(other, loaded, tmp_path / "other")
    assert set(store.read_rows(tmp_path / "other")["metric"]) == {"sparseness"}
    with pytest.raises(CheckpointError, match="is not a judge's card"):
        run(config, loaded, tmp_path / "run")
    # One of another classifier costs nobody anything.
    made.folder.parent.rename(made.folder.parent.with_name("somebody-else"))
    write_judge(config.explainers, loaded, "synth")
    run(config, loaded, tmp_path / "run")


def test_workers_find_the_judge_and_end_with_the_same_bytes(synth: Synth, weights: Path, tmp_path: Path) -> None:
    loaded = load(str(weights), "synth", torch.device("cpu"))[0]
    config = replace(config_of(synth, ["energy"], METRICS[1:], 2), explainers=tmp_path / "fitted")
    write_judge(config.explainers, loaded, "synth")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(config, loaded, tmp_path / "one")
        run(config, loaded, tmp_path / "two", Local(workers=2))
    finally:
        torch.set_num_threads(before)
    (one,), (two,) = (store.parts_of(tmp_path / name) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
