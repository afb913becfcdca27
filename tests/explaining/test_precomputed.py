"""Maps made elsewhere, and maps that are kept for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xaibench as xb
from tests.support.command_line import Command
from tests.support.objects import LoudBins, bells
from xaibench.results.verify import verify

ROWS, COLUMNS = np.linspace(0, 8000, 41), np.linspace(0, 5, 51)


def smooth(frequencies: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A map that is linear in frequency and in time, which interpolation leaves as it is."""
    return (1 + frequencies[:, None] / 8000 + times[None] / 5).astype(np.float32)


def explained(maps: xb.Precomputed) -> np.ndarray:
    model, data = xb.toy_classifier(), bells(1)
    batch = xb.toy_batch(1)
    (clip,) = data.clips
    batch = type(batch)(batch.x, (clip.id,), 0, None, batch.phase, batch.waveform)
    return maps.explain(model, batch, batch.x.new_zeros(1).long()).map[0].numpy()


def on_picture() -> np.ndarray:
    domain = xb.toy_classifier().domain
    return smooth(domain.frequencies.numpy(), domain.times(80_000).numpy())


@pytest.mark.parametrize("falling", [False, True])
def test_maps_are_interpolated_along_their_own_axes(falling: bool) -> None:
    rows = ROWS[::-1] if falling else np.r_[0, np.geomspace(50, 8000, 30)]
    maps = xb.Precomputed({"clip-0": smooth(rows, COLUMNS)}, "mine", times=COLUMNS, frequencies=rows)
    np.testing.assert_allclose(explained(maps), on_picture(), rtol=1e-5)
    steps = xb.Precomputed({"clip-0": smooth(np.zeros(1), COLUMNS)[0]}, "mine", times=COLUMNS)
    np.testing.assert_allclose(explained(steps), np.repeat(on_picture()[:1], 513, axis=0), rtol=1e-5)


def test_of_frequencies_that_a_map_says_nothing_of_it_says_nothing() -> None:
    rows = np.arange(1000.0, 3001.0, 100.0)
    found = explained(xb.Precomputed({"clip-0": np.ones((21, 51))}, "mine", times=COLUMNS, frequencies=rows))
    frequencies = xb.toy_classifier().domain.frequencies.numpy()
    assert (found[(frequencies >= 900) & (frequencies <= 3100)] == 1).all()
    assert not found[(frequencies < 900) | (frequencies > 3100)].any()


@pytest.mark.parametrize(
    ("maps", "axes", "words"),
    [
        ({}, {}, "no maps"),
        ({"clip-0": np.full((513, 431), np.nan), "b": np.ones((513, 431))}, {}, "1 maps hold NaN .*: clip-0"),
        ({"clip-0": np.ones((2, 3, 4))}, {}, r"shape \(2, 3, 4\); expected"),
        ({"clip-0": np.ones((51, 41))}, {"times": COLUMNS, "frequencies": ROWS}, "so transpose it"),
        ({"clip-0": np.ones((41, 51))}, {"times": np.zeros(51), "frequencies": ROWS}, "times do not rise"),
        ({"clip-0": np.ones((41, 431))}, {}, "has 41 rows, and the picture 513; give their frequencies"),
        ({"clip-0": np.ones(51)}, {}, "has 51 columns, and the picture 431; give their times"),
        ({"clip-0": np.ones(51)}, {"times": COLUMNS / 2}, "covers 0 to 2.5 s of a clip of 5 s"),
        ({"clip-0": np.ones(51)}, {"times": COLUMNS + 0.3}, "covers 0.3 to 5.3 s"),
        ({"clip-1": np.ones(51), "c": np.ones(51)}, {"times": COLUMNS}, "no map of 1 of the 1 clips: clip-0"),
    ],
)
def test_maps_that_do_not_fit_are_refused(maps: dict[str, Any], axes: dict[str, Any], words: str) -> None:
    with pytest.raises(xb.ExplanationError, match=words):
        explained(xb.Precomputed(maps, "mine", **axes))


def test_missing_clips_are_named_in_one_line_before_anything_is_scored() -> None:
    maps = xb.Precomputed({"clip-1": np.ones(51)}, "mine", times=COLUMNS)
    with pytest.raises(
        xb.ExplanationError, match=r"no map of 2 of the 3 clips: clip-0, clip-2; the maps are of clip-1"
    ):
        xb.evaluate(xb.toy_classifier(), bells(), maps, "sparseness", progress=False, controls=False)


def test_kept_maps_come_back_to_the_same_scores(tmp_path: Path) -> None:
    metrics = ["faithfulness", "sparseness"]
    arguments: dict[str, Any] = {"out": tmp_path / "run", "progress": False}
    model, data = xb.toy_classifier(), bells()
    xb.evaluate(model, data, ["saliency", LoudBins], metrics, **arguments, controls=False)
    # What was scored without keeping maps is scored again.
    xb.evaluate(model, data, ["saliency", LoudBins], metrics, **arguments, keep_maps=True, controls=False)
    for method, target in (("saliency", "saliency-again"), ("loud-bins", "loud-again")):
        folder = tmp_path / "run" / "maps" / "toy-cnn" / method
        with np.load(folder / "clip-0.npz") as kept:
            assert kept["map"].shape == (len(kept["frequencies"]), len(kept["times"])) == (513, 431)
            assert kept["map"].dtype == np.float32 and str(kept["clip"]) == "clip-0"
            assert str(kept["method"]) == method and str(kept["target"]) in model.classes
        xb.evaluate(model, data, xb.Precomputed(folder, target), metrics, **arguments, controls=False)
    rows = xb.load_results(tmp_path / "run").rows
    table = rows.pivot(index=["metric", "area", "clip"], columns="method", values="value")
    np.testing.assert_array_equal(table["saliency"], table["saliency-again"])
    np.testing.assert_array_equal(table["loud-bins"], table["loud-again"])
    assert verify(tmp_path / "run").findings == ()


def test_metrics_that_ask_again_fail_on_maps_made_elsewhere() -> None:
    maps = xb.Precomputed({"clip-0": np.ones(51)}, "mine", times=COLUMNS)
    with pytest.warns(UserWarning, match="cannot explain changed clips"):
        found = xb.evaluate(
            xb.toy_classifier(), bells(1), maps, ["sparseness", "max_sensitivity"], progress=False, controls=False
        )
    assert [failure.metric for failure in found.failures] == ["max_sensitivity"]
    assert set(found.rows["metric"]) == {"sparseness"}


def test_a_file_with_all_maps_is_scored_by_the_command(xaibench: Command, tmp_path: Path) -> None:
    from xaibench.sound.subset import sample
    from xaibench.sound.synth import Synth

    source = Synth()
    clips = [clip.id for clip in sample(source, source.in_folds([5]), 2)]
    maps: dict[str, Any] = dict.fromkeys(clips, np.linspace(0, 1, 51))
    np.savez(tmp_path / "all.npz", times=COLUMNS, **maps)
    command = (
        "score",
        "--maps",
        "all.npz",
        "--name",
        "mine",
        "-c",
        "cnn-micro",
        "--metric",
        "sparseness",
        "--out",
        "x",
    )
    done = xaibench(*command, "--out", "x", "--limit", 2)
    assert done.code == 0, done.err
    assert "mine" in done.out
    refused = xaibench(*command, "--out", "y", "--limit", 3)
    assert refused.code == 2 and "mine has no map of 1 of the 3 clips" in refused.err
