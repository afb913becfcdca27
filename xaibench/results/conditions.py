"""What the scores of one group were made with: what may not differ is refused, what may is named."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from xaibench.errors import ResultsError
from xaibench.results import agreement
from xaibench.results.agreement import Code
from xaibench.results.parts import Part

# What may differ within a group, in the order in which it is named.
CODE, VERSIONS, DEVICE, THREADS = KINDS = ("code", "versions", "device", "threads")
_THREADS = re.compile(r", (\d+) threads")


def refuse_mixtures(parts: Sequence[Part]) -> None:
    """Refuse other sound or ground truth of a clip, other weights, judges or parameters, other directions of a metric.

    These may differ between folds: in a cross-validation each fold has classifiers of its own.

    Raises:
        ResultsError: two folders cannot be compared; the error names both, and the remedy.
    """
    known: dict[tuple[str, ...], tuple[object, Part]] = {}
    for part in parts:
        info, classifier = part.info, part.classifier
        facts: list[tuple[tuple[str, ...], object, str]] = []
        heard = str(info.sample_rate), str(info.samples)  # classifiers of several rates hear the same clip
        for clip, sha256 in info.audio_sha256.items():
            facts.append((("sound", clip, *heard), sha256, f"clip {clip} had other sound"))
        for clip, sha256 in info.ground_truth_sha256.items():
            facts.append((("truth", clip, *heard), sha256, f"clip {clip} had another ground truth"))
        for fold in map(str, part.table["fold"].unique().to_pylist()):
            weights = f"{classifier} had other weights, temperature or classes"
            facts.append((("weights", classifier, fold), info.classifier_sha256, weights))
            if info.judge_sha256:
                judge = f"{classifier} had another judge"
                facts.append((("judge", classifier, fold), info.judge_sha256, judge))
            method = ("parameters", classifier, fold, info.method.name)
            facts.append((method, info.method.parameters, f"{info.method.name} had other parameters"))
        for metric, about in info.metrics.items():
            facts.append((("direction", metric), about.higher_is_better, f"the metric {metric} had another direction"))
        for key, value, words in facts:
            before, other = known.setdefault(key, (value, part))
            if before != value:
                raise ResultsError(
                    f"{other.folder} and {part.folder} cannot be compared: {words}; {_mend(other, part)}"
                )


def _mend(one: Part, other: Part) -> str:
    if one.run == other.run:
        return "delete the one that is wrong, and give the command of the run again"
    return "choose one of the two runs with --run, or score one of them again like the other"


def differences(parts: Sequence[Part]) -> pd.DataFrame:
    """Name what the scores of a line were made with that those of most clips of its classifier were not.

    Code counts as the same where scores came out the same when that code scored them again
    (`results.agreement`). Code that could not be identified counts as the same within a run only.

    Returns:
        One row per (classifier, method, mask, metric); `differs_in` is of KINDS, separated by semicolons.
    """
    records, agreed = [], agreement.holding(parts)
    for classifier in sorted({part.classifier for part in parts}):
        own = [part for part in parts if part.classifier == classifier]
        odd = {kind: _unusual(own, value) for kind, value in _VALUES.items()}
        for metric in sorted({metric for part in own for metric in part.info.metrics_sha256}):
            scored = [part for part in own if metric in part.info.metrics_sha256]
            odd[CODE] = _of_other_code(scored, metric, agreed)
            for method, mask in sorted({_line(part) for part in scored}):
                kinds = ";".join(kind for kind in KINDS if (method, mask) in odd[kind])
                records.append((classifier, method, mask, metric, kinds))
    return pd.DataFrame(records, columns=["classifier", "method", "mask", "metric", "differs_in"])


_VALUES: dict[str, Callable[[Part], Hashable]] = {
    VERSIONS: lambda part: json.dumps(part.info.versions, sort_keys=True),
    DEVICE: lambda part: _THREADS.sub("", part.info.device),
    THREADS: lambda part: tuple(_THREADS.findall(part.info.device)),
}


def _line(part: Part) -> tuple[str, str]:
    return part.info.method.name, part.info.method.mask


def _unusual(parts: Sequence[Part], value: Callable[[Part], Hashable]) -> set[tuple[str, str]]:
    """Find the lines of which a part has another value than most clips have."""
    counts = Counter[Hashable]()
    for part in parts:
        counts[value(part)] += part.info.clips
    usual = counts.most_common(1)[0][0]
    return {_line(part) for part in parts if value(part) != usual}


def _of_other_code(parts: Sequence[Part], metric: str, agreed: Mapping[Path, Sequence[Code]]) -> set[tuple[str, str]]:
    """Find the lines of a metric that were made by other code than most, or by several states of their own.

    The codes of two methods always differ; what they share, and the metric, must be the same.
    """
    codes: list[dict[Hashable, set[Hashable]]] = []  # of each part: by what is shared, the codes of the method
    counts = Counter[Hashable]()
    for part in parts:
        found: dict[Hashable, set[Hashable]] = {}
        for code in (agreement.code_of(part.info), *agreed.get(part.folder, ())):
            whole, shared, by_metric = code.code_sha256, code.shared_code_sha256, code.metrics_sha256.get(metric, "")
            unknown = f"that of {part.run}"
            found.setdefault((shared or unknown, by_metric or unknown), set()).add(whole or unknown)
        codes.append(found)
        counts.update(dict.fromkeys(found, part.info.clips))
    usual = counts.most_common(1)[0][0]
    own: dict[tuple[str, str], set[Hashable]] = {}
    for part, found in zip(parts, codes, strict=True):
        same = found.get(usual, set())
        own[_line(part)] = own.get(_line(part), same) & same
    return {line for line, states in own.items() if not states}
