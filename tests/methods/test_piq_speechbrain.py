"""The recipe's PIQ interpreter: its masks and metrics against the original values, its files, its refusals."""

from __future__ import annotations

import importlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import references_legacy as slow
import torch
from torch import Tensor

from xaibench import evaluate as engine
from xaibench import protocol, results
from xaibench.batch import Batch
from xaibench.classifiers import checkpoint, recipe
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.recipe import in_order, load_recipe
from xaibench.commands import choices
from xaibench.data.base import Clip
from xaibench.data.esc50 import Esc10
from xaibench.errors import CheckpointError
from xaibench.evaluate import Plan, Subject
from xaibench.results import Manifest, RunFolder
from xaibench.unchanged import seeded

piq_speechbrain = importlib.import_module("xaibench.methods.piq_speechbrain")
_recipe_interpreter = importlib.import_module("xaibench.methods._recipe_interpreter")
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
# Two of the recipe's fourteen batches, the last of which is smaller: the decoder takes seconds a clip.
# benchmarks/legacy_differences.py takes them all.
BATCHES = (0, 13)


@dataclass(frozen=True)
class Run:
    """What a run says of the interpreter on the clips of BATCHES."""

    clips: list[Clip]
    rows: pd.DataFrame

    def values(self, column: str) -> pd.Series:
        return self.rows[self.rows["metric"] == METRICS[column]].set_index("clip")["value"]


@pytest.fixture(scope="module")
def classifier(reference_folder: Path, esc50_folder: Path) -> Classifier:
    """In the dataset's class order, which is not that of the training."""
    return in_order(load_recipe(reference_folder / "focalnet"), Esc10(esc50_folder).classes)


@pytest.fixture(scope="module")
def interpreter(classifier: Classifier, reference_folder: Path) -> Any:
    names = (reference_folder / "focalnet" / "labels.txt").read_text().split()
    assert names != list(classifier.classes)
    made = piq_speechbrain.RecipePiq()
    made.import_checkpoint(reference_folder / "focalnet" / "piq", classifier, names)
    return made


@pytest.fixture(scope="module")
def run(classifier: Classifier, interpreter: Any, esc50_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    rules, source = protocol.LEGACY, Esc10(esc50_folder)
    clips = [clip for batch in BATCHES for clip in source.in_folds([5])[6 * batch : 6 * batch + 6]]
    assert len(clips) == 8
    metrics = choices.metrics([], [], rules.name)
    plan = Plan(source, clips, {"piq-speechbrain": interpreter}, metrics, 0, 16, protocol=rules)
    folder = tmp_path_factory.mktemp("piq")
    manifest = Manifest("esc10", source.fingerprint(), (5,), None, 0, rules.id)
    events: list[engine.Event] = []
    engine.evaluate(plan, Subject("focalnet", classifier, "x"), RunFolder(folder, manifest), events.append)
    assert [event.kind for event in events] == ["scored"]
    return Run(clips, results.read_rows(folder))


def test_every_metric_is_the_recipes(run: Run, reference_folder: Path) -> None:
    expected = slow.table(reference_folder / "focalnet" / "piq" / "piq.csv").loc[[clip.id for clip in run.clips]]
    for column in ("AI", "Fid_In"):
        assert (run.values(column) == expected[column]).all(), column
    for column in ("AD", "AG", "FF", "mask_mean"):
        found, wanted = run.values(column), expected[column]
        assert ((found - wanted).abs() <= 1e-3 * wanted.abs()).all(), column
    assert (expected["AD"] > 0).any() and (expected["AG"] > 0).any()


def test_sparseness_and_complexity_are_the_recipes_batch_by_batch(run: Run, reference_folder: Path) -> None:
    expected = json.loads((reference_folder / "focalnet" / "piq" / "piq.json").read_text())
    for column in ("SPS", "COMP"):
        values = run.values(column).to_numpy()
        for position, batch in enumerate(BATCHES):
            found = values[6 * position : 6 * position + 6].mean()
            assert found == pytest.approx(expected[f"{column}_per_batch"][batch], rel=1e-3), (column, batch)


def test_the_slow_derivation_agrees(run: Run, reference_folder: Path, esc50_folder: Path) -> None:
    hear = slow.network(reference_folder / "focalnet", "focalnet")
    state = slow.state_of(reference_folder / "focalnet" / "piq" / "psi_model.ckpt")
    for clip in run.clips[:2]:
        expected = slow.piq(hear, state, slow.log_magnitude(esc50_folder / "audio" / clip.filename))
        for column, value in expected.items():
            assert run.values(column)[clip.id] == pytest.approx(value, rel=1e-3, abs=1e-6), (column, clip.id)


def small_state(dim: int = 16, codes: int = 9) -> dict[str, Tensor]:
    """A random interpreter by the recipe's names; its batch norms are not the identity."""
    with seeded(0):
        state = _recipe_interpreter.RecipeInterpreter(dim, codes, 3).state_dict()
        for key, value in state.items():
            if key.endswith(("running_var", "running_mean")):
                value.uniform_(0.5, 1.5)
    return {key: value.half().float() if value.is_floating_point() else value for key, value in state.items()}


CLASSES = ("rain", "dog", "sea_waves")


def small_classifier(family: str = "focalnet", **changes: Any) -> Classifier:
    """A random recipe classifier whose deepest features have 16 channels."""
    geometry: dict[str, Any] = {"family": family, "hidden": 5, "image_size": 224, "patch_size": 16}
    if family == "focalnet":
        geometry |= {"embed_dim": 8, "depths": [1, 1], "focal_levels": [1, 1], "focal_windows": [3, 3]}
    else:
        geometry |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    with seeded(4):
        return checkpoint.freeze(recipe.build("small", CLASSES, geometry | changes))


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A psi_model.ckpt that fits `small_classifier`."""
    path = tmp_path_factory.mktemp("small") / "psi_model.ckpt"
    torch.save(small_state(), path)
    return path


def taken(classifier: Classifier, path: Path) -> Any:
    made = piq_speechbrain.RecipePiq()
    made.import_checkpoint(path, classifier, CLASSES)
    return made


def explained(made: Any, classifier: Classifier, target: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    x = 3 * torch.rand(3, 513, 431, generator=torch.Generator().manual_seed(1))
    return made.explain(classifier, Batch(x, ("a", "b", "c")), torch.tensor(target)).map


@pytest.mark.parametrize("family", ["focalnet", "vit"])
def test_it_reads_the_recipes_features(family: str, small_file: Path) -> None:
    classifier = small_classifier(family)
    found = explained(taken(classifier, small_file), classifier)
    assert found.shape == (3, 513, 431)
    assert float(found.min()) > 0 and float(found.max()) < 1
    x = 3 * torch.rand(3, 513, 431, generator=torch.Generator().manual_seed(1))
    model: Any = classifier
    with torch.inference_mode():
        image = classifier.front_end(x).expand(-1, 3, -1, -1)
        if family == "vit":
            features = model.backbone(image).last_hidden_state[:, 1:].transpose(1, 2).reshape(3, 16, 14, 14)
        else:
            features = model.backbone(image).feature_maps[-1]
        expected = [_slow_mask(features[i : i + 1], i, enlarge=family == "focalnet") for i in range(3)]
    torch.testing.assert_close(found, torch.cat(expected).transpose(1, 2), rtol=0, atol=1e-5)


def _slow_mask(features: Tensor, target: int, enlarge: bool) -> Tensor:
    return slow.soft_mask(small_state(), features, target, len(CLASSES), enlarge)


def test_codes_follow_the_class_whatever_the_order_of_the_logits(small_file: Path) -> None:
    classifier = small_classifier()
    made = taken(classifier, small_file)
    before = explained(made, classifier)
    other = in_order(small_classifier(), ("sea_waves", "rain", "dog"))
    torch.testing.assert_close(explained(made, other, (1, 2, 0)), before)
    assert not torch.allclose(explained(made, classifier, (1, 2, 0)), before), "the codes of another class differ"


def test_every_code_belongs_to_one_class_in_about_equal_shares() -> None:
    for codes, classes in ((200, 10), (1024, 50), (9, 3)):
        shares = torch.bincount(_recipe_interpreter.code_classes(codes, classes), minlength=classes)
        assert len(shares) == classes
        assert int(shares.max() - shares.min()) <= 2


def test_saved_and_loaded_it_is_the_same(small_file: Path, tmp_path: Path) -> None:
    classifier = small_classifier()
    made, again = taken(classifier, small_file), piq_speechbrain.RecipePiq()
    made.save(tmp_path)
    again.load(tmp_path, classifier)
    assert torch.equal(explained(made, classifier), explained(again, classifier))
    assert made.parameters == again.parameters
    assert (tmp_path / "interpreter.safetensors").stat().st_size < 2.5 * sum(v.numel() for v in small_state().values())
    (tmp_path / "interpreter.safetensors").write_bytes(b"zzz")
    with pytest.raises(CheckpointError, match="holds no interpreter that can be read"):
        again.load(tmp_path, classifier)
    with pytest.raises(CheckpointError, match="import it again"):
        again.load(tmp_path / "nowhere", classifier)


def test_an_interpreter_of_other_classes_is_refused(small_file: Path, tmp_path: Path) -> None:
    classifier = small_classifier()
    made = piq_speechbrain.RecipePiq()
    with pytest.raises(CheckpointError, match="its 2 classes in training order are not the 3 of small"):
        made.import_checkpoint(small_file, classifier, CLASSES[:2])
    with pytest.raises(CheckpointError, match=r"no weights; import a psi_model\.ckpt"):
        explained(made, classifier)


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
    state: dict[str, Tensor | None] = {**small_state(), **change}
    path = tmp_path / "psi_model.ckpt"
    torch.save({key: value for key, value in state.items() if value is not None}, path)
    with pytest.raises(CheckpointError, match=reason) as error:
        taken(small_classifier(), path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_another_classifiers_interpreter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "psi_model.ckpt"
    torch.save(small_state(dim=8), path)
    with pytest.raises(CheckpointError, match="feature maps of 8 channels, small has 16"):
        taken(small_classifier(), path)
    torch.save(small_state(codes=2), path)
    with pytest.raises(CheckpointError, match="2 codes are too few for 3 classes"):
        taken(small_classifier(), path)
    torch.save(small_state(), path)
    with pytest.raises(CheckpointError, match="a map of 14 x 14, small gives 28 x 28"):
        taken(small_classifier(patch_size=8), path)
    ours = checkpoint.build("focalnet-micro", CLASSES)
    with pytest.raises(CheckpointError, match="reads a FocalNet or ViT of the original recipes"):
        taken(ours, path)


def test_no_pickle_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "psi_model.ckpt"
    with pytest.raises(CheckpointError, match=r"is missing; the recipe's interpreter is a psi_model\.ckpt"):
        taken(small_classifier(), tmp_path)
    for content in (pickle.dumps(Runs()), b"zzz"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="nothing of it was run"):
            taken(small_classifier(), path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds no state dict"):
        taken(small_classifier(), path)
    assert "has run" not in capsys.readouterr().out
