"""Whether keeping decoded clips pays: reading a clip anew beside reading it from the cache.

    python benchmarks/audio_cache.py ESC-50-master            # 60 clips, as they are and as 44.1 kHz wav

Processor time of one thread, the median of three passes; both sides read the file's bytes, the cache also hashes them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import soundfile
import torch
import torchaudio.functional
import typer

from xaibench.sound import audio, reading
from xaibench.sound.dataset import Dataset
from xaibench.sound.esc50 import Esc50
from xaibench.storage.user_folders import CACHE_VARIABLE

OFFICIAL_RATE = 44_100


def main(
    folder: Annotated[Path, typer.Argument(help="Folder in ESC-50's layout.")],
    clips: Annotated[int, typer.Option(help="The first of them.", min=1)] = 60,
) -> None:
    """Time both ways of reading clips."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        os.environ[CACHE_VARIABLE] = str(Path(made) / "cache")
        for name, source in (("as they are", Esc50(folder)), ("44.1 kHz wav", official(folder, Path(made), clips))):
            anew, kept = (milliseconds(source, clips, keep) for keep in (False, True))
            print(f"{name}: anew {anew:.2f} ms a clip, kept {kept:.2f} ms, ratio {anew / kept:.1f}")


def official(folder: Path, made: Path, clips: int) -> Dataset:
    """The same clips in the format of the official archive: 16-bit wav at 44.1 kHz."""
    shutil.copytree(folder / "meta", made / "meta")
    (made / "audio").mkdir()
    source = Esc50(folder)
    for clip in source.clips:
        path = made / "audio" / clip.filename
        path.touch()  # listed, and not read
        if clip in source.clips[:clips]:
            sound = torch.from_numpy(source.waveform(clip))
            sound = torchaudio.functional.resample(sound, audio.SAMPLE_RATE, OFFICIAL_RATE).clamp(-1, 1)
            soundfile.write(path, sound.numpy(), OFFICIAL_RATE, format="WAV", subtype="PCM_16")
    return Esc50(made)


def milliseconds(source: Dataset, clips: int, keep: bool) -> float:
    """Of one clip."""
    assert isinstance(source, Esc50)

    def read() -> None:
        for clip in source.clips[:clips]:
            if keep:
                source.waveform(clip)
            else:
                reading.read_clip(source.folder / "audio" / clip.filename)

    read()  # fills the cache
    seconds = []
    for _ in range(3):
        started = time.process_time()
        read()
        seconds.append(time.process_time() - started)
    return 1000 * statistics.median(seconds) / min(clips, len(source.clips))


if __name__ == "__main__":
    typer.run(main)
