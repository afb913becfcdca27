"""UrbanSound8K in its official layout.

Salamon, Jacoby, Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from xaibench.errors import DataError
from xaibench.sound.dataset import Clip
from xaibench.sound.table import AudioTable


class UrbanSound8K(AudioTable):
    """Ten classes in ten folds, read from a folder with metadata/UrbanSound8K.csv and audio/fold1 to audio/fold10.

    Clips last up to 4 s; recordings are the `fsID` of the table.

    Raises:
        DataError: the folder, its table or a listed file is missing or wrong.
    """

    name = "urbansound8k"
    licence = "CC BY-NC 3.0 (J. Salamon, C. Jacoby, J. P. Bello, UrbanSound8K)"
    takes_columns = False
    # Not start and end: these are places in the recordings, from which the files were cut already.
    NAMES: ClassVar[dict[str, tuple[str, ...]]] = {
        "path": ("slice_file_name",),
        "label": ("class",),
        "fold": ("fold",),
        "group": ("fsID",),
    }

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        file = self.folder / "metadata" / "UrbanSound8K.csv"
        if not file.is_file():
            raise DataError(
                f"{file} is missing; {folder} is not in UrbanSound8K's layout (metadata/UrbanSound8K.csv, audio/fold1)"
            )
        super().__init__(file)

    def path(self, clip: Clip) -> Path:
        return self.folder / "audio" / f"fold{clip.fold}" / clip.filename
