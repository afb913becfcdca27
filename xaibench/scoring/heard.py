"""The clips of a part as a classifier hears them: their sound, and what is known of them beside."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder, listener
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.scoring.clean import Clean
from xaibench.scoring.config import RunConfig
from xaibench.scoring.protocol import padded
from xaibench.scoring.targets import PREDICTED
from xaibench.sound.audio import CENTER
from xaibench.sound.dataset import Clip
from xaibench.sound.events import segments
from xaibench.sound.fills import fill_of


class Heard:
    """Clips of one length; each thing is read or computed once, and only if it is needed.

    Args:
        config: of the run.
        loaded: the classifier, as results know it.
        classifier: the same as the protocol listens with it.
        clips: of the part.
    """

    def __init__(
        self, config: RunConfig, loaded: LoadedClassifier, classifier: Classifier, clips: Sequence[Clip]
    ) -> None:
        self.config, self.loaded, self.classifier, self.clips = config, loaded, classifier, clips

    def clean(self, forwarder: Forwarder) -> Clean:
        """Ask the classifier about the clips as they are.

        Raises:
            ClassifierError: it gives NaN or infinite logits.
        """
        config, classifier, device = self.config, self.classifier, self.loaded.classifier.device
        ids = tuple(clip.id for clip in self.clips)
        batch = config.protocol.batch(self.sounds, ids, classifier, config.seed).to(device)
        batch = replace(batch, ground_truth=None if self.ground_truth is None else self.ground_truth.to(device))
        silence, stem = forwarder.silence(batch), None
        if config.dataset.has_ground_truth:
            heard = classifier.sample_rate, self.samples, config.protocol.long
            stems = [config.dataset.stem_at(clip, *heard) for clip in self.clips]
            stem = torch.stack([torch.from_numpy(one) for one in stems])
        logits = forwarder.logits_of_clips(batch)
        fill, filled = fill_of(config.protocol.fill, batch, classifier.domain), None
        if fill is not None:
            filled = forwarder.logits_of_clips(replace(batch, waveform=fill.waveform))
        return Clean(
            batch,
            logits,
            silence,
            padded(self.sounds, classifier),
            stem,
            self.loaded.classifier.activation,
            fill,
            filled,
            self._asked(logits),
            None if self.events is None else self.events.to(device),
        )

    @cached_property
    def sounds(self) -> list[np.ndarray]:
        """Samples of each clip, of the classifier's rate and length."""
        config, classifier = self.config, self.classifier
        return [config.protocol.waveform(config.dataset, clip, classifier) for clip in self.clips]

    @property
    def samples(self) -> int:
        """How long the classifier's input is."""
        return self.classifier.samples or len(self.sounds[0])

    @cached_property
    def audio_sha256(self) -> dict[str, str]:
        """Hash of each clip's samples as the classifier hears them, as `PartInfo` has it."""
        return self._by_clip(self.sounds)

    @cached_property
    def ground_truth(self) -> Tensor | None:
        """Where the events are, bool (batch, freq, time) on the CPU, or None where nobody knows."""
        dataset = self.config.dataset
        if not dataset.has_ground_truth:
            return None
        domain, long = self.loaded.classifier.domain, self.config.protocol.long
        known = [dataset.ground_truth_at(clip, domain, self.samples, long) for clip in self.clips]
        return torch.stack([torch.from_numpy(one) for one in known])

    @cached_property
    def ground_truth_sha256(self) -> dict[str, str]:
        """Hash of what is known of each clip's events, as `PartInfo` has it."""
        known = [one for one in (self.ground_truth, self.events) if one is not None]
        if not known:
            return {}
        by_clip = zip(*known, strict=True)
        return self._by_clip([np.concatenate([one.numpy().ravel() for one in of_clip]) for of_clip in by_clip])

    @cached_property
    def events(self) -> Tensor | None:
        """Segments with annotated events, bool (batch, classes, segments) on the CPU, or None."""
        dataset, classifier = self.config.dataset, self.loaded.classifier
        if not dataset.has_events:
            return None
        known, seconds = [], self.samples / classifier.sample_rate
        for clip in self.clips:
            middle = self.config.protocol.long == CENTER
            start = max(0.0, dataset.length(clip) - seconds) / 2 if middle else 0.0
            known.append(torch.from_numpy(segments(dataset.events(clip), classifier.classes, seconds, start)))
        return torch.stack(known)

    def _by_clip(self, values: Sequence[np.ndarray]) -> dict[str, str]:
        hashes = [hashlib.sha256(one.tobytes()).hexdigest() for one in values]
        return dict(zip([clip.id for clip in self.clips], hashes, strict=True))

    @cached_property
    def _labels(self) -> list[str]:
        return [self.config.dataset.classes[clip.label] for clip in self.clips]

    def _asked(self, logits: Tensor) -> Tensor | None:
        """Return the classes to explain, (batch,), or None for the predicted ones.

        Where a label is none of the classifier's classes, the predicted one: that clip's scores are discarded.
        """
        if self.config.protocol.target == PREDICTED:
            return None
        known, predicted = self.loaded.classifier.classes, logits.argmax(dim=1)
        found = [known.index(label) if label in known else -1 for label in self._labels]
        asked = torch.tensor(found, device=predicted.device)
        return torch.where(asked < 0, predicted, asked)

    def nothing_to_explain(self) -> list[str | None]:
        """Say for each clip why there is no class to explain, or None."""
        if self.config.protocol.target == PREDICTED:
            return [None] * len(self.clips)
        known = self.loaded.classifier.classes
        return [None if label in known else f"its label {label} is none of the classes" for label in self._labels]

    @cached_property
    def undecided(self) -> list[str | None]:
        """Say for each clip why no map can be asked to find its event, or None."""
        asked = listener(self.classifier, self.config.protocol.long)
        return self.config.dataset.undecided(self.clips, asked)
