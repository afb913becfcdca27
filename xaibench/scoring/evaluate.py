"""The only loop: clips -> explanations -> evidence -> per-clip rows, part by part."""

from __future__ import annotations

from collections.abc import Callable

from xaibench.classifiers import judge as judges
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.classifiers.memory import freed_memory_reused
from xaibench.errors import UnsupportedPairError
from xaibench.results.store import RunFolder
from xaibench.scoring.config import RunConfig, lacking, methods_on
from xaibench.scoring.engine import Engine
from xaibench.scoring.local import Local
from xaibench.scoring.loop import Event
from xaibench.scoring.part import Scoring

_ALONE = Local()


@freed_memory_reused()
def evaluate(
    config: RunConfig,
    loaded: LoadedClassifier,
    folder: RunFolder,
    report: Callable[[Event], None],
    engine: Engine = _ALONE,
) -> None:
    """Score every sensible method for one classifier, leaving out what `folder` has already.

    Parts are written as they are finished. A method that fails is reported and left; the others go on. Where a metric
    fails, the method goes on without it. Parts that plugins take part in are scored in a worker process
    (`scoring.workers`), and all parts are where the engine has several workers.

    Raises:
        UnsupportedPairError: no method or no metric is left that makes sense.
        ResultsError: the folder holds parts made with other weights, parameters or sound.
        XaibenchError: a clip does not fit in memory.
    """
    found, refused = methods_on(config, loaded)
    if len(refused) == len(config.asked):
        lines = "; ".join(f"{name} {reason}" for name, reason in refused.items())
        raise UnsupportedPairError(f"nothing to run on {loaded.label}: {lines}")
    needed = {lacking(config.dataset, one) for one in config.metrics.values()} - {None}
    if not found and all(lacking(config.dataset, one) for one in config.metrics.values()):
        what = " and no ".join(sorted(map(str, needed)))
        annotate = ", or give --events" if needed == {"events"} else ""
        raise UnsupportedPairError(
            f"{', '.join(config.metrics)}: not on {config.dataset.name}, which has no {what}; "
            f"choose another --metric or --dataset synth{annotate}"
        )
    if not found and all(one.needs_judge for one in config.metrics.values()):
        try:
            judges.find(loaded, config.dataset.name, config.explainers)
        except UnsupportedPairError as error:
            raise UnsupportedPairError(f"{', '.join(config.metrics)}: {loaded.label} {error}") from None
    if not found:
        raise UnsupportedPairError(
            f"{', '.join(config.metrics)}: says nothing of the methods here, because it reads soft masks only, which "
            "they do not make, or maps, which a control that attenuates has not; choose another --metric or --method"
        )
    scoring = Scoring(config, loaded, folder)
    for pair in found:
        folder.expect(loaded.label, pair.label, len(scoring.parts))
        doubt = scoring.identities.method(pair).doubt
        if doubt:
            report(Event("not reused", loaded.label, pair.label, 0, doubt))
        cost = pair.method.forwards_parameter
        if cost is not None and not pair.soft:  # a soft mask shares the maps
            reason = f"{pair.method.parameters[cost]:,} forward passes a clip, by its parameter {cost}"
            report(Event("costly", loaded.label, pair.label, 0, reason))
    engine.score(scoring, found, report)
