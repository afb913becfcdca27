"""How figures and tables look, said once: width, fonts, colours, markers, arrows.

Heavy libraries are imported when something is drawn, not before: lists in a terminal need the arrows only.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

WIDTH = 7.2  # inches: the text width of a two-column paper
PAGE = 7.5  # inches: of a page's height, what many rows may take
DPI = 200
PICTURE_DPI = 300  # of spectrograms, whose bins are smaller than a dot at 200
_LEAST_ROOM = 0.8  # of the height that rows should have
NAME_SIZE = 6.0  # points: names at lines, numbers in cells
NOTE_SIZE = 6.5
LABEL_SIZE = 7.5  # of what a whole figure's axes show
TITLE_SIZE = 8.0
_DARK = "0.05"  # of text on coloured cells

# Okabe and Ito, "Color Universal Design", 2008.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73"),
    *("#0072B2", "#D55E00", "#CC79A7"),
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, SKY, BLACK, ORANGE)  # without yellow, which is too faint for lines
MARKERS = "osD^vPX*<>phd"  # as many as share no divisor with the colours: pairs of both repeat late
CONTROL_COLOUR = "0.45"
# How the name of a control is written, or of whatever else stands apart in a figure.
APART: dict[str, Any] = {"style": "italic", "color": "0.35"}

_SETTINGS: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "figure.labelsize": LABEL_SIZE,
    "figure.titlesize": TITLE_SIZE,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "pdf.fonttype": 42,  # text stays text in the PDF
}


def arrow(higher_is_better: bool, *, along: bool = False) -> str:
    """Return the arrow to a metric's better side: up or down, or `along` an axis, right or left."""
    return ("←→" if along else "↓↑")[higher_is_better]


@contextmanager
def paper(base: Literal["whitegrid", "ticks"] = "whitegrid") -> Iterator[None]:
    """Set matplotlib's settings for a figure of a paper, inside `with` or as a decorator.

    Args:
        base: seaborn's style underneath: "whitegrid" for plots, "ticks" for pictures, which a grid would cross.
    """
    import matplotlib as mpl
    import seaborn as sns

    settings: Any = sns.axes_style(base) | sns.plotting_context("paper") | _SETTINGS
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float, dpi: float = DPI) -> Figure:
    """Make an empty figure, `width` by `height` inches; without pyplot, so no window system is ever asked for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class PaperFigure(Figure):
        def _repr_png_(self) -> bytes:  # notebooks know pyplot's figures only
            buffer = BytesIO()
            self.savefig(buffer, format="png", dpi="figure")
            return buffer.getvalue()

    figure = PaperFigure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, *, shades: bool = False) -> list[Path]:
    """Write a figure as `path`.png and .pdf, the same bytes each time; return these paths.

    The PNG has a palette of 256 colours, which is a third of the size of all colours and looks the same, but for
    pictures of many `shades`, such as spectrograms: these keep all their colours.
    """
    from PIL import Image

    written, drawn = [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "pdf")], BytesIO()
    with paper():
        figure.savefig(drawn, format="png", dpi="figure")
        figure.savefig(written[1], dpi="figure", metadata={"CreationDate": None})
    whole = Image.open(drawn)
    made = whole.convert("RGB")
    if not shades:
        # The method of Pillow that divides colours by how far they are apart, and not by how many points have them.
        made = made.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    made.save(written[0], optimize=True, dpi=whole.info["dpi"])
    return written


def make_room(figure: Figure, axes: Iterable[Axes], inches: float) -> None:
    """Make a figure taller where its axes, below each other, have much less than `inches` together.

    What is written around a few rows takes more place than they do.
    """
    column = list(axes)
    for _ in range(8):  # of a figure that collapsed nobody can tell how much is lacking
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            figure.draw_without_rendering()
        collapsed = any("constrained_layout not applied" in str(one.message) for one in said)
        have = 0.0 if collapsed else sum(axis.get_window_extent().height for axis in column) / figure.dpi
        if have >= _LEAST_ROOM * inches:
            return
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + inches - have)


def row_height(count: int) -> float:
    """Return the height, in inches, of the `count` rows of names in a figure: less where they would fill a page."""
    return float(min(0.19, max(PAGE / count, 0.115)))


def title_panel(axis: Axes, text: str, pad: float | None = None) -> None:
    """Write the title of a panel, `pad` points above it, whatever is between."""
    axis.set_title(text, loc="left", weight="bold", pad=pad, y=None if pad is None else 1.0)


def wrapped(text: str, width: float, size: float = NOTE_SIZE) -> str:
    """Break the lines of a text, of `size` points, where a figure so wide (inches) has no more room."""
    characters = int(width * 125 / size)
    return "\n".join(textwrap.fill(line, characters) for line in text.splitlines())


def on_colour(background: Any) -> str:
    """Choose the colour of a text on a coloured cell: dark or white, whichever has more contrast (WCAG 2)."""
    from matplotlib.colors import to_rgb

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _DARK if luminance > 0.18 else "white"  # where both have about 4.6


def add_note(figure: Figure, text: str) -> None:
    """Write what the marks of a figure mean below it."""
    figure.supxlabel(wrapped(text, figure.get_figwidth()), x=0.01, ha="left", size=NOTE_SIZE, color="0.3")


def error_bars(lines: pd.DataFrame) -> NDArray[np.float64]:
    """Return the lengths (2, lines) of the bars from the columns `mean` to `low` and `high`, as matplotlib wants."""
    return lines[["low", "high"]].sub(lines["mean"], axis=0).abs().to_numpy(float).T


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    colour: str
    marker: str
    hollow: bool

    @property
    def style(self) -> dict[str, Any]:
        """Arguments of a plotted line or of its markers."""
        return {
            "marker": self.marker,
            "color": self.colour,
            "markersize": 3.6,
            "markerfacecolor": "white" if self.hollow else self.colour,
            "markeredgecolor": self.colour,
            "markeredgewidth": 0.7,
        }


def looks(lines: pd.DataFrame) -> dict[str, Look]:
    """Choose a look for each method of a dataset's comparison, the same in all figures and for all classifiers.

    Colours repeat, but then the markers are hollow; controls are grey and hollow.
    """
    control = lines.groupby("method")["control"].first()
    methods, controls = (sorted(control.index[control == kind]) for kind in (False, True))
    chosen = {
        name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], i // len(COLOURS) % 2 == 1)
        for i, name in enumerate(methods)
    }
    return chosen | {name: Look(CONTROL_COLOUR, MARKERS[i % len(MARKERS)], True) for i, name in enumerate(controls)}
