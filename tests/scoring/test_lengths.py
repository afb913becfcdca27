"""Clips that are shorter or longer than a classifier's input, and classifiers that hear any length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xaibench as xb
from tests.support.evaluating import config_of, open_folder, run, values
from xaibench.classifiers.loaded import loaded_model
from xaibench.results import store
from xaibench.results.comparison import compare
from xaibench.results.parts import read_part
from xaibench.scoring import lengths
from xaibench.scoring.clean import Clean
from xaibench.scoring.part import Part, Scoring
from xaibench.scoring.protocol import STANDARD
from xaibench.scoring.ranking import Ranking
from xaibench.sound.synth import Synth

RATE = 8_000
FIVE_SECONDS = 5 * RATE
ALIGNED = 146 * 93 / RATE  # 1.697 s: its end is the centre of a frame
CLASSES = ("bell", "crow", "rain", "saw")


class Bands(nn.Module):
    """Logits from the energies of four bands, to which silence adds nothing: padding changes no answer."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        time, taps = torch.arange(64) - 31.5, torch.hamming_window(64)
        pitches = torch.tensor([300.0, 800.0, 1500.0, 2800.0])[:, None]
        self.register_buffer("filters", (taps * torch.sin(2 * torch.pi * pitches * time / RATE))[:, None])

    def forward(self, waveform: Tensor) -> Tensor:
        bands = nn.functional.conv1d(waveform[:, None], self.filters, stride=4, padding=64)
        return 2 * torch.log(bands.square().sum(dim=2) + 0.1)


def model(samples: int | None) -> xb.Classifier:
    """The network, with a fixed input length or none."""
    return xb.wrap(Bands(), classes=CLASSES, sample_rate=RATE, samples=samples, name="bands")


def tones(*seconds: float) -> xb.Dataset:
    """Clips of two tones in noise, one of them short, each of its own length."""
    made = []
    for i, length in enumerate(seconds):
        time = np.arange(round(length * RATE)) / RATE
        noise = 0.02 * np.random.default_rng(i).standard_normal(len(time))
        burst = (time > 0.3 * length) & (time < 0.5 * length)
        low, high = np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 1500 * time)
        made.append((noise + 0.2 * low + (0.1 + 0.1 * i) * high * burst).astype(np.float32))
    labels = [CLASSES[i % 4] for i in range(len(seconds))]
    return xb.clips(made, RATE, labels, CLASSES)


def sounds(data: xb.Dataset) -> list[np.ndarray]:
    return [data.waveform_at(clip, RATE) for clip in data.clips]


def config_on(data: xb.Dataset, *methods: str, metric: str = "faithfulness", **choices: Any) -> Any:
    """A run of some methods on all clips."""
    config = config_of(data, methods, (metric,), clips=data.clips)
    return replace(config, protocol=STANDARD.with_choices("silence", "predicted", **choices))


def scoring(config: Any, classifier: xb.Classifier, folder: Path) -> Scoring:
    return Scoring(config, loaded_model(classifier), open_folder(folder, config))


def heard(data: xb.Dataset, classifier: xb.Classifier, folder: Path) -> Clean:
    """The first part of a run."""
    return Part(scoring(config_on(data, "energy"), classifier, folder), 0)._prepare()


def test_masks_of_a_padded_clip_cover_a_share_of_the_clip_alone(tmp_path: Path) -> None:
    """Of the frames in whose window it is; the last of them may have its centre behind its end."""
    data = tones(ALIGNED, 1.7)
    free = [
        heard(xb.clips([sound], RATE, ["bell"], CLASSES), model(None), tmp_path / str(len(sound)))
        for sound in sounds(data)
    ]
    padded = heard(data, model(FIVE_SECONDS), tmp_path / "padded").batch
    for i, (one, more) in enumerate(zip(free, (0, 1), strict=True)):
        clip, own = padded.slice(i, i + 1), one.batch.picture_shape
        frames = own[1] + more
        assert padded.picture_shape[1] > 2 * frames
        for area in (0.05, 0.1, 0.4):
            mask = Ranking(clip.x, clip).top(area)
            assert mask.sum() == round(area * own[0] * frames) and not mask[:, :, frames:].any()
            if not more:
                assert torch.equal(mask[:, :, :frames], Ranking(one.batch.x, one.batch).top(area))


def test_a_padded_clip_is_scored_as_it_is_by_a_classifier_of_any_length(tmp_path: Path) -> None:
    """To 2e-3: half a window of a changed sound is heard behind the clip's end, where its free twin has an end.

    Where its end is no centre of a frame, 1 frame of 148 is more, and areas with it.
    """
    config = config_on(tones(ALIGNED, 1.7, ALIGNED), "energy", "saliency")
    found = {}
    for samples in (FIVE_SECONDS, None):
        folder = tmp_path / str(samples)
        assert {event.kind for event in run(config, loaded_model(model(samples)), folder)} == {"scored"}
        found[samples] = values(folder)
    padded, free = found[FIVE_SECONDS], found[None]
    assert list(free.index) == list(padded.index) and free.std() > 0.05
    aligned = free.index.get_level_values("clip") != "clip-1"
    np.testing.assert_allclose(padded[aligned], free[aligned], atol=2e-3)
    np.testing.assert_allclose(padded[~aligned], free[~aligned], atol=0.02)
    parts = [read_part(path)[1] for path in store.parts_of(tmp_path / "None") if path.parent.name == "energy"]
    assert [(one.clips, one.samples) for one in parts] == [(2, round(ALIGNED * RATE)), (1, round(1.7 * RATE))]


def test_parts_hold_clips_of_one_length_and_at_most_16(tmp_path: Path) -> None:
    data = tones(*[0.2, 0.1] * 17, 0.3)
    parts = config_on(data, "energy").parts_on(model(None))
    assert [len(part) for part in parts] == [16, 1, 16, 1, 1]
    assert [clip.id for part in parts[:2] for clip in part] == [clip.id for clip in data.clips[:34:2]]
    assert [len(part) for part in config_on(data, "energy").parts_on(model(FIVE_SECONDS))] == [16, 16, 3]
    alike = config_on(tones(*[0.2] * 17), "energy")
    assert alike.parts_on(model(None)) == alike.parts_on(model(FIVE_SECONDS))


def test_a_clip_of_a_free_length_is_scored_alike_in_any_company(tmp_path: Path) -> None:
    config = config_on(tones(0.9, 0.5, 0.9), "saliency")
    whole = loaded_model(model(None))
    run(config, whole, tmp_path / "all")
    run(replace(config, clips=config.clips[::-1]), whole, tmp_path / "reversed")
    run(replace(config, clips=config.clips[2:]), whole, tmp_path / "alone")
    found = values(tmp_path / "all")
    np.testing.assert_allclose(values(tmp_path / "reversed"), found, atol=1e-6)
    alone = values(tmp_path / "alone")
    np.testing.assert_allclose(alone, found.loc[alone.index], atol=1e-6)


def test_of_a_long_clip_the_beginning_or_the_middle_is_heard(synth: Synth, tmp_path: Path) -> None:
    clip, classifier = synth.clips[2], model(2 * RATE)
    whole = synth.waveform_at(clip, RATE)
    for long, start in (("cut", 0), ("center", round(1.5 * RATE))):
        rules = STANDARD.with_choices("silence", "predicted", long)
        stop = start + 2 * RATE
        assert np.array_equal(rules.waveform(synth, clip, classifier), whole[start:stop])
        config = replace(config_on(synth, "oracle", metric="relevance_mass", long=long), clips=[clip])
        made = Part(scoring(config, classifier, tmp_path / long), 0)._prepare()
        assert made.stem is not None and made.batch.ground_truth is not None
        event, rest = made.stem[0], torch.from_numpy(whole[start:stop]) - made.stem[0]
        assert np.array_equal(event.numpy(), synth.stem_at(clip, RATE)[start:stop])
        loud = classifier.domain.stft(torch.stack([event, rest])).abs()
        known = (loud[0] > loud[1]) & (classifier.domain.frequencies < 8_000)[:, None]
        assert torch.equal(made.batch.ground_truth[0], known)


def test_the_two_choices_are_never_in_one_table_or_folder(tmp_path: Path) -> None:
    data, classifier = tones(0.9, 0.5), loaded_model(model(RATE // 2))
    for long in ("cut", "center"):
        run(config_on(data, "energy", "random", long=long), classifier, tmp_path / long)
        assert store.read_manifest(tmp_path / long).long == long
    groups = compare([tmp_path / "cut", tmp_path / "center"]).groupby("group")["long"].unique().map(list).to_dict()
    assert groups == {"clips-long-cut": ["cut"], "clips-long-center": ["center"]}
    with pytest.raises(xb.ResultsError, match="holds a run with long center, this one has cut; choose another --out"):
        run(config_on(data, "energy"), classifier, tmp_path / "center")


def test_what_is_cut_and_padded_is_said() -> None:
    loaded = loaded_model(model(2 * RATE))
    assert lengths.sentences([1.95, 2.0, 2.05], loaded, "cut") == []
    assert lengths.sentences([0.5, 30], loaded_model(model(None)), "cut") == []
    longer, shorter = lengths.sentences([0.5, 7, 2, 8], loaded, "cut")
    assert longer.startswith("2 of 4 clips are longer than the 2 s that bands hears: scored is their beginning (")
    assert shorter.startswith("1 of 4 clips is shorter than the 2 s that bands hears: they are padded with silence")
    assert (
        "their middle (--long cut: their beginning, --long windows: all"
        in lengths.sentences([3.0], loaded, "center")[0]
    )


def test_a_classifier_of_any_length_is_checked_on_clips_of_several() -> None:
    found = model(None).check(tones(0.4, 0.4, 0.7, 0.3))
    assert (found.clips, found.agreement, found.gradients) == (4, 1.0, "finite")
    assert found.synthesis < 1e-4
