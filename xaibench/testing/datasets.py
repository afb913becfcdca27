"""The contract of datasets."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xaibench.errors import DataError, named
from xaibench.sound import audio
from xaibench.sound.dataset import Clip, Dataset, SoundEvent
from xaibench.sound.domain import Domain
from xaibench.sound.findings import Finding
from xaibench.sound.randomness import seeded
from xaibench.storage.cards import NAME
from xaibench.testing.common import check_words, require

_CLIPS = 4  # whose sound is heard
_RATES = (8_000, 44_100)
_SAME_SECONDS = 0.001  # two rates round a length differently


def check_dataset(dataset: Dataset | type[Dataset]) -> None:
    """Check every promise of a dataset: all of its list of clips, and the sound of a few of them.

    Args:
        dataset: a dataset, or its class if it reads no folder.

    Raises:
        AssertionError: the promise that is broken.
    """
    if isinstance(dataset, type):
        require(not dataset.reads_folder, "it is read from a folder; give an object, made with a small folder")
        again: Dataset = dataset()
        dataset = dataset()
        require(again.clips == dataset.clips, "made twice, it has two lists of clips; draw from a seed of its own")
    _check_facts(dataset)
    _check_clips(dataset)
    for clip in _few(dataset):
        _check_sound(dataset, clip)
        _check_rates(dataset, clip)
        _check_ground_truth(dataset, clip)
        _check_events(dataset, clip)


def _check_facts(dataset: Dataset) -> None:
    check_words(dataset, ("name", "licence"))
    require(
        re.fullmatch(NAME, dataset.name), f"name is {dataset.name!r}; use letters, digits, dots, dashes, underscores"
    )
    classes = dataset.classes
    words = isinstance(classes, tuple) and classes and all(isinstance(one, str) and one for one in classes)
    require(words, f"classes must be a tuple of names, not {classes!r}")
    require(len(set(classes)) == len(classes), f"two classes have the same name: {classes}")
    seconds = dataset.seconds
    known = seconds is None or (isinstance(seconds, int | float) and seconds > 0)
    require(known, f"seconds must be the length of every clip, or None, not {seconds!r}")
    for flag in ("has_ground_truth", "has_events", "has_two_sounds", "reads_folder", "takes_columns"):
        require(isinstance(getattr(dataset, flag), bool), f"{flag} must be True or False")


def _check_clips(dataset: Dataset) -> None:
    """Ids, folds, labels, recordings, and the fingerprint of all that."""
    clips = dataset.clips
    good = isinstance(clips, tuple) and clips and all(isinstance(one, Clip) for one in clips)
    require(good, "clips must be a tuple of xaibench.Clip, at least one")
    seen: set[str] = set()
    for clip in clips:
        where = f"clip {clip.id!r}"
        # An id becomes the name of a file, where maps are written.
        plain = isinstance(clip.id, str) and clip.id not in {"", ".", ".."} and not set(clip.id) & set("/\\\0")
        require(plain, f"{where}: its id must be a text that can name a file")
        require(clip.id not in seen, f"two clips have the id {clip.id!r}")
        seen.add(clip.id)
        require(
            _is_whole(clip.fold) and clip.fold >= 1, f"{where}: fold must be a whole number from 1, not {clip.fold!r}"
        )
        require(
            _is_whole(clip.label) and 0 <= clip.label < len(dataset.classes),
            f"{where}: label must be a place in the {len(dataset.classes)} classes, not {clip.label!r}",
        )
        every = (clip.label, *clip.others)
        require(
            set(every) <= set(range(len(dataset.classes))) and len(set(every)) == len(every),
            f"{where}: others must be places in the {len(dataset.classes)} classes, each once, not {clip.others!r}",
        )
        require(
            isinstance(clip.src_file, str) and clip.src_file,
            f"{where}: src_file must name its recording, not {clip.src_file!r}; a clip of its own is its own recording",
        )
    folds = sorted({clip.fold for clip in clips})
    found = dataset.in_folds(folds)
    require(found == list(clips), "in_folds() of all folds is not the list of all clips, in its order")
    tested = dataset.test_folds
    require(tested and set(tested) <= set(folds), f"test_folds must be some of the folds {folds}, not {tested}")
    mark = dataset.fingerprint()
    require(isinstance(mark, str) and mark, f"fingerprint() must be a text, not {mark!r}")
    require(dataset.fingerprint() == mark, "fingerprint() changes from one call to the next")


def _few(dataset: Dataset) -> list[Clip]:
    """A clip of each of the first classes, the last one, and no more than `_CLIPS`."""
    first = {clip.label: clip for clip in reversed(dataset.clips)}
    chosen = [first[label] for label in sorted(first)][: _CLIPS - 1]
    last = dataset.clips[-1]
    return chosen if last in chosen else [*chosen, last]


def _check_sound(dataset: Dataset, clip: Clip) -> None:
    """The sound of a clip: its form, and that it is the same each time."""
    where = f"waveform() of {clip.id}"
    samples = None if dataset.seconds is None else round(dataset.seconds * audio.SAMPLE_RATE)
    waveform = _heard(where, partial(dataset.waveform, clip), samples)
    kept = waveform.copy()
    if waveform.flags.writeable:
        waveform[:] = 0
    with seeded(1):
        again = dataset.waveform(clip)
    require(
        np.array_equal(again, kept), f"{where} gives another sound each time, or what its caller has written into it"
    )
    seconds = len(kept) / audio.SAMPLE_RATE
    require(
        abs(dataset.length(clip) - seconds) < _SAME_SECONDS,
        f"length() of {clip.id} is {dataset.length(clip):g} s, and waveform() lasts {seconds:g} s",
    )
    unlimited = dataset.unlimited_waveform(clip)
    require(
        np.array_equal(np.clip(unlimited, -1, 1), kept),
        f"unlimited_waveform() of {clip.id}, cut to [-1, 1], is another",
    )
    try:
        found = dataset.findings(clip)
    except Exception as error:
        raise AssertionError(f"findings() of {clip.id} raised {named(error)}") from error
    good = isinstance(found, tuple) and all(isinstance(one, Finding) for one in found)
    require(good, f"findings() of {clip.id} must be a tuple of findings, not {found!r}")


def _check_rates(dataset: Dataset, clip: Clip) -> None:
    """The sound of a clip as classifiers of other rates and lengths hear it."""
    kept = dataset.waveform(clip)
    require(
        np.array_equal(dataset.waveform_at(clip, audio.SAMPLE_RATE), kept),
        f"waveform_at() of {clip.id} at {audio.SAMPLE_RATE} Hz is not its waveform()",
    )
    for rate in _RATES:
        where = f"waveform_at() of {clip.id} at {rate} Hz"
        seconds = len(_heard(where, partial(dataset.waveform_at, clip, rate))) / rate
        own = len(kept) / audio.SAMPLE_RATE
        require(abs(seconds - own) < _SAME_SECONDS, f"{where} lasts {seconds:g} s, and waveform() {own:g} s")
    whole = dataset.waveform_at(clip, _RATES[0])
    for samples in (len(whole) // 2, len(whole) + 10_001):
        for long in audio.LONG:
            where = f"waveform_at() of {clip.id} with {samples} samples and long={long!r}"
            cut = _heard(where, partial(dataset.waveform_at, clip, _RATES[0], samples, long), samples)
            require(
                np.array_equal(cut, audio.of_length(whole, samples, long)),
                f"{where} is not the clip, cut or padded with zeros at its end",
            )


def _check_ground_truth(dataset: Dataset, clip: Clip) -> None:
    """What is known of the event of a clip, where it is known; and that it is refused where it is not."""
    if not dataset.has_ground_truth:
        for call in (dataset.ground_truth, dataset.stem):
            try:
                call(clip)
            except DataError:
                continue
            raise AssertionError(f"{call.__name__}() of {clip.id} gives something; set has_ground_truth = True")
        return
    own = len(dataset.waveform(clip))
    _check_bins(f"ground_truth() of {clip.id}", dataset.ground_truth(clip), audio.DOMAIN.shape(own))
    _heard(f"stem() of {clip.id}", partial(dataset.stem, clip), own, limited=False)
    whole = dataset.ground_truth_at(clip, audio.DOMAIN)
    require(
        np.array_equal(whole, dataset.ground_truth(clip)),
        f"ground_truth_at() of {clip.id} on the picture of 16 kHz is not its ground_truth()",
    )
    other, samples = Domain.at(_RATES[0]), own // 4
    where = f"ground_truth_at() of {clip.id} at {_RATES[0]} Hz"
    _check_bins(where, dataset.ground_truth_at(clip, other, samples, audio.CENTER), other.shape(samples))


def _check_events(dataset: Dataset, clip: Clip) -> None:
    """When something is heard in a clip, where it is known; and that it is refused where it is not."""
    if not dataset.has_events:
        try:
            dataset.events(clip)
        except DataError:
            return
        raise AssertionError(f"events() of {clip.id} gives something; set has_events = True")
    events, lasts = dataset.events(clip), dataset.length(clip)
    good = isinstance(events, tuple) and all(isinstance(one, SoundEvent) for one in events)
    require(good, f"events() of {clip.id} must be a tuple of xaibench.SoundEvent, not {events!r}")
    require(list(events) == sorted(events), f"events() of {clip.id} are not sorted")
    for one in events:
        require(0 <= one.start < one.end, f"an event of {clip.id} lasts from {one.start} to {one.end} s")
    require(any(one.start < lasts for one in events) or not events, f"all events of {clip.id} are after its end")


def _heard(where: str, ask: Callable[[], Any], samples: int | None = None, limited: bool = True) -> np.ndarray:
    """Ask for a sound of any or a known length, and assert its form."""
    try:
        sound = ask()
    except Exception as error:
        raise AssertionError(f"{where} raised {named(error)}") from error
    form = isinstance(sound, np.ndarray) and sound.dtype == np.float32 and sound.ndim == 1 and len(sound)
    form = form and samples in (None, len(sound))
    is_like = f"{sound.dtype} {sound.shape}" if isinstance(sound, np.ndarray) else type(sound).__name__
    require(form, f"{where} is {is_like}, expected float32 ({'samples' if samples is None else samples},)")
    require(np.isfinite(sound).all(), f"{where} holds NaN or infinite samples")
    require(not limited or np.abs(sound).max() <= 1, f"{where} leaves [-1, 1]; clip it, or make it softer")
    found: np.ndarray = sound
    return found


def _check_bins(where: str, known: Any, shape: tuple[int, int]) -> None:
    form = isinstance(known, np.ndarray) and known.dtype == np.bool_ and known.shape == shape
    is_like = f"{known.dtype} {known.shape}" if isinstance(known, np.ndarray) else type(known).__name__
    require(form, f"{where} is {is_like}, expected bool {shape}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
