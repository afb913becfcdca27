"""Figures are written in both formats, say what they show, and survive gaps in the results."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from xaibench.reports import leaderboard, plots
from xaibench.results.comparison import at_primary_area
from xaibench.results.parts import SCHEMA

METHODS = ["occlusion", "saliency", "gradcam", "uniform", "random"]


def make_rows(methods: list[str], metrics: tuple[str, ...] = ("faithfulness", "sparseness")) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    records = [
        [
            "synth",
            5,
            f"clip{i}",
            f"recording{i}",
            "a",
            "a",
            True,
            classifier,
            method,
            "equal area",
            "standard",
            metric,
            area,
            value,
            None,
        ]
        for classifier in ("cnn-micro", "vit-micro")
        for index, method in enumerate(methods)
        for metric in metrics
        for area in ([0.1, 0.2] if metric == "faithfulness" else [np.nan])
        for i, value in enumerate(generator.normal(0.5 - 0.1 * index, 0.1, 12))
    ]
    return pd.DataFrame(records, columns=SCHEMA.names)


def make_comparison(rows: pd.DataFrame) -> pd.DataFrame:
    keys = ["dataset", "classifier", "method", "metric", "area"]
    lines = rows.groupby(keys, dropna=False)["value"].agg(["mean", "std"]).reset_index()
    lines["low"], lines["high"] = lines["mean"] - lines["std"] / 2, lines["mean"] + lines["std"] / 2
    lines["rank"] = lines.groupby(keys[:2] + keys[3:], dropna=False)["mean"].rank(ascending=False).astype("Int64")
    lines["better_than_random"] = pd.array(
        [None if m == "random" else m != "uniform" for m in lines["method"]], "boolean"
    )
    lines["seconds_per_clip"] = [10.0 ** -METHODS.index(m) for m in lines["method"]]
    lines["control"] = lines["method"].isin(["random", "uniform"])
    lines["mask"] = "equal area"
    return lines


def texts(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def colours(figure: Figure) -> np.ndarray:
    return np.ravel(np.asarray(figure.axes[0].collections[0].get_array()))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return make_rows(METHODS)


@pytest.fixture(scope="module")
def comparison(rows: pd.DataFrame) -> pd.DataFrame:
    return make_comparison(rows)


def test_every_figure_is_written_twice_the_same(rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path: Path) -> None:
    paths = plots.write_plots(rows, comparison, tmp_path / "a")
    names = [f"{name}-synth" for name in ("heatmap", "distribution", "cost")]
    names += [f"curves-synth-{classifier}" for classifier in ("cnn-micro", "vit-micro")]
    expected = [f"{name}.{s}" for name in names for s in ("png", "pdf")]
    assert [path.name for path in paths] == expected
    signatures = {".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert all(path.read_bytes().startswith(signatures[path.suffix]) for path in paths)
    for path, again in zip(paths, plots.write_plots(rows, comparison, tmp_path / "b"), strict=True):
        assert path.read_bytes() == again.read_bytes(), path.name


def test_heatmap_names_methods_metrics_and_their_directions(comparison: pd.DataFrame) -> None:
    figure = plots.heatmap(at_primary_area(comparison))
    found = texts(figure)
    assert {*METHODS, "FF\n↑", "SPS\n↑", "cnn-micro", "vit-micro"} <= set(found)
    mean = comparison[(comparison["method"] == "uniform") & (comparison["area"] == 0.1)]["mean"].iloc[0]
    assert f"{mean:.2f}†" in found


def test_heatmap_is_darkest_for_the_best_whatever_the_direction() -> None:
    lines = make_comparison(make_rows(METHODS, ("deletion_auc",)))
    lines["rank"] = (6 - lines["rank"]).astype("Int64")  # lower is better
    shades = colours(plots.heatmap(lines))
    order = leaderboard.method_order(lines[lines["classifier"] == "cnn-micro"])
    ranks = lines[lines["classifier"] == "cnn-micro"].set_index("method")["rank"]
    assert shades[order.index("random")] > shades[order.index("occlusion")]
    assert [round(4 * value) for value in shades] == [5 - ranks[method] for method in order]


def test_a_column_without_differences_has_the_middle_colour(comparison: pd.DataFrame) -> None:
    lines = at_primary_area(comparison).assign(rank=pd.array([1] * 20, "Int64"))
    assert set(colours(plots.heatmap(lines))) == {0.5}


def test_distribution_says_where_a_method_does_not_exist(rows: pd.DataFrame, comparison: pd.DataFrame) -> None:
    gone = (comparison["classifier"] == "vit-micro") & (comparison["method"] == "gradcam")
    figure = plots.distribution(rows[rows["area"] == 0.1], at_primary_area(comparison[~gone]))
    assert texts(figure).count("n/a") == 1


def test_cost_is_logarithmic_and_names_every_point(comparison: pd.DataFrame) -> None:
    figure = plots.cost(at_primary_area(comparison))
    assert {axis.get_xscale() for axis in figure.axes} == {"log"}
    assert all(texts(figure).count(method) == 2 for method in METHODS)


def test_names_of_close_points_do_not_cover_each_other() -> None:
    lines = at_primary_area(make_comparison(make_rows(METHODS, ("faithfulness",))))
    lines = lines.assign(
        seconds_per_clip=1 + 0.01 * lines["mean"], mean=0.5 + 0.01 * lines["mean"], low=0.49, high=0.51
    )
    figure = plots.cost(
        pd.concat([lines, lines.assign(method="far", seconds_per_clip=100, mean=0.1, low=0.1, high=0.1)])
    )
    figure.canvas.draw()
    for axis in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axis.texts]  # of an annotation it would hold the arrow
        corners = np.array([box.extents for box in boxes])
        shared = plots._overlaps(corners, corners)
        assert shared[~np.eye(len(boxes), dtype=bool)].max() < 0.1 * min(box.width * box.height for box in boxes)


def test_gaps_do_not_stop_the_figures(rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path: Path) -> None:
    undefined = comparison["method"] == "saliency"
    partial = comparison.assign(
        mean=comparison["mean"].mask(undefined), low=np.nan, high=np.nan, rank=comparison["rank"].mask(undefined)
    )
    assert len(plots.write_plots(rows, partial, tmp_path)) == 10
    other = comparison[comparison["metric"] == "sparseness"]
    assert [path.name for path in plots.write_plots(rows, other, tmp_path)] == [
        "heatmap-synth.png",
        "heatmap-synth.pdf",
    ]


def test_soft_masks_are_in_no_figure(rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path: Path) -> None:
    soft = comparison[(comparison["method"] == "gradcam") & (comparison["area"] == 0.1)]
    soft = soft.assign(area=np.nan, mask="soft", mean=5.0, low=4.0, high=6.0)
    clips = rows[(rows["method"] == "gradcam") & (rows["area"] == 0.1)].assign(area=np.nan, mask="soft")
    rows, comparison, soft = (table[table["classifier"] == "cnn-micro"] for table in (rows, comparison, soft))
    with_soft, lines = pd.concat([rows, clips]), pd.concat([comparison, soft], ignore_index=True)
    assert not (at_primary_area(lines)["mask"] == "soft").any()
    for one, other in zip(
        plots.write_plots(rows, comparison, tmp_path / "without"),
        plots.write_plots(with_soft, lines, tmp_path / "with"),
        strict=True,
    ):
        assert one.read_bytes() == other.read_bytes(), one.name
