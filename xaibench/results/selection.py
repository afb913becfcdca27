"""Which runs are compared, and with which others: runs are chosen, and grouped by what makes them comparable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xaibench import registry
from xaibench.errors import ResultsError
from xaibench.results import store
from xaibench.results.parts import Part, frame, tolerance
from xaibench.results.store import Manifest

# Runs that differ in one of these are in different groups. They may differ in folds and in the number of clips.
CONDITIONS = ("dataset", "dataset_fingerprint", "protocol", "seed", "precision", "compiled", "fill", "target", "long")
_SCORE = ["classifier", "method", "mask", "metric", "area", "clip"]  # no two runs of a group have the same


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs whose scores may stand in one table.

    Attributes:
        name: the dataset, and what distinguishes the group from others on this dataset; part of file names.
        conditions: the manifest of the first run; the others share CONDITIONS with it.
        runs: their folders.
        parts: the finished parts of all of them, without what another of the runs has scored before.
        repeated: controls that several of the runs have scored on the same clips; they count once.
    """

    name: str
    conditions: Manifest
    runs: tuple[Path, ...]
    parts: tuple[Part, ...]
    repeated: tuple[str, ...] = ()

    def by_classifier(self) -> dict[str, list[Part]]:
        """Return the parts of each classifier, sorted by its name."""
        found: dict[str, list[Part]] = {}
        for part in self.parts:
            found.setdefault(part.classifier, []).append(part)
        return dict(sorted(found.items()))

    def rows(self) -> pd.DataFrame:
        """All per-clip rows, columns as in `parts.SCHEMA` and `group`."""
        return frame(part.table for part in self.parts).assign(group=self.name)


def select(
    runs: Sequence[Path],
    *,
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    seeds: Sequence[int] = (),
    names: Sequence[str] = (),
) -> list[Path]:
    """Choose runs by what their manifests say; an empty choice is no condition.

    Args:
        runs: run folders (`runs.find_runs`).
        datasets: names of datasets.
        protocols: names or ids of protocols.
        seeds: seeds.
        names: run folders, by path or by the name of the folder.

    Raises:
        ResultsError: nothing is left, or a value is that of no run.
    """
    known = [(run, store.read_manifest(run)) for run in runs]
    wanted: list[tuple[str, Sequence[object], Callable[[Path, Manifest, object], bool]]] = [
        ("dataset", datasets, lambda _, manifest, value: manifest.dataset == value),
        ("protocol", protocols, lambda _, manifest, value: manifest.protocol in {value, _protocol_id(str(value))}),
        ("seed", seeds, lambda _, manifest, value: manifest.seed == value),
        ("run", names, lambda run, _, value: value == run.name or Path(str(value)).resolve() == run.resolve()),
    ]
    left = known
    for what, values, matches in wanted:
        for value in values:
            if not any(matches(*one, value) for one in known):
                raise ResultsError(f"there is no run of the {what} {value}; {_present(known)}")
        left = [one for one in left if not values or any(matches(*one, value) for value in values)]
    if not left:
        raise ResultsError(f"no run is all that was chosen; {_present(known)}")
    return [run for run, _ in left]


def _protocol_id(name: str) -> str:
    return str(registry.load("protocols", name).id) if name in registry.names("protocols") else name


def _present(known: list[tuple[Path, Manifest]]) -> str:
    manifests = [manifest for _, manifest in known]
    present = {
        "datasets": sorted({manifest.dataset for manifest in manifests}),
        "protocols": sorted({manifest.protocol for manifest in manifests}),
        "seeds": [str(seed) for seed in sorted({manifest.seed for manifest in manifests})],
        "runs": sorted({run.name for run, _ in known}),
    }
    return "there are " + "; ".join(f"{what} {', '.join(each)}" for what, each in present.items())


def group(runs: Sequence[Path]) -> list[Group]:
    """Read runs and group those whose scores may be compared.

    A run joins runs of the same CONDITIONS if no clip was scored there by the same method on the same classifier,
    but for controls, which every run has: their scores count once, if both runs have the same. Where it could join
    several, it joins those of the same `--limit` first. Runs without scores are left out.

    Raises:
        ResultsError: a folder cannot be read, or no run has scores.
    """
    if not runs:
        raise ResultsError("no run to compare; make one with 'xaibench run'")
    alike: dict[tuple[object, ...], list[_Run]] = {}
    for path in map(Path, runs):
        run = _Run(path, store.read_manifest(path), store.read_parts(path))
        if run.parts:
            alike.setdefault(tuple(getattr(run.manifest, key) for key in CONDITIONS), []).append(run)
    if not alike:
        raise store.no_scores(runs[0])
    return _named([apart for same in alike.values() for apart in _apart(same)])


def classified_right(groups: Sequence[Group]) -> list[Group]:
    """Keep the clips that the classifier has right; groups get another name.

    Raises:
        ResultsError: there is no such clip.
    """
    found = []
    for one in groups:
        kept = [
            replace(part, table=part.table.filter(pc.fill_null(part.table["correct"], False))) for part in one.parts
        ]
        parts = tuple(part for part in kept if part.table.num_rows)
        if not parts:
            raise ResultsError(f"no clip of {one.name} is known to be classified right")
        found.append(replace(one, name=f"{one.name}-correct", parts=parts))
    return found


def left_out(runs: Sequence[Path]) -> str:
    """Say in one line which parts of runs a comparison leaves out, because they are not finished; or return ""."""
    stopped = {run: store.unfinished(run) for run in runs}
    count = sum(map(len, stopped.values()))
    empty = [run for run in runs if not store.parts_of(run) and not stopped[run]]
    where = [run for run in runs if stopped[run]] + empty
    if not where:
        return ""
    what = [f"{count} part{'s' * (count > 1)} not finished (scores without a description)"] if count else []
    what += [f"{len(empty)} run{'s' * (len(empty) > 1)} without scores"] if empty else []
    return f"left out: {' and '.join(what)}, in {', '.join(map(str, where))}; give the command of the run again"


def unreadable(runs: Sequence[Path]) -> str:
    """Say in one line which clips runs left out because they could not be read; or return ""."""
    found = {run: store.read_manifest(run).unreadable for run in runs}
    clips = list(dict.fromkeys(clip for each in found.values() for clip in each))
    if not clips:
        return ""
    more = f" and {len(clips) - 3} more" if len(clips) > 3 else ""
    where = ", ".join(str(run) for run, each in found.items() if each)
    return f"{len(clips)} clip{'s' * (len(clips) > 1)} could not be read ({', '.join(clips[:3])}{more}), in {where}"


def incomplete(runs: Sequence[Path]) -> str:
    """Say in one line which runs have not scored all that their commands were given for; or return ""."""
    found = []
    for run in runs:
        expected = store.expected(run)
        done = Counter((path.parent.parent.name, path.parent.name) for path in store.parts_of(run)) if expected else {}
        lacking = {key: parts for key, parts in expected.items() if done.get(key, 0) < parts}
        if lacking:
            (classifier, method), parts = min(lacking.items())
            more = f" and {len(lacking) - 1} more" * (len(lacking) > 1)
            has = done.get((classifier, method), 0)
            found.append(f"{run} ({method} on {classifier} has {has} of {parts} parts{more})")
    return f"not complete, or with parts that failed: {', '.join(found)}; 'xaibench status' says more" if found else ""


@dataclass(frozen=True)
class _Run:
    path: Path
    manifest: Manifest
    parts: list[Part]
    repeated: frozenset[str] = frozenset()  # controls of which another run has the same scores

    def scores(self) -> _Scores:
        """Hash what its rows are scores of."""
        table = pa.concat_tables([part.table.select([*_SCORE, "value"]) for part in self.parts]).to_pandas()
        allowed = [
            tolerance(part.table["metric"], part.info.metrics, part.table["value"].to_numpy()) for part in self.parts
        ]
        return _Scores(
            keys=np.asarray(pd.util.hash_pandas_object(table[_SCORE], index=False), np.uint64),
            values=table["value"].to_numpy(float),
            control=np.repeat([part.info.method.control for part in self.parts], list(map(len, allowed))),
            tolerance=np.concatenate(allowed),
        )

    def without(self, repeated: NDArray[np.bool_]) -> _Run:
        """Leave out rows, one flag for each in the order of the parts, and the parts of which nothing is left."""
        ends = np.cumsum([part.table.num_rows for part in self.parts])
        flags = np.split(repeated, ends[:-1])
        left = [
            part if not own.any() else replace(part, table=part.table.filter(pa.array(~own)))
            for part, own in zip(self.parts, flags, strict=True)
            if not own.all()
        ]
        names = {part.info.method.name for part, own in zip(self.parts, flags, strict=True) if own.any()}
        return replace(self, parts=left, repeated=frozenset(names))


class _Scores(NamedTuple):
    """Rows of runs: a hash of what is scored, the value, whether it is a control's, and what may come out otherwise."""

    keys: NDArray[np.uint64]
    values: NDArray[np.float64]
    control: NDArray[np.bool_]
    tolerance: NDArray[np.float64]

    def repeated_in(self, others: _Scores) -> NDArray[np.bool_] | None:
        """Tell which rows others have, too; None if they must not stand beside each other."""
        order = np.argsort(others.keys)
        place = order[np.searchsorted(others.keys, self.keys, sorter=order).clip(max=len(order) - 1)]
        repeated = others.keys[place] == self.keys
        mine, theirs = self.values[repeated], others.values[place[repeated]]
        near = (np.abs(mine - theirs) <= self.tolerance[repeated]) | (np.isnan(mine) & np.isnan(theirs))
        return repeated if self.control[repeated].all() and near.all() else None

    def joined(self, others: _Scores) -> _Scores:
        return _Scores(
            np.concatenate([self.keys, others.keys]),
            np.concatenate([self.values, others.values]),
            np.concatenate([self.control, others.control]),
            np.concatenate([self.tolerance, others.tolerance]),
        )


def _apart(runs: list[_Run]) -> list[list[_Run]]:
    """Divide runs of the same conditions so that none scores what another one has scored."""
    if len(runs) == 1:
        return [runs]
    divided: list[list[_Run]] = []
    scored: list[_Scores] = []

    # Whole runs first, then the shorter ones: what a short run may join does not depend on its name. Of controls that
    # several have, those of the run with the most parts count; an archive's path says nothing, it is a hash.
    def place_of(run: _Run) -> tuple[float, int, str, str]:
        return (-(run.manifest.limit or np.inf), -len(run.parts), run.path.name, str(run.path))

    for run in sorted(runs, key=place_of):
        own = run.scores()
        repeated = {i: found for i, others in enumerate(scored) if (found := own.repeated_in(others)) is not None}
        if not repeated:
            divided.append([run])
            scored.append(own)
            continue
        place = min(repeated, key=lambda i: run.manifest.limit not in {one.manifest.limit for one in divided[i]})
        divided[place].append(run.without(repeated[place]))
        scored[place] = scored[place].joined(own)
    return divided


def _named(groups: list[list[_Run]]) -> list[Group]:
    """Name groups by their dataset and, where several have the same, by what distinguishes them."""
    manifests = [runs[0].manifest for runs in groups]
    names = []
    for manifest in manifests:
        rivals = [other for other in manifests if other.dataset == manifest.dataset]
        varying = [key for key in CONDITIONS if len({getattr(other, key) for other in rivals}) > 1]
        names.append("-".join([manifest.dataset, *filter(None, (_word(manifest, key) for key in varying))]))
    taken = Counter(names)
    for i, runs in enumerate(groups):
        if taken[names[i]] > 1:
            names[i] += "-" + runs[0].path.name.removeprefix(f"{manifests[i].dataset}-")
    for i, name in enumerate(names):
        names[i] += f"-{i + 1}" if name in names[:i] else ""
    found = []
    for name, runs in zip(names, groups, strict=True):
        parts = tuple(part for run in runs for part in run.parts)
        found.append(
            Group(
                name=name,
                conditions=runs[0].manifest,
                runs=tuple(run.path for run in runs),
                parts=parts,
                repeated=tuple(sorted(frozenset().union(*(run.repeated for run in runs)))),
            )
        )
    return sorted(found, key=lambda one: (one.conditions.dataset, one.name))


def _word(manifest: Manifest, condition: str) -> str:
    value = getattr(manifest, condition)
    words = {
        "seed": f"seed{value}",
        "compiled": "compiled" if value else "",
        "dataset_fingerprint": f"clips{str(value)[:8]}",
        "fill": f"fill-{value}",
        "target": f"target-{value}",
        "long": f"long-{value}",
    }
    return words.get(condition, str(value))
