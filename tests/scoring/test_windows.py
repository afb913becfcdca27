"""Clips that are longer than a classifier's input, heard window by window."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import xaibench as xb
from tests.scoring.test_lengths import CLASSES, RATE, Bands, config_on, model, scoring, tones
from tests.support.evaluating import run, values
from xaibench import registry
from xaibench.classifiers.loaded import loaded_model
from xaibench.classifiers.windows import Windowed
from xaibench.results import store
from xaibench.results.comparison import compare
from xaibench.scoring import lengths
from xaibench.scoring.part import Part
from xaibench.sound.batch import Batch

WINDOW, HOP = 4_000, 93
LONG = 8_800
STARTS = [0, 1953, 3906, 4800]  # 21 frames apart, and flush with the end


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_probability_of_a_clip_is_the_mean_over_its_windows(activation: str) -> None:
    inner = xb.wrap(Bands(), classes=CLASSES, sample_rate=RATE, samples=WINDOW, activation=activation, temperature=1.5)
    sound = torch.from_numpy(np.random.default_rng(0).standard_normal((2, LONG)).astype(np.float32))
    whole, squash = Windowed(inner), {"softmax": lambda z: z.softmax(dim=1), "sigmoid": torch.sigmoid}[activation]
    assert whole.starts(LONG) == STARTS
    each = [squash(1.5 * Bands()(sound[:, start : start + WINDOW]).double()) for start in STARTS]
    found = squash(1.5 * whole.logits(sound).double())
    torch.testing.assert_close(found, torch.stack(each).mean(dim=0), atol=1e-6, rtol=0)
    assert torch.equal(whole.logits(sound[:, :WINDOW]), inner.logits(sound[:, :WINDOW]))
    padded = torch.cat([sound[:, :999], torch.zeros(2, WINDOW - 999)], dim=1)
    assert torch.equal(whole.logits(sound[:, :999]), inner.logits(padded))


def test_maps_are_the_mean_over_the_windows_that_overlap(tmp_path: Path) -> None:
    """Against a sum frame by frame; a window's first frame is that at its start, or the nearest one."""
    data, inner = tones(LONG / RATE), model(WINDOW)
    config = config_on(data, "saliency", long="windows")
    made = Part(scoring(config, inner, tmp_path), 0)
    clean = made._prepare()
    batch, domain = clean.batch, inner.domain
    assert batch.samples == LONG and batch.waveform is not None
    saliency, frames = registry.create("methods", "saliency"), batch.picture_shape[1]
    maps = [
        saliency.explain(
            inner, Batch.of_sound(batch.waveform[:, s : s + WINDOW], batch.clip_ids, domain), clean.target
        ).map[0]
        for s in STARTS
    ]
    firsts = [0, 21, 42, 52]
    expected = torch.stack(
        [
            torch.stack([one[:, t - first] for one, first in zip(maps, firsts, strict=True) if first <= t < first + 44])
            .double()
            .mean(dim=0)
            for t in range(frames)
        ],
        dim=1,
    )
    assert frames == 95 and maps[0].shape[1] == 44
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, control = (xb.explain(inner, batch.waveform[0], name, long="windows") for name in ("saliency", "energy"))
    assert np.array_equal(control.map, batch.x[0]), "controls know nothing of a classifier, and see the clip whole"
    assert found.waveform.shape == (LONG,) and found.target == CLASSES[int(clean.target[0])]
    np.testing.assert_allclose(found.map, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_every_frame_is_in_a_window() -> None:
    whole = Windowed(model(WINDOW))
    of_window = whole.domain.shape(WINDOW)[1]
    for samples in (*range(WINDOW + 1, WINDOW + 2 * HOP), 7_904, 12_345):
        starts, covered = whole.starts(samples), set()
        for start in starts:
            first = whole.first_frame(start, samples)
            assert abs(first * HOP - start) < HOP
            covered |= set(range(first, first + of_window))
        assert covered >= set(range(whole.domain.shape(samples)[1])) and starts[-1] + WINDOW == samples


def test_short_clips_are_scored_as_ever_and_long_ones_alike_in_any_company(tmp_path: Path) -> None:
    methods = "saliency", "random", "energy"
    data, loaded = tones(0.3, LONG / RATE, 0.5, LONG / RATE), loaded_model(model(WINDOW))
    config = config_on(data, *methods, long="windows")
    assert {event.kind for event in run(config, loaded, tmp_path / "windows")} == {"scored"}
    run(config_on(data, *methods), loaded, tmp_path / "cut")
    run(replace(config, clips=config.clips[3:]), loaded, tmp_path / "alone")
    whole, cut, alone = (values(tmp_path / name) for name in ("windows", "cut", "alone"))
    clip = whole.index.get_level_values("clip")
    short = clip.isin(["clip-0", "clip-2"])
    assert whole[short].equals(cut[short])
    assert (whole[~short] - cut[~short]).abs().max() > 0.01
    np.testing.assert_allclose(alone, whole.loc[alone.index], atol=1e-6)
    assert store.read_manifest(tmp_path / "windows").long == "windows"
    groups = set(compare([tmp_path / "windows", tmp_path / "cut"])["group"])
    assert groups == {"clips-long-cut", "clips-long-windows"}


def test_windows_are_told_and_a_classifier_of_any_length_needs_none(tmp_path: Path) -> None:
    (said,) = lengths.sentences([0.5, 7.0], loaded_model(model(WINDOW)), "windows")
    assert said == (
        "1 of 2 clips is longer than the 0.5 s that bands hears: heard in windows of this length, which overlap by half"
    )
    config, free = config_on(tones(0.3, 0.6), "energy", long="windows"), model(None)
    assert config.protocol.listening(free) is free
    assert run(config, loaded_model(free), tmp_path)[0].kind == "scored"


def test_a_method_is_asked_again_and_weights_are_random_in_all_windows(tmp_path: Path) -> None:
    """Metrics that ask a method about other clips and other weights do so on the windows, too."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(WINDOW, 3), torch.nn.Tanh(), torch.nn.Linear(3, 4))
    inner = xb.wrap(net, classes=CLASSES, sample_rate=RATE, samples=WINDOW)
    config = config_on(tones(LONG / RATE), "saliency", metric="mprt", long="windows")
    more = {name: registry.create("metrics", name) for name in ("mprt", "max_sensitivity")}
    events = run(replace(config, metrics=more), loaded_model(inner), tmp_path)
    assert [event.kind for event in events] == ["scored"], events
    found = values(tmp_path)
    assert found.notna().all() and found.xs("mprt", level="metric").abs().max() < 0.9
