"""Curves over the mask area show what they say: every method, the controls' band, names that can be read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from xaibench import registry
from xaibench.reports import plots
from xaibench.reports.curves import CURVE_METRICS, curves, has_curves, spread_out

AREAS = (0.05, 0.1, 0.2, 0.4)
CONTROLS = {"random": 0.0, "energy": 0.6, "oracle": 0.9}


def comparison(methods: list[str], classifiers: tuple[str, ...] = ("cnn-micro",)) -> pd.DataFrame:
    """Lines whose mean is the method's level times the area's place; oracle above all."""
    levels = {name: 0.05 + 0.5 * i / len(methods) for i, name in enumerate(methods)} | CONTROLS
    records = [
        {
            "dataset": "esc10",
            "group": "esc10",
            "clips": 12,
            "missing": 0,
            "differs_in": "",
            "classifier": classifier,
            "method": method,
            "metric": metric,
            "area": area,
            "mean": level * (1 + i / 10),
            "low": level * (1 + i / 10) - 0.02,
            "high": level * (1 + i / 10) + 0.02,
            "control": method in CONTROLS,
            "mask": "equal area",
            "rank": 1,
            "better_than_random": True,
            "seconds_per_clip": 1.0,
            "metric_title": registry.load("metrics", metric).title,
            "family": registry.load("metrics", metric).family,
            "higher_is_better": registry.load("metrics", metric).higher_is_better,
        }
        for classifier in classifiers
        for method, level in levels.items()
        for metric in CURVE_METRICS
        for i, area in enumerate(AREAS)
    ]
    return pd.DataFrame(records)


def names_of(figure: Figure) -> list[list[str]]:
    return [[text.get_text() for text in axis.texts if text.get_text()] for axis in figure.axes]


def drawn(figure: Figure, panel: int = 0) -> list[Line2D]:
    """Lines of the methods of a panel, in the order of drawing."""
    return [line for line in figure.axes[panel].lines if len(line.get_xydata()) == len(AREAS) and line.get_zorder() > 2]


def test_a_panel_per_metric_names_every_method_and_control_once() -> None:
    methods = [f"method-{i}" for i in range(12)]
    figure = curves(comparison(methods), "cnn-micro")
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["FF ↑", "Fid-In ↑", "AD ↓"]
    assert all(sorted(found) == sorted([*methods, *CONTROLS]) for found in names_of(figure))
    assert all(
        [label.get_text() for label in axis.get_xticklabels()] == ["5", "10", "20", "40"] for axis in figure.axes
    )
    assert "esc10, cnn-micro" in [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def test_lines_hold_the_means() -> None:
    lines = comparison(["a", "b"])
    figure = curves(lines, "cnn-micro")
    for method, line in zip(("b", "a"), drawn(figure), strict=True):  # best first
        own = lines[(lines["method"] == method) & (lines["metric"] == "faithfulness")]
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), own["mean"])
        np.testing.assert_allclose(np.asarray(line.get_xdata(), float), own["area"], rtol=0.2)  # side by side


def test_the_band_reaches_from_the_worst_to_the_best_control_without_the_ceiling() -> None:
    figure = curves(comparison(["a"]), "cnn-micro")
    (band,) = [one for one in figure.axes[0].collections if one.get_zorder() < 1]
    corners = band.get_paths()[0].vertices
    assert corners[:, 0].min() == pytest.approx(0.05) and corners[:, 0].max() == pytest.approx(0.4)
    assert corners[:, 1].min() == pytest.approx(0) and corners[:, 1].max() == pytest.approx(0.6 * 1.3)


def test_a_method_looks_the_same_for_every_classifier_and_like_no_other() -> None:
    methods = [f"m{i:02d}" for i in range(14)]
    lines = comparison(methods, ("cnn-micro", "vit-micro"))
    gone = (lines["classifier"] == "vit-micro") & lines["method"].isin(["m00", "m07"])

    def looks(classifier: str) -> dict[float, tuple[object, ...]]:
        found = drawn(curves(lines[~gone], classifier))
        return {
            float(np.ravel(line.get_ydata())[0]): (line.get_color(), line.get_marker(), line.get_linestyle())
            for line in found
        }

    whole, rest = looks("cnn-micro"), looks("vit-micro")
    assert len(set(whole.values())) == 14 and len(rest) == 12
    assert all(whole[key] == look for key, look in rest.items())
    # Without colour, marker and dash still tell them apart.
    assert len({look[1:] for look in whole.values()}) == 14


def test_names_do_not_cover_each_other_where_lines_end_together() -> None:
    lines = comparison([f"method-{i}" for i in range(12)])
    same = lines.assign(mean=lines["mean"].where(lines["control"], 0.3))
    figure = curves(same, "cnn-micro")
    figure.canvas.draw()
    for axis in figure.axes:
        # Of an annotation itself, the box would hold its line.
        boxes = sorted((Text.get_window_extent(text) for text in axis.texts if text.get_text()), key=lambda box: box.y0)
        assert len(boxes) == 15
        assert all(a.y1 <= b.y0 + 0.25 * a.height for a, b in pairwise(boxes))


def test_gaps_are_left_out_and_one_area_is_no_curve() -> None:
    lines = comparison(["a", "b"])
    undefined = lines.assign(mean=lines["mean"].mask(lines["method"] == "a"))
    assert sorted(names_of(curves(undefined, "cnn-micro"))[0]) == ["b", *sorted(CONTROLS)]
    two = lines[lines["metric"] != "fidelity_in"]
    assert len(curves(two, "cnn-micro").axes) == 2
    assert has_curves(lines)
    assert not has_curves(lines[lines["area"] == 0.1])
    assert not has_curves(lines.assign(metric="sparseness"))
    bare = lines[~lines["control"]]
    assert sorted(names_of(curves(bare, "cnn-micro"))[0]) == ["a", "b"]


def test_curves_are_written_per_classifier(tmp_path: Path) -> None:
    lines = comparison(["a", "b"], ("cnn-micro", "vit-micro"))
    lines = lines[lines["metric"] == "fidelity_in"]
    rows = lines.rename(columns={"mean": "value"}).assign(clip="clip")
    written = [path.name for path in plots.write_plots(rows, lines, tmp_path)]
    found = [name for name in written if name.startswith("curves-")]
    assert found == [f"curves-esc10-{c}-micro.{s}" for c in ("cnn", "vit") for s in ("png", "pdf")]
    assert all((tmp_path / name).stat().st_size > 5000 for name in found)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.2))
def test_places_keep_their_distance_and_order_and_stay_near(wanted: list[float], gap: float) -> None:
    at = np.sort(wanted)
    places = spread_out(at, gap)
    assert (np.diff(places) >= gap - 1e-9).all()
    assert places.mean() == pytest.approx(at.mean())  # each block is centred on what it wanted
    spaced = np.arange(len(at)) * (gap + 1e-6)
    np.testing.assert_allclose(spread_out(spaced, gap), spaced)
