"""Read sound files, and tell what is odd about them. No more is decoded than a clip needs."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path

import numpy as np
import soundfile

from xaibench.errors import AudioError
from xaibench.sound import findings
from xaibench.sound.audio import MARGIN_SECONDS, to_clip
from xaibench.sound.findings import Finding, Kind

# Telephones record at 8 kHz, and the fastest converters at 384 kHz. What a header says beyond is damage.
RATES = range(1_000, 384_001)
# 32-bit integers that are taken for floats reach 2^31. What is louder is no sound, and overflows when it is mixed.
LOUDEST = 2.0**32
# mp3 pads a clip by up to two blocks of 1152 samples; a clip that was cut short by accident lacks more.
SECONDS_TOLERANCE = 0.1

# In the log that libsndfile keeps of wav, aiff, au, caf and their kin: a size in the header, and that of the file.
_SIZES = re.compile(r": (\d+) \(should be (\d+)\)")
# Some programs count the eight bytes of the header itself.
_HEADER_BYTES = 8
# Programs that write to a pipe do not know the size: they put the largest there, or nearly so.
_UNKNOWN_SIZE = 2**31 - 2**12
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255
_OGG_LAST_PAGE = 4
_ID3_BYTES = 10

BinaryFile = BufferedReader | BytesIO


@dataclass(frozen=True)
class Decoded:
    """The part of a sound file that a clip needs.

    Attributes:
        samples: finite float32 (samples, channels).
        rate: sample rate in Hz.
        seconds: duration of the whole file, or section.
        truncated: whether the file ends before the sound that its header promises.
    """

    samples: np.ndarray
    rate: int
    seconds: float
    truncated: bool

    def findings(self, seconds: float | None = None) -> tuple[Finding, ...]:
        """Tell what is odd about it.

        Args:
            seconds: how long it should be; None: nobody says it.
        """
        used = self.samples if seconds is None else self.samples[: int(seconds * self.rate)]
        found = list(findings.of_sound(used, self.rate))
        if self.truncated:
            found.append(Finding(Kind.truncated, f"is truncated after {self.seconds:.2f} s"))
        elif seconds is not None and abs(self.seconds - seconds) > SECONDS_TOLERANCE:
            kind = Kind.short if self.seconds < seconds else Kind.long
            found.append(Finding(kind, f"lasts {self.seconds:.2f} s instead of {seconds:g} s"))
        return tuple(found)


@dataclass(frozen=True)
class Reading:
    """A file as a clip.

    Attributes:
        unlimited: mono, 16 kHz: float32 (samples,), as it is before it is clipped to [-1, 1].
        findings: what is odd about the file.
    """

    unlimited: np.ndarray
    findings: tuple[Finding, ...]

    @property
    def waveform(self) -> np.ndarray:
        """The samples in [-1, 1], float32 (samples,)."""
        return np.clip(self.unlimited, -1.0, 1.0)


def read_clip(path: Path) -> Reading:
    """Read one audio file as a clip of its own length: mono, at 16 kHz.

    Raises:
        AudioError: the file is missing, unreadable, or not audio.
    """
    with opened(path) as file:
        return as_clip(decode(file, str(path)))


def as_clip(decoded: Decoded, seconds: float | None = None) -> Reading:
    """Make a clip of what was decoded, of so many seconds, or of its own length."""
    return Reading(to_clip(decoded.samples, decoded.rate, seconds=seconds), decoded.findings(seconds))


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading, and nothing that is not one: reading a pipe or a device may never end.

    Raises:
        AudioError: the file is missing, cannot be opened or read, or is a folder, a pipe, a socket or a device.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise AudioError(f"{path}: cannot be read (a folder, pipe or device, not a file)")
        # By number, because soundfile takes the ending of a file's name for its format if it knows the name.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb") as file:
            yield file
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error


def decode(
    file: BinaryFile, name: str, start: float = 0.0, end: float | None = None, seconds: float | None = None
) -> Decoded:
    """Decode what a clip needs of an audio file, or of a section of it, of any format that libsndfile reads.

    Args:
        file: open for reading, at its start.
        name: of the file, for errors.
        start, end: the section, in s; None: to the end of the file.
        seconds: how long the clip is: hardly more is decoded; None: as long as the section.

    Raises:
        AudioError: the file is not audio, is empty, ends before the section does, has a rate of no recorder, or holds
            NaN or infinite samples.
    """
    if file.seek(0, os.SEEK_END) == 0:
        raise AudioError(f"{name}: is an empty file; copy or download it again")
    file.seek(0)
    try:
        with soundfile.SoundFile(file) as sound:
            if sound.samplerate not in RATES:
                raise AudioError(
                    f"{name}: has a sample rate of {sound.samplerate} Hz; expected {RATES[0]} to {RATES[-1]} Hz"
                )
            first = round(start * sound.samplerate)
            last = sound.frames if end is None else round(end * sound.samplerate)
            # A table that counts in hundredths of a second may round up.
            beyond = last - sound.frames > SECONDS_TOLERANCE * sound.samplerate
            if beyond or (first and first >= sound.frames):
                until = "its end" if end is None else f"{end:g} s"
                raise AudioError(
                    f"{name}: lasts {sound.frames / sound.samplerate:.2f} s, but its clip is said to be from "
                    f"{start:g} s to {until}; mend start and end"
                )
            frames = min(last, sound.frames) - first
            most = frames if seconds is None else int((seconds + MARGIN_SECONDS) * sound.samplerate)
            wanted = min(frames, most)
            # Also to 0, as soundfile.read does: without it, libmpg123 rounds the last bit of some samples otherwise.
            sound.seek(first)
            samples = sound.read(wanted, dtype="float32", always_2d=True)
            # An mp3 may hold less than it says.
            frames = frames if len(samples) == wanted else len(samples)
            truncated = _is_truncated(sound, file, len(samples) < wanted)
            seconds = frames / sound.samplerate
            rate = int(sound.samplerate)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise _no_sound(name, error) from error
    return checked(name, samples, rate, seconds, truncated)


def length_and_rate(file: BinaryFile, name: str) -> tuple[float, int]:
    """Return how long a file is in s, and its sample rate in Hz, as its header says.

    Raises:
        AudioError: the file is no sound.
    """
    try:
        with soundfile.SoundFile(file) as sound:
            return sound.frames / sound.samplerate, int(sound.samplerate)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise _no_sound(name, error) from error


def _no_sound(name: str, error: Exception) -> AudioError:
    # libsndfile's own message, without the memory address that str(error) puts before it.
    reason = str(getattr(error, "error_string", error)).rstrip(".")
    return AudioError(f"{name}: not audio that libsndfile can read ({reason}); expected wav, flac, ogg or mp3")


def checked(name: str, samples: np.ndarray, rate: int, seconds: float, truncated: bool) -> Decoded:
    """Return what was decoded, or refuse what is no sound; the arguments but the first are those of `Decoded`.

    Raises:
        AudioError: there are no samples, or NaN, infinite or absurdly loud ones.
    """
    if len(samples) == 0:
        raise AudioError(f"{name}: holds no samples")
    peak = float(np.abs(samples).max())
    if not np.isfinite(peak):
        raise AudioError(f"{name}: holds NaN or infinite samples")
    if peak > LOUDEST:
        raise AudioError(f"{name}: holds samples up to {peak:.3g}; full scale is 1, so this is no sound")
    return Decoded(samples, rate, seconds, truncated)


def _is_truncated(sound: soundfile.SoundFile, file: BinaryFile, fewer: bool) -> bool:
    """Tell whether a file ends too early.

    Args:
        sound: the file as libsndfile sees it.
        file: the same file.
        fewer: whether fewer samples were decoded than `sound` promised.
    """
    if sound.format == "OGG":
        return not _has_last_ogg_page(file)
    if sound.format in {"MP3", "MPEG"}:
        return fewer and _declares_frames(file)
    sizes = [(int(said), int(found)) for said, found in _SIZES.findall(sound.extra_info)]
    return fewer or any(found + _HEADER_BYTES < said < _UNKNOWN_SIZE for said, found in sizes)


def _has_last_ogg_page(file: BinaryFile) -> bool:
    """Tell whether the last page of an Ogg file is there, marked as the last, and whole (RFC 3533, section 6)."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 2 * _OGG_PAGE_BYTES))
    tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0:  # something else follows the sound; a file that was cut ends inside a page, or after one
        return True
    header = tail[start : start + 27]
    if len(header) < 27:
        return False
    segments = tail[start + 27 : start + 27 + header[26]]
    whole = len(segments) == header[26] and len(tail) >= start + 27 + len(segments) + sum(segments)
    return whole and bool(header[5] & _OGG_LAST_PAGE)


def _declares_frames(file: BinaryFile) -> bool:
    """Tell whether an mp3 file says how long it is; libmpg123 guesses the length of others, and may guess too much."""
    file.seek(0)
    start = file.read(_ID3_BYTES)
    tags = 0
    if start[:3] == b"ID3":
        for byte in start[6:10]:  # seven bits in each (ID3v2.4, section 6.2)
            tags = tags << 7 | byte & 0x7F
        tags += _ID3_BYTES
    file.seek(tags)
    first_frame = file.read(4096)
    return any(mark in first_frame for mark in (b"Xing", b"Info", b"VBRI"))
