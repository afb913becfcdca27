"""Datasets whose clips are files: decoded once, by their content, and kept in the cache."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from io import BufferedReader
from pathlib import Path

import numpy as np
import soundfile

from xaibench.errors import DataError
from xaibench.sound import audio, reading
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.findings import Finding, Kind
from xaibench.storage.array_cache import cached

# Another version of these libraries may give other samples.
DECODER = f"sndfile{soundfile.__libsndfile_version__}-torchaudio{metadata.version('torchaudio')}"
# Groups of the cache; their numbers change when other samples or findings come out of the same file.
_SOUND, _FINDINGS, _SOUND_AT = "audio-16k-v2", "audio-findings-v1", "audio-{}hz-v1"


class AudioFiles(Dataset):
    """Clips that are files, of any format that libsndfile reads; subclasses list them."""

    reads_folder = True

    @abc.abstractmethod
    def path(self, clip: Clip) -> Path:
        """Return the file of a clip."""

    def section(self, clip: Clip) -> tuple[float, float | None]:
        """Return where in its file a clip starts and ends, in s; None: at the file's end."""
        return 0.0, None

    def require_files(self, remedy: str) -> None:
        """Look whether every listed file is there.

        Args:
            remedy: the end of the sentence if one is not.

        Raises:
            DataError: one is missing, or is no file.
        """
        for clip in self.clips:
            path = self.path(clip)
            if not path.is_file():
                wrong = "is a folder, pipe or device, not a file" if path.exists() else "is missing"
                raise DataError(f"{path} {wrong}; {remedy}")

    def waveform(self, clip: Clip) -> np.ndarray:
        return np.clip(self.unlimited_waveform(clip), -1.0, 1.0)

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        return self._kept(clip, _SOUND)

    def waveform_at(self, clip: Clip, sample_rate: int, samples: int | None = None) -> np.ndarray:
        """Return one clip as a classifier hears it, resampled once: from the rate of its file."""
        if sample_rate == audio.SAMPLE_RATE:
            return super().waveform_at(clip, sample_rate, samples)
        with self._opened(clip) as (file, key):

            def decode() -> np.ndarray:
                file.seek(0)
                decoded = reading.decode(file, str(self.path(clip)), *self.section(clip))
                return audio.to_clip(decoded.samples, decoded.rate, sample_rate)

            found = np.clip(cached(_SOUND_AT.format(sample_rate), key, decode), -1.0, 1.0)
        return found if samples is None else audio.of_length(found, samples)

    def findings(self, clip: Clip) -> tuple[Finding, ...]:
        return tuple(Finding(Kind(kind), text) for kind, text in self._kept(clip, _FINDINGS))

    def _kept(self, clip: Clip, group: str) -> np.ndarray:
        """Return what a group of the cache holds of a clip; a clip that is decoded for one is kept in both."""
        with self._opened(clip) as (file, key):

            def decode() -> np.ndarray:
                file.seek(0)
                read = reading.as_clip(reading.decode(file, str(self.path(clip)), *self.section(clip)))
                texts = np.array([(one.kind, one.text) for one in read.findings], dtype=str).reshape(-1, 2)
                if group == _SOUND:
                    cached(_FINDINGS, key, lambda: texts)
                    return read.unlimited
                cached(_SOUND, key, lambda: read.unlimited)
                return texts

            return cached(group, key, decode)

    @contextmanager
    def _opened(self, clip: Clip) -> Iterator[tuple[BufferedReader, str]]:
        """Open a clip's file; give it and its key in the cache."""
        with reading.opened(self.path(clip)) as file:
            # The key is the content: a replaced file is decoded again, a moved folder is not.
            digest, section = hashlib.file_digest(file, "sha256").hexdigest(), self.section(clip)
            part = "" if section == (0.0, None) else f"-{section[0]:g}-{section[1]}"
            yield file, f"{digest}{part}-{DECODER}"
