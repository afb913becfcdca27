"""What Quantus computes nearest to each metric, and Quantus called as its users call it: directly, in batches of 16."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import quantus
import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.scoring.context import ScoringContext
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded

BATCH = 16
BINS = 513 * 431  # Quantus accepts only a step that divides them
STEP = BINS // 19
# By default Quantus divides all maps of a batch by the largest value in the batch.
PER_CLIP = {"normalise_func_kwargs": {"normalise_axes": [1, 2, 3]}}


@dataclass(frozen=True)
class Counterpart:
    """A metric of Quantus beside one of ours.

    Attributes:
        name: its class.
        settings: of its constructor, beside the defaults.
        same: whether it computes the same number; else the nearest that Quantus has, at about the same work.
        reads: which map it is given.
        softmax: whether it sees probabilities; None for its default.
        not_run: why it is not run, where it cannot be.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    same: bool = False
    reads: Literal["importance", "attribution"] = "importance"
    softmax: bool | None = None
    not_run: str = ""

    @property
    def words(self) -> str:
        """The class and its settings."""
        told = {key: value for key, value in self.settings.items() if not callable(value)}
        if "normalise_func_kwargs" in told:
            told = {"normalised": "per clip"} | {k: v for k, v in told.items() if k != "normalise_func_kwargs"}
        return self.name + (f" ({', '.join(f'{key}={value}' for key, value in told.items())})" if told else "")


def _again(name: str) -> Counterpart:
    """Eight noisy copies, as ours."""
    return Counterpart(name, {"nr_samples": 8}, reads="attribution")


COUNTERPARTS = {
    "deletion_auc": Counterpart("PixelFlipping", {"features_in_step": STEP, "perturb_baseline": 0.0}, softmax=True),
    "faithfulness_correlation": Counterpart(
        "FaithfulnessCorrelation",
        {"nr_runs": 50, "subset_size": BINS // 5, "perturb_baseline": 0.0},
        reads="attribution",
        softmax=True,
    ),
    "faithfulness_estimate": Counterpart(
        "FaithfulnessEstimate", {"features_in_step": STEP, "perturb_baseline": 0.0}, softmax=True
    ),
    "monotonicity_correlation": Counterpart(
        "MonotonicityCorrelation", {"features_in_step": STEP, "nr_samples": 3}, reads="attribution", softmax=True
    ),
    "sensitivity_n": Counterpart(
        "SensitivityN", {"features_in_step": STEP, "perturb_baseline": 0.0}, reads="attribution", softmax=True
    ),
    "region_perturbation": Counterpart(
        "RegionPerturbation", {"patch_size": 36, "regions_evaluation": 36, "perturb_baseline": 0.0}, softmax=True
    ),
    "infidelity": Counterpart("Infidelity", {"n_perturb_samples": 1}, reads="attribution", softmax=True),
    "irof": Counterpart("IROF", softmax=True),
    "road": Counterpart("ROAD", {"percentages": [5, 10, 20, 40]}),
    "non_sensitivity": Counterpart(
        "NonSensitivity", not_run="fails at any step but one bin, and that takes 221,103 forward passes a clip"
    ),
    "completeness": Counterpart("Completeness", {"perturb_baseline": 0.0, "normalise": False}, reads="attribution"),
    "max_sensitivity": _again("MaxSensitivity"),
    "avg_sensitivity": _again("AvgSensitivity"),
    "local_lipschitz": _again("LocalLipschitzEstimate"),
    "relative_input_stability": _again("RelativeInputStability"),
    "relative_output_stability": _again("RelativeOutputStability"),
    "sufficiency": Counterpart("Sufficiency"),
    # Normalised, two bins can become one; not normalised it is, layer by layer, what `mprt_by_layer` computes.
    "mprt": Counterpart("MPRT", {"normalise": False}),
    "efficient_mprt": Counterpart("EfficientMPRT", reads="attribution"),
    "random_logit": Counterpart(
        "RandomLogit", {"num_classes": 10, "similarity_func": quantus.correlation_spearman, "abs": True}
    ),
    "sparseness": Counterpart("Sparseness", PER_CLIP, same=True),
    "complexity": Counterpart("Complexity", {"normalise": False}, same=True),
    "effective_complexity": Counterpart("EffectiveComplexity", PER_CLIP, same=True),
    "relevance_mass": Counterpart("RelevanceMassAccuracy", {"normalise": False}, same=True),
    "relevance_rank": Counterpart("RelevanceRankAccuracy", {"normalise": False}, same=True),
    "pointing_game": Counterpart("PointingGame", {"normalise": False}, same=True),
    "top_k_intersection": Counterpart("TopKIntersection", {"k": round(0.02 * BINS), "normalise": False}, same=True),
    "localisation_auc": Counterpart("AUC", {"normalise": False}, same=True),
}


class Image(nn.Module):
    """Logits at the temperature of (batch, 1, freq, time)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.temperature * self.classifier.picture_logits(x[:, 0])


@dataclass(frozen=True)
class Found:
    """What one call of Quantus gave.

    Attributes:
        seconds: of the call.
        values: (clips,) where it returns one number for each; of MPRT (layers, clips), from the output to the input.
        failure: one line, where it failed.
    """

    seconds: float
    values: np.ndarray | None = None
    failure: str = ""


def call(counterpart: Counterpart, context: ScoringContext) -> Found:
    """One call of Quantus on all clips."""
    scorer = getattr(quantus, counterpart.name)(
        **_fitted(counterpart, context), disable_warnings=True, display_progressbar=False
    )
    batch, known = context.clean.batch, context.ground_truth
    maps = context.importance if counterpart.reads == "importance" else context.attribution
    arguments = {
        "model": Image(context.classifier).eval(),
        "x_batch": _image(batch.x),
        "y_batch": context.target.cpu().numpy(),
        "a_batch": _image(maps),
        "s_batch": None if known is None else _image(known),
        "channel_first": True,
        "explain_func": _explain_function(context),
        "device": str(batch.x.device),
        "batch_size": BATCH,
    }
    if counterpart.softmax is not None:
        arguments["softmax"] = counterpart.softmax
    with warnings.catch_warnings(), seeded(0):
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        try:
            answer = scorer(**arguments)
        except Exception as error:
            return Found(time.perf_counter() - started, failure=f"{type(error).__name__}: {error}".partition("\n")[0])
        seconds = time.perf_counter() - started
    if isinstance(answer, dict):  # of MPRT: by layer, the trained classifier among them
        return Found(seconds, np.array([values for layer, values in answer.items() if layer != "original"]))
    per_clip = len(answer) == len(batch) and all(np.ndim(one) == 0 for one in answer)
    return Found(seconds, np.asarray(answer, dtype=np.float64) if per_clip else None)


def _fitted(counterpart: Counterpart, context: ScoringContext) -> dict[str, Any]:
    if "num_classes" in counterpart.settings:
        return counterpart.settings | {"num_classes": context.clean.logits.shape[1]}
    return counterpart.settings


def _explain_function(context: ScoringContext) -> Callable[..., np.ndarray]:
    """The same method, asked by Quantus: its maps as they are, signed."""
    batch = context.clean.batch

    def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
        assert isinstance(model, Image)
        x = torch.as_tensor(inputs[:, 0], dtype=torch.float32, device=batch.x.device)
        target = torch.as_tensor(targets, device=batch.x.device)
        asked = Batch(x, batch.clip_ids[: len(x)], batch.seed)
        return _image(context.explainer.explain(asked, target, classifier=model.classifier).map)

    return explain


def _image(values: Tensor) -> np.ndarray:
    """A copy (batch, 1, freq, time): Quantus works in place."""
    return values.detach().cpu().numpy()[:, None].copy()
