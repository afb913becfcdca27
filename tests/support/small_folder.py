"""A small folder in ESC-50's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def write(folder: Path) -> Path:
    """Write ten one-tone clips: classes dog (target 0, ESC-10) and pig (target 2), in five folds; return the folder."""
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").mkdir()
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, category in ((2, "pig"), (0, "dog")):
            recording = 1000 * fold + target
            name = f"{fold}-{recording}-A-{target}.wav"
            lines.append(f"{name},{fold},{target},{category},{target == 0},{recording},A")
            tone = 0.5 * np.sin(np.arange(20_000) * recording / 8000)
            soundfile.write(folder / "audio" / name, tone, 4000, subtype="PCM_16")
    (folder / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
    return folder
