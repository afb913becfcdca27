"""The clips of a report: their sound, and of each method its map, its mask, and how loud its parts are played.

A page carries the sound of a clip once, without loss (FLAC, 16 bits, which all browsers play), and for each method the
mask alone. It makes the kept and the removed part itself, by the transform with which they were made when they were
scored: so they are what was scored, without the traces of a codec, at a tenth of the size.
"""

from __future__ import annotations

import base64
import io
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError, named, one_line
from xaibench.explaining.cache import ExplanationCache
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.precomputed import Precomputed, map_path
from xaibench.explaining.trainable import TrainableExplainer
from xaibench.reports.report_agreement import MapAgreement
from xaibench.reports.report_board import plain
from xaibench.reports.sounds import equal_loudness
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.parts import EQUAL_AREA, MethodFacts, PartInfo
from xaibench.results.selection import Group
from xaibench.results.store import MAPS, RunFolder
from xaibench.scoring.config import RunConfig, bound
from xaibench.scoring.context import Masked, ScoringContext
from xaibench.scoring.facts import describe
from xaibench.scoring.part import Part, Scoring
from xaibench.scoring.remade import method_of, protocol_of
from xaibench.sound.dataset import Clip, Dataset

_ROWS, _COLUMNS = 128, 216  # a map is drawn no larger
_LEVELS = 15
_STEPS = 2**15  # of 16 bits
_CEILING = 0.999  # quantile of a map that is drawn as its maximum


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What clips are shown from.

    Attributes:
        dataset: the sound.
        loaded: the classifier.
        cache: with the maps of earlier runs.
        explainers: folder with the weights that the user fitted.
    """

    dataset: Dataset
    loaded: LoadedClassifier
    cache: ExplanationCache | None
    explainers: Path


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a page has of the clips of one classifier.

    Attributes:
        about: for all clips: classes, geometry of the transform, whether parts were heard when they were scored.
        clips: of each its sound, numbers and methods.
        agreement: how alike the methods' maps of these clips are (`MapAgreement.tables`).
        missing: sentences about what could not be shown.
    """

    about: dict[str, Any]
    clips: list[dict[str, Any]]
    agreement: dict[str, Any]
    missing: list[str]


def shown_clips(
    group: Group, sources: Sources, chosen: Mapping[str, Sequence[str]], report: Callable[[str, int], None]
) -> Shown:
    """Make again what a run's methods said of some clips, with masks of the primary area.

    Maps that the run kept (`--keep-maps`) are read; others come from the cache, or are made again.

    Args:
        group: of runs.
        sources: sound and classifier.
        chosen: clips with the reasons why they are shown.
        report: told whenever a method is done for some clips, and for how many.

    Raises:
        XaibenchError: the classifier is another one than that of the run, or hears other sound.
    """
    loaded, dataset = sources.loaded, sources.dataset
    infos = _infos(group, loaded.label)
    if {info.classifier_sha256 for _, info in infos} != {loaded.identity}:
        raise XaibenchError(f"{loaded.label} has other weights, temperature or classes here than in the run")
    protocol, missing = protocol_of(group.conditions), []
    facts = {info.method.name: info.method for _, info in infos if info.method.mask == EQUAL_AREA}
    methods: dict[str, Explainer] = {}
    for name, one in facts.items():
        try:
            methods[name] = _method(one, [run / MAPS / loaded.label / name for run in group.runs], list(chosen))
        except XaibenchError as error:
            missing.append(f"{name}: {one_line(error)}")
    config = RunConfig(
        dataset=dataset,
        clips=[clip for clip in dataset.clips if clip.id in chosen],
        methods=methods,
        metrics={},
        seed=group.conditions.seed,
        batch_size=infos[0][1].batch_size,
        cache=sources.cache,
        protocol=protocol,
        explainers=sources.explainers,
    )
    pairs = []
    for name in methods:
        try:
            pairs.append(bound(config, loaded, name))
        except XaibenchError as error:
            missing.append(f"{name}: it {one_line(error)}")
    scored = {clip: sha256 for _, info in infos for clip, sha256 in info.audio_sha256.items()}
    found: dict[str, dict[str, Any]] = {}
    agreement = MapAgreement()
    with tempfile.TemporaryDirectory() as temporary:
        scoring = Scoring(config, loaded, RunFolder(Path(temporary), group.conditions))
        for index in range(len(scoring.parts)):
            part = Part(scoring, index)
            for clip in part.clips:
                if part.heard.audio_sha256[clip.id] != scored.get(clip.id):
                    raise XaibenchError(f"{clip.id} is another sound here than in the run; choose another --data-dir")
            explained: dict[str, _Explained] = {}
            for pair in pairs:
                report(pair.name, len(part.clips))
                try:
                    explained[pair.name] = _Explained(part.context(pair))
                except (Exception, SystemExit) as error:  # a stranger's plugin may raise anything
                    said = one_line(error) if isinstance(error, XaibenchError) else named(error)
                    missing.append(f"{pair.name}: {said}")
            if explained:
                found |= {clip.id: _clip(clip, i, dataset, explained) for i, clip in enumerate(part.clips)}
                for i in range(len(part.clips)):
                    maps = {name: both for name, one in explained.items() if (both := one.map_and_mask(i)) is not None}
                    agreement.add(maps, next(iter(explained.values())).audible(i))
    classifier = loaded.classifier
    about = {
        "rate": classifier.sample_rate,
        "nfft": classifier.domain.n_fft,
        "window": classifier.domain.window_samples,
        "hop": classifier.domain.hop_samples,
        "heard": protocol.heard,
        "area": PRIMARY_AREA,
        "licence": dataset.licence,
    }
    clips = [found[clip] | {"why": list(why)} for clip, why in chosen.items() if clip in found]
    return Shown(about=about, clips=clips, agreement=agreement.tables(), missing=sorted(set(missing)))


def _infos(group: Group, label: str) -> list[tuple[Path, PartInfo]]:
    return [(part.run, part.info) for part in group.parts if part.classifier == label]


def _method(facts: MethodFacts, kept: Sequence[Path], clips: Sequence[str]) -> Explainer:
    """Make a method again, or take the maps that the run kept of it.

    Raises:
        XaibenchError: it is not installed here, or has other parameters, and its maps were not kept.
    """
    paths = {clip: map_path(folder, clip) for folder in kept for clip in clips if map_path(folder, clip).is_file()}
    try:
        method = method_of(facts)
        if describe(method)["parameters"] != facts.parameters and not isinstance(method, TrainableExplainer):
            raise XaibenchError("it has other parameters here than in the run")
    except XaibenchError as error:
        if len(paths) < len(clips):
            raise XaibenchError(f"{one_line(error)}, and the run kept no maps (run --keep-maps)") from error
    else:
        if method.attenuates or len(paths) < len(clips):  # what attenuates has no map
            return method
    maps = {}
    for clip, path in paths.items():
        with np.load(path, allow_pickle=False) as file:
            maps[clip] = file["map"]
    return Precomputed(maps, facts.name, polarity=facts.polarity)  # type: ignore[arg-type]  # of the results


class _Explained:
    """What is shown of one method on a part: maps, masks, probabilities, and sounds where parts are heard."""

    def __init__(self, context: ScoringContext) -> None:
        self.context, self._maps = context, context.importance.cpu().numpy()
        attenuates = context.explainer.method.attenuates
        self._masks = None if attenuates else context.mask(PRIMARY_AREA).cpu().numpy()
        self._p = [context.p_kept(PRIMARY_AREA), context.p_removed(PRIMARY_AREA)]
        parts = [Masked("kept", PRIMARY_AREA), Masked("removed", PRIMARY_AREA)]
        self.sounds = [context.sound(one).cpu() for one in parts] if context.clean.batch.heard else []

    def map_and_mask(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the map and the mask of one clip, (freq, time); none of what attenuates all bins alike."""
        return None if self._masks is None else (self._maps[index], self._masks[index].astype(bool))

    def audible(self, index: int) -> np.ndarray | None:
        """Return which frames of a clip count, (time,); none where all do."""
        audible = self.context.clean.batch.audible
        return None if audible is None else audible[index].cpu().numpy()

    def of_clip(self, index: int) -> dict[str, Any]:
        """Return what a page has of it for one clip; a mask of None attenuates all bins alike."""
        return {
            "map": _map(self._maps[index]),
            "mask": None if self._masks is None else packed(np.packbits(self._masks[index], axis=None)),
            "p": [plain(float(one[index])) for one in self._p],
            "text": self.context.texts[index] if self.context.texts else "",
        }


def _clip(clip: Clip, index: int, dataset: Dataset, explained: Mapping[str, _Explained]) -> dict[str, Any]:
    """Collect what is shown of one clip of a part."""
    context = next(iter(explained.values())).context
    clean, classes, rate = context.clean, context.classifier.classes, context.classifier.sample_rate
    assert clean.waveform is not None
    sounds = {("", 0): clean.waveform[index]}
    sounds |= {(name, i): sound[index] for name, one in explained.items() for i, sound in enumerate(one.sounds)}
    gains = equal_loudness(sounds, rate)
    methods = {
        name: one.of_clip(index) | {"gains": [plain(gains[name, i]) for i in range(len(one.sounds))]}
        for name, one in explained.items()
    }
    return {
        "id": clip.id,
        "labels": list(dataset.labels(clip)),
        "predicted": classes[int(clean.predicted[index])],
        "explained": classes[int(clean.target[index])],
        "p": plain(float(context.p_full[index])),
        "credit": dataset.credit(clip),
        "sound": _flac(clean.waveform[index], rate),
        "fill": None if clean.fill is None else _flac(clean.fill.waveform[index], rate),
        "gain": plain(gains["", 0]),
        "methods": methods,
    }


def _flac(waveform: Tensor, rate: int) -> dict[str, Any]:
    """Write samples (samples,) without loss but for the rounding to 16 bits; `scale` gives back what exceeds 1."""
    samples = waveform.detach().cpu().numpy().astype(np.float32)
    # Browsers divide by 32,768, or by 32,767 above zero: there is no room for 1 itself.
    scale = max(1.0, float(np.abs(samples).max(initial=0.0)) * _STEPS / (_STEPS - 1))
    file = io.BytesIO()
    rounded = np.round(samples / scale * _STEPS).astype(np.int16)
    soundfile.write(file, rounded, rate, format="FLAC", subtype="PCM_16")
    return {"flac": base64.b64encode(file.getvalue()).decode(), "scale": scale, "samples": len(samples)}


def _map(importance: np.ndarray) -> dict[str, Any]:
    """Bring a map (freq, time) to the size at which it is drawn, by means, and to few levels."""
    small = importance.astype(np.float64)
    for axis, most in enumerate((_ROWS, _COLUMNS)):
        step = -(-small.shape[axis] // most)
        starts = np.arange(0, small.shape[axis], step)
        counts = np.diff(np.append(starts, small.shape[axis]))
        small = np.add.reduceat(small, starts, axis) / (counts[:, None] if axis == 0 else counts)
    ceiling = max(float(np.quantile(small, _CEILING)), 1e-30)
    levels = np.round(np.clip(small / ceiling, 0, 1) * _LEVELS).astype(np.uint8)
    return {"rows": levels.shape[0], "columns": levels.shape[1], "levels": packed(levels)}


def packed(values: np.ndarray) -> str:
    """Return bytes as a page carries them: compressed, in base64."""
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode()
