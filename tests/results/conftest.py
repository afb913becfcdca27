"""The committed comparisons, which several tests read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from xaibench import registry

RESULTS = Path(__file__).parents[2] / "results"
FOLDERS = {
    "standard": RESULTS,
    "spectrogram": RESULTS / "spectrogram",
    "sample": RESULTS / "esc50-sample",
    "pictures": RESULTS / "spectrogram" / "esc50",
}


@pytest.fixture(scope="session")
def comparisons() -> dict[str, pd.DataFrame]:
    """The lines of every folder with boards, and those of judges."""
    of_folders = {name: _read(folder / "comparison.csv.gz") for name, folder in FOLDERS.items()}
    return of_folders | {name: _read(RESULTS / f"f-fidelity-{name}.csv") for name in ("esc10", "esc50")}


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, keep_default_na=True)
    # The oldest file was written before these columns were, when a dataset was one group of whole runs.
    about = {name: registry.load("metrics", name) for name in set(table["metric"])}
    facts = {"metric_title": "title", "family": "family", "higher_is_better": "higher_is_better"}
    described = {column: [getattr(about[name], fact) for name in table["metric"]] for column, fact in facts.items()}
    later = {"group": table["dataset"], "clips": table["n"] + table["undefined"], "missing": 0, "differs_in": ""}
    titles = {name: registry.load("methods", name).title for name in set(table["method"])}
    # What these files cannot say, boards of them do not.
    later |= {"rank_low": table["rank"], "least_difference": float("nan")}
    later |= dict.fromkeys(["overall", "overall_low", "overall_high"], float("nan"))
    later |= {"fill": "silence", "target": "predicted", "long": "cut", **described}
    later["method_title"] = table["method"].map(titles)
    table = table.assign(**{name: values for name, values in later.items() if name not in table})
    text = ["tied_with", "beaten_by", "differs_in"]  # an empty list, which a CSV cannot tell from nothing
    return table.assign(**{name: table[name].astype(object).fillna("") for name in text})
