"""Validation scores the explanations once, tells what failed, and looks at methods of the same weights alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from tests.support.made_up_maps import RIGHT, assessed, rows_of
from tests.support.made_up_runs import FF, noise, write_run
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import DataError, ResultsError, UnsupportedPairError, XaibenchError
from xaibench.results import power
from xaibench.results.runs import find_runs
from xaibench.scoring.evaluate import Event
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Clip, Listener
from xaibench.sound.derived import Derived
from xaibench.sound.synth import Synth
from xaibench.validation import assess
from xaibench.validation.questions import PROBES
from xaibench.validation.reference_maps import Half, reference_maps
from xaibench.validation.sample import choose
from xaibench.validation.validate import rows_of_methods, validate_metrics

MAPS = set(reference_maps(Synth()))


class Undecided(Derived):
    """Synth, of which every other clip is said to be undecided."""

    def undecided(self, clips: Sequence[Clip], listener: Listener) -> list[str | None]:
        assert len(listener.classes) == 10
        return [None if int(clip.id[-1]) % 2 else "it is even" for clip in clips]


def test_methods_of_other_runs_have_the_same_weights_and_are_no_controls(tmp_path: Path) -> None:
    scores = {"good": {FF: noise(1)}, "random": {FF: noise(2)}}
    write_run(tmp_path / "runs" / "a", scores, protocol="standard-2", sha256="mine")
    write_run(tmp_path / "runs" / "b", {"other": {FF: noise(1)}}, protocol="standard-2", sha256="theirs")
    write_run(tmp_path / "runs" / "c", {"far": {FF: noise(1)}}, dataset="esc10", protocol="standard-2", sha256="mine")
    write_run(tmp_path / "runs" / "d", {"old": {FF: noise(1)}}, protocol="legacy", sha256="mine")
    found = rows_of_methods(tmp_path, "synth", {"cnn-micro": "mine"})
    assert set(found["method"]) == {"good"}
    assert rows_of_methods(tmp_path / "nowhere", "synth", {}).empty
    assert assessed(rows_of({FF: RIGHT}), rows_of_methods(tmp_path / "nowhere", "synth", {})) is not None


def test_only_clips_that_a_classifier_decides_by_their_event_are_asked_about(trained: LoadedClassifier) -> None:
    dataset = Undecided(Synth())
    found = choose(trained, dataset, (5,), limit=3)
    assert len(found.clips) == 3 and all(int(clip.id[-1]) % 2 for clip in found.clips)
    assert (found.decided, found.reasons) == (40, Counter({"it is even": 40}))
    assert "3 of 40 clips, 3 recordings (it does not decide 40 more" in found.sentence()
    with pytest.raises(DataError, match="has no ground truth"):
        bare = Derived(Synth())
        bare.has_ground_truth = False
        choose(trained, bare, (5,), limit=3)


def test_none_to_ask_about_is_an_error_that_says_why(
    trained: LoadedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Undecided, "undecided", lambda self, clips, listener: ["it is bad"] * len(clips))
    with pytest.raises(UnsupportedPairError, match=r"decides none of 80 clips of synth .*\(most often it is bad\)"):
        choose(trained, Undecided(Synth()), (5,), limit=3)


def test_what_so_many_recordings_can_show_is_told_before(trained: LoadedClassifier) -> None:
    few, many = (choose(trained, Synth(), (5,), limit) for limit in (3, 80))
    assert "Nothing can be shown by fewer than 8 recordings" in few.sentence()
    least = power.smallest_difference(80, 6)
    assert f"Mean differences below {least:.2f} cannot be shown" in many.sentence()
    assert "80 of 80 clips, 80 recordings" in many.sentence()
    # 57 recordings show 0.20 after correction for 66 pairs of a board (12 methods).
    assert power.smallest_difference(57, 66) == pytest.approx(0.20, abs=0.005)
    assert power.recordings_for(power.smallest_difference(57, 6), 6) in (57, 58)


def test_a_map_that_fails_is_named_and_the_others_are_kept(
    trained: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Half, batch: Batch) -> None:
        raise RuntimeError("out of luck")

    events: list[Event] = []
    dataset = Synth()
    one = choose(trained, dataset, (5,), limit=1)

    def validated() -> pd.DataFrame:
        return validate_metrics(
            [one], dataset, {}, folds=(5,), limit=1, out=tmp_path, results=tmp_path, report=events.append
        )

    with monkeypatch.context() as patch:
        patch.setattr(Half, "weigh", fail)
        with pytest.raises(XaibenchError, match=r"^1 of the explanations .*first: half on cnn: RuntimeError: out of"):
            validated()
    assert {event.method for event in events} == MAPS
    assert {event.method for event in events if event.kind == "failed"} == {"half"}
    events.clear()
    lines = validated()
    assert {event.method for event in events if event.kind == "scored"} == {"half"}
    assert len(lines) and set(lines["family"]) == {"localisation"}  # the metrics of the agreement, scored unasked


def test_the_command_scores_draws_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xaibench.cli import app

    monkeypatch.chdir(tmp_path)
    named = [word for name in ("fidelity_in", "max_sensitivity") for word in ("--metric", name)]
    command = ["validate", "-c", "cnn-micro", *named, "--limit", "2", "--device", "cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "wrote results/validation-synth.csv" in done.output and "2 of 80 clips, 2 recordings" in done.output
    lines = pd.read_csv("results/validation-synth.csv")
    assert {"fidelity_in", "relevance_rank", "localisation_auc", "max_sensitivity"} <= set(lines["metric"])
    assert set(lines["verdict"]) == {assess.NOT_SHOWN}  # two clips show nothing
    assert (lines.loc[lines["metric"] == "relevance_rank", "oracle"] == 1).all()
    probed = lines.set_index("metric").loc["max_sensitivity"]
    assert probed["saliency"] > probed["uniform"] == 0
    parts = sorted(Path("results").rglob("part-*.parquet"))
    assert {part.parent.name for part in parts} == {*MAPS, *PROBES}
    stamps = [part.stat().st_mtime_ns for part in parts]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert [part.stat().st_mtime_ns for part in parts] == stamps
    with pytest.raises(ResultsError, match="holds no results"):
        find_runs(Path("results"))  # scores of reference maps are no results of methods
    assert len(find_runs(parts[0].parent.parent.parent)) == 1


def test_a_classifier_of_ones_own_is_validated_from_python(trained: LoadedClassifier, tmp_path: Path) -> None:
    import xaibench as xb

    net = trained.classifier
    about = {"classes": net.classes, "sample_rate": 16_000, "samples": 80_000, "gradients": False, "version": "1"}
    model = xb.wrap(lambda sound: net.logits(torch.from_numpy(sound)).numpy(), **about, name="mine")  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="mine: 1 of 40 clips, 1 recordings"):
        lines = xb.validate(model, Undecided(Synth()), "faithfulness", limit=1, out=tmp_path)
    assert set(lines["classifier"]) == {"mine"} and {"faithfulness", "relevance_rank"} <= set(lines["metric"])
    assert (tmp_path / "validation.md").is_file()
