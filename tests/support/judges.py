"""A judge without its training: the classifier itself, with weights that are moved a little."""

from __future__ import annotations

from pathlib import Path

import torch

from xaibench.classifiers import judge
from xaibench.classifiers.judge import Judge, JudgeCard
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.storage import tensors


def write_judge(
    root: Path, loaded: LoadedClassifier, dataset: str, seed: int = 0, masked_accuracy: float = 1.0
) -> Judge:
    """Write a judge where runs look for it."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: one * (1 + 0.02 * torch.randn(one.shape, generator=generator)) if one.is_floating_point() else one
        for name, one in loaded.classifier.state_dict().items()
    }
    folder = judge.folder_of(root, dataset, loaded.label)
    card = JudgeCard(
        classifier=loaded.label,
        classifier_sha256=loaded.sha256,
        classes=tuple(loaded.classifier.classes),
        dataset=dataset,
        dataset_fingerprint="",
        data_licence="",
        train_folds=(1, 2, 3),
        validation_folds=(4,),
        seed=seed,
        best_epoch=1,
        epochs=1,
        learning_rate=1e-4,
        precision="float32",
        parameters=loaded.classifier.parameter_count,
        seconds=1.0,
        device="cpu",
        original_accuracy=1.0,
        accuracy=1.0,
        masked_accuracy=masked_accuracy,
        command="xaibench judge",
        versions={},
    )
    half = tensors.cast(state, torch.float16)
    return Judge(folder, card.write(folder, lambda empty: tensors.write(empty / judge.WEIGHTS, half)))
