"""A few real clips in ESC-50's layout, so that a fit takes seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def link_few(source: Path, folder: Path, per_class: int = 1) -> Path:
    """ESC-10's first clips of every class and fold of `source`, linked into `folder`, which is returned."""
    table = pd.read_csv(source / "meta" / "esc50.csv")
    table = table[table["esc10"].astype(str).str.lower() == "true"]
    table = table.groupby(["fold", "target"], sort=True).head(per_class)
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").mkdir()
    table.to_csv(folder / "meta" / "esc50.csv", index=False)
    for name in table["filename"]:
        (folder / "audio" / name).symlink_to((source / "audio" / name).resolve())
    return folder


def link_first(source: Path, folder: Path, count: int) -> Path:
    """`source` with the first clips of ESC-10's fold 5 alone of this fold, linked into `folder`, which is returned."""
    table = pd.read_csv(source / "meta" / "esc50.csv")
    fifth = table.index[(table["fold"] == 5) & (table["esc10"].astype(str).str.lower() == "true")]
    (folder / "meta").mkdir(parents=True)
    table.drop(index=fifth[count:]).to_csv(folder / "meta" / "esc50.csv", index=False)
    (folder / "audio").symlink_to((source / "audio").resolve())
    return folder
