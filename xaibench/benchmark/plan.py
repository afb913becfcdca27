"""What a run will cost: parts, passes, time, bytes and memory, from a few clips that are scored for it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from xaibench.benchmark.run import Run
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError
from xaibench.explaining.explainer import Explainer
from xaibench.results.parts import PART_CLIPS, PartInfo, read_info
from xaibench.results.store import parts_of
from xaibench.scoring.evaluate import evaluate
from xaibench.scoring.local import Local
from xaibench.scoring.loop import Event
from xaibench.sound.dataset import Clip
from xaibench.storage import provenance

SAMPLE = 3  # clips that are timed
_LONG_SECONDS = 10.0  # a method that takes so long for its first clip is not asked again
_LOOK_SECONDS = 0.02
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, kw_only=True)
class PairPlan:
    """What is left to do of a method on a classifier, and what that costs.

    Attributes:
        classifier, method: the pair; a method's own soft mask is METHOD-soft.
        parts, clips: that are left.
        forwards: forward passes that score a clip, and of maps those that the method counts.
        part_seconds, seconds: for a part, and for each clip in it, from its sound to its scores on disk.
        part_bytes, clip_bytes: size of a part without clips, and of each clip in it.
        earlier: whether this is known from parts that the run folder has, and not measured now.
    """

    classifier: str
    method: str
    parts: int
    clips: int
    forwards: float
    part_seconds: float
    seconds: float
    part_bytes: float
    clip_bytes: float
    earlier: bool = False

    @property
    def all_seconds(self) -> float:
        """Time of a single worker for all that is left."""
        return self.parts * self.part_seconds + self.clips * self.seconds


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will cost; what every process does once, such as importing torch, is not counted.

    Attributes:
        pairs: what is left to do.
        failed: methods that failed on the clips that were scored for this, as METHOD on CLASSIFIER, with the reasons.
        workers: how many score at the same time, as far as this machine has cores or GPUs for them.
        threads: CPU threads of each.
        device: where they compute.
        memory_bytes: of each worker, on the CPU's side; None where the system cannot say.
    """

    pairs: tuple[PairPlan, ...]
    failed: dict[str, str]
    workers: int
    threads: int
    device: str
    memory_bytes: int | None

    @property
    def parts(self) -> int:
        """Number of parts that are left."""
        return sum(pair.parts for pair in self.pairs)

    @property
    def forwards(self) -> int:
        """Forward passes that are left."""
        return round(sum(pair.clips * pair.forwards for pair in self.pairs))

    @property
    def seconds_of_one(self) -> float:
        """Time of a single worker."""
        return sum(pair.all_seconds for pair in self.pairs)

    @property
    def seconds(self) -> float:
        """Time of all workers, of which none waits for another but in the last part."""
        longest = max((pair.all_seconds / pair.parts for pair in self.pairs if pair.parts), default=0.0)
        return max(self.seconds_of_one / self.workers, longest)

    @property
    def bytes(self) -> int:
        """Size of what is written into the run folder."""
        return round(sum(pair.parts * pair.part_bytes + pair.clips * pair.clip_bytes for pair in self.pairs))


def plan(run: Run, folder: Path | None = None) -> Plan:
    """Estimate what is left to do of a run.

    Pairs of which the run folder has parts cost what these did; of the others a few clips are scored into a temporary
    folder.

    Args:
        run: what is scored.
        folder: its run folder, if it has one.

    Raises:
        XaibenchError: there is no clip to score.
    """
    if not run.config.clips:
        raise XaibenchError("there is no clip to score")
    before = torch.get_num_threads()
    torch.set_num_threads(run.threads_each)
    try:
        found: list[PairPlan] = []
        failed: dict[str, str] = {}
        memory: list[int] = []
        for loaded in run.loaded:
            if run.taking_part[loaded.label]:
                found += _of_classifier(run, loaded, folder, failed, memory)
    finally:
        torch.set_num_threads(before)
    device = run.loaded[0].classifier.device
    return Plan(
        pairs=tuple(found),
        failed=failed,
        workers=_at_once(run, device),
        threads=run.threads_each,
        device=provenance.device_name(device),
        memory_bytes=max(memory, default=None),
    )


def _of_classifier(
    run: Run, loaded: LoadedClassifier, folder: Path | None, failed: dict[str, str], memory: list[int]
) -> Iterator[PairPlan]:
    sizes = [len(clips) for clips in run.config.parts_on(run.config.protocol.listening(loaded.classifier))]
    there = _there(folder, loaded.label) if folder is not None else {}
    pairs = run.taking_part[loaded.label]
    new = {pair.name: run.config.methods[pair.name] for pair in pairs if pair.label not in there}
    tried = _Trial(run, loaded, new, failed) if new else None
    if tried is not None and tried.memory:
        memory.append(tried.memory)
    for pair in pairs:
        done = there.get(pair.label, {})
        left = [size for index, size in enumerate(sizes) if index not in done]
        label, known = pair.label, sum(info.clips for info, _ in done.values())
        if done:
            seconds = sum(info.explain_seconds + info.score_seconds for info, _ in done.values()) / known
            forwards = sum(info.forwards for info, _ in done.values()) / known
            of_part, of_clip, part_seconds = 0.0, sum(size for _, size in done.values()) / known, 0.0
        elif tried is not None and label in tried.seconds:
            seconds, forwards, part_seconds = tried.seconds[label], tried.forwards[label], tried.part_seconds
            of_part, of_clip = tried.part_bytes[label], tried.clip_bytes[label]
        else:
            continue  # it failed
        yield PairPlan(
            classifier=loaded.label,
            method=pair.label,
            parts=len(left),
            clips=sum(left),
            forwards=forwards,
            part_seconds=part_seconds,
            seconds=seconds,
            part_bytes=of_part,
            clip_bytes=of_clip,
            earlier=bool(done),
        )


def _there(folder: Path, classifier: str) -> dict[str, dict[int, tuple[PartInfo, int]]]:
    """Read what the finished parts of a classifier cost, by method and number, with their size."""
    found: defaultdict[str, dict[int, tuple[PartInfo, int]]] = defaultdict(dict)
    for path in parts_of(folder):
        if path.parent.parent.name == classifier:
            index = int(path.stem.removeprefix("part-"))
            found[path.parent.name][index] = read_info(path), _size(path)
    return found


def _size(path: Path) -> int:
    return path.stat().st_size + path.with_suffix(".json").stat().st_size


@dataclass
class _Round:
    """Some clips, scored: what that cost in all, by method.

    Attributes:
        clips: how many.
        peak: most memory that this process had, in bytes; 0 where the system cannot say.
    """

    clips: int
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    forwards: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    peak: int = 0


class _Trial:
    """A few clips, scored by some methods into a temporary folder: one alone, and several together.

    Each is done twice, since libraries compile for a new size of a batch; the second time counts. What a part costs by
    itself, and what each clip in it does, comes of the two.

    Attributes:
        part_seconds: of a part without clips: of the method for which it is least, as that of the first holds what is
            done once for all.
        seconds, forwards: of a clip, by method.
        part_bytes, clip_bytes: of a part without clips and of each clip in it, by method.
        memory: at its most, of this process with a part of 16 clips.
    """

    def __init__(
        self, run: Run, loaded: LoadedClassifier, methods: dict[str, Explainer], failed: dict[str, str]
    ) -> None:
        self._run = replace(
            run, config=replace(run.config, methods=methods, beside=frozenset(), cache=None), loaded=(loaded,)
        )
        self._loaded, self._failed = loaded, failed
        clips = run.config.clips
        sample = [clips[at] for at in sorted({len(clips) * i // SAMPLE for i in range(SAMPLE)})]
        with tempfile.TemporaryDirectory(prefix="xaibench-") as made:
            first = self._score(clips[:1], methods, Path(made) / "first")
            quick = {name: thing for name, thing in methods.items() if first.seconds[name] < _LONG_SECONDS}
            one = self._score(clips[:1], quick, Path(made) / "one")
            self._score(sample, quick, Path(made) / "warm")
            more = self._score(sample, quick, Path(made) / "more")
        self.seconds = first.seconds | one.seconds
        self.forwards = {name: float(count) for name, count in (first.forwards | more.forwards).items()}
        self.clip_bytes = {name: float(size) for name, size in first.sizes.items()}
        self.part_bytes, growth = dict.fromkeys(first.sizes, 0.0), more.clips - one.clips
        both = [name for name in one.sizes if name in more.sizes and growth]
        for name in both:
            self.seconds[name] = max(0.0, more.seconds[name] - one.seconds[name]) / growth
            self.forwards[name] = more.forwards[name] / more.clips
            self.clip_bytes[name] = max(0, more.sizes[name] - one.sizes[name]) / growth
            self.part_bytes[name] = one.sizes[name] - self.clip_bytes[name]
        self.part_seconds = max(0.0, min((one.seconds[name] - self.seconds[name] for name in both), default=0.0))
        each = max(0, more.peak - one.peak) // growth if both else 0
        self.memory = max(first.peak, more.peak) + each * max(0, min(PART_CLIPS, len(clips)) - more.clips)

    def _score(self, clips: Sequence[Clip], methods: dict[str, Explainer], where: Path) -> _Round:
        found = _Round(len(clips))
        if not methods:
            return found
        run = replace(self._run, config=replace(self._run.config, clips=clips, methods=methods))
        folder, last = run.open(where), time.perf_counter()

        def report(event: Event) -> None:
            nonlocal last
            now = time.perf_counter()
            if event.kind == "scored":
                found.seconds[event.method] += now - last
            elif event.kind == "failed":
                what = f"metric {event.metric} of {event.method}" if event.metric else event.method
                self._failed[f"{what} on {event.classifier}"] = event.reason
            last = now

        with _peak() as peak:
            evaluate(run.config, self._loaded, folder, report, Local())
        for method in found.seconds:
            parts = [path for path in parts_of(where) if path.parent.name == method]
            found.forwards[method] = sum(read_info(path).forwards for path in parts)
            found.sizes[method] = sum(map(_size, parts))
        found.peak = peak[0]
        return found


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Watch how much memory this process has at most, in bytes; 0 where the system cannot say."""
    highest, over = [0], threading.Event()

    def watch() -> None:
        while _STATM.exists():
            pages = int(_STATM.read_text().split()[1])
            highest[0] = max(highest[0], pages * os.sysconf("SC_PAGE_SIZE"))
            if over.wait(_LOOK_SECONDS):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield highest
    finally:
        over.set()
        watcher.join()


def _at_once(run: Run, device: torch.device) -> int:
    """Count the workers that do not wait for each other."""
    wanted = run.engine.workers or 1
    if not isinstance(run.engine, Local):
        return wanted
    room = torch.cuda.device_count() if device.type == "cuda" else (os.cpu_count() or 1) // run.threads_each
    return max(1, min(wanted, room))
