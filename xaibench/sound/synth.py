"""The embedded set: generated sound whose ground truth in time and frequency is known exactly.

There are ten classes of events, each with a shape of its own in time and frequency. Onset, duration and pitch are
random. An event is 0 to 20 dB above a background that is drawn independently of the class. Nothing is downloaded:
clip i depends only on (SEED, i), so any clip can be made without the others. The sound is rounded to 16 bits; on
other machines libm may change the last of these bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import signal

from xaibench.sound.audio import CLIP_SAMPLES, CLIP_SECONDS, PICTURE_SHAPE, SAMPLE_RATE, stft
from xaibench.sound.dataset import Clip, Dataset, SoundEvent
from xaibench.storage.array_cache import cached

SEED = 20260101
VERSION = "synth-v1"
FOLDS = 5
CLIPS_PER_CLASS_AND_FOLD = 8

Generator = np.random.Generator
Source = Callable[[Generator, int], np.ndarray]


def uniform_log(rng: Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _seconds(n: int) -> np.ndarray:
    return np.arange(n) / SAMPLE_RATE


def tone(frequency: np.ndarray | float, n: int) -> np.ndarray:
    """Make a sine of a constant or sample-wise frequency in Hz, (n,)."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency, n)) / SAMPLE_RATE)


def _band_noise(rng: Generator, n: int, low: float, high: float) -> np.ndarray:
    sections = signal.butter(4, (low, high), btype="bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(signal.sosfilt(sections, rng.standard_normal(n)))


def rising_chirp(rng: Generator, n: int) -> np.ndarray:
    """Make one exponential glide upwards by one to three octaves."""
    start = uniform_log(rng, 250, 900)
    return tone(start * 2 ** (rng.uniform(1, 3) * np.linspace(0, 1, n)), n)


def falling_chirp(rng: Generator, n: int) -> np.ndarray:
    """Make one exponential glide downwards by one to three octaves."""
    start = uniform_log(rng, 2000, 7000)
    return tone(start * 2 ** (-rng.uniform(1, 3) * np.linspace(0, 1, n)), n)


def harmonic_stack(rng: Generator, n: int) -> np.ndarray:
    """Make a steady pitch with six to twelve harmonics, each a little weaker than the one below."""
    pitch = uniform_log(rng, 150, 500)
    order = np.arange(1, int(rng.integers(6, 13)) + 1)
    order = order[order * pitch < 7500]
    return np.sum([tone(pitch * k, n) * k**-0.7 for k in order], axis=0)


def click_train(rng: Generator, n: int) -> np.ndarray:
    """Make broadband clicks of two milliseconds at a regular rate of 4 to 14 per second."""
    period = int(SAMPLE_RATE / rng.uniform(4, 14))
    click = rng.standard_normal(32) * np.hanning(32)
    train = np.zeros(n)
    train[period // 2 :: period] = 1.0
    return np.convolve(train, click)[:n]


def siren(rng: Generator, n: int) -> np.ndarray:
    """Make a tone whose frequency swings sinusoidally one to three times a second."""
    centre, rate = uniform_log(rng, 700, 2500), rng.uniform(1, 3)
    swing = rng.uniform(0.25, 0.45) * np.sin(2 * np.pi * rate * _seconds(n) + rng.uniform(0, 2 * np.pi))
    return tone(centre * (1 + swing), n)


def noise_burst(rng: Generator, n: int) -> np.ndarray:
    """Make band-limited noise, half an octave to an octave wide."""
    low = uniform_log(rng, 500, 3500)
    return _band_noise(rng, n, low, min(low * 2 ** rng.uniform(0.5, 1), 7600))


def beeps(rng: Generator, n: int) -> np.ndarray:
    """Make a pure tone that is switched on and off three to seven times a second."""
    gate = signal.square(2 * np.pi * rng.uniform(3, 7) * _seconds(n), duty=rng.uniform(0.35, 0.6)) > 0
    smooth = np.convolve(gate, np.hanning(160) / np.hanning(160).sum(), mode="same")
    return tone(uniform_log(rng, 800, 5000), n) * smooth


def bells(rng: Generator, n: int) -> np.ndarray:
    """Make one to three strikes of decaying inharmonic partials."""
    struck = np.zeros(n)
    base = uniform_log(rng, 500, 1400)
    for onset in np.linspace(0, n, int(rng.integers(1, 4)), endpoint=False).astype(int):
        time = _seconds(n - onset)
        for ratio in (1.0, 2.76, 4.07, 5.2):
            if base * ratio < 7600:
                struck[onset:] += np.exp(-time * rng.uniform(3, 6) * ratio**0.5) * tone(base * ratio, n - onset)
    return struck


def sweeping_noise(rng: Generator, n: int) -> np.ndarray:
    """Make a narrow band of noise whose centre glides up or down by about two octaves."""
    low, octaves = uniform_log(rng, 500, 1200), rng.uniform(1.5, 2.5)
    path = np.linspace(0, 1, n) if rng.random() < 0.5 else np.linspace(1, 0, n)
    jitter = signal.lfilter([0.02], [1, -0.98], rng.standard_normal(n))
    width = 150.0
    return tone(low * 2 ** (octaves * path) + 20 * width * jitter, n)


def melody(rng: Generator, n: int) -> np.ndarray:
    """Make a staircase of five to eight short notes with two harmonics each."""
    base, count = uniform_log(rng, 350, 1000), int(rng.integers(5, 9))
    steps = rng.integers(0, 13, count)
    steps[1:] = np.where(steps[1:] == steps[:-1], (steps[1:] + 5) % 13, steps[1:])
    pitch = np.repeat(base * 2 ** (steps / 12), int(np.ceil(n / count)))[:n]
    return tone(pitch, n) + 0.5 * tone(2 * pitch, n)


EVENTS: tuple[Source, ...] = (
    rising_chirp,
    falling_chirp,
    harmonic_stack,
    click_train,
    siren,
    noise_burst,
    beeps,
    bells,
    sweeping_noise,
    melody,
)


def white(rng: Generator, n: int) -> np.ndarray:
    """Make noise of equal power at all frequencies."""
    return rng.standard_normal(n)


def coloured(rng: Generator, n: int) -> np.ndarray:
    """Make noise whose power falls with frequency as f^-1 to f^-2."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20.0)
    return np.fft.irfft(spectrum * frequency ** -rng.uniform(0.5, 1), n)


def hum(rng: Generator, n: int) -> np.ndarray:
    """Make mains hum with harmonics over quiet white noise."""
    mains = rng.choice([50.0, 60.0])
    tones = np.sum([tone(mains * k, n) / k for k in range(1, 9)], axis=0)
    return tones + 0.3 * rng.standard_normal(n)


def crackle(rng: Generator, n: int) -> np.ndarray:
    """Make sparse irregular impulses over quiet noise."""
    impulses = (rng.random(n) < rng.uniform(5, 30) / SAMPLE_RATE) * rng.standard_normal(n) * 20
    return np.convolve(impulses, np.exp(-np.arange(64) / 8.0))[:n] + 0.3 * rng.standard_normal(n)


def gusts(rng: Generator, n: int) -> np.ndarray:
    """Make low-pass noise whose loudness varies slowly."""
    knots = rng.uniform(0.3, 1.0, 8)
    envelope = np.interp(np.linspace(0, 7, n), np.arange(8), knots)
    return envelope * _band_noise(rng, n, 60, rng.uniform(800, 2500)) + 0.05 * rng.standard_normal(n)


BACKGROUNDS: tuple[Source, ...] = (white, coloured, hum, crackle, gusts)


def fade(n: int) -> np.ndarray:
    """Make a gain (n,) that rises from 0 to 1 at the start and falls at the end, in at most 50 ms."""
    ramp = min(n // 8, 800)
    envelope = np.ones(n)
    envelope[:ramp] = np.sin(np.linspace(0, np.pi / 2, ramp)) ** 2
    envelope[n - ramp :] = envelope[:ramp][::-1]
    return envelope


def _begun(index: int) -> tuple[Generator, np.ndarray, int, int]:
    """Draw all of clip `index` but its event: the generator, the background, and the event's onset and length."""
    rng = np.random.default_rng([SEED, index])
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))](rng, CLIP_SAMPLES)
    background /= np.sqrt(np.mean(background**2))
    length = int(rng.uniform(0.8, 2.5) * SAMPLE_RATE)
    return rng, background, int(rng.uniform(0, CLIP_SAMPLES - length)), length


def stems(index: int, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Make event and background of clip `index`; their sum is the clip before it is rounded to 16 bits.

    Returns:
        Two float64 arrays (80000,); the event is 0 to 20 dB above the background while it sounds.
    """
    rng, background, onset, length = _begun(index)
    sound = EVENTS[label](rng, length) * fade(length)
    sound *= 10 ** (rng.uniform(0, 20) / 20) / np.sqrt(np.mean(sound**2))
    event = np.zeros(CLIP_SAMPLES)
    event[onset : onset + length] = sound
    gain = rng.uniform(0.2, 0.9) / np.abs(event + background).max()
    return event * gain, background * gain


class Synth(Dataset):
    """The generated dataset: 400 clips, ten classes, five folds of 80, with ground truth."""

    name = "synth"
    licence = "Apache-2.0 (generated by xaibench)"
    has_ground_truth = True
    seconds = CLIP_SECONDS
    has_events = True
    classes = tuple(event.__name__.replace("_", " ") for event in EVENTS)

    def __init__(self) -> None:
        per_fold = len(EVENTS) * CLIPS_PER_CLASS_AND_FOLD
        self.clips = tuple(
            Clip(id=f"synth-{i:03d}", fold=i // per_fold + 1, label=i % len(EVENTS), src_file=f"synth-{i:03d}")
            for i in range(FOLDS * per_fold)
        )

    def _index(self, clip: Clip) -> int:
        return int(clip.id.rpartition("-")[2])

    def waveform(self, clip: Clip) -> np.ndarray:
        def make() -> np.ndarray:
            event, background = stems(self._index(clip), clip.label)
            return np.round((event + background) * 32767).astype(np.int16)

        return cached(f"{VERSION}-audio", clip.id, make).astype(np.float32) / 32767

    def ground_truth(self, clip: Clip) -> np.ndarray:
        def make() -> np.ndarray:
            magnitude = stft(torch.from_numpy(np.stack(stems(self._index(clip), clip.label)))).abs()
            return np.packbits((magnitude[0] > magnitude[1]).numpy())

        packed = cached(f"{VERSION}-evidence", clip.id, make)
        return np.unpackbits(packed, count=PICTURE_SHAPE[0] * PICTURE_SHAPE[1]).astype(bool).reshape(PICTURE_SHAPE)

    def stem(self, clip: Clip) -> np.ndarray:
        def make() -> np.ndarray:
            return stems(self._index(clip), clip.label)[0].astype(np.float32)

        return cached(f"{VERSION}-stem", clip.id, make)

    def events(self, clip: Clip) -> tuple[SoundEvent, ...]:
        def make() -> np.ndarray:
            _, _, onset, length = _begun(self._index(clip))
            return np.array([onset, onset + length])

        start, end = cached(f"{VERSION}-events", clip.id, make) / SAMPLE_RATE
        return (SoundEvent(float(start), float(end), self.classes[clip.label]),)
