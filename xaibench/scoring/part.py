"""A part: up to 16 clips, explained and scored by one method after another; the same code in every process."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import pandas as pd
import torch

from xaibench import registry
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.isolation import Clips, Guard
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import (
    ClassifierError,
    ExplanationError,
    IsolationError,
    RegistryError,
    ResultsError,
    XaibenchError,
    named,
    one_line,
)
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explanation import Explanation, defects
from xaibench.results.checks import out_of_bounds
from xaibench.results.parts import BETWEEN_LABELS, EQUAL_AREA, SOFT, PartInfo
from xaibench.results.store import RunFolder
from xaibench.scoring.clean import Answer, Clean, judged
from xaibench.scoring.config import MethodOnClassifier, RunConfig, applicable, judge_of
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.facts import facts_of, metric_facts
from xaibench.scoring.heard import Heard
from xaibench.scoring.identities import Identities
from xaibench.scoring.maps import Maps
from xaibench.scoring.messages import Outcome
from xaibench.scoring.metric import Metric, Scores
from xaibench.scoring.targets import PREDICTED
from xaibench.storage import provenance
from xaibench.storage.code_closure import CORE

_NOT_FINITE = "the classifier gives NaN or infinite logits for a changed version of it"


class Scoring:
    """What all parts of a run on one classifier share.

    Args:
        config: of the run.
        loaded: the classifier.
        folder: where parts go.
        announce: told of every call of a method or metric, as `Guard` does.
    """

    def __init__(
        self,
        config: RunConfig,
        loaded: LoadedClassifier,
        folder: RunFolder,
        announce: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.config, self.loaded, self.folder = config, loaded, folder
        temperature = config.protocol.temperature
        self.classifier = config.protocol.listening(loaded.classifier)
        self.parts = config.parts_on(self.classifier)
        self.forwarder = Forwarder(self.classifier, config.batch_size, config.precision, config.compiled, temperature)
        self.guard, self.identities = Guard(loaded.classifier, announce), Identities(config, loaded)

    @cached_property
    def judge(self) -> Forwarder | None:
        """The classifier's judge, or None where it has none.

        Raises:
            CheckpointError: its weights are damaged.
        """
        found = judge_of(self.config, self.loaded)
        if found is None:
            return None
        config, made = self.config, self.config.protocol.listening(found.of(self.loaded.classifier))
        return Forwarder(made, config.batch_size, config.precision, config.compiled, config.protocol.temperature)


class Part:
    """Clips of one length; sound and clean probabilities are computed once, and only if needed."""

    def __init__(self, scoring: Scoring, index: int) -> None:
        self.config, self.loaded, self.folder = scoring.config, scoring.loaded, scoring.folder
        self._scoring = scoring
        self.forwarder, self.guard, self.identities = scoring.forwarder, scoring.guard, scoring.identities
        self.index, self.clips = index, scoring.parts[index]
        self.heard = Heard(self.config, self.loaded, scoring.classifier, self.clips)
        self._maps = Maps(self.config, self.loaded, self.folder, self.identities, self.clips)
        self._clean: Clean | None = None

    def needed(self, pair: MethodOnClassifier, without: Collection[str] = ()) -> dict[str, Metric] | None:
        """Choose the metrics that the part must be scored by, or None where an earlier run has done so.

        Args:
            pair: the method.
            without: metrics that failed before.

        Raises:
            ResultsError: what the earlier run scored was something else.
        """
        wanted = dict(self.config.metrics)
        # What cannot be identified is never taken for the same again.
        known = self.identities.method(pair).known
        earlier = self.folder.finished(self.loaded.label, pair.label, self.index) if known else None
        if earlier is not None:
            rows, info = earlier
            self._check_same(pair, info)
            there = set(rows["metric"])
            needed = {name: one for name, one in self._applicable(wanted, pair).items() if name not in without}
            scored = set(needed) <= there and all(self.identities.metric(*one).known for one in needed.items())
            if scored and not (self.config.keep_maps and self._maps.unwritten(pair)):
                return None
            # Rescored whole, so that a part is always one method's one pass.
            wanted |= {metric: self._earlier(metric, info) for metric in sorted(there - set(wanted))}
        return {name: one for name, one in self._applicable(wanted, pair).items() if name not in without}

    def score(self, pair: MethodOnClassifier, metrics: dict[str, Metric]) -> Outcome:
        """Explain and score the clips, and write the part.

        Raises:
            XaibenchError: a clip cannot be read, or does not fit in memory.
        """
        label, name, method = self.loaded.label, pair.label, pair.method
        try:
            clean = self._prepare()
        except ClassifierError as error:
            return Outcome(one_line(error), of_classifier=True, traceback=formatted(error))
        except (XaibenchError, OSError):
            raise
        except (Exception, SystemExit) as error:  # of a stranger's classifier
            reason = f"{named(error)} (clips {self.clips[0].id} to {self.clips[-1].id})"
            return Outcome(reason, of_classifier=True, traceback=formatted(error))
        before = self.forwarder.count
        explainer = BoundExplainer(method, self.forwarder, self.guard)
        try:
            judge = self._scoring.judge if any(metric.needs_judge for metric in metrics.values()) else None
            if judge is not None:
                judged(clean, judge)  # like the classifier's own, these passes are no method's cost
            asked = 0 if judge is None else judge.count
            made = self._maps.of(pair, explainer, clean, lambda what: self.guard.check(what, self._pristine))
            explanation = Explanation(
                torch.cat([one.explanation.map for one in made]), made[0].explanation.native_shape
            )
            started = time.perf_counter()
            rows, borrowed = self._rows(pair, explainer, explanation, clean, metrics, judge)
            self.guard.check(f"scoring {name}", self._pristine)
            facts = facts_of(pair, explanation)
        except _MetricFailed as failure:
            assert failure.__cause__ is not None
            return self._failed(name, failure.__cause__, failure.metric)
        except (Exception, SystemExit) as error:
            # A stranger's plugin may raise anything; what others have computed must not be lost.
            return self._failed(name, error)
        by_judge = 0 if judge is None else judge.count - asked
        peaks = [one.peak_bytes for one in made if one.peak_bytes is not None]
        info = PartInfo(
            clips=len(self.clips),
            classifier_sha256=self.loaded.identity,
            weights_sha256=self.loaded.sha256,
            method=facts,
            metrics={name: metric_facts(metric) for name, metric in sorted(metrics.items())},
            sample_rate=self.loaded.classifier.sample_rate,
            samples=self.heard.samples,
            audio_sha256=self.heard.audio_sha256,
            ground_truth_sha256=self.heard.ground_truth_sha256,
            code_sha256=self.identities.method(pair).sha256,
            shared_code_sha256=self.identities.shared.sha256,
            judge_sha256="" if judge is None else self.identities.judge.sha256,
            metrics_sha256={name: self.identities.metric(name, metrics[name]).sha256 for name in sorted(metrics)},
            versions=provenance.versions(),
            device=provenance.device_name(clean.batch.x.device),
            batch_size=self.forwarder.batch_size,
            explain_seconds=sum(one.seconds for one in made),
            score_seconds=time.perf_counter() - started + sum(one.seconds for one in borrowed),
            forwards=self.forwarder.count - before + sum(one.forwards for one in borrowed) + by_judge,
            peak_memory_bytes=max(peaks, default=None),
        )
        self.folder.write(label, name, self.index, rows, info)
        return Outcome()

    def context(self, pair: MethodOnClassifier) -> ScoringContext:
        """Explain the clips as they are scored, for whoever shows what was scored.

        Raises:
            XaibenchError: a clip cannot be read, a map cannot be ranked, or the method changes what is not its own.
        """
        clean = self._prepare()
        explainer = BoundExplainer(pair.method, self.forwarder, self.guard)
        made = self._maps.of(pair, explainer, clean, lambda what: self.guard.check(what, self._pristine))
        attribution = torch.cat([one.explanation.map for one in made])
        for clip, broken in zip(self.clips, defects(attribution), strict=True):
            if broken is not None:
                raise ExplanationError(f"{pair.name} explains nothing in {clip.id}: {broken}")
        return ScoringContext(clean, attribution, explainer, tuple(t for one in made for t in one.explanation.texts))

    def _applicable(self, metrics: dict[str, Metric], pair: MethodOnClassifier) -> dict[str, Metric]:
        return applicable(metrics, self.config.dataset, pair)

    def _failed(self, name: str, error: BaseException, metric: str = "") -> Outcome:
        """Say why a method or metric failed; what it has changed before that is put back, and not used."""
        reason = one_line(error) if isinstance(error, XaibenchError) else named(error)
        spoiled = isinstance(error, IsolationError)
        try:
            self.guard.check(f"before that {name}", self._pristine)
        except IsolationError as more:
            spoiled, reason = True, f"{reason}; {one_line(more)}"
        if spoiled:  # what was computed meanwhile may be of another classifier, or of other clips
            self._clean = None
            self._maps.forget()
        return Outcome(reason, metric, traceback=formatted(error))

    def _earlier(self, name: str, info: PartInfo) -> Metric:
        """Make a metric anew that only the earlier run was given."""
        with contextlib.suppress(RegistryError):
            metric: Metric = registry.create("metrics", name)
            if self.identities.metric(name, metric).sha256 == info.metrics_sha256[name]:
                return metric
        raise ResultsError(
            f"{self.folder.path} holds scores of the metric {name}, which is not the installed one of this name; "
            "give it again, or choose another --out"
        )

    def _check_same(self, pair: MethodOnClassifier, info: PartInfo) -> None:
        """Refuse a part that was made of anything else: what would differ must not end in one table."""
        name = pair.label
        path = self.folder.part(self.loaded.label, name, self.index)
        if info.classifier_sha256 != self.loaded.identity:
            raise ResultsError(
                f"{path} was scored with another {self.loaded.label} (weights, temperature or classes differ); "
                "choose another --out"
            )
        if info.method.parameters != provenance.plain(pair.method.parameters):
            raise ResultsError(f"{path} was made with other parameters of {name}; choose another --out")
        if info.audio_sha256 != self.heard.audio_sha256:
            raise ResultsError(f"{path} was made with other sound in the same clips; choose another --out")
        if info.ground_truth_sha256 != self.heard.ground_truth_sha256:
            raise ResultsError(f"{path} was made with another ground truth of the same clips; choose another --out")
        code = {name: (info.code_sha256, self.identities.method(pair).sha256)}
        for metric, then in info.metrics_sha256.items():
            if metric in self.config.metrics:
                code[f"metric {metric}"] = then, self.identities.metric(metric, self.config.metrics[metric]).sha256
        for what, (then, now) in code.items():
            if then != now:
                raise ResultsError(
                    f"{path} was made by other code of {what}, of {self.loaded.label}, or of xaibench; choose another "
                    f"--out, or delete {path.parent} to score it again"
                )

    def _prepare(self) -> Clean:
        if self._clean is None:
            self._clean = self.heard.clean(self.forwarder)
            self._pristine = Clips(self._clean.batch, self._clean.target)
        return self._clean

    def _rows(
        self,
        pair: MethodOnClassifier,
        explainer: BoundExplainer,
        explanation: Explanation,
        clean: Clean,
        metrics: dict[str, Metric],
        judge: Forwarder | None,
    ) -> tuple[pd.DataFrame, list[Answer]]:
        """Score every metric; return the rows, and the answers that were there before but cost this method too."""
        broken = [
            one or other for one, other in zip(self.heard.nothing_to_explain(), defects(explanation.map), strict=True)
        ]
        # A broken map is scored as zeros so that its neighbours can be; its values are discarded.
        usable = torch.tensor([reason is None for reason in broken], device=explanation.map.device)
        attribution = torch.where(usable[:, None, None], explanation.map, 0.0)
        context = ScoringContext(clean, attribution, explainer, judge=judge)
        # A stranger's perturbations may fail; they do so by the name of their metric.
        ours = {name: metric for name, metric in metrics.items() if is_ours(metric)}
        context.require([one for metric in ours.values() for one in metric.perturbations(pair.areas)])
        frames = []
        for name, metric in sorted(metrics.items()):
            for area in pair.areas if metric.per_area else (None,):
                context.broken.zero_()
                try:
                    with self.guard.watched(f"metric {name}", clean.batch, clean.target):
                        if name not in ours:
                            context.require(metric.perturbations(pair.areas))
                        scored = _score(name, metric, context, area)
                except (Exception, SystemExit) as error:
                    raise _MetricFailed(name) from error
                nan = [_NOT_FINITE if one else None for one in context.broken.tolist()]
                why = [first or second for first, second in zip(broken, nan, strict=True)]
                if metric.needs_ground_truth:
                    why = [first or second for first, second in zip(why, self.heard.undecided, strict=True)]
                frames.append(self._frame(pair, name, area, scored, why))
        return pd.concat(frames, ignore_index=True), list(context.borrowed.values())

    def _frame(
        self, pair: MethodOnClassifier, metric: str, area: float | None, scored: Scores, why: Sequence[str | None]
    ) -> pd.DataFrame:
        assert self._clean is not None
        clean, known, target = self._clean, self.loaded.classifier.classes, self.config.protocol.target
        predicted = [known[c] for c in clean.predicted.tolist()]
        labels = [self.config.dataset.labels(clip) for clip in self.clips]
        reasons = [first or second for first, second in zip(why, scored.reasons, strict=True)]
        values = scored.values.tolist()
        for i, value in enumerate(values):
            if reasons[i] is None and not torch.isfinite(torch.tensor(value)):
                reasons[i] = f"{metric} is {value}"
        return pd.DataFrame(
            {
                "dataset": self.config.dataset.name,
                "fold": [clip.fold for clip in self.clips],
                "clip": [clip.id for clip in self.clips],
                "src_file": [clip.src_file for clip in self.clips],
                "label": [BETWEEN_LABELS.join(one) if target == PREDICTED else one[0] for one in labels],
                "predicted": predicted,
                "correct": [
                    one in true if set(true) & set(known) else None for true, one in zip(labels, predicted, strict=True)
                ],
                "classifier": self.loaded.label,
                "method": pair.name,
                "mask": SOFT if pair.soft else EQUAL_AREA,
                "protocol": self.config.protocol.id,
                "fill": self.config.protocol.fill,
                "target": target,
                "audible_share": clean.audible_share.tolist(),
                "p_fill": clean.p_nothing.tolist(),
                "metric": metric,
                "area": area,
                "value": [None if reason else value for value, reason in zip(values, reasons, strict=True)],
                "reason": reasons,
            }
        ).astype({"area": "float64", "value": "float64"})


class _MetricFailed(Exception):
    """A metric failed; its cause says how."""

    def __init__(self, metric: str) -> None:
        super().__init__(metric)
        self.metric = metric


def _score(name: str, metric: Metric, context: ScoringContext, area: float | None) -> Scores:
    if metric.higher_is_better not in (True, False):
        wrong = f"higher_is_better is {metric.higher_is_better!r}, expected True or False"
        raise XaibenchError(f"metric {name} failed: {wrong}")
    try:
        scored = metric.score(context, area)
    except Exception as error:
        raise XaibenchError(f"metric {name} failed: {named(error)}") from error
    if not isinstance(scored, Scores):
        raise XaibenchError(f"metric {name} failed: score() returned {type(scored).__name__}, expected Scores")
    if tuple(scored.values.shape) != (len(context),) or len(scored.reasons) != len(context):
        raise XaibenchError(
            f"metric {name} failed: values have shape {tuple(scored.values.shape)} with {len(scored.reasons)} "
            f"reasons, expected one of each for {len(context)} clips"
        )
    beyond = out_of_bounds(scored.values[scored.values.isfinite()].double().cpu().numpy(), *metric.bounds)
    if len(beyond):
        low, high = metric.bounds
        raise XaibenchError(f"metric {name} failed: it is {beyond[0]:g}, and its bounds are {low:g} and {high:g}")
    return scored


def is_ours(thing: object) -> bool:
    """Tell whether an object's class is of xaibench itself."""
    return type(thing).__module__.partition(".")[0] == CORE


def formatted(error: BaseException) -> str:
    """Return the traceback of an error, with those of its causes."""
    return "".join(traceback.format_exception(error))
