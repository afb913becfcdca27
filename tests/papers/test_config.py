"""What a reproduction refuses, and where it puts its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.toy_paper import PAPER, Tones, tiny, toy
from xaibench.classifiers import checkpoint
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError
from xaibench.papers.config import SMOKE_CLIPS, SMOKE_EPOCHS, ReproductionConfig


@pytest.fixture
def config(tmp_path: Path) -> ReproductionConfig:
    return replace(toy(tmp_path), smoke=False)


def given(sha256: str = "0123456789abcdef") -> tuple[LoadedClassifier, checkpoint.Card]:
    loaded = LoadedClassifier("mine", tiny("tiny", Tones.classes), sha256)
    return loaded, checkpoint.resolve("cnn-micro", "synth")[1]


def test_the_folder_names_every_choice_that_decides_the_numbers(config: ReproductionConfig) -> None:
    folder = config.folder / "runs" / "reproductions"
    assert config.work == folder / "toy-1999-tones-tiny"
    assert replace(config, seed=3, smoke=True).work == folder / "toy-1999-tones-tiny-seed3-smoke"
    assert replace(config, given=(given(),)).work == folder / "toy-1999-tones-tiny-01234567"
    pretrained = replace(PAPER.architectures[0], pretrained={"tiny": "somebody/tiny"})
    paper = replace(PAPER, architectures=(pretrained,))
    assert replace(config, paper=paper, pretrained=True).work == folder / "toy-1999-tones-tiny-pretrained"


def test_a_smoke_run_has_few_clips_and_epochs(config: ReproductionConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "build", tiny)
    smoke = config.smoke_run()
    assert max(len(smoke.dataset.in_folds([fold])) for fold in range(1, 6)) <= SMOKE_CLIPS
    assert smoke.recipe(PAPER.architectures[0]).epochs == SMOKE_EPOCHS != config.recipe(PAPER.architectures[0]).epochs
    assert smoke.settings("piq")["codes"] == PAPER.brief["piq"]["codes"] != config.settings("piq")["codes"]


def test_what_the_paper_does_not_have_is_refused(config: ReproductionConfig) -> None:
    with pytest.raises(XaibenchError, match="unknown --size 'huge'; there are tiny"):
        replace(config, size="huge")
    with pytest.raises(XaibenchError, match="no image model of the size of tiny; leave out --pretrained"):
        replace(config, pretrained=True)


def test_given_classifiers_must_be_one_of_each_family_and_for_one_fold(config: ReproductionConfig) -> None:
    with pytest.raises(XaibenchError, match="gives cnn, cnn; the paper has one each of cnn"):
        replace(config, given=(given(), given()))
    other = replace(PAPER, architectures=(replace(PAPER.architectures[0], family="vit"),))
    with pytest.raises(XaibenchError, match="gives cnn; the paper has one each of vit"):
        replace(config, paper=other, given=(given(),))
    with pytest.raises(XaibenchError, match="--folds all needs one for every fold"):
        replace(config, given=(given(),), folds=(1, 5))
