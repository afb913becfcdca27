"""The sounds of an explained clip as files: what is scored, copies to listen to, and a page that plays them."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import numpy as np
import soundfile
import torch
import torchaudio.functional
from torch import Tensor

from xaibench.scoring.one_clip import Illustrated

Name = TypeVar("Name", bound=Hashable)

FACTS, PAGE, LISTENING = "sounds.json", "index.html", "listening"
# Loudness of the copies, as broadcasters use it (EBU R 128); lower where a peak would not fit.
LOUDNESS = -23.0  # LKFS
FADE_SECONDS = 0.01
_LARGEST = 0.99


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One sound that was written, and what the classifier says of it.

    Attributes:
        file: its name.
        method, classifier: whose it is; the method is empty for the clip itself.
        part: "original", "kept", "removed" or "soft".
        explained: the class that is explained.
        p: its probability.
        listening_gain: by which the copy to listen to was multiplied.
    """

    file: str
    method: str
    classifier: str
    part: str
    explained: str
    p: float
    listening_gain: float


def write(clip: Illustrated, folder: Path) -> list[Path]:
    """Write the sounds of a clip and of its parts.

    The wav files hold float32 samples at the classifier's rate, neither scaled nor clipped: they are the sounds that
    are scored. `listening/` has copies of equal loudness (ITU-R BS.1770-4) with short fades. `sounds.json` says what
    the classifier makes of each, and `index.html` plays them.

    Args:
        clip: explained.
        folder: made if it is missing.

    Returns:
        The files.
    """
    (folder / LISTENING).mkdir(parents=True, exist_ok=True)
    waveforms, about = _of(clip)
    gains = equal_loudness(waveforms, clip.sample_rate)
    paths = []
    for file, waveform in waveforms.items():
        samples = waveform.detach().cpu().numpy().astype(np.float32)
        soundfile.write(folder / file, samples, clip.sample_rate, subtype="FLOAT")
        copy = _faded(samples * gains[file], clip.sample_rate)
        soundfile.write(folder / LISTENING / file, copy, clip.sample_rate, subtype="PCM_16")
        paths += [folder / file, folder / LISTENING / file]
    sounds = [Sound(**one, listening_gain=gains[one["file"]]) for one in about]
    facts = {"clip": clip.name, "sample_rate": clip.sample_rate, "sounds": [asdict(one) for one in sounds]}
    (folder / FACTS).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("xaibench", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("sounds.html.jinja")
    (folder / PAGE).write_text(page.render(clip=clip.name, sounds=sounds, listening=LISTENING), "utf-8")
    return [*paths, folder / FACTS, folder / PAGE]


def _of(clip: Illustrated) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Collect the sounds by file name, and a line of facts for each sound and classifier."""
    waveforms, about = {"original.wav": clip.waveform}, []
    for label, panel in {panel.pair.loaded.label: panel for panel in reversed(clip.panels)}.items():
        about.append(_facts("original.wav", "", label, "original", panel.predicted, panel.p_full))
    about.reverse()
    for panel in clip.panels:
        probabilities = {"kept": panel.top.p_kept, "removed": panel.top.p_removed}
        if panel.soft is not None:
            probabilities["soft"] = panel.soft.p_kept
        for part, waveform in panel.sounds.items():
            file = f"{panel.pair.name}-{part}.wav"
            waveforms[file] = waveform
            label = panel.pair.loaded.label
            about.append(_facts(file, panel.pair.name, label, part, panel.predicted, probabilities[part]))
    return waveforms, about


def _facts(file: str, method: str, classifier: str, part: str, explained: str, p: float) -> dict[str, Any]:
    return {"file": file, "method": method, "classifier": classifier, "part": part, "explained": explained, "p": p}


def equal_loudness(waveforms: Mapping[Name, Tensor], rate: int) -> dict[Name, float]:
    """Choose gains that make all sounds equally loud (ITU-R BS.1770-4), and none too loud for a file; 1 for silence."""
    loudness: dict[Name, float] = {}
    room: dict[Name, float] = {}
    for file, waveform in waveforms.items():
        peak = float(waveform.abs().max())
        # The standard's blocks last 0.4 s.
        padded = torch.nn.functional.pad(waveform.cpu(), (0, max(0, math.ceil(0.4 * rate) - len(waveform))))
        level = float(torchaudio.functional.loudness(padded[None], rate)) if peak > 0 else -math.inf
        if math.isfinite(level):
            loudness[file], room[file] = level, level - 20 * math.log10(peak / _LARGEST)
    wanted = min([LOUDNESS, *room.values()])
    return {file: 10 ** ((wanted - loudness[file]) / 20) if file in loudness else 1.0 for file in waveforms}


def _faded(samples: np.ndarray, rate: int) -> np.ndarray:
    """Fade samples (samples,) in and out, so that they begin and end without a click."""
    length = min(round(FADE_SECONDS * rate), len(samples) // 2)
    ramp = torch.hann_window(2 * length, periodic=False).numpy()[:length]
    faded = samples.copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded
