"""Draws of recordings and of signs, in blocks: thousands of recordings would take gigabytes in one piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENTRIES = 5_000_000  # of a matrix of draws that is kept in one piece: that of 500 recordings, 40 MB
_BLOCK = 256  # rows or pairs at a time: 10,000 draws of them are 20 MB


def sum_by_recording(values: Floats, recordings: NDArray) -> Floats:
    """(rows, clips) summed to (rows, recordings), recordings sorted."""
    order = np.argsort(recordings, kind="stable")
    starts = np.unique(recordings[order], return_index=True)[1]
    # The last digit of a sum depends on how its numbers lie in memory; tables of pandas may lie the other way.
    return np.add.reduceat(np.ascontiguousarray(values)[:, order], starts, axis=1)


def in_blocks(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Cut numbers of rows or pairs into blocks."""
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def alike(table: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find equal rows; return the first of each kind, and the kind of every row. (`numpy.unique` would sort them.)"""
    kinds: dict[bytes, int] = {}
    kind = np.array([kinds.setdefault(row.tobytes(), len(kinds)) for row in table], np.intp)
    return np.unique(kind, return_index=True)[1], kind


def recording_weights(recordings: int, resamples: int, seed: int) -> Iterable[Floats]:
    """How often each recording is drawn in each bootstrap sample: (resamples, recordings), cut into blocks of samples.

    Thousands of recordings would take gigabytes in one piece; the draws are the same however they are cut.
    """
    if recordings * resamples <= _ENTRIES:
        return _kept_weights(recordings, resamples, seed)
    return _drawn_weights(recordings, resamples, seed)


@lru_cache(maxsize=4)
def _kept_weights(recordings: int, resamples: int, seed: int) -> tuple[Floats, ...]:
    return tuple(_drawn_weights(recordings, resamples, seed))


def _drawn_weights(recordings: int, resamples: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    for count in _cut(resamples, recordings):
        flat = rng.integers(recordings, size=(count, recordings)) + recordings * np.arange(count)[:, None]
        counts = np.bincount(flat.ravel(), minlength=count * recordings)
        yield counts.reshape(count, recordings).astype(float)


def recording_signs(recordings: int, flips: int, seed: int) -> Iterable[Floats]:
    """Signs other than the observed ones: (flips, recordings), in blocks of flips; all of them if they are few."""
    if recordings * flips <= _ENTRIES or 2**recordings - 1 <= flips:
        return _kept_signs(recordings, flips, seed)
    return _drawn_signs(recordings, flips, seed)


@lru_cache(maxsize=4)
def _kept_signs(recordings: int, flips: int, seed: int) -> tuple[Floats, ...]:
    if 2**recordings - 1 <= flips:
        bits = np.arange(1, 2**recordings)[:, None] >> np.arange(recordings)
        return ((1 - 2 * (bits & 1)).astype(float),)
    return tuple(_drawn_signs(recordings, flips, seed))


def _drawn_signs(recordings: int, flips: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    for count in _cut(flips, recordings):
        yield 1.0 - 2.0 * rng.integers(2, size=(count, recordings)).astype(float)


def _cut(rows: int, columns: int) -> Iterator[int]:
    """Cut rows into blocks of a fifth of _ENTRIES, for making one takes five times its memory; give their numbers."""
    most = max(1, _ENTRIES // 5 // columns)
    for start in range(0, rows, most):
        yield min(most, rows - start)
