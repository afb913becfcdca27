"""Curves over the mask area show what they say: each method in its panel, against all others and the controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from xaibench import registry
from xaibench.reports import plots, style
from xaibench.reports.curves import CURVE_METRICS, curves, has_curves

AREAS = (0.05, 0.1, 0.2, 0.4)
CONTROLS = {"random": 0.0, "energy": 0.6, "oracle": 0.9}


def comparison(methods: list[str], classifiers: tuple[str, ...] = ("cnn-micro",)) -> pd.DataFrame:
    """Lines whose mean is the method's level times the area's place; oracle above all."""
    levels = {name: 0.05 + 0.5 * i / len(methods) for i, name in enumerate(methods)} | CONTROLS
    records = [
        {
            "dataset": "esc10",
            "group": "esc10",
            "protocol": "standard-2",
            "clips": 12,
            "n": 12,
            "undefined": 0,
            "recordings": 6,
            "tied_with": "",
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


def titles(figure: Figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_visible()]


def highlighted(axis: Axes) -> Line2D:
    """The line of a panel's own method."""
    (line,) = [line for line in axis.lines if line.get_color() == style.BLUE]
    return line


def test_a_panel_for_each_method_best_first() -> None:
    methods = [f"method-{i}" for i in range(12)]
    figure = curves(comparison(methods), "cnn-micro")
    assert titles(figure) == methods[::-1]
    lowest = [axis for axis in figure.axes if axis.get_xlabel()]
    assert len(lowest) == 5
    assert all([label.get_text() for label in axis.get_xticklabels()] == ["5", "10", "20", "40"] for axis in lowest)
    said = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert "cnn-micro; esc10, protocol standard-2: 12 clips of 6 recordings" in said
    assert "Faithfulness (FF) →" in said


def test_its_line_holds_the_means_and_the_band_the_intervals() -> None:
    lines = comparison(["a", "b"])
    for axis in curves(lines, "cnn-micro").axes:
        own = lines[(lines["method"] == axis.get_title(loc="left")) & (lines["metric"] == "faithfulness")]
        np.testing.assert_allclose(np.asarray(highlighted(axis).get_xydata(), float), own[["area", "mean"]])
        (band,) = axis.collections
        corners = band.get_paths()[0].vertices
        assert corners[:, 1].min() == pytest.approx(own["low"].min())
        assert corners[:, 1].max() == pytest.approx(own["high"].max())


def test_behind_it_are_all_others_and_the_controls_but_the_ceiling() -> None:
    figure = curves(comparison(["a", "b", "c"]), "cnn-micro")
    axis = figure.axes[0]
    dashed = [line for line in axis.lines if line.get_linestyle() != "-"]
    assert len(dashed) == 2 and len(axis.lines) == 1 + 3 + 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["the panel's method", "95% interval", "other methods", "energy", "random"]
    assert len({line.get_linestyle() for line in dashed}) == 2, "without colour they can be told apart"


def test_gaps_are_left_out_and_one_area_is_no_curve() -> None:
    lines = comparison(["a", "b"])
    undefined = lines.assign(mean=lines["mean"].mask(lines["method"] == "a"))
    assert titles(curves(undefined, "cnn-micro")) == ["b"]
    assert has_curves(lines)
    assert not has_curves(lines[lines["area"] == 0.1])
    assert not has_curves(lines.assign(metric="sparseness"))
    assert sorted(titles(curves(lines[~lines["control"]], "cnn-micro"))) == ["a", "b"]


def test_curves_are_written_per_classifier(tmp_path: Path) -> None:
    lines = comparison(["a", "b"], ("cnn-micro", "vit-micro"))
    lines = lines[lines["metric"] == "fidelity_in"]
    rows = lines.rename(columns={"mean": "value"}).assign(clip="clip")
    written = [path.name for path in plots.write_plots(rows, lines, tmp_path)]
    found = [name for name in written if name.startswith("curves-")]
    assert found == [f"curves-esc10-{c}-micro.{s}" for c in ("cnn", "vit") for s in ("png", "pdf")]
    assert all((tmp_path / name).stat().st_size > 5000 for name in found)
