"""Models of other rates, classes and kinds are scored as themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import xaibench as xb
from tests.support.evaluating import config_of, open_folder, run, values
from tests.support.sound_models import LogMel, loudness, mel_cnn
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.loaded import loaded_model
from xaibench.errors import UnsupportedPairError
from xaibench.explaining.bound import BoundExplainer
from xaibench.results import store
from xaibench.results.parts import read_info
from xaibench.scoring.context import Masked, ScoringContext
from xaibench.scoring.part import Part, Scoring
from xaibench.scoring.protocol import SPECTROGRAM
from xaibench.sound.synth import Synth


def listener(synth: Synth, **settings: Any) -> Any:
    """A network at 32 kHz that knows four classes: three of synth's, and one of its own."""
    classes = ("thunder", *synth.classes[:3])
    return xb.wrap(mel_cnn(), classes=classes, sample_rate=32_000, front_end=LogMel(), layer="block2", **settings)


def test_a_model_at_32_khz_is_scored_at_32_khz(synth: Synth, tmp_path: Path) -> None:
    classifier = listener(synth, samples=64_000)
    config = config_of(synth, ("energy", "saliency"), ("relevance_mass", "faithfulness", "si_sdr"), clips=2)
    assert {event.kind for event in run(config, loaded_model(classifier), tmp_path)} == {"scored"}
    info = read_info(next(iter(store.parts_of(tmp_path))))
    assert (info.sample_rate, info.samples) == (32_000, 64_000)
    # Its verdict is the module's own on the clip at its rate.
    rows = store.read_rows(tmp_path).drop_duplicates("clip").set_index("clip")
    for clip in config.clips:
        waveform = torch.from_numpy(synth.waveform_at(clip, 32_000, 64_000))[None]
        verdict = classifier.classes[int(classifier.net(classifier.front_end(waveform)).argmax())]
        assert rows.loc[clip.id, "predicted"] == verdict
        assert rows.loc[clip.id, "label"] == synth.classes[clip.label]
        known = synth.classes[clip.label] in classifier.classes
        correct = rows.loc[clip.id, "correct"]
        assert correct == (verdict == synth.classes[clip.label]) if known else correct is None
    found = values(tmp_path)  # the event of the other clip begins after 2 s
    assert np.isfinite(found[found.index.get_level_values("clip") == "synth-320"]).all()


def test_probabilities_of_a_sigmoid_are_read_as_such(synth: Synth, tmp_path: Path) -> None:
    classifier = listener(synth, activation="sigmoid", samples=64_000)
    config = config_of(synth, ("uniform",), clips=2)
    clean = Part(Scoring(config, loaded_model(classifier), open_folder(tmp_path, config)), 0)._prepare()
    sounds = torch.stack([torch.from_numpy(synth.waveform_at(clip, 32_000, 64_000)) for clip in config.clips])
    expected = classifier.logits(sounds).double().sigmoid()
    torch.testing.assert_close(clean.probabilities, expected, rtol=0, atol=1e-6)
    explainer = BoundExplainer(config.methods["uniform"], Forwarder(classifier, 16))
    context = ScoringContext(clean, torch.ones_like(clean.batch.x), explainer)
    torch.testing.assert_close(context.probabilities(Masked("kept", 1.0)), expected, rtol=0, atol=1e-4)


def test_protocols_that_feed_pictures_refuse_it(synth: Synth, tmp_path: Path) -> None:
    config = replace(config_of(synth, ("energy",)), protocol=SPECTROGRAM)
    with pytest.raises(UnsupportedPairError, match="feeds pictures: MelCnn hears sound; use --protocol standard"):
        run(config, loaded_model(listener(synth)), tmp_path)


@pytest.mark.parametrize("version", ["", "1"])
def test_of_a_black_box_without_a_version_nothing_is_used_again(synth: Synth, tmp_path: Path, version: str) -> None:
    config = config_of(synth, ("energy",), ("faithfulness",), clips=2)
    kinds = []
    for _ in range(2):
        classifier = xb.wrap(
            loudness,
            classes=synth.classes[:4],
            sample_rate=16_000,
            samples=80_000,
            gradients=False,
            returns="probabilities",
            version=version,
        )
        kinds.append([event.kind for event in run(config, loaded_model(classifier), tmp_path)])
    assert kinds == ([["scored"], ["found"]] if version else [["not reused", "scored"]] * 2)
