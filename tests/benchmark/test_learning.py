"""Training, fitting and judging from Python: the same as the commands do, for names and for objects."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xaibench as xb
from xaibench.classifiers import checkpoint
from xaibench.errors import CheckpointError, UnsupportedPairError, XaibenchError

SMALL = {"epochs": 1, "decoder_width": 4, "codes": 20}


@pytest.fixture(scope="module")
def few() -> xb.Dataset:
    return xb.dataset("synth", limit=4)


@pytest.fixture(scope="module")
def trained(few: xb.Dataset, tmp_path_factory: pytest.TempPathFactory) -> xb.Learned[checkpoint.Card]:
    folder = tmp_path_factory.mktemp("trained")
    return xb.train("cnn-micro", few, out=folder / "mine", epochs=1, seed=3, device="cpu", progress=False)


def test_what_is_trained_is_fitted_judged_and_scored(
    few: xb.Dataset, trained: xb.Learned[checkpoint.Card], tmp_path: Path
) -> None:
    assert (trained.card.epochs, trained.card.seed, trained.card.train_folds) == (1, 3, (1, 2, 3))
    assert trained.card.command == "xaibench.train('cnn-micro', 'synth', seed=3, precision='float32', epochs=1)"
    model, said = xb.classifier(str(trained.folder)), []
    out: dict[str, Any] = {"out": tmp_path / "weights", "progress": False, "say": said.append}
    fitted = xb.fit("piq", model, few, settings=SMALL, **out)
    assert fitted.card.settings["codes"] == 20 and (fitted.folder / "explainer.json").is_file()
    judged = xb.judge(model, few, epochs=1, **out)
    assert judged.folder.name == "judge" and judged.card.command.startswith("xaibench.judge(")
    assert said == ([f"the judge {judged.card.fault}"] if judged.card.fault else [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a classifier of one epoch guesses
        settings: dict[str, Any] = {"limit": 2, "explainers": tmp_path / "weights", "progress": False}
        results = xb.evaluate(model, few, "piq", ["sparseness", "f_fidelity_plus"], **settings)
    assert set(results.rows["method"]) >= {"piq"} and not results.failures
    assert ("f_fidelity_plus" in set(results.rows["metric"])) == (not judged.card.fault)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda few: xb.train("cnn-micro", few, epochs=0), XaibenchError, "epochs is 0; give more than 0"),
        (lambda few: xb.train("cnn-micro", few, precision="half"), XaibenchError, "choose float32 or bfloat16"),
        (lambda few: xb.train("cnn", few), XaibenchError, "unknown classifier 'cnn'"),
        (lambda few: xb.fit("saliency", "cnn-micro", few), UnsupportedPairError, "needs no fit"),
        (lambda few: xb.fit("piq-speechbrain", "cnn-micro", few), UnsupportedPairError, "--classifier cnn-micro"),
        (lambda few: xb.fit("piq", "cnn-micro", few, settings={"epoch": 1}), XaibenchError, "piq: no setting 'epoch'"),
        (lambda few: xb.judge("synth/nothing", few), CheckpointError, "nothing"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(
    call: Callable[[xb.Dataset], Any],
    error: type[Exception],
    says: str,
    few: xb.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says):
        call(few)
    assert not list(tmp_path.iterdir())
