"""A small folder in ESC-50's layout, and the same clips in the layouts of other datasets."""

from __future__ import annotations

import csv
import shutil
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


def as_folder(esc50: Path, to: Path) -> Path:
    """Copy the clips into a folder for each class; return the folder."""
    for row in rows(esc50):
        (to / row["category"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(esc50 / "audio" / row["filename"], to / row["category"])
    return to


def as_table(esc50: Path, to: Path, reverse: bool = False) -> Path:
    """Write a CSV file of the clips, with their folds and recordings; return the file."""
    lines = [f"{esc50 / 'audio' / r['filename']},{r['category']},{r['fold']},{r['src_file']}" for r in rows(esc50)]
    to.write_text("\n".join(["path,label,fold,group", *(reversed(lines) if reverse else lines)]) + "\n")
    return to


def as_urbansound8k(esc50: Path, to: Path, folds: int = 10) -> Path:
    """Copy the clips into UrbanSound8K's layout, in ten folds in turn for each class; return the folder."""
    (to / "metadata").mkdir(parents=True)
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    turns: dict[str, int] = {}
    for row in rows(esc50):
        turn = turns[row["category"]] = turns.get(row["category"], -1) + 1
        fold = turn % folds + 1
        (to / "audio" / f"fold{fold}").mkdir(parents=True, exist_ok=True)
        shutil.copy(esc50 / "audio" / row["filename"], to / "audio" / f"fold{fold}")
        lines.append(f"{row['filename']},{row['src_file']},100.5,104.5,1,{fold},{row['target']},{row['category']}")
    (to / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    return to


def rows(esc50: Path) -> list[dict[str, str]]:
    """Rows of the metadata table."""
    with (esc50 / "meta" / "esc50.csv").open(newline="") as file:
        return list(csv.DictReader(file))
