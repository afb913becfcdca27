"""The recipe's PIQ interpreter: its masks and metrics against the original values, its files, its refusals."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.references import legacy as slow
from tests.support import few_clips, interpreters
from tests.support.interpreters import CLASSES, small_classifier, small_state
from tests.support.lazy import Lazy
from xaibench import cli
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.class_order import in_order
from xaibench.errors import CheckpointError, UnsupportedPairError
from xaibench.results import store
from xaibench.sound.batch import Batch
from xaibench.storage.user_folders import DATA_VARIABLE
from xaibench.testing import check_explainer

piq_speechbrain = Lazy("xaibench.methods.piq_speechbrain")
_recipe_interpreter = Lazy("xaibench.methods._recipe_interpreter")
METRICS = {
    "AI": "legacy_average_increase",
    "AD": "legacy_average_drop",
    "AG": "legacy_average_gain",
    "FF": "legacy_faithfulness_removed",
    "Fid_In": "legacy_input_fidelity",
    "mask_mean": "legacy_mask_fraction",
    "SPS": "legacy_sparseness",
    "COMP": "legacy_complexity",
}
BATCHES = 2  # of six clips, of fourteen: the decoder takes seconds a clip; docs/protocols.md has the figures of all


@pytest.fixture(scope="module")
def run(reference_folder: Path, esc50_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Rows of a run through the program, from the original files to the scores."""
    there = reference_folder / "focalnet"
    first = few_clips.link_first(esc50_folder, tmp_path_factory.mktemp("clips") / "first", 6 * BATCHES)
    dataset = ("--dataset", "esc10", "--data-dir", first)
    methods = ("-m", "focalnet", "-m", "piq-speechbrain", "--protocol", "legacy-speechbrain")
    folder = tmp_path_factory.mktemp("piq")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(DATA_VARIABLE, str(folder / "data"))
        for command in (
            ("classifiers", "add", "ref", "--from", there),
            ("weights", "add", "piq-speechbrain", "-c", "ref", "--from", there / "piq"),
            ("run", "-c", "ref", *methods, *dataset, "--device", "cpu", "--out", folder / "run"),
        ):
            cli.app([str(word) for word in command], prog_name="xaibench", standalone_mode=False)
    return store.read_rows(folder / "run")


def of(run: pd.DataFrame, metric: str, method: str = "piq-speechbrain") -> pd.Series:
    return run[(run["method"] == method) & (run["metric"] == metric)].set_index("clip")["value"]


def test_every_metric_is_the_recipes(run: pd.DataFrame, reference_folder: Path) -> None:
    expected = slow.table(reference_folder / "focalnet" / "piq" / "piq.csv").iloc[: 6 * BATCHES]
    for column, metric in METRICS.items():
        found = of(run, metric)
        assert list(found.index) == list(expected.index), column
        if column in {"AI", "Fid_In"}:
            assert (found == expected[column]).all(), column
        elif column in expected:
            assert ((found - expected[column]).abs() <= 1e-3 * expected[column].abs()).all(), column
    assert (expected["AD"] > 0).any() and (expected["AG"] > 0).any()


def test_the_map_beside_it_is_the_recipes_too(run: pd.DataFrame, reference_folder: Path) -> None:
    """The classifier is in the dataset's class order here, which is not that of the training."""
    expected = slow.table(reference_folder / "focalnet" / "amt.csv").iloc[: 6 * BATCHES]
    assert (of(run, "legacy_input_fidelity", "focalnet") == expected["input_fidelity"]).all()
    assert (of(run, "legacy_faithfulness_kept", "focalnet") - expected["faithfulness"]).abs().max() <= 1e-4
    predicted = run.drop_duplicates("clip").set_index("clip")["predicted"]
    assert (predicted == expected["predicted"]).all()
    assert set(run["method"]) == {"focalnet", "piq-speechbrain"}, "a soft mask is what this protocol scores anyway"


def test_sparseness_and_complexity_are_the_recipes_batch_by_batch(run: pd.DataFrame, reference_folder: Path) -> None:
    expected = json.loads((reference_folder / "focalnet" / "piq" / "piq.json").read_text())
    for column in ("SPS", "COMP"):
        values = of(run, METRICS[column]).to_numpy()
        for batch in range(BATCHES):
            found = values[6 * batch : 6 * batch + 6].mean()
            assert found == pytest.approx(expected[f"{column}_per_batch"][batch], rel=1e-3), (column, batch)


def test_the_slow_derivation_agrees(run: pd.DataFrame, reference_folder: Path, esc50_folder: Path) -> None:
    hear = slow.network(reference_folder / "focalnet", "focalnet")
    state = slow.state_of(reference_folder / "focalnet" / "piq" / "psi_model.ckpt")
    clip = of(run, METRICS["AI"]).index[0]
    expected = slow.piq(hear, state, slow.log_magnitude(next((esc50_folder / "audio").glob(f"{clip}.*"))))
    for column, value in expected.items():
        assert of(run, METRICS[column])[clip] == pytest.approx(value, rel=1e-3, abs=1e-6), column


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that fits `small_classifier`."""
    return interpreters.write(tmp_path_factory.mktemp("small"))


def taken(classifier: Classifier, folder: Path) -> Any:
    made = piq_speechbrain.RecipePiq()
    imported = made.import_checkpoint(folder, classifier)
    assert imported.files == (folder / interpreters.SOURCE,)
    trained = (v for k, v in small_state().items() if "running_" not in k and "num_batches" not in k)
    assert imported.parameters == sum(tensor.numel() for tensor in trained)
    return made


def noise() -> Tensor:
    return 3 * torch.rand(1, 513, 431, generator=torch.Generator().manual_seed(1))


def explained(made: Any, classifier: Classifier, target: int = 0) -> Tensor:
    return made.explain(classifier, Batch(noise(), ("a",)), torch.tensor([target])).map


@pytest.mark.parametrize("family", ["focalnet", "vit"])
def test_it_reads_the_recipes_features(family: str, small_folder: Path) -> None:
    classifier = small_classifier(family)
    found = explained(taken(classifier, small_folder), classifier, target=2)
    assert found.shape == (1, 513, 431)
    assert float(found.min()) > 0 and float(found.max()) < 1
    model: Any = classifier
    with torch.inference_mode():
        image = classifier.front_end(noise()).expand(-1, 3, -1, -1)
        if family == "vit":
            features = model.backbone(image).last_hidden_state[:, 1:].transpose(1, 2).reshape(1, 16, 14, 14)
        else:
            features = model.backbone(image).feature_maps[-1]
        expected = slow.soft_mask(small_state(), features, 2, len(CLASSES), enlarge=family == "focalnet")
    torch.testing.assert_close(found, expected.transpose(1, 2), rtol=0, atol=1e-5)


def test_codes_follow_the_class_whatever_the_order_of_the_logits(small_folder: Path) -> None:
    classifier = small_classifier()
    made = taken(classifier, small_folder)
    before = explained(made, classifier, 0)
    other = in_order(small_classifier(), ("sea_waves", "rain", "dog"))
    torch.testing.assert_close(explained(made, other, 1), before)
    assert not torch.allclose(explained(made, classifier, 1), before), "the codes of another class differ"


def test_the_explainer_keeps_its_contract(small_folder: Path) -> None:
    classifier = small_classifier()
    check_explainer(taken(classifier, small_folder), classifier)


def test_every_code_belongs_to_one_class_in_about_equal_shares() -> None:
    for codes, classes in ((200, 10), (1024, 50), (9, 3)):
        shares = torch.bincount(_recipe_interpreter.code_classes(codes, classes), minlength=classes)
        assert len(shares) == classes
        assert int(shares.max() - shares.min()) <= 2


def test_saved_and_loaded_it_is_the_same(small_folder: Path, tmp_path: Path) -> None:
    classifier = small_classifier()
    made, again = taken(classifier, small_folder), piq_speechbrain.RecipePiq()
    made.save(tmp_path)
    again.load(tmp_path, classifier)
    assert torch.equal(explained(made, classifier), explained(again, classifier))
    assert made.parameters == again.parameters
    assert (tmp_path / "interpreter.safetensors").stat().st_size < 2.5 * sum(v.numel() for v in small_state().values())
    (tmp_path / "interpreter.safetensors").write_bytes(b"zzz")
    with pytest.raises(CheckpointError, match=r"interpreter\.safetensors is not a safetensors file .* import it again"):
        again.load(tmp_path, classifier)
    with pytest.raises(CheckpointError, match="import it again"):
        again.load(tmp_path / "nowhere", classifier)
    made.save(tmp_path)
    (tmp_path / "classes.json").write_text('["rain", "dog"]')
    with pytest.raises(CheckpointError, match="its 2 classes in training order are not the 3 of small"):
        again.load(tmp_path, classifier)


def test_without_weights_it_says_where_they_come_from() -> None:
    made = piq_speechbrain.RecipePiq()
    with pytest.raises(CheckpointError, match=r"has no weights; add a psi_model\.ckpt .*xaibench weights add"):
        explained(made, small_classifier())
    assert not made.fittable
    with pytest.raises(UnsupportedPairError, match=r"'xaibench weights add', or .*'xaibench fit --method piq'"):
        made.fit(small_classifier(), None, None, None)


class Runs:
    """Its pickle would run code."""

    def __reduce__(self) -> Any:
        return (print, ("a pickle has run",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"codebook.embedding.weight": None}, "no codebook"),
        ({"up.bias": None}, r"lacks 'up\.bias'; expected the recipe's interpreter"),
        ({"down.bias": None, "up.bias": None}, r"lacks 'down\.bias' and 1 more"),
        ({"zzz": torch.zeros(1)}, "has the unknown 'zzz'"),
        ({"decoder.3.weight": torch.zeros(16, 16, 3, 1)}, r"'decoder\.3\.weight' has shape \(16, 16, 3, 1\), expected"),
        ({"up.bias": torch.full((16,), float("nan"))}, r"'up\.bias' holds NaN"),
    ],
)
def test_wrong_keys_and_shapes_are_refused(change: dict[str, Tensor | None], reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason) as error:
        taken(small_classifier(), interpreters.write(tmp_path, change))
    assert "\n" not in str(error.value) and str(tmp_path / interpreters.SOURCE) in str(error.value)


def test_another_classifiers_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="feature maps of 8 channels, small has 16"):
        taken(small_classifier(), interpreters.write(tmp_path, dim=8))
    with pytest.raises(CheckpointError, match="2 codes are too few for 3 classes"):
        taken(small_classifier(), interpreters.write(tmp_path, codes=2))
    with pytest.raises(CheckpointError, match="a map of 14 x 14, small gives 28 x 28"):
        taken(small_classifier(patch_size=8), interpreters.write(tmp_path))
    ours = checkpoint.build("focalnet-micro", CLASSES)
    with pytest.raises(UnsupportedPairError, match="reads a FocalNet or ViT of the original recipes"):
        taken(ours, tmp_path)


def test_no_pickle_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / interpreters.SOURCE
    with pytest.raises(CheckpointError, match=r"psi_model\.ckpt is missing; it is where the recipe's train_piq\.py"):
        taken(small_classifier(), tmp_path)
    for content in (pickle.dumps(Runs()), b"zzz"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="nothing of it was run"):
            taken(small_classifier(), tmp_path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds no state dict"):
        taken(small_classifier(), tmp_path)
    assert "has run" not in capsys.readouterr().out
