"""Bridge to the metrics of Quantus 0.6, by name: quantus:Selectivity, quantus:ROAD,percentages=[10,20].

Quantus gets one clip at a time, because by default it normalises maps by the largest value of a batch, and a value
would then depend on the other clips. Its forward passes go to a float32 copy of the classifier; they are neither
shared with other metrics nor counted.
"""

from __future__ import annotations

import ast
import copy
import difflib
import inspect
import math
import warnings
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.errors import RegistryError, XaibenchError
from xaibench.explaining.explanation import Polarity, defects, importance
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores
from xaibench.sound.batch import Batch, clip_seed
from xaibench.sound.randomness import seeded

_OF_SEVERAL_CLIPS = "compares the clips of a batch with each other, so a single clip has no value"
_REFUSED = {
    "BatchSufficiency": _OF_SEVERAL_CLIPS,
    "Consistency": _OF_SEVERAL_CLIPS,
    "Focus": "needs mosaics made of several clips",
    "InputInvariance": "shifts the bias of a first convolution, and these classifiers begin with a resizing",
    "ModelParameterRandomisation": "is the old name of MPRT; use quantus:MPRT",
    "SensitivityN": "correlates over the clips of a batch, so a single clip has no value",
    "SmoothMPRT": "explains with Captum itself and never calls the method",
    "Sufficiency": _OF_SEVERAL_CLIPS,
}
# Quantus 0.6 declares "lower", but the value is the drop of the logit when the most relevant regions are removed first.
_HIGHER_THOUGH_DECLARED_LOWER = frozenset({"RegionPerturbation"})
_FAMILIES = {"axiomatic": "axioms"}  # the others have the same names here
_NO_GROUND_TRUTH = "the clip has no bin in which the event is loudest"


def bridge(rest: str) -> type[Metric]:
    """Any metric of Quantus, by its class and optional settings: quantus:MaxSensitivity,nr_samples=10.

    Raises:
        RegistryError: Quantus is not installed, it has no such metric or setting, or the metric has no value per clip.
    """
    name, _, arguments = rest.partition(",")
    kinds = _kinds()
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        usable = ", ".join(sorted(set(kinds) - set(_REFUSED)))
        hint = f"did you mean 'quantus:{near[0]}'?" if near else f"there are {usable}"
        raise RegistryError(f"unknown Quantus metric '{name}'; {hint}")
    if name in _REFUSED:
        raise RegistryError(f"quantus:{name} cannot be used: it {_REFUSED[name]}")
    kind = kinds[name]
    settings = _settings(name, kind, arguments)
    family = kind.evaluation_category.value.lower()
    words = {
        "title": f"Quantus {rest}",
        "family": _FAMILIES.get(family, family),
        "reference": "Hedström et al., Quantus, JMLR 24(34), 2023, which names the metric's own paper",
        "description": " ".join((inspect.getdoc(kind) or name).partition("\n\n")[0].split()),
        "formula": f"as Quantus computes {name}; where it returns a curve or one value per layer, the mean",
        "higher_is_better": kind.score_direction.value == "higher" or name in _HIGHER_THOUGH_DECLARED_LOWER,
        "needs_ground_truth": family == "localisation",
    }
    return type(f"Quantus{name}", (QuantusMetric,), {**words, "kind": kind, "settings": settings})


class QuantusMetric(Metric):
    """A metric of Quantus, computed for one clip at a time.

    Attributes:
        kind: the class in Quantus.
        settings: arguments of its constructor that differ from the defaults.
    """

    kind: ClassVar[type]
    settings: ClassVar[dict[str, Any]]
    bounds = (-math.inf, math.inf)
    cost = "as many as Quantus needs, one clip at a time; not counted"
    traps = (
        "the direction is that of Quantus's default settings; settings are Quantus's defaults, except for the size of "
        "a step (one spectrum) and the number of classes; a constant map is undefined, because Quantus refuses it"
    )

    def __init__(self) -> None:
        self._make(self.settings)  # wrong settings are refused now

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        # A copy, because Quantus leaves its hooks behind when a forward pass fails.
        model = _Logits(copy.deepcopy(context.classifier)).eval()
        values, reasons = [], []
        for i in range(len(context)):
            try:
                value = self._of_clip(context, i, model)
                reason = None if math.isfinite(value) else f"Quantus gives {value}"
            except _UndefinedError as error:
                value, reason = math.nan, str(error)
            values.append(math.nan if reason else value)
            reasons.append(reason)
        return Scores(torch.tensor(values, dtype=torch.float64), tuple(reasons))

    def _of_clip(self, context: ScoringContext, index: int, model: _Logits) -> float:
        clip = context.clean.batch.slice(index, index + 1)
        if self.needs_ground_truth and clip.ground_truth is not None and not clip.ground_truth.any():
            raise _UndefinedError(_NO_GROUND_TRUTH)
        polarity, device = context.explainer.method.polarity, clip.x.device
        domain, model.clip = context.classifier.domain, clip

        def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
            assert isinstance(model, _Logits)
            found = context.explainer.explain(
                clip.changed(torch.as_tensor(inputs[:, 0], dtype=torch.float32, device=device), domain),
                torch.as_tensor(targets, device=device),
                None if model is original else model.classifier,
            )
            return self._map(found.map, polarity, inputs, "explained again, ")

        original = model
        x = _channel(clip.x)
        arguments = {
            "model": model,
            "x_batch": x,
            "y_batch": context.target[index : index + 1].cpu().numpy(),
            "a_batch": self._map(context.attribution[index : index + 1], polarity, x),
            "s_batch": None if clip.ground_truth is None else _channel(clip.ground_truth),
            "channel_first": True,
            "explain_func": explain,
            "device": str(device),
        }
        seed = clip_seed(clip.seed, clip.clip_ids[0], f"quantus/{self.kind.__name__}") % 2**32
        try:
            with warnings.catch_warnings(), seeded(seed):
                warnings.simplefilter("ignore")
                return _mean(self._make(self._fitted(context))(**arguments))
        except (_UndefinedError, XaibenchError):
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
            raise XaibenchError(f"Quantus's {self.kind.__name__} fails on {clip.clip_ids[0]}: {what}") from error

    def _make(self, settings: dict[str, Any]) -> Any:
        return self.kind(**settings, disable_warnings=True, display_progressbar=False)

    def _fitted(self, context: ScoringContext) -> dict[str, Any]:
        """Return the settings, completed by two whose default fits only Quantus's own examples."""
        fitting = {
            "features_in_step": context.clean.batch.picture_shape[0],
            "num_classes": context.clean.logits.shape[1],
        }
        known = _parameters(self.kind)
        return {key: value for key, value in fitting.items() if key in known} | self.settings

    @property
    def _reads_importance(self) -> bool:
        """Whether the metric gets the importance, because it takes absolute values or uses the ground truth."""
        absolute = _parameters(self.kind).get("abs")
        return self.needs_ground_truth or self.settings.get("abs", absolute is not None and absolute.default)

    def _map(self, attribution: Tensor, polarity: Polarity, x: np.ndarray, when: str = "") -> np.ndarray:
        """Copy the map for Quantus, float64 (1, 1, freq, time)."""
        (defect,) = defects(attribution)
        if defect is not None:
            raise _UndefinedError(when + defect)
        read = _channel(importance(attribution, polarity) if self._reads_importance else attribution).astype(np.float64)
        # Quantus asserts both. Checked here, the clip has no value, and the run does not fail.
        if read.min() == read.max():
            raise _UndefinedError(when + "the map is constant, which Quantus refuses")
        if read.max() < 0:
            raise _UndefinedError(when + "the map is negative everywhere, which Quantus refuses")
        return read


class _Logits(nn.Module):
    """Logits at the temperature of spectrograms (batch, 1, freq, time), the image that Quantus expects."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.clip: Batch | None = None  # whose phase the spectrograms have
        # Quantus drops a last module that is a softmax; a softmax inside the classifier must stay.
        self.output = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        assert self.clip is not None
        phase = None if self.clip.phase is None else self.clip.phase.expand(len(x), -1, -1)
        logits = self.classifier.logits_of(x[:, 0], phase, self.clip.samples)
        scaled: Tensor = self.output(self.classifier.temperature * logits)
        return scaled


class _UndefinedError(Exception):
    """The reason why a clip has no value."""


def _quantus() -> ModuleType:
    try:
        import quantus
    except ImportError as error:
        message = f"metrics named quantus:... need Quantus ({error}); pip install 'quantus>=0.6,<0.7'"
        raise RegistryError(message) from error
    return quantus


def _kinds() -> dict[str, Any]:
    """Return all metric classes of Quantus by name."""
    quantus = _quantus()
    base = quantus.Metric
    return {
        name: found
        for name, found in vars(quantus).items()
        if isinstance(found, type) and issubclass(found, base) and found is not base
    }


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """Return the arguments of the constructor that a user may set."""
    fixed = {"disable_warnings", "display_progressbar"}
    found = inspect.signature(kind).parameters
    return {key: one for key, one in found.items() if one.kind is not one.VAR_KEYWORD and key not in fixed}


def _settings(name: str, kind: Any, text: str) -> dict[str, Any]:
    """Parse settings such as "nr_samples=10,percentages=[10,20],order=lerf"; a bare name is a string.

    Raises:
        RegistryError: the text has another form, Quantus has no such setting, or a value has the wrong type.
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        pairs = {str(one.arg): _value(one.value) for one in call.keywords}
    except (SyntaxError, ValueError, AssertionError):
        raise RegistryError(f"settings '{text}' of quantus:{name} must be written as key=value,key=value") from None
    known = _parameters(kind)
    for key, value in pairs.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
            raise RegistryError(f"unknown setting '{key}' of quantus:{name}; {hint}")
        default = known[key].default
        if isinstance(default, int | float) and not _of_its_kind(value, default):
            what = "True or False" if isinstance(default, bool) else "a number"
            raise RegistryError(f"setting '{key}' of quantus:{name} must be {what}")
    return pairs


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _of_its_kind(value: Any, default: bool | int | float) -> bool:
    return isinstance(value, int | float) and isinstance(value, bool) is isinstance(default, bool)


def _channel(values: Tensor) -> np.ndarray:
    """Copy values to (batch, 1, freq, time), because Quantus works in place."""
    return values.detach().cpu().numpy()[:, None].copy()


def _mean(found: Any) -> float:
    """Average what Quantus returns for one clip: a value, a curve, or values by layer or percentage."""
    parts = list(found.values()) if isinstance(found, dict) else found
    return float(np.concatenate([np.ravel(np.asarray(part, dtype=np.float64)) for part in parts]).mean())
