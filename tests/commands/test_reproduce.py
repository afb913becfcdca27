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
from xaibench.errors import DataError, XaibenchError
from xaibench.sound.dataset import Clip


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
        with pytest.raises(XaibenchError, match="neither all nor a fold of the dataset; there are 1, 2, 3, 4, 5"):
            reproduce("toy-1999", dataset="tones", size="tiny", folds=folds, out=tmp_path)


def in_folds(count: int) -> Tones:
    """Two clips in each of so many folds; a low tone and a high one."""
    made = Tones()
    made.clips = tuple(Clip(f"tone-{f}-{i}", f, i, f"recording-{f}-{i}") for f in range(1, count + 1) for i in (0, 1))
    return made


def test_datasets_of_other_folds_are_reproduced_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = {"dataset": "tones", "size": "tiny", "smoke": True, "out": tmp_path}
    monkeypatch.setattr(options, "open_dataset", lambda name, folder, columns: in_folds(10))
    reproduce("toy-1999", **toy, dry_run=True)
    reproduce("toy-1999", **toy, folds="all", dry_run=True)
    steps = capsys.readouterr().err
    assert [steps.count(f"score tiny, fold {fold} ") for fold in range(1, 11)] == [1] * 9 + [2]
    monkeypatch.setattr(options, "open_dataset", lambda name, folder, columns: in_folds(3))
    reproduce("toy-1999", **toy, explainers=tmp_path / "none")
    card = next(tmp_path.rglob("fold-3/checkpoints/tiny/card.json")).read_text()
    assert '"validation_folds": [\n    2\n  ]' in card and '"test_folds": [\n    3\n  ]' in card
    for count in (1, 2):
        monkeypatch.setattr(options, "open_dataset", lambda name, folder, columns, count=count: in_folds(count))
        with pytest.raises(DataError, match="give its clips three folds or more"):
            reproduce("toy-1999", **toy)
