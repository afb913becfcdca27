"""`xaibench reproduce`, with a paper whose reproduction takes seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.support.toy_paper import PAPER, Tones, tiny
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.commands import options
from xaibench.commands.reproduce import reproduce
from xaibench.errors import XaibenchError


@pytest.fixture(autouse=True)
def _toy_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: PAPER if group == "papers" else load(group, name))
    monkeypatch.setattr(options, "open_dataset", lambda name, folder, columns: Tones())
    monkeypatch.setattr(checkpoint, "build", tiny)


def test_the_page_and_its_table_are_written_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce("toy-1999", dataset="tones", size="tiny", smoke=True, explainers=tmp_path / "none", out=tmp_path)
    shown, steps = capsys.readouterr()
    page = (tmp_path / "toy-1999.md").read_text()
    assert page in shown
    assert "are no result" in page and "| PIQ | its own, soft |" in page
    table = pd.read_csv(tmp_path / "toy-1999.csv")
    assert table["system"].unique().tolist() == ["Saliency", "PIQ", "random, CNN"]
    assert table["mask"].unique().tolist() == ["equal area", "soft"]
    assert (table["n"] == 2).all()
    assert [line for line in steps.splitlines() if line in ("train tiny, fold 5", "fit piq on tiny, fold 5")]
    assert (tmp_path / "runs" / "reproductions" / "toy-1999-tones-tiny-smoke" / "fold-5" / "scores").is_dir()


def test_a_dry_run_prints_steps_and_costs_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce("toy-1999", dataset="tones", size="tiny", smoke=True, dry_run=True, out=tmp_path / "out")
    shown, steps = capsys.readouterr()
    assert not shown
    assert "score tiny, fold 5" in steps and "GB" in steps and "In all: about" in steps
    assert not (tmp_path / "out").exists()


def test_folds_are_one_of_the_dataset_or_all(tmp_path: Path) -> None:
    for folds in ("7", "4,5", "some"):
        with pytest.raises(XaibenchError, match="is neither all nor a fold of the dataset"):
            reproduce("toy-1999", dataset="tones", size="tiny", folds=folds, out=tmp_path)
