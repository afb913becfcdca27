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
from xaibench.sound.reading import Decoded
from xaibench.storage.array_cache import cached

# Another version of these libraries may give other samples.
DECODER = f"sndfile{soundfile.__libsndfile_version__}-torchaudio{metadata.version('torchaudio')}"
# Groups of the cache; their numbers change when other samples or findings come out of the same file.
_SOUND, _FINDINGS, _SOUND_AT = "audio-16k-v3", "audio-findings-v2", "audio-{}hz-v2"


class AudioFiles(Dataset):
    """Clips that are files, of any format that libsndfile reads; subclasses list them."""

    reads_folder = True

    @abc.abstractmethod
    def path(self, clip: Clip) -> Path:
        """Return the file of a clip."""

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

    def waveform_at(
        self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = audio.CUT
    ) -> np.ndarray:
        """Return one clip as a classifier hears it, resampled once: from the rate of its file."""
        if sample_rate == audio.SAMPLE_RATE:
            return super().waveform_at(clip, sample_rate, samples, long)
        with self._opened(clip) as (file, key):

            def decode() -> np.ndarray:
                decoded = self._decoded(clip, file)
                return audio.to_clip(decoded.samples, decoded.rate, sample_rate, self.seconds)

            found = np.clip(cached(_SOUND_AT.format(sample_rate), key, decode), -1.0, 1.0)
        return found if samples is None else audio.of_length(found, samples, long)

    def length(self, clip: Clip) -> float:
        return self.seconds or self.length_and_rate(clip)[0]

    def length_and_rate(self, clip: Clip) -> tuple[float, int]:
        """Return how long a clip is in s, and its sample rate in Hz, as the header of its file says.

        Raises:
            AudioError: the file cannot be read, or is no sound.
        """
        path, (start, end) = self.path(clip), self.section(clip)
        with reading.opened(path) as file:
            seconds, rate = reading.length_and_rate(file, str(path))
        return (seconds if end is None else min(end, seconds)) - start, rate

    def findings(self, clip: Clip) -> tuple[Finding, ...]:
        return tuple(Finding(Kind(kind), text) for kind, text in self._kept(clip, _FINDINGS))

    def _kept(self, clip: Clip, group: str) -> np.ndarray:
        """Return what a group of the cache holds of a clip; a clip that is decoded for one is kept in both."""
        with self._opened(clip) as (file, key):

            def decode() -> np.ndarray:
                read = reading.as_clip(self._decoded(clip, file), self.seconds)
                texts = np.array([(one.kind, one.text) for one in read.findings], dtype=str).reshape(-1, 2)
                if group == _SOUND:
                    cached(_FINDINGS, key, lambda: texts)
                    return read.unlimited
                cached(_SOUND, key, lambda: read.unlimited)
                return texts

            return cached(group, key, decode)

    def _decoded(self, clip: Clip, file: BufferedReader) -> Decoded:
        file.seek(0)
        return reading.decode(file, str(self.path(clip)), *self.section(clip), self.seconds)

    @contextmanager
    def _opened(self, clip: Clip) -> Iterator[tuple[BufferedReader, str]]:
        """Open a clip's file; give it and its key in the cache."""
        with reading.opened(self.path(clip)) as file:
            # The key is the content: a replaced file is decoded again, a moved folder is not.
            digest, section = hashlib.file_digest(file, "sha256").hexdigest(), self.section(clip)
            part = "" if section == (0.0, None) else f"-{section[0]:g}-{section[1]}"
            length = "" if self.seconds is None else f"-{self.seconds:g}s"
            yield file, f"{digest}{part}{length}-{DECODER}"
