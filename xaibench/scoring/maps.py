"""The maps of a part's clips: made once for a method, kept in the cache, and written for others to read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.classifiers.memory import measure_peak
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.cache import ExplanationCache, Made, on_device
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.precomputed import map_path, write_map
from xaibench.results.store import RunFolder
from xaibench.scoring.clean import Clean
from xaibench.scoring.config import MethodOnClassifier, RunConfig
from xaibench.scoring.facts import describe
from xaibench.scoring.identities import Identities
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Clip
from xaibench.storage import provenance


class Maps:
    """Maps of a part's clips by one method after another.

    Args:
        config: of the run.
        loaded: the classifier.
        folder: where maps are written for others, if the run keeps them.
        identities: of what the maps depend on.
        clips: of the part.
    """

    def __init__(
        self,
        config: RunConfig,
        loaded: LoadedClassifier,
        folder: RunFolder,
        identities: Identities,
        clips: Sequence[Clip],
    ) -> None:
        self._config, self._loaded, self._folder = config, loaded, folder
        self._identities, self._clips = identities, clips
        self._last: tuple[Explainer, list[Made]] | None = None

    def of(
        self, pair: MethodOnClassifier, explainer: BoundExplainer, clean: Clean, check: Callable[[str], None]
    ) -> list[Made]:
        """Explain every clip once; a method's soft mask, which comes after its equal areas, shares the maps.

        Args:
            pair: the method.
            explainer: likewise, on the classifier.
            clean: the clips.
            check: raises if the method has changed anything; called before a map is kept.
        """
        if self._last is None or self._last[0] is not explainer.method:
            made = [self._explain(pair, explainer, clean, i) for i in range(len(self._clips))]
            check(f"{pair.name}'s explain()")
            for index, one in enumerate(made):
                self._keep(pair, clean, index, one)
                if self._config.keep_maps:
                    self._write(pair, clean, index, one)
            self._last = explainer.method, made
        return self._last[1]

    def forget(self) -> None:
        """Use no map again that was made before."""
        self._last = None

    def unwritten(self, pair: MethodOnClassifier) -> bool:
        """Tell whether a map of a method is not there for others to read."""
        folder = self._folder.maps(self._loaded.label, pair.name)
        return any(not map_path(folder, clip.id).exists() for clip in self._clips)

    def _explain(self, pair: MethodOnClassifier, explainer: BoundExplainer, clean: Clean, index: int) -> Made:
        """One clip's map, alone: its rounding must not depend on which clips it is computed with.

        Masks cut at a rank, so a last bit of a map can move bins across the cut and change scores.
        """
        clip = clean.batch.slice(index, index + 1)
        cache = self._cache(pair)
        found = cache.find(self._content(pair, clip, int(clean.target[index]))) if cache else None
        if found is not None:
            return on_device(found, clip.x.device)
        with measure_peak(clip.x.device) as peak:
            started = time.perf_counter()
            explanation = explainer.explain(clip, clean.target[index : index + 1])
        return Made(explanation, time.perf_counter() - started, peak.added_bytes)

    def _keep(self, pair: MethodOnClassifier, clean: Clean, index: int, made: Made) -> None:
        cache = self._cache(pair)
        if cache is not None and not made.found:
            clip = clean.batch.slice(index, index + 1)
            cache.keep(self._content(pair, clip, int(clean.target[index])), made)

    def _cache(self, pair: MethodOnClassifier) -> ExplanationCache | None:
        return self._config.cache if self._identities.explanation(pair).known else None

    def _write(self, pair: MethodOnClassifier, clean: Clean, index: int, made: Made) -> None:
        """Write a map, as the method defines it, with its axes."""
        classifier = self._loaded.classifier
        assert clean.waveform is not None
        write_map(
            self._folder.maps(self._loaded.label, pair.name),
            self._clips[index].id,
            made.explanation.map[0].cpu().numpy(),
            frequencies=classifier.domain.frequencies.numpy(),
            times=classifier.domain.times(clean.waveform.shape[1]).numpy(),
            classifier=self._loaded.label,
            method=pair.name,
            polarity=pair.method.polarity,
            target=classifier.classes[int(clean.target[index])],
        )

    def _content(self, pair: MethodOnClassifier, clip: Batch, target: int) -> dict[str, Any]:
        """All that an explanation depends on."""
        # The phase is the waveform's.
        known = [(name, tensor) for name, tensor in clip.tensors().items() if name != "phase"]
        return {
            "classifier": self._loaded.identity,
            "sound": {name: hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest() for name, tensor in known},
            "clip": clip.clip_ids[0],
            "seed": clip.seed,
            "target": target,
            "method": describe(pair.method),
            "code": self._identities.explanation(pair).sha256,
            "versions": provenance.versions(),
            "device": provenance.device_name(clip.x.device),
        }
