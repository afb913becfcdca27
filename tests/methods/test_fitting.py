"""PIQ and L-MAC fitted to a shipped classifier on real clips, and what a run makes of them."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.command_line import Command, assert_refused
from tests.support.few_clips import link_few
from tests.support.quick import quick_cnn
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import CheckpointError, XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.fitting import ExplainerCard, FittingConfig
from xaibench.explaining.trainable import Epoch
from xaibench.results import store
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc10

METHODS = ["piq", "lmac"]
SMALL = {
    "piq": {"epochs": 3, "batch_size": 10, "decoder_width": 4, "codes": 40, "code_size": 8},
    "lmac": {"epochs": 3, "batch_size": 10, "decoder_width": 4},
}


@pytest.fixture(scope="module")
def few(esc50_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 clips to learn from, 10 to stop by, 10 to score."""
    return link_few(esc50_folder, tmp_path_factory.mktemp("few") / "esc50")


@pytest.fixture(scope="module")
def cnn() -> LoadedClassifier:
    classifier, card = checkpoint.resolve("cnn-micro", "esc10")
    return LoadedClassifier("cnn-micro", classifier, card.weights_sha256)


@pytest.fixture(scope="module")
def quick() -> LoadedClassifier:
    """A small CNN, for tests in which a classifier only has to be asked."""
    return quick_cnn()


@dataclass
class Fit:
    """A finished fit."""

    folder: Path
    card: ExplainerCard
    epochs: list[Epoch]

    @property
    def weights(self) -> bytes:
        return (self.folder / "explainer.safetensors").read_bytes()


def fit(name: str, loaded: LoadedClassifier, few: Path, root: Path, seed: int = 0, stop_after: int = 0) -> Fit:
    """Fit with small settings; with `stop_after` a KeyboardInterrupt comes in place of that epoch's report."""
    epochs: list[Epoch] = []

    def report(epoch: Epoch) -> None:
        epochs.append(epoch)
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    method = registry.create("methods", name)
    config = FittingConfig(
        method=name, settings=method.settings | SMALL[name], seed=seed, precision=torch.float32, command="a test"
    )
    folder = fitting.folder_of(root, "esc10", loaded.label, name)
    return Fit(folder, fitting.fit(method, loaded, Esc10(few), config, folder, report), epochs)


@pytest.fixture(scope="module")
def fits(cnn: LoadedClassifier, few: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fit]:
    """A finished fit of a method, made once; tests copy its folder before they change it."""
    return cache(lambda name: fit(name, cnn, few, tmp_path_factory.mktemp("fitted")))


@pytest.fixture(params=METHODS)
def fitted(request: pytest.FixtureRequest, fits: Callable[[str], Fit]) -> Fit:
    """A finished fit of each method."""
    return fits(request.param)


def test_fitting_lowers_the_loss_and_keeps_the_best_epoch_of_the_validation_fold(fitted: Fit) -> None:
    losses = [epoch.valid_loss for epoch in fitted.epochs]
    if fitted.card.method == "piq":  # so few clips teach L-MAC, which asks the classifier, about themselves alone
        assert losses[-1] < losses[0]
    assert fitted.epochs[-1].train_loss < fitted.epochs[0].train_loss
    best = fitted.card.losses[fitted.card.best_epoch - 1]
    assert best["valid"] == min(losses)


def test_a_loss_that_leaves_the_numbers_ends_in_one_line(
    cnn: LoadedClassifier, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SMALL, "piq", SMALL["piq"] | {"epochs": 1, "learning_rate": 1e30})
    with pytest.raises(XaibenchError, match="never a finite number; choose a lower --set learning_rate"):
        fit("piq", cnn, few, tmp_path)


def test_the_card_says_what_was_done(fitted: Fit, cnn: LoadedClassifier, few: Path) -> None:
    card = ExplainerCard.read(fitted.folder)
    assert card == fitted.card
    name = fitted.folder.name
    assert (card.method, card.classifier, card.dataset, card.seed) == (name, "cnn-micro", "esc10", 0)
    assert card.classifier_sha256 == cnn.sha256
    assert card.dataset_fingerprint == Esc10(few).fingerprint()
    assert (card.train_folds, card.validation_folds) == ((1, 2, 3), (4,))
    assert card.settings == registry.load("methods", name).settings | SMALL[name]
    assert [losses["epoch"] for losses in card.losses] == [1, 2, 3]
    assert card.parameters > 1000
    assert card.seconds > 0
    assert card.precision == "float32"
    assert "torch" in card.versions
    assert {path.name for path in fitted.folder.iterdir()} == {"explainer.json", "explainer.safetensors"}


def test_the_share_of_codes_in_use_is_logged_and_in_the_card(cnn: LoadedClassifier, few: Path, fitted: Fit) -> None:
    logged = [epoch.measures for epoch in fitted.epochs]
    if fitted.folder.name != "piq":
        assert logged == [{}, {}, {}]
        return
    assert all(0 < measures["codes_in_use"] <= 1 for measures in logged)
    # Counted again, by loops over clips and codes: of the training clips, as the weights were kept.
    method = registry.create("methods", "piq")
    method.load(fitted.folder, cnn.classifier)
    network = method._fitted
    source, used = Esc10(few), set()
    for clip in source.in_folds((1, 2, 3)):
        x = audio.spectrogram(torch.from_numpy(source.waveform(clip))[None])
        with torch.no_grad():
            c = cnn.classifier.picture_logits(x).argmax(dim=1)
            used |= set(network.codebook.choose(network.adapter(cnn.classifier.deepest_map(x)), c).flatten().tolist())
    assert fitted.card.measures["codes_in_use"] == pytest.approx(len(used) / 40, abs=0.051)  # half precision in between


def test_the_fine_tuning_stage_is_what_is_kept(quick: LoadedClassifier, few: Path, tmp_path: Path) -> None:
    """Its loss has one more term, and so is no better than the loss before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SMALL, "lmac", SMALL["lmac"] | {"epochs": 3, "guidance_epochs": 1, "patience": 2})
        tuned = fit("lmac", quick, few, tmp_path / "tuned")
        with pytest.raises(KeyboardInterrupt):
            fit("lmac", quick, few, tmp_path / "stopped", stop_after=2)
        resumed = fit("lmac", quick, few, tmp_path / "stopped")
    losses = [epoch.valid_loss for epoch in tuned.epochs]
    assert min(losses[2:]) > losses[1], "the losses of the stages could not be told apart"
    assert tuned.card.best_epoch >= 3
    assert losses[tuned.card.best_epoch - 1] == min(losses[2:])
    assert tuned.weights != fit("lmac", quick, few, tmp_path / "without").weights
    assert resumed.weights == tuned.weights


@pytest.mark.parametrize(
    ("change", "words"), [({"epochs": 0}, "not more than 0"), ({"weight_decay": -1.0}, "less than 0")]
)
def test_numbers_that_make_no_sense_are_one_line(
    cnn: LoadedClassifier,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, float],
    words: str,
) -> None:
    monkeypatch.setitem(SMALL, "lmac", SMALL["lmac"] | change)
    with pytest.raises(XaibenchError, match=f"is {words}; choose another --set"):
        fit("lmac", cnn, few, tmp_path)


@pytest.mark.parametrize("settings", ["5", '{"epochs": 1}', None, "codes", "decoder_width"])
def test_settings_of_damaged_weights_are_refused(
    settings: str | None, cnn: LoadedClassifier, fits: Callable[[str], Fit], tmp_path: Path
) -> None:
    folder = shutil.copytree(fits("piq").folder, tmp_path / "piq")
    path = folder / "explainer.safetensors"
    if settings in ("codes", "decoder_width"):
        settings = json.dumps(fits("piq").card.settings | {settings: "x" if settings == "codes" else 10**9})
    save_file(load_file(path), path, {"settings": settings} if settings else {})
    with pytest.raises(CheckpointError, match=r"explainer\.safetensors"):
        registry.create("methods", "piq").load(folder, cnn.classifier)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bytes_interrupted_or_not_and_another_seed_others(
    name: str, quick: LoadedClassifier, few: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    whole = fit(name, quick, few, tmp_path / "whole")
    torch.manual_seed(2)
    with pytest.raises(KeyboardInterrupt):
        fit(name, quick, few, tmp_path / "resumed", stop_after=2)
    torch.manual_seed(3)
    resumed = fit(name, quick, few, tmp_path / "resumed")
    assert [epoch.epoch for epoch in resumed.epochs] == [3]  # the first two are not done again
    assert resumed.weights == whole.weights
    assert resumed.card.losses == whole.card.losses
    assert resumed.card.weights_sha256 == whole.card.weights_sha256
    other = fit(name, quick, few, tmp_path / "other", seed=1)
    assert other.weights != whole.weights


def test_the_command_says_how_the_fit_goes(
    few: Path, xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xaibench.reports.progress.EVERY_SECONDS", 0.0)
    command = ["fit", "--method", "piq", "--classifier", "cnn-micro", "--dataset", "esc10", "--data-dir", str(few)]
    command += [f"--set={key}={value}" for key, value in (SMALL["piq"] | {"epochs": 2}).items()]
    done = xaibench(*command, "--device", "cpu", "--explainers", tmp_path / "fitted")
    assert done.code == 0, done.err
    assert "1/2 (50%), " in done.err
    assert "codes in use" in done.err
    assert "codes in use" in done.out
    assert (tmp_path / "fitted" / "esc10" / "cnn-micro" / "piq" / "explainer.safetensors").is_file()


def test_state_that_is_damaged_or_hostile_is_refused_and_never_unpickled(
    cnn: LoadedClassifier, few: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit("lmac", cnn, few, tmp_path, stop_after=1)
    state = fitting.folder_of(tmp_path, "esc10", "cnn-micro", "lmac") / "unfinished" / "state.pt"
    whole, trap = state.read_bytes(), tmp_path / "sprung"

    class Trap:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return Path.touch, (trap,)

    hostile = tmp_path / "hostile.pt"
    torch.save({"network": Trap()}, hostile)
    for content in (whole[: len(whole) // 2], b"", pickle.dumps(Trap()), hostile.read_bytes()):
        state.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"state\.pt is damaged; delete it to start over$"):
            fit("lmac", cnn, few, tmp_path)
        assert not trap.exists()


def test_an_unfinished_fit_is_not_continued_with_other_settings(
    cnn: LoadedClassifier, few: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit("lmac", cnn, few, tmp_path, stop_after=1)
    with pytest.raises(CheckpointError, match="unfinished fit with other seed; delete it or choose another --exp"):
        fit("lmac", cnn, few, tmp_path, seed=1)
    identity = fitting.folder_of(tmp_path, "esc10", "cnn-micro", "lmac") / "unfinished" / "identity.json"
    identity.write_text("{")
    with pytest.raises(CheckpointError, match=r"identity\.json is damaged; delete .*unfinished to start over"):
        fit("lmac", cnn, few, tmp_path)


def test_a_run_scores_the_map_at_equal_areas_and_the_mask_as_it_is(
    fitted: Fit, cnn: LoadedClassifier, few: Path, xaibench: Command, tmp_path: Path
) -> None:
    name = fitted.folder.name
    done = xaibench(
        *("run", "-m", name, "-c", "cnn-micro", "--dataset", "esc10", "--data-dir", few, "--limit", 2),
        *("--explainers", fitted.folder.parents[2], "--device", "cpu", "--out", "made"),
    )
    assert done.code == 0, done.err
    rows = store.read_rows(tmp_path / "made")
    assert set(rows["method"]) == {name}
    soft = rows[rows["mask"] == "soft"]
    assert soft["area"].isna().all()
    assert set(soft["metric"]) == {
        *("average_drop", "average_gain", "average_increase", "energy_removed", "faithfulness", "fidelity_in"),
        "mask_area",
    }
    hard = rows[rows["mask"] == "equal area"]
    assert "mask_area" not in set(hard["metric"])
    assert {0.05, 0.1, 0.2, 0.4} == set(hard.loc[hard["metric"] == "faithfulness", "area"])
    info = json.loads((tmp_path / "made" / "cnn-micro" / f"{name}-soft" / "part-000.json").read_text())
    assert info["method"]["mask"] == "soft"
    assert info["method"]["parameters"]["weights_sha256"] == fitted.card.weights_sha256
    assert info["method"]["training_seconds"] == fitted.card.seconds
    assert info["method"]["trained_parameters"] == fitted.card.parameters

    method, source = registry.create("methods", name), Esc10(few)
    method.load(fitted.folder, cnn.classifier)
    scored = [clip for clip in source.clips if clip.id in set(rows["clip"])]
    assert len(scored) == 2
    for clip in scored:
        sound = torch.from_numpy(source.waveform(clip))[None]
        heard = Batch.of_sound(sound, (clip.id,), audio.DOMAIN)
        clean = torch.softmax(cnn.classifier.logits(sound), dim=1)[0]
        c = int(clean.argmax())
        mask = method.explain(cnn.classifier, heard, torch.tensor([c])).map
        rest = audio.DOMAIN.masked(sound, 1 - mask)
        kept = torch.softmax(cnn.classifier.logits(audio.DOMAIN.masked(sound, mask)), dim=1)[0]
        removed = torch.softmax(cnn.classifier.logits(rest), dim=1)[0]
        full, inside = float(clean[c]), float(kept[c])
        assert heard.audible is not None
        expected = {
            "mask_area": float(mask[:, :, heard.audible[0]].mean()),
            "energy_removed": 1 - float(rest.square().sum() / sound.square().sum()),
            "fidelity_in": float(kept.argmax() == c),
            "faithfulness": full - float(removed[c]),
            "average_drop": 100 * max(0.0, full - inside) / full,
            "average_increase": 100.0 * (inside > full),
            "average_gain": 100 * max(0.0, inside - full) / (1 - full),
        }
        found = soft[soft["clip"] == clip.id].set_index("metric")["value"].to_dict()
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def other_weights(folder: Path) -> Path:
    """A checkpoint of the same architecture with other weights."""
    classifier, card = checkpoint.resolve("cnn-micro", "esc10")
    with torch.no_grad():
        next(classifier.parameters()).mul_(1.5)
    checkpoint.save(folder, classifier, card)
    return folder


def run(xaibench: Command, few: Path, root: Path, name: str, classifier: object = "cnn-micro") -> object:
    return xaibench(
        *("run", "-m", name, "-c", classifier, "--dataset", "esc10", "--data-dir", few, "--limit", 1),
        *("--explainers", root, "--device", "cpu", "--metric", "fidelity_in", "--out", "made"),
    )


def test_what_is_not_fitted_says_the_command_that_fits(few: Path, xaibench: Command, tmp_path: Path) -> None:
    done = run(xaibench, few, tmp_path / "none", "piq", other_weights(tmp_path / "other"))
    words = "fit it with 'xaibench fit --method piq --classifier FOLDER --dataset esc10 --data-dir FOLDER'"
    assert_refused(done, "is not fitted to cnn-micro@", words)  # type: ignore[arg-type]


def test_weights_fitted_to_another_classifier_are_refused(
    fitted: Fit, few: Path, xaibench: Command, tmp_path: Path
) -> None:
    classifier, card = checkpoint.load(other_weights(tmp_path / "other"))
    name = fitted.folder.name
    with pytest.raises(CheckpointError, match=r"was fitted to other weights .* fit it to these with 'xaibench fit'"):
        fitting.load(registry.create("methods", name), fitted.folder, classifier, card.weights_sha256)
    done = run(xaibench, few, fitted.folder.parents[2], name, tmp_path / "other")
    assert_refused(done, "is not fitted to cnn-micro@")  # type: ignore[arg-type]


def test_damaged_weights_and_cards_are_refused_in_one_line(
    fitted: Fit, few: Path, xaibench: Command, tmp_path: Path
) -> None:
    name = fitted.folder.name
    folder = fitting.folder_of(tmp_path / "root", "esc10", "cnn-micro", name)
    shutil.copytree(fitted.folder, folder)
    (folder / "explainer.safetensors").write_bytes(fitted.weights[:-100])
    done = run(xaibench, few, tmp_path / "root", name)
    assert_refused(done, "does not hold the files that its card describes", "fit it again")  # type: ignore[arg-type]
    for content in ("{", "[]", "{}", json.dumps({"method": name}), '{"train_folds": 3}'):
        (folder / "explainer.json").write_text(content)
        done = run(xaibench, few, tmp_path / "root", name)
        assert_refused(done, "explainer.json is not an explainer's card")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-m", "saliency"], "saliency has no weights and needs no fit; use it with 'xaibench run --method saliency'"),
        (["-m", "piq", "--set", "epoch=3"], "piq: no setting 'epoch'; there are epochs=25"),
        (["-m", "piq", "--set", "epochs=many"], "piq: epochs=many is not int as epochs=25"),
        (["-m", "piq", "--set", "epochs"], "--set 'epochs' is not of the form NAME=VALUE"),
        (["-m", "piqq"], "unknown method 'piqq'; did you mean 'piq'?"),
        (["-m", "piq", "--set", "codes=3"], "3 codes, 0 of them shared, leave some of 10 classes none of its own"),
        (["-m", "piq", "--set", "epochs=0"], "epochs=0 is not more than 0"),
        (["-m", "lmac", "--set", "batch_size=-1"], "batch_size=-1 is not more than 0"),
    ],
)
def test_bad_words_are_refused_in_one_line(words: list[str], expected: str, few: Path, xaibench: Command) -> None:
    done = xaibench("fit", *words, "-c", "cnn-micro", "--dataset", "esc10", "--data-dir", few, "--device", "cpu")
    assert_refused(done, expected)
