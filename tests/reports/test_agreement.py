"""How alike metrics place methods, on boards whose orders are known."""

import numpy as np
import pandas as pd
import pytest

from tests.reports.test_plots import METHODS, make_comparison, make_rows, texts
from xaibench.errors import ResultsError
from xaibench.reports import plots
from xaibench.reports.agreement import agreement, metric_agreement
from xaibench.results.comparison import at_primary_area


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    """Five methods; deletion, of which less is better, places them as FF does, and sparseness has one pair turned."""
    found = at_primary_area(make_comparison(make_rows(METHODS, ("faithfulness", "sparseness", "deletion_auc"))))
    level = {method: 5.0 - place for place, method in enumerate(METHODS)}
    turned = level | {METHODS[0]: level[METHODS[1]], METHODS[1]: level[METHODS[0]]}
    signs = {"faithfulness": level, "deletion_auc": {name: -value for name, value in level.items()}}
    values = [
        signs.get(metric, turned)[method] for metric, method in zip(found["metric"], found["method"], strict=True)
    ]
    return found.assign(mean=values)


def test_agreement_is_kendalls_tau_whatever_direction_is_better(lines: pd.DataFrame) -> None:
    table = metric_agreement(lines)
    assert table.loc["faithfulness", "deletion_auc"] == pytest.approx(1)
    assert table.loc["faithfulness", "sparseness"] == pytest.approx((9 - 1) / 10)
    assert np.allclose(table, table.T) and np.allclose(np.diag(table), 1)


def test_it_is_the_mean_over_classifiers_that_have_four_methods(lines: pd.DataFrame) -> None:
    flipped = lines["classifier"].eq("vit-micro") & lines["metric"].eq("faithfulness")
    both = lines.assign(mean=lines["mean"].where(~flipped, -lines["mean"]))
    assert metric_agreement(both).loc["faithfulness", "deletion_auc"] == pytest.approx(0)
    few = both[~flipped | both["method"].isin(METHODS[:3])]
    assert metric_agreement(few).loc["faithfulness", "deletion_auc"] == pytest.approx(1)
    assert np.isnan(metric_agreement(few[few["classifier"] == "vit-micro"]).loc["faithfulness", "deletion_auc"])


def test_the_figure_has_each_pair_once_and_there_is_none_of_one_metric(lines: pd.DataFrame) -> None:
    found = texts(agreement(lines))
    assert [found.count(text) for text in ("1.00", "0.80")] == [1, 2]
    assert any("mean over 2 classifiers" in text.replace("\n", " ") for text in found)
    one = lines[lines["metric"] == "faithfulness"]
    with pytest.raises(ResultsError, match="two metrics that were scored for four methods"):
        plots.draw("agreement", one, one)
