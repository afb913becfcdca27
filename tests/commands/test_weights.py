"""`xaibench weights`: what is fitted is listed, another project's weights are taken over or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support import interpreters
from tests.support.command_line import Command, assert_refused
from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.class_order import in_order
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import UnsupportedPairError
from xaibench.explaining import adding, fitting
from xaibench.explaining.explanation import Explanation
from xaibench.explaining.trainable import FitContext, Fitted, Imported, TrainableExplainer, TrainingClips
from xaibench.sound.batch import Batch
from xaibench.storage.cards import file_hash
from xaibench.storage.user_folders import DATA_VARIABLE

METHOD = "piq-speechbrain"


@pytest.fixture(autouse=True)
def _nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An added classifier `mine`, a folder `theirs` with an interpreter for it, and nothing else."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    interpreters.keep_classifier(references.added_folder("mine"), "mine")
    interpreters.write(tmp_path / "theirs")


def words(text: str) -> str:
    return " ".join(text.split())


def listed(out: str, classifier: str) -> str:
    (line,) = [line for line in out.splitlines() if f" {classifier} " in line]
    return words(line)


def test_added_it_is_listed_and_belongs_to_its_classifier(xaibench: Command, tmp_path: Path) -> None:
    done = xaibench("weights", "add", METHOD, "--classifier", "mine", "--from", "theirs")
    assert done.code == 0, done.err
    assert done.err == ""
    assert done.out.startswith(f"added {METHOD} for mine: ")
    assert f"xaibench run -c mine -m {METHOD}" in done.out
    folder = Path("explainers/unknown/mine") / METHOD
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.json",
        "explainer.json",
        "interpreter.safetensors",
    ]
    card = fitting.ExplainerCard.read(folder)
    assert card.seconds is None
    assert card.origin == str(tmp_path / "theirs")
    assert card.source_sha256 == {"psi_model.ckpt": file_hash(tmp_path / "theirs" / "psi_model.ckpt")}
    assert card.command == f"xaibench weights add {METHOD} --classifier mine --from theirs"
    line = listed(xaibench("weights").out, "mine")
    assert line == f"{METHOD} mine unknown {card.parameters:,} elsewhere \N{EN DASH} {folder}"

    classifier, its_card = checkpoint.load(references.added_folder("mine"))
    loaded = LoadedClassifier("mine", in_order(classifier, ("dog", "rain", "sea_waves")), its_card.weights_sha256)
    explainer = registry.create("methods", METHOD)
    assert fitting.bind(METHOD, explainer, loaded, "esc10") == card
    assert explainer.parameters == {"dim": 16, "codes": 9, "weights_sha256": card.weights_sha256}
    x = torch.rand(1, 513, 431, generator=torch.Generator().manual_seed(0))
    original = registry.create("methods", METHOD)
    original.import_checkpoint(tmp_path / "theirs", interpreters.small_classifier())
    expected = original.explain(interpreters.small_classifier(), Batch(x, ("a",)), torch.tensor([0])).map
    found = explainer.explain(loaded.classifier, Batch(x, ("a",)), torch.tensor([1])).map  # both are rain
    torch.testing.assert_close(found, expected)


def test_without_weights_a_run_says_how_to_get_them() -> None:
    explainer = registry.create("methods", METHOD)
    loaded = LoadedClassifier("mine", interpreters.small_classifier(), "0" * 64)
    remedy = f"'xaibench weights add {METHOD} --classifier mine --from FOLDER'"
    with pytest.raises(UnsupportedPairError, match=f"^is not fitted to mine; add its weights with {remedy}$"):
        fitting.bind(METHOD, explainer, loaded, "esc10")


def test_it_cannot_be_fitted(xaibench: Command) -> None:
    remedy = f"'xaibench weights add {METHOD} --classifier mine --from FOLDER'"
    assert_refused(xaibench("fit", "-m", METHOD, "-c", "mine"), remedy)


def test_a_folder_is_a_classifier_too(xaibench: Command, tmp_path: Path) -> None:
    home = interpreters.keep_classifier(tmp_path / "here", "mine")
    options = ("-c", home, "--from", "theirs", "--explainers", "my fits")
    done = xaibench("weights", "add", METHOD, *options)
    assert done.code == 0, done.err
    label = f"mine@{checkpoint.Card.read(home).weights_sha256[:8]}"
    assert (tmp_path / "my fits" / "unknown" / label / METHOD / fitting.CARD).is_file()
    assert "--explainers 'my fits'" in done.out
    assert label in xaibench("weights", "--explainers", "my fits").out
    assert label not in xaibench("weights").out


def test_others_are_replaced_only_by_force(xaibench: Command, tmp_path: Path) -> None:
    add = ("weights", "add", METHOD, "-c", "mine", "--from")
    xaibench(*add, "theirs")
    interpreters.write(tmp_path / "other", codes=12)
    assert_refused(xaibench(*add, "other"), f"holds weights of {METHOD} for mine already; give --force")
    folder = tmp_path / "explainers" / "unknown" / "mine" / METHOD
    before = fitting.ExplainerCard.read(folder)
    assert xaibench(*add, "other", "--force").code == 0
    assert fitting.ExplainerCard.read(folder).weights_sha256 != before.weights_sha256
    interpreters.write(tmp_path / "broken", {"up.bias": None})
    kept = fitting.ExplainerCard.read(folder)
    assert_refused(xaibench(*add, "broken", "--force"), "lacks 'up.bias'")
    assert fitting.ExplainerCard.read(folder) == kept, "a refused import replaces nothing"


@pytest.mark.parametrize(
    ("method", "classifier", "source", "message"),
    [
        ("saliency", "mine", "theirs", "saliency has no weights; use it with 'xaibench run --method saliency'"),
        ("piq", "mine", "theirs", "PIQ reads no weights of other projects; fit it with 'xaibench fit'"),
        (METHOD, "mine", "nowhere", "nowhere/psi_model.ckpt is missing"),
        (METHOD, "nobody", "theirs", "unknown classifier 'nobody'; see 'xaibench classifiers'"),
        (METHOD, "esc10/focalnet-micro", "theirs", "reads a FocalNet or ViT of the original recipes, which"),
        ("piq-speechbrian", "mine", "theirs", f"did you mean '{METHOD}'?"),
    ],
)
def test_what_is_refused_leaves_nothing(
    xaibench: Command, tmp_path: Path, method: str, classifier: str, source: str, message: str
) -> None:
    assert_refused(xaibench("weights", "add", method, "-c", classifier, "--from", source), message)
    assert not (tmp_path / "explainers").exists()


def test_a_damaged_card_hides_no_other(xaibench: Command, tmp_path: Path) -> None:
    interpreters.keep_classifier(references.added_folder("other"), "other")
    for name in ("mine", "other"):
        assert xaibench("weights", "add", METHOD, "-c", name, "--from", "theirs").code == 0
    (tmp_path / "explainers" / "unknown" / "other" / METHOD / fitting.CARD).write_text("{")
    done = xaibench("weights")
    assert done.code == 0
    assert listed(done.out, "mine")
    assert "is not an explainer's card" in done.out


def test_the_list_tells_what_fitting_cost(xaibench: Command, tmp_path: Path) -> None:
    xaibench("weights", "add", METHOD, "-c", "mine", "--from", "theirs")
    path = tmp_path / "explainers" / "unknown" / "mine" / METHOD / fitting.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 61.6, "dataset": "esc10"}))
    assert "esc10 " in listed(xaibench("weights").out, "mine")
    assert " 62 s " in listed(xaibench("weights").out, "mine")


def test_an_empty_list_says_so(xaibench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "found", lambda root: [])
    assert "no fitted explainer" in xaibench("weights").out


class Strange(TrainableExplainer):
    """A third party's, with a format of its own; it explains by one number."""

    title, reference, description, polarity = "Strange", "none", "one number everywhere", "positive"

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        raise NotImplementedError

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(torch.full_like(batch.x, self.level), batch.picture_shape)

    def save(self, folder: Path) -> None:
        (folder / "level").write_text(str(self.level))

    def load(self, folder: Path, classifier: Classifier) -> None:
        self.level = float((folder / "level").read_text())

    def import_checkpoint(self, folder: Path, classifier: Classifier) -> Imported:
        self.level = float((folder / "theirs.txt").read_text())
        return Imported((folder / "theirs.txt",), 1)


def test_any_method_may_read_another_projects_files(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "theirs.txt").write_text("0.25")
    config = adding.AddExplainerConfig(
        method="strange", classifier="esc10/cnn-micro", source=tmp_path / "theirs", root=tmp_path / "root"
    )
    added = adding.add(config, Strange())
    assert added.folder == tmp_path / "root" / "esc10" / "cnn-micro" / "strange"
    assert (added.card.parameters, added.card.data_licence != "") == (1, True)
    classifier, card = checkpoint.resolve("cnn-micro", "esc10")
    made = Strange()
    loaded = LoadedClassifier("cnn-micro", classifier, card.weights_sha256)
    assert fitting.bind("strange", made, loaded, "esc10", tmp_path / "root") == added.card
    assert made.level == 0.25
