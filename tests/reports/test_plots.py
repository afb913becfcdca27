"""Figures are written in both formats, say what they show, and survive gaps in the results."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from xaibench import registry
from xaibench.reports import leaderboard, plots, style
from xaibench.reports.cost import cost
from xaibench.reports.distribution import distribution
from xaibench.reports.forest import forest
from xaibench.reports.heatmap import heatmap
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
            "silence",
            "predicted",
            1.0,
            0.1,
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
    return pd.DataFrame(records, columns=SCHEMA.names).assign(group="synth")


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
    known = {name: registry.load("metrics", name) for name in set(lines["metric"])}
    for column, fact in (("metric_title", "title"), ("family", "family"), ("higher_is_better", "higher_is_better")):
        lines[column] = [getattr(known[name], fact) for name in lines["metric"]]
    lines["rank_low"], lines["rank_high"], lines["first"] = 1, lines["rank"], 0.25
    about = {"n": 12, "undefined": 0, "recordings": 12, "protocol": "standard-2", "tied_with": ""}
    return lines.assign(mask="equal area", group="synth", clips=12, missing=0, differs_in="", **about)


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


def of_one(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["classifier"] == "cnn-micro"]


@pytest.fixture(scope="module")
def written(rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All figures of one classifier."""
    return plots.write_plots(of_one(rows), of_one(comparison), tmp_path_factory.mktemp("written"))


def test_every_figure_is_written_twice_the_same(
    written: list[Path], rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path: Path
) -> None:
    names = [f"{name}-synth" for name in ("heatmap", "ranks", "agreement", "forest", "distribution", "cost")]
    names += ["curves-synth-cnn-micro"]
    expected = [f"{name}.{s}" for name in names for s in ("png", "pdf")]
    assert [path.name for path in written] == expected
    signatures = {".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert all(path.read_bytes().startswith(signatures[path.suffix]) for path in written)
    for path, again in zip(written, plots.write_plots(of_one(rows), of_one(comparison), tmp_path), strict=True):
        assert path.read_bytes() == again.read_bytes(), path.name


def test_heatmap_names_methods_metrics_and_their_directions(comparison: pd.DataFrame) -> None:
    figure = heatmap(at_primary_area(comparison))
    found = texts(figure)
    lines = [" ".join(text.split()) for text in found]  # a note is as wide as its figure
    assert any(text.startswith("synth, protocol standard-2: 12 clips of 12 recordings") for text in lines)
    assert {*METHODS, "FF\n↑", "SPS\n↑", "cnn-micro", "vit-micro"} <= set(found)
    mean = comparison[(comparison["method"] == "uniform") & (comparison["area"] == 0.1)]["mean"].iloc[0]
    assert f"{mean:.2f}†" in found


def test_heatmap_marks_who_lacks_clips_and_who_was_made_otherwise(comparison: pd.DataFrame) -> None:
    fewer, otherwise = comparison["method"] == "saliency", comparison["method"] == "random"
    marked = comparison.assign(
        clips=comparison["clips"].mask(fewer, 8),
        missing=comparison["missing"].mask(fewer, 4),
        differs_in=comparison["differs_in"].mask(otherwise, "code;threads"),
    )
    found = texts(heatmap(at_primary_area(marked)))
    assert {"occlusion", "saliency°", "random¶"} <= set(found)
    (note,) = [" ".join(text.split()) for text in found if "significantly better" in " ".join(text.split())]
    assert "° lacks clips" in note and "¶ made with other code" in note
    assert "¶" not in "".join(texts(heatmap(at_primary_area(comparison))))


@pytest.mark.parametrize("methods", [METHODS[:1], [METHODS[0], "random"], METHODS])
def test_few_rows_have_their_place_too(methods: list[str]) -> None:
    """Notes and headings took it, and matplotlib laid all of them over each other."""
    rows = of_one(make_rows(methods))
    lines = at_primary_area(of_one(make_comparison(rows)))
    figures = [heatmap(lines), *([forest(rows, lines)] if "random" in methods else [])]
    for figure in figures:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.draw_without_rendering()
        count = len(methods) if figure is figures[0] else len(set(methods) - {"random", "uniform"})
        assert figure.axes[0].get_window_extent().height / figure.dpi > 0.12 * count
        edge = figure.bbox
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            box = text.get_window_extent()
            assert not text.get_text().strip() or (box.y0 >= edge.y0 - 2 and box.y1 <= edge.y1 + 2), text


def test_groups_have_figures_of_their_own(rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path: Path) -> None:
    lines = comparison[(comparison["metric"] == "sparseness") & (comparison["classifier"] == "cnn-micro")]
    groups = ["synth-seed0", "synth-seed7"]
    both, clips = (pd.concat([table.assign(group=name) for name in groups]) for table in (lines, rows))
    names = [path.name for path in plots.write_plots(clips, both, tmp_path)]
    assert names == [f"heatmap-{name}.{suffix}" for name in groups for suffix in ("png", "pdf")]


@pytest.mark.parametrize("sign", [1, -1])
def test_heatmap_shades_say_how_far_a_mean_has_come_from_random_to_the_best(sign: int) -> None:
    lines = make_comparison(make_rows(METHODS, ("deletion_auc",)))  # lower is better
    level = {"occlusion": 4.0, "saliency": 3.0, "gradcam": 2.0, "random": 2.0, "uniform": 1.0}
    means = -lines["method"].map(level) if sign == 1 else lines["method"].map(level)
    found = colours(heatmap(lines.assign(mean=means)))
    order = leaderboard.method_order(lines[lines["classifier"] == "cnn-micro"])
    best_first = {"occlusion": 1.0, "saliency": 0.5, "gradcam": 0.0, "random": 0.0, "uniform": 0.0}
    worst_first = {"occlusion": 0.0, "saliency": 0.0, "gradcam": 0.0, "random": 0.0, "uniform": 1.0}
    assert dict(zip(order, found, strict=True)) == (best_first if sign == 1 else worst_first)


def test_heatmap_frames_the_best_and_what_is_tied_with_it(comparison: pd.DataFrame) -> None:
    lines = at_primary_area(comparison)
    lines = lines[lines["metric"] == "faithfulness"].assign(tied_with="")
    lines.loc[lines["rank"] == 1, "tied_with"] = "saliency;uniform"
    lines.loc[lines["method"] == "saliency", "tied_with"] = "occlusion"
    order = leaderboard.method_order(lines)
    frames = {order[round(one.get_y() - 0.05)] for one in heatmap(lines).axes[0].patches}
    assert frames == {"occlusion", "saliency"}, "uniform is a control, and no better than random"


def test_a_column_without_differences_has_no_colour(comparison: pd.DataFrame) -> None:
    assert set(colours(heatmap(at_primary_area(comparison).assign(mean=1.0)))) == {0.0}


def test_distribution_says_where_a_method_does_not_exist(rows: pd.DataFrame, comparison: pd.DataFrame) -> None:
    gone = (comparison["classifier"] == "vit-micro") & (comparison["method"] == "gradcam")
    figure = distribution(rows[rows["area"] == 0.1], at_primary_area(comparison[~gone]))
    assert texts(figure).count("n/a") == 1


def test_boxes_reach_from_quartile_to_quartile(rows: pd.DataFrame, comparison: pd.DataFrame) -> None:
    rows = rows[(rows["area"] == 0.1) & (rows["metric"] == "faithfulness")]
    figure = distribution(rows, at_primary_area(comparison))
    own = rows[(rows["classifier"] == "cnn-micro") & (rows["method"] == "occlusion")]["value"]
    corners = [np.asarray(line.get_xdata(), float) for line in figure.axes[0].lines]
    for quantile in (0.25, 0.5, 0.75):
        assert any(np.isclose(ends, own.quantile(quantile)).any() for ends in corners)


def test_cost_is_logarithmic_and_its_legend_names_every_method_once(comparison: pd.DataFrame) -> None:
    figure = cost(at_primary_area(comparison))
    assert {axis.get_xscale() for axis in figure.axes} == {"log"}
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == leaderboard.method_order(at_primary_area(comparison))
    assert {text.get_text() for text in legend.get_texts() if text.get_style() == "italic"} == {"random", "uniform"}


def test_cost_draws_each_method_where_it_is_as_the_legend_says(comparison: pd.DataFrame) -> None:
    lines = at_primary_area(comparison)
    figure = cost(lines)
    own = lines[(lines["classifier"] == "vit-micro") & (lines["metric"] == "faithfulness")].set_index("method")
    points = {
        (line.get_color(), line.get_marker(), line.get_markerfacecolor()): line.get_xydata()[0]
        for line in figure.axes[1].lines
        if line.get_marker() not in {"", "None", None}
    }
    assert len(points) == len(METHODS)
    for handle, text in zip(figure.legends[0].legend_handles, figure.legends[0].get_texts(), strict=True):
        at = points[handle.get_color(), handle.get_marker(), handle.get_markerfacecolor()]
        expected = own.loc[text.get_text(), ["seconds_per_clip", "mean"]].to_numpy(float)
        np.testing.assert_allclose(np.asarray(at, float), expected)


LONG = {"saliency": "gradcam-plus-plus", "gradcam": "attention-gradient", "occlusion": "integrated-gradients"}


@pytest.mark.parametrize("width", [3.3, 5.5, 7.2])
@pytest.mark.parametrize("kind", ["heatmap", "ranks", "agreement", "distribution", "cost", "curves"])
def test_nothing_is_cut_off_at_the_widths_of_columns(
    kind: str, width: float, rows: pd.DataFrame, comparison: pd.DataFrame
) -> None:
    named, clips = (table.replace({"method": LONG}) for table in (comparison, rows))
    lines = pd.concat([named, named[named["metric"] == "sparseness"].assign(metric="average_drop")])
    figure = plots.draw(kind, clips, lines, width=width)  # type: ignore[arg-type]
    figure.canvas.draw()
    written = [text for text in figure.texts if text.get_text()]
    written += [text for legend in figure.legends for text in legend.get_texts()]
    written += [text for axis in figure.axes if axis.get_visible() for text in (axis.title, axis._left_title)]
    cut = {
        text.get_text(): box
        for text in written
        if not (figure.bbox.x0 - 1 <= (box := text.get_window_extent()).x0 and box.x1 <= figure.bbox.x1 + 1)
    }
    assert not cut, figure.bbox


def test_a_narrow_heatmap_of_many_metrics_has_marks_and_no_numbers(comparison: pd.DataFrame) -> None:
    names = [
        "faithfulness",
        "sparseness",
        "average_drop",
        "average_gain",
        "deletion_auc",
        "insertion_auc",
        "complexity",
    ]
    one = at_primary_area(comparison)
    one = one[one["metric"] == "faithfulness"]
    titles = {name: registry.load("metrics", name).title for name in names}
    lines = pd.concat([one.assign(metric=name, metric_title=titles[name]) for name in names])
    wide, narrow = (heatmap(lines, width=width) for width in (7.2, 3.3))
    cells = [{text.get_text() for text in figure.axes[0].texts} for figure in (wide, narrow)]
    assert any("0." in text for text in cells[0]) and cells[1] == {"", "†"}
    assert {label.get_rotation() for label in narrow.axes[0].get_xticklabels()} == {90}
    assert {label.get_rotation() for label in wide.axes[0].get_xticklabels()} == {0}
    headed = [[axis.xaxis.get_tick_params()["labeltop"] for axis in figure.axes[:2]] for figure in (wide, narrow)]
    assert headed == [[True, True], [True, False]]


@pytest.mark.parametrize("kind", ["heatmap", "distribution", "forest"])
def test_many_methods_on_three_classifiers_still_fit_a_page(
    kind: str, rows: pd.DataFrame, comparison: pd.DataFrame
) -> None:
    names, classifiers = [f"method-{i:02d}" for i in range(18)], ("a", "b", "c")

    def many(table: pd.DataFrame) -> pd.DataFrame:
        kept = table[table["metric"] == "faithfulness"]
        controls, one = kept[kept["method"] == "random"], kept[kept["method"] == "saliency"]
        whole = pd.concat([controls, *(one.assign(method=name) for name in names)])
        return pd.concat([whole.assign(classifier=name) for name in classifiers])

    figure = plots.draw(kind, many(of_one(rows)), many(of_one(comparison)), width=3.3)  # type: ignore[arg-type]
    assert figure.get_size_inches()[1] <= 10


def test_a_figure_of_masks_of_one_size_names_it(rows: pd.DataFrame, comparison: pd.DataFrame) -> None:
    figure = plots.draw("distribution", of_one(rows), at_primary_area(of_one(comparison)))
    assert "masks of 10%" in figure.get_supxlabel().replace("\n", " ")


def test_a_heatmap_writes_no_negative_zero_and_frames_lie_above_the_line_to_the_controls(
    comparison: pd.DataFrame,
) -> None:
    axis = heatmap(at_primary_area(comparison).assign(mean=-0.001)).axes[0]
    assert {text.get_text().rstrip("†") for text in axis.texts} == {"0.00"}
    axis = heatmap(at_primary_area(comparison)).axes[0]
    assert min(frame.get_zorder() for frame in axis.patches) > max(line.get_zorder() for line in axis.lines)


@pytest.mark.parametrize("grey", np.linspace(0, 1, 21))
def test_text_on_a_colour_can_be_read(grey: float) -> None:
    """At least 4.5 to 1, as WCAG 2 asks of small text; the luminance of a grey is its value without gamma."""

    def light(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    text = {"white": 1.0}.get(colour := style.on_colour((grey, grey, grey)), 0.0) or float(colour)
    low, high = sorted((light(text), light(grey)))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_looks_repeat_only_after_many_methods_and_controls_are_grey() -> None:
    names = [f"m{i:03d}" for i in range(60)]
    lines = pd.DataFrame({"method": [*names, "energy", "random"], "control": [False] * 60 + [True] * 2})
    looks = style.looks(lines)
    assert len(set(looks.values())) == 62
    assert all(looks[name].colour == style.CONTROL_COLOUR and looks[name].hollow for name in ("energy", "random"))
    assert style.CONTROL_COLOUR not in {looks[name].colour for name in names}


@pytest.mark.parametrize(("better", "arrows"), [(True, "↑→"), (False, "↓←")])
def test_arrows_point_to_the_better_side(better: bool, arrows: str) -> None:
    assert style.arrow(better) + style.arrow(better, along=True) == arrows


def test_gaps_do_not_stop_the_figures(rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path: Path) -> None:
    undefined = comparison["method"] == "saliency"
    partial = comparison.assign(
        mean=comparison["mean"].mask(undefined), low=np.nan, high=np.nan, rank=comparison["rank"].mask(undefined)
    )
    assert len(plots.write_plots(of_one(rows), of_one(partial), tmp_path)) == 14
    other = comparison[comparison["metric"] == "sparseness"]
    assert [path.name for path in plots.write_plots(rows, other, tmp_path)] == [
        "heatmap-synth.png",
        "heatmap-synth.pdf",
    ]


def test_soft_masks_are_in_no_figure(
    written: list[Path], rows: pd.DataFrame, comparison: pd.DataFrame, tmp_path: Path
) -> None:
    soft = comparison[(comparison["method"] == "gradcam") & (comparison["area"] == 0.1)]
    soft = soft.assign(area=np.nan, mask="soft", mean=5.0, low=4.0, high=6.0)
    clips = rows[(rows["method"] == "gradcam") & (rows["area"] == 0.1)].assign(area=np.nan, mask="soft")
    with_soft = pd.concat([of_one(rows), of_one(clips)])
    lines = pd.concat([of_one(comparison), of_one(soft)], ignore_index=True)
    assert not (at_primary_area(lines)["mask"] == "soft").any()
    for one, other in zip(written, plots.write_plots(with_soft, lines, tmp_path), strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.parametrize("width", [3.3, 7.2])
def test_the_legend_of_many_methods_is_whole(comparison: pd.DataFrame, width: float) -> None:
    lines = at_primary_area(comparison)
    one = lines[lines["method"] == lines["method"].iloc[0]]
    many = pd.concat([one.assign(method=f"method-{i:02d}") for i in range(34)])
    figure = cost(many, width=width)
    figure.canvas.draw()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 34
    for text in legend.get_texts():
        box = text.get_window_extent()
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
