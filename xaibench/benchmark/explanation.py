"""One sound explained, from Python."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xaibench.benchmark.data import clips, one_file
from xaibench.benchmark.models import Model, load_model
from xaibench.benchmark.naming import Method, methods_named
from xaibench.classifiers.device import device_named
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import UnsupportedPairError
from xaibench.explaining import fitting
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.settings import registered_name
from xaibench.reports import clip_figure
from xaibench.scoring import protocol as protocols
from xaibench.scoring.context import Part, ScoringContext
from xaibench.scoring.lengths import sentences
from xaibench.scoring.one_clip import Heard, Pair, explained, hear, illustrated, panel, sound_of
from xaibench.scoring.targets import PREDICTED
from xaibench.sound.fills import SILENCE


class Explained:
    """What a method says of one sound.

    Attributes:
        method: its name.
        name: of the sound.
    """

    def __init__(self, name: str, method: str, explainer: Explainer, loaded: LoadedClassifier, heard: Heard) -> None:
        self.name, self.method = name, method
        self._pair, self._heard = Pair(method, explainer, loaded), heard

    @cached_property
    def _context(self) -> ScoringContext:
        return explained(self.method, self._pair.explainer, self._heard)

    @property
    def map(self) -> np.ndarray:
        """The map as the method defines it, float32 (freq, time)."""
        return self._context.attribution[0].cpu().numpy()

    @property
    def text(self) -> str:
        """What the method says in words, such as the rule that held; empty for methods that say nothing."""
        return "".join(self._context.texts)

    @property
    def frequencies(self) -> np.ndarray:
        """Frequencies of its rows in Hz, float64 (freq,)."""
        return self._pair.loaded.classifier.domain.frequencies.numpy()

    @property
    def times(self) -> np.ndarray:
        """Times of its columns in s, float64 (time,)."""
        return self._pair.loaded.classifier.domain.times(len(self.waveform)).numpy()

    @property
    def waveform(self) -> np.ndarray:
        """The sound as the classifier hears it, float32 (samples,)."""
        waveform = self._heard.clean.batch.waveform
        assert waveform is not None
        return waveform[0].cpu().numpy()

    @property
    def sample_rate(self) -> int:
        """Of the waveform and its parts, in Hz."""
        return self._pair.loaded.classifier.sample_rate

    @property
    def target(self) -> str:
        """The class that is explained: the one that the classifier predicts."""
        return self._pair.loaded.classifier.classes[int(self._heard.clean.target[0])]

    @property
    def p(self) -> float:
        """Probability of the target."""
        return float(self._context.p_full[0])

    def kept(self, area: float | None = 0.10) -> np.ndarray:
        """Return the sound of the most important bins alone, exactly what is scored: float32 (samples,).

        Args:
            area: share of the bins; None for the mask that the map itself is, of methods whose maps are masks.

        Raises:
            ExplanationError: there is no such mask.
        """
        return self._part("kept", area)

    def removed(self, area: float | None = 0.10) -> np.ndarray:
        """Return the sound without the most important bins; `kept` and `removed` add up to the sound."""
        return self._part("removed", area)

    def plot(self, area: float = 0.10) -> Figure:
        """Draw the spectrogram, the map, and what a mask of this area keeps."""
        drawn = illustrated(self.name, self._heard, [panel(self._pair, self._context, area)])
        return clip_figure.rows(drawn, area)

    def __repr__(self) -> str:
        return f"Explained({self.name}: {self.target}, p = {self.p:.2f}, by {self.method})"

    def _part(self, part: Part, area: float | None) -> np.ndarray:
        return sound_of(self._context, part, area).numpy()


def explain(
    model: Model,
    sound: str | Path | Any,
    method: Method,
    *,
    rate: int | None = None,
    seed: int = 0,
    long: str = "cut",
    **parameters: Any,
) -> Explained:
    """Explain what a model says of one sound.

    Args:
        model: a classifier, or a name of one.
        sound: a file, or an array or tensor (samples,); it is resampled to the model's rate, and cut or padded
            to its length, if it has one; padding is no evidence.
        method: a name, an Explainer class or an object of one.
        rate: sample rate of an array in Hz. None: the model's.
        seed: of every random draw.
        long: what is heard of a sound that is longer than the model's input: its beginning ("cut"), its middle
            ("center"), or all of it, window by window ("windows").
        parameters: of the method, such as `steps=64`.

    Raises:
        XaibenchError: the method makes no sense here, fails, or has no such parameter; the sound cannot be read.
    """
    rules = protocols.default().with_choices(SILENCE, PREDICTED, long)
    loaded, trained_on = load_model(model, device_named())
    classifier = loaded.classifier
    if isinstance(sound, str | Path):
        name = Path(sound).name
        data, findings = one_file(Path(sound))
    else:
        name = "sound"
        data = clips([sound], classifier.sample_rate if rate is None else rate, ["sound"], ids=[name])
        findings = data.findings(data.clips[0])
    for finding in findings:
        warnings.warn(f"sound: {name} {finding.text}", stacklevel=2)
    for sentence in sentences([data.length(data.clips[0])], loaded, long):
        warnings.warn(f"sound: {sentence}", stacklevel=2)
    ((label, chosen),) = methods_named(method).items()
    explainer = chosen.with_parameters(**parameters)
    reason = explainer.refusal(classifier, has_ground_truth=False)
    if reason is not None:
        raise UnsupportedPairError(f"{label} cannot explain {classifier.name}: it {reason}")
    fitting.bind(registered_name(label), explainer, loaded, trained_on)
    return Explained(name, label, explainer, loaded, hear(classifier, data, rules, data.clips[0].id, seed))
