"""Audio classifiers of the transformers library, with their feature extractor inside."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from xaibench.classifiers.base import Activation, Classifier
from xaibench.classifiers.checkpoint import freeze
from xaibench.classifiers.extractor_twins import MEL_LOW, WhisperSpectrogram, twin_of
from xaibench.classifiers.map_axes import MapAxes, placed
from xaibench.classifiers.probing import explained, try_out
from xaibench.errors import ClassifierError, named
from xaibench.sound.audio import clip_samples
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain
from xaibench.sound.randomness import undrawn
from xaibench.storage import identity
from xaibench.storage.identity import Identity

_AST = "audio-spectrogram-transformer"
_AST_SPECIAL_TOKENS = 2  # CLS and distillation
# Kaldi's frames begin every 10 ms and last 25.
_FRAME_SECONDS, _FIRST_CENTRE_SECONDS = 0.01, 0.0125
_MULTI_LABEL = "multi_label_classification"
_OF_TRAINING = "masked_spec_embed"  # takes the place of what is masked in training, and is in no file of some models


def from_transformers(
    model: Any,
    *,
    extractor: Any = None,
    classes: Sequence[str] | None = None,
    samples: int | None = None,
    activation: Activation | None = None,
    temperature: float = 1.0,
    name: str | None = None,
) -> TransformersClassifier:
    """Make a sound classifier of an audio-classification model of transformers.

    What its feature extractor does is done in torch, inside the classifier, so that gradients reach the waveform. The
    model is put into evaluation mode and frozen; a model object is used itself, and not copied.

    Args:
        model: name on the hub, folder, or the model object (`AutoModelForAudioClassification`).
        extractor: its feature extractor (`AutoFeatureExtractor`); needed with a model object.
        classes: names in the order of the logits, by default those of its configuration.
        samples: length of the waveforms, at the extractor's rate; clips are cut, or padded with zeros. By default 5 s.
        activation: by default "sigmoid" where the configuration says that it has several labels, else "softmax".
        temperature: p = activation(temperature * logits).
        name: in results; by default the last part of the model's name, or its class.

    Raises:
        ClassifierError: it is no such model, it cannot be loaded, or it does not do what it should.
    """
    called = type(model).__name__
    if isinstance(model, str | Path):
        called = Path(model).name
        model, extractor = _loaded(str(model), extractor)
    if extractor is None:
        raise ClassifierError(
            f"a {called} alone does not tell how sound becomes its input; give extractor="
            "AutoFeatureExtractor.from_pretrained(...), or the name of the model in place of the object"
        )
    if not isinstance(model, nn.Module) or not hasattr(getattr(model, "config", None), "id2label"):
        raise ClassifierError(f"a {called} is no audio classifier of transformers; see xb.wrap for other models")
    named_so = called if name is None else name
    classifier = put_together(named_so, model, extractor, classes, samples, activation, temperature)
    if not try_out(classifier, gradients=True):
        raise ClassifierError(f"no gradients reach the waveform through {called}; wrap it with xb.wrap")
    classifier.find_tokens()
    return classifier


def put_together(
    name: str,
    model: Any,
    extractor: Any,
    classes: Sequence[str] | None,
    samples: int | None = None,
    activation: Activation | None = None,
    temperature: float = 1.0,
) -> TransformersClassifier:
    """Make a classifier of a model and its extractor, frozen, and ask it nothing; the arguments are as above."""
    config = model.config
    own = tuple(str(config.id2label[i]) for i in sorted(config.id2label))
    several = getattr(config, "problem_type", None) == _MULTI_LABEL
    classifier = TransformersClassifier(
        name,
        own if classes is None else tuple(classes),
        model,
        extractor,
        samples,
        activation or ("sigmoid" if several else "softmax"),
        temperature,
    )
    freeze(classifier)
    return classifier


class TransformersClassifier(Classifier):
    """A model of transformers as a sound classifier.

    Attributes:
        net: the model.
        extractor: its feature extractor, which is not asked.
        front_end: the twin of its feature extractor.
        patch_grid: tokens along (freq, time); (1, n) where they are stretches of time.
        special_tokens: tokens before those.
    """

    capabilities = frozenset({"gradients", "attentions"})
    patch_grid: tuple[int, int]
    special_tokens: int

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        net: Any,
        extractor: Any,
        samples: int | None,
        activation: Activation,
        temperature: float,
    ) -> None:
        super().__init__(name, "sound", classes, temperature)
        self.net, self.extractor, self.front_end = net, extractor, twin_of(extractor)
        self.activation, self.sample_rate = activation, int(extractor.sampling_rate)
        self.samples = clip_samples(self.sample_rate) if samples is None else samples
        self.domain = Domain.at(self.sample_rate)
        self.settings = {
            "config": _hash_of(net.config.to_dict()),
            "extractor": [type(extractor).__name__, _hash_of(extractor.to_dict())],
        }

    def logits(self, waveform: Tensor) -> Tensor:
        try:
            logits = self.bare(waveform)
        except RuntimeError as error:
            known = explained(self, error, waveform)
            if known is None:
                raise
            raise known from error
        if logits.shape[1] != len(self.classes):
            raise ClassifierError(
                f"{self.name} gives {logits.shape[1]} logits, and classes names {len(self.classes)}; name all of them, "
                "in their order"
            )
        return logits

    def bare(self, waveform: Tensor) -> Tensor:
        """Ask the model about waveforms (batch, samples)."""
        logits: Tensor = self._answer(waveform).logits
        return logits

    def logits_and_attentions(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Logits (batch, classes), and the attention of every block: each (batch, heads, tokens, tokens)."""
        assert batch.waveform is not None
        return self._attended(batch.waveform)

    def find_tokens(self) -> None:
        """Find out where its tokens lie on the picture."""
        config = self.net.config
        with torch.inference_mode():
            tokens = self._attended(torch.zeros(1, self.samples or 1, device=self.device))[1][-1].shape[-1]
        self.patch_grid, self.special_tokens = (1, tokens), 0
        if config.model_type == _AST:
            high = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
            wide = (config.max_length - config.patch_size) // config.time_stride + 1
            self.patch_grid, self.special_tokens = (high, wide), _AST_SPECIAL_TOKENS

    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        """Bring maps (batch, *patch_grid) to the picture (batch, *shape)."""
        config = self.net.config
        if config.model_type == _AST:
            # Patches overlap where the stride is smaller than they are: each is drawn around its centre.
            middle = (config.patch_size - 1) / 2
            bands = np.arange(maps.shape[1]) * config.frequency_stride + middle
            frames = np.arange(maps.shape[2]) * config.time_stride + middle
            low, top = (1127 * np.log1p(edge / 700) for edge in (MEL_LOW, self.sample_rate / 2))  # as Kaldi does
            mel = low + (bands + 1) * (top - low) / (config.num_mel_bins + 1)
            hertz = 700 * np.expm1(mel / 1127)
            return placed(
                maps, shape, self.domain, tuple(hertz), tuple(frames * _FRAME_SECONDS + _FIRST_CENTRE_SECONDS)
            )
        if isinstance(self.front_end, WhisperSpectrogram):
            seconds = (np.arange(maps.shape[2]) + 0.5) / maps.shape[2] * self.front_end.samples / self.sample_rate
            return placed(maps, shape, self.domain, (0.0,), tuple(seconds))
        return MapAxes().to_picture(maps, shape, self.domain)

    def code_identity(self) -> Identity:
        return identity.joined(super().code_identity(), identity.of_object((type(self.net),)))

    def _answer(self, waveform: Tensor, **wanted: bool) -> Any:
        # Up to transformers 5.22, layers that may be dropped in training draw a number in evaluation, too, for nothing.
        with undrawn():
            return self.net(**self.front_end(waveform), **wanted)

    def _attended(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Take the eager path, the only one on which there are weights, and leave it again."""
        before = self.net.config._attn_implementation
        self.net.set_attn_implementation("eager")
        try:
            found = self._answer(waveform, output_attentions=True)
        finally:
            self.net.set_attn_implementation(before)
        return found.logits, list(found.attentions)


def _loaded(name: str, extractor: Any) -> tuple[Any, Any]:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    known: dict[str, Any] = {"trust_remote_code": False}  # nothing that a stranger has put beside the weights is run
    try:
        with _silent():
            model, found = AutoModelForAudioClassification.from_pretrained(
                name, dtype=torch.float32, output_loading_info=True, **known
            )
        extractor = extractor or AutoFeatureExtractor.from_pretrained(name, **known)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise ClassifierError(
            f"{name} cannot be loaded as an audio classifier ({named(error)}); give a folder that holds it, or the "
            "name of one on the hub with a connection to it"
        ) from error
    lacking = sorted(key for key in found["missing_keys"] if not key.endswith(_OF_TRAINING))
    if lacking:  # transformers would draw them at random
        raise ClassifierError(
            f"{name} holds no weights for {', '.join(lacking[:3])}: it is no {type(model).__name__} that was "
            "trained to classify; give one that was"
        )
    return model, extractor


@contextmanager
def _silent() -> Iterator[None]:
    """Let transformers neither draw a bar nor list the tensors that a file lacks; these are an error here."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _hash_of(facts: Any) -> str:
    # Names of files, versions and the like are no part of what is computed, but harmless here.
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
