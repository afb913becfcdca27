"""How much of an order of methods survives another way of scoring, other clips, or chance.

Orders are compared by Kendall's tau-b of the means of the methods. An order is itself uncertain, so a tau stands beside
that between two halves of the recordings of one condition. Halves share no chance; orders of the same clips share it,
and may agree better.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kendalltau

from xaibench.errors import ResultsError
from xaibench.results.comparison import by_clip
from xaibench.results.orders import Condition, rows_of
from xaibench.results.statistics import ALPHA, corrected_p

RESAMPLES = 1_000
SPLITS = 200


class Stability:
    """The orders of methods under one condition and others, which may be of other clips.

    Attributes:
        reference: the condition that the others are compared with.
        others: in the order of the rows.
    """

    def __init__(self, reference: Condition, others: Sequence[Condition]) -> None:
        self.reference, self.others = reference, tuple(others)
        self._tables = {one.title: _by_classifier(one) for one in (reference, *others)}
        if len(self._tables) <= len(self.others):
            raise ResultsError("two conditions have the same title; call them otherwise")

    @property
    def classifiers(self) -> list[str]:
        """Classifiers of the reference."""
        return sorted(self._tables[self.reference.title])

    def taus(self, *, resamples: int = RESAMPLES, splits: int = SPLITS, seed: int = 0) -> pd.DataFrame:
        """Compare the order under every other condition with that of the reference, on the methods that both have.

        Returns:
            Columns classifier, condition, methods (how many), clips and recordings (of the other condition), tau, low
            and high (95% percentile interval: recordings resampled, the same in both conditions where they are of the
            same clips), and split_half: the mean tau between two random halves of the recordings of the reference, with
            the methods of the row. Where the other condition has only some of the reference's clips, both are of these.
        """
        lines = []
        for classifier in self.classifiers:
            for other in self.others:
                first, second = (self._table(one, classifier) for one in (self.reference, other))
                if second is None or first is None:
                    continue
                methods = [name for name in first.values.index if name in set(second.values.index)]
                first, second = _at_clips_of(first.of(methods), second.of(methods)), second.of(methods)
                low, high = _interval(first, second, resamples, seed)
                lines.append(
                    {
                        "classifier": classifier,
                        "condition": other.title,
                        "methods": len(methods),
                        "clips": second.values.shape[1],
                        "recordings": len(set(second.recordings)),
                        "tau": _tau(first.means(), second.means()),
                        "low": low,
                        "high": high,
                        "split_half": _split_half(first, splits, seed),
                    }
                )
        return pd.DataFrame(lines)

    def survivors(self) -> pd.DataFrame:
        """Find the pairs that every condition with the classifier tells apart with the same sign.

        Two methods are told apart by a two-sided test by flipping the signs of recordings, Holm-corrected over all
        pairs of classifier and condition, of the methods that all conditions have.

        Returns:
            Columns classifier, better, worse.
        """
        pairs = [
            (classifier, methods[i], methods[j])
            for classifier, (methods, signs) in self._signs.items()
            for i, j in np.argwhere((signs > 0).all(axis=0))
        ]
        return pd.DataFrame(pairs, columns=["classifier", "better", "worse"])

    def counts(self) -> pd.DataFrame:
        """Count the pairs of methods.

        Returns:
            Columns classifier, pairs (of the methods that all conditions have), told_apart (by the reference) and
            surviving (`survivors`).
        """
        lines = [
            (classifier, len(methods) * (len(methods) - 1) // 2, (signs[0] > 0).sum(), (signs > 0).all(axis=0).sum())
            for classifier, (methods, signs) in self._signs.items()
        ]
        return pd.DataFrame(lines, columns=["classifier", "pairs", "told_apart", "surviving"])

    @cached_property
    def _signs(self) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
        """By classifier: the methods of all conditions, and which are better, (conditions, methods, methods)."""
        found = {}
        for classifier in self.classifiers:
            known = [self._table(one, classifier) for one in (self.reference, *self.others)]
            tables = [table for table in known if table is not None]
            shared = set.intersection(*(set(table.values.index) for table in tables))
            methods = [str(name) for name in tables[0].values.index if name in shared]
            found[classifier] = methods, np.stack([table.of(methods).signs() for table in tables])
        return found

    def _table(self, condition: Condition, classifier: str) -> _Table | None:
        return self._tables[condition.title].get(classifier)


class _Table:
    """Scores (methods, clips) of one classifier under one condition, and the recordings of the clips."""

    def __init__(self, values: pd.DataFrame, recordings: NDArray[np.str_]) -> None:
        self.values, self.recordings = values, recordings

    def of(self, methods: list[str]) -> _Table:
        return _Table(self.values.loc[methods], self.recordings)

    def at(self, clips: set[str]) -> _Table:
        there = np.isin(self.values.columns.to_numpy(str), sorted(clips))
        return _Table(self.values.loc[:, there], self.recordings[there])

    def means(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Average over the clips, each as often as its weight says."""
        values = self.values.to_numpy()
        counted = ~np.isnan(values) * (1.0 if weights is None else weights)
        with np.errstate(invalid="ignore"):
            return np.asarray((np.nan_to_num(values) * counted).sum(axis=1) / counted.sum(axis=1))

    def signs(self) -> NDArray[np.float64]:
        """Tell of every two methods which is better: (methods, methods), 0 where they are not told apart."""
        values = self.values.to_numpy()
        first, second = np.triu_indices(len(values), 1)
        gaps = values[first] - values[second]
        p = corrected_p(gaps, self.recordings, "two-sided")
        found = np.zeros((len(values), len(values)))
        found[first, second] = np.where(p <= ALPHA, np.sign(np.nansum(gaps, axis=1)), 0)
        return found - found.T


def _by_classifier(condition: Condition) -> dict[str, _Table]:
    found: dict[str, _Table] = {}
    for label, own in rows_of(condition).groupby("classifier"):
        name = str(label).partition("@")[0]  # other weights, such as those of another seed, are compared with these
        if name in found:
            raise ResultsError(f"{condition.run} has several weights of {name}; give a run with one of them")
        found[name] = _Table(*by_clip(own, ["method"]))
    return found


def _at_clips_of(first: _Table, second: _Table) -> _Table:
    """Keep the clips of the first that the second has, if it has no others: a shorter run is compared on its clips."""
    own, other = (set(map(str, table.values.columns)) for table in (first, second))
    return first.at(other) if other <= own else first


def _tau(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(kendalltau(first, second, nan_policy="omit").statistic)


def _interval(first: _Table, second: _Table, resamples: int, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    shared = set(first.recordings) & set(second.recordings)
    together = shared == set(second.recordings) or shared == set(first.recordings)
    names = sorted(set(first.recordings) | set(second.recordings))
    found = []
    for _ in range(resamples):
        if together:  # what one condition hears of a recording, the other one hears, too
            drawn = dict(zip(names, generator.multinomial(len(names), [1 / len(names)] * len(names)), strict=True))
            weights = [np.array([drawn[name] for name in table.recordings], float) for table in (first, second)]
        else:
            weights = [_weights(table.recordings, generator) for table in (first, second)]
        found.append(_tau(first.means(weights[0]), second.means(weights[1])))
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)


def _weights(recordings: NDArray[np.str_], generator: np.random.Generator) -> NDArray[np.float64]:
    names, of_clip = np.unique(recordings, return_inverse=True)
    return generator.multinomial(len(names), [1 / len(names)] * len(names))[of_clip].astype(float)


def _split_half(table: _Table, splits: int, seed: int) -> float:
    generator, found = np.random.default_rng(seed), []
    names, of_clip = np.unique(table.recordings, return_inverse=True)
    for _ in range(splits):
        half = np.isin(of_clip, generator.permutation(len(names))[: len(names) // 2])
        found.append(_tau(table.means(half.astype(float)), table.means((~half).astype(float))))
    return float(np.nanmean(found))
