"""A trained explainer: which frequencies set the clips of a class apart from all others."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from xaibench import (
    Batch,
    CheckpointError,
    Classifier,
    Explanation,
    FitContext,
    Fitted,
    TrainableExplainer,
    TrainingClips,
)

WEIGHTS = "contrast.safetensors"


class ClassContrast(TrainableExplainer):
    title = "class contrast"
    reference = "the nearest-mean classifier's weights, Hastie et al., The Elements of Statistical Learning, 4.3"
    description = "the spectrogram times how much louder its frequencies are in clips predicted as the class"
    polarity = "positive"
    requires = frozenset({"picture"})  # it is fitted on pictures

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(batch.x * self.contrast[target][:, :, None], batch.picture_shape)

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        started = time.perf_counter()
        with torch.no_grad():
            parts = [classifier.picture_logits(x.to(context.device)).argmax(dim=1).cpu() for x in train.x.split(16)]
        predicted, spectra = torch.cat(parts), train.x.mean(dim=2)
        # A class that was never predicted has no contrast: its maps are zero.
        contrast = torch.zeros(len(classifier.classes), spectra.shape[1])
        for label in predicted.unique().tolist():
            contrast[label] = spectra[predicted == label].mean(dim=0) - spectra.mean(dim=0)
        self.contrast = contrast.to(context.device)
        return Fitted((), 0, contrast.numel(), time.perf_counter() - started)

    def save(self, folder: Path) -> None:
        save_file({"contrast": self.contrast.contiguous()}, folder / WEIGHTS)

    def load(self, folder: Path, classifier: Classifier) -> None:
        try:
            contrast = load_file(folder / WEIGHTS)["contrast"]
        except (OSError, SafetensorError, KeyError) as error:
            raise CheckpointError(f"{folder / WEIGHTS} is missing or damaged; fit it again") from error
        if len(contrast) != len(classifier.classes):
            raise CheckpointError(f"{folder / WEIGHTS} is for {len(contrast)} classes, not {len(classifier.classes)}")
        self.contrast = contrast.to(classifier.device)
