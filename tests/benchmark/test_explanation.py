"""One sound explained from Python."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure

import xaibench as xb
from tests.support.objects import LoudBins, sounds
from tests.support.sound_models import CLASSES, LogMel, mel_cnn


@pytest.fixture(scope="module")
def model() -> xb.Classifier:
    """A model at 32 kHz."""
    return xb.wrap(mel_cnn(), classes=CLASSES, sample_rate=32_000, front_end=LogMel())


def test_a_file_and_an_array_are_explained_at_the_rate_of_the_model(model: xb.Classifier, tmp_path: Path) -> None:
    (sound,) = sounds(1)
    soundfile.write(tmp_path / "bell.wav", sound, 16_000, subtype="FLOAT")
    found = xb.explain(model, tmp_path / "bell.wav", "saliency")
    assert found.map.shape == (len(found.frequencies), len(found.times)) and found.sample_rate == 32_000
    assert found.frequencies[-1] == 16_000 and found.times[-1] == pytest.approx(5.0, abs=0.012)
    assert len(found.waveform) == len(found.kept(0.1)) == 160_000 and found.kept(0.1).dtype == np.float32
    np.testing.assert_allclose(found.kept(0.1) + found.removed(0.1), found.waveform, atol=2e-6)
    p = torch.softmax(model.logits(torch.from_numpy(found.waveform)[None]), dim=1)[0]
    assert (found.target, found.p) == (CLASSES[int(p.argmax())], pytest.approx(float(p.max()), abs=1e-5))
    again = xb.explain(model, sound, "saliency", rate=16_000)
    np.testing.assert_allclose(again.map, found.map, atol=1e-6)
    assert isinstance(found.plot(), Figure) and found.plot()._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]


def test_probabilities_are_those_of_the_models_activation(model: xb.Classifier) -> None:
    several = xb.wrap(mel_cnn(), classes=CLASSES, sample_rate=32_000, front_end=LogMel(), activation="sigmoid")
    found = xb.explain(several, sounds(1)[0], "random", rate=16_000)
    p = torch.sigmoid(several.logits(torch.from_numpy(found.waveform)[None]))[0]
    assert found.p == pytest.approx(float(p.max()), abs=1e-5)


def test_parameters_are_those_of_the_method(model: xb.Classifier) -> None:
    (sound,) = sounds(1)
    one, other = (xb.explain(model, sound, LoudBins, rate=16_000, power=power) for power in (1.0, 2.0))
    np.testing.assert_allclose(one.map**2, other.map, rtol=1e-5)
    with pytest.raises(xb.XaibenchError, match="no parameter 'step'; did you mean 'steps'"):
        xb.explain(model, sound, "integrated-gradients", rate=16_000, step=3)


def test_a_shipped_interpreter_explains_by_its_soft_mask() -> None:
    found = xb.explain("synth/cnn-micro", sounds(1)[0], "lmac")
    np.testing.assert_allclose(found.kept(None) + found.removed(None), found.waveform, atol=2e-6)


def test_what_makes_no_sense_is_refused_and_what_is_odd_is_said(model: xb.Classifier) -> None:
    (sound,) = sounds(1)
    with pytest.raises(xb.UnsupportedPairError, match="focalnet cannot explain MelCnn: it needs focal modulation"):
        xb.explain(model, sound, "focalnet", rate=16_000)
    with pytest.raises(xb.AudioError, match="cannot be read"):
        xb.explain(model, "nowhere.wav", "saliency")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        xb.explain(model, sound[:16_000], "saliency", rate=16_000)
        assert not caught, "the model hears any length"
        xb.explain("synth/cnn-micro", sound[:16_000], "energy", rate=16_000)
    assert "1 of 1 clip is shorter than the 5 s that cnn-micro hears" in str(caught[0].message)
