"""The protocol legacy-speechbrain against what the original recipes printed, on every clip of ESC-10's fold 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.references import legacy as slow
from tests.support.command_line import Command
from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers.class_order import in_order
from xaibench.classifiers.forward import Forwarder
from xaibench.commands import options
from xaibench.errors import RegistryError, ResultsError, UnsupportedPairError
from xaibench.explaining.bound import BoundExplainer
from xaibench.results import comparison, store
from xaibench.results.areas import AREAS
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring import evaluate as engine
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.evaluate import Event, LoadedClassifier, RunConfig
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Clip
from xaibench.sound.esc50 import Esc10
from xaibench.speechbrain import printed_means
from xaibench.speechbrain.protocol import LEGACY

recipe = Lazy("xaibench.speechbrain.classifiers")

METHOD = {"focalnet": "focalnet", "vit": "vit-attention"}
OF_MAPS = {"legacy_input_fidelity", "legacy_faithfulness_kept", "legacy_mask_fraction"}
RULES = LEGACY


@dataclass(frozen=True)
class Printed:
    """A classifier in the dataset's class order, what the recipe said of it, and what a run says."""

    family: str
    loaded: LoadedClassifier
    source: Esc10
    folder: Path
    rows: pd.DataFrame

    @property
    def clips(self) -> list[Clip]:
        return self.source.in_folds([5])

    def values(self, metric: str) -> pd.Series:
        return self.rows[self.rows["metric"] == metric].set_index("clip")["value"]


def config_of(source: Esc10, methods: Sequence[str], clips: Sequence[Clip]) -> RunConfig:
    made = {name: registry.create("methods", name) for name in methods}
    return RunConfig(
        dataset=source,
        clips=clips,
        methods=made,
        metrics=options.metrics([], [], RULES.name),
        seed=0,
        batch_size=16,
        protocol=RULES,
    )


def run(plan: RunConfig, loaded: LoadedClassifier, path: Path) -> list[Event]:
    events: list[Event] = []
    manifest = Manifest(
        dataset=plan.dataset.name,
        dataset_fingerprint=plan.dataset.fingerprint(),
        folds=(5,),
        limit=None,
        clips=len(plan.clips),
        seed=0,
        protocol=plan.protocol.id,
    )
    engine.evaluate(plan, loaded, RunFolder(path, manifest), events.append)
    return events


@pytest.fixture(scope="module", params=["focalnet", "vit"])
def printed(
    request: pytest.FixtureRequest,
    reference_folder: Path,
    esc50_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Printed:
    family, source = request.param, Esc10(esc50_folder)
    classifier = in_order(recipe.load_recipe(reference_folder / family), source.classes)
    loaded = LoadedClassifier(family, classifier, "reference")
    path = tmp_path_factory.mktemp(family)
    events = run(config_of(source, [METHOD[family]], source.in_folds([5])), loaded, path)
    assert {event.kind for event in events} == {"scored"}
    return Printed(family, loaded, source, path, store.read_rows(path))


def test_input_fidelity_is_exact_and_faithfulness_equal_on_every_clip(printed: Printed, reference_folder: Path) -> None:
    expected = slow.table(reference_folder / printed.family / "amt.csv")
    assert [clip.id for clip in printed.clips] == list(expected.index), "the recipe's file order is the dataset's"
    assert set(printed.rows["metric"]) == OF_MAPS
    found = {
        name: printed.values(f"legacy_{name}") for name in ("input_fidelity", "faithfulness_kept", "mask_fraction")
    }
    assert (found["input_fidelity"] == expected["input_fidelity"]).all()
    assert (found["faithfulness_kept"] - expected["faithfulness"]).abs().max() <= 1e-5
    # One bin is 4.5e-6 of the mask: a map's last bits decide which bins lie at the quantile.
    assert (found["mask_fraction"] - expected["mask_fraction"]).abs().max() <= 2e-5
    predicted = printed.rows.drop_duplicates("clip").set_index("clip")["predicted"]
    assert (predicted == expected["predicted"]).all()


def test_masks_agree_in_all_but_a_few_bins(printed: Printed, reference_folder: Path) -> None:
    """The part that is scored as kept, read where it is not silent: legacy input is nowhere zero."""
    stored = np.load(reference_folder / printed.family / "amt_masks.npz")
    assert [clip.id for clip in printed.clips] == [str(name) for name in stored["clips"]]
    masks = np.unpackbits(stored["masks"], axis=-1)[..., : stored["shape"][2]].astype(bool)
    forwarder = Forwarder(printed.loaded.classifier, 16, temperature=RULES.temperature)
    explainer = BoundExplainer(registry.create("methods", METHOD[printed.family]), forwarder)
    (kept,) = registry.create("metrics", "legacy_input_fidelity").perturbations(AREAS)
    different = []
    for start in range(0, 80, 16):
        clips = printed.clips[start : start + 16]
        waveform = torch.stack(
            [torch.from_numpy(RULES.waveform(printed.source, clip, printed.loaded.classifier)) for clip in clips]
        )
        x = RULES.spectrogram(waveform)
        assert float(x.min()) > 0
        batch = Batch(x, tuple(clip.id for clip in clips))
        # The maps of these two methods depend on no target, so nothing has to be forwarded for one.
        clean = Clean(batch, torch.zeros(len(clips), 10), torch.zeros(10))
        found = kept.apply(ScoringContext(clean, explainer.explain(batch, clean.target).map, explainer)) > 0
        wanted = torch.from_numpy(masks[start : start + 16]).transpose(1, 2)
        different += (found != wanted).flatten(1).sum(dim=1).tolist()
    assert len(different) == 80
    assert max(different) <= 0.001 * masks[0].size, "at least 99.9% of the bins of every clip"
    assert max(different) <= 5, "and in fact all but a handful that lie at the quantile"


def test_the_slow_derivation_agrees(printed: Printed, reference_folder: Path, esc50_folder: Path) -> None:
    hear = slow.network(reference_folder / printed.family, printed.family)
    for clip in printed.clips[10:14]:  # number 12 overshoots [-1, 1]
        expected = slow.amt(hear, slow.log_magnitude(esc50_folder / "audio" / clip.filename))
        assert printed.values("legacy_input_fidelity")[clip.id] == expected["input_fidelity"]
        assert printed.values("legacy_faithfulness_kept")[clip.id] == pytest.approx(expected["faithfulness"], abs=1e-5)
        assert printed.values("legacy_mask_fraction")[clip.id] == pytest.approx(expected["mask_fraction"], abs=2e-5)


def test_the_printed_means_are_the_recipes(printed: Printed) -> None:
    lines = printed_means.printed(printed.rows, 6).set_index("metric")
    accuracy, fidelity, faithfulness, right = {
        "focalnet": (0.726, 0.1875, 0.012350, 61),
        "vit": (0.845, 0.2875, 0.009603, 69),
    }[printed.family]
    assert lines.loc["legacy_input_fidelity", "printed"] == fidelity
    assert lines.loc["legacy_faithfulness_kept", "printed"] == pytest.approx(faithfulness, abs=5e-7)
    assert lines.loc["accuracy", "printed"] == pytest.approx(accuracy, abs=5e-4)
    assert lines.loc["accuracy", "mean"] == pytest.approx(right / 80)
    assert set(lines["n"]) == {80} and set(lines["batches"]) == {14}


def test_resuming_finds_everything_and_the_protocols_never_mix(printed: Printed, tmp_path: Path) -> None:
    events = run(config_of(printed.source, [METHOD[printed.family]], printed.clips), printed.loaded, printed.folder)
    assert {event.kind for event in events} == {"found"}
    assert set(printed.rows["protocol"]) == {"legacy-speechbrain"}
    standard = RunConfig(
        dataset=printed.source,
        clips=printed.clips[:2],
        methods={METHOD[printed.family]: registry.create("methods", METHOD[printed.family])},
        metrics=options.metrics(["sparseness"], []),
        seed=0,
        batch_size=16,
    )
    run(standard, printed.loaded, tmp_path)
    lines = comparison.compare([printed.folder, tmp_path])
    assert lines.groupby("group")["protocol"].nunique().tolist() == [1, 1]
    with pytest.raises(ResultsError, match="protocol"):
        RunFolder(
            printed.folder,
            Manifest(
                dataset="esc10",
                dataset_fingerprint=printed.source.fingerprint(),
                folds=(5,),
                limit=None,
                clips=80,
                seed=0,
                protocol="standard-1",
            ),
        )


def test_a_method_that_the_recipes_do_not_have_is_refused(printed: Printed, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPairError, match="saliency is not scored by the protocol legacy-speechbrain"):
        run(config_of(printed.source, ["saliency"], printed.clips[:1]), printed.loaded, tmp_path)


def test_batches_weigh_as_in_the_recipes() -> None:
    values = [1.0, 2.0, 3.0, float("nan"), float("nan"), 9.0]
    rows = pd.DataFrame(
        {
            "dataset": "d",
            "classifier": "c",
            "method": "m",
            "metric": ["legacy_complexity"] * 6 + ["legacy_average_gain"] * 6,
            "clip": list("abcdef") * 2,
            "correct": [True, True, False, False, False, True] * 2,
            "value": values * 2,
        }
    )
    lines = printed_means.printed(rows, 2).set_index("metric")
    # Batches (1, 2), (3, undefined), (undefined, 9): means 1.5, 3, 9.
    assert lines.loc["legacy_complexity", "printed"] == pytest.approx(4.5)
    assert lines.loc["legacy_complexity", "mean"] == pytest.approx(15 / 4)
    assert lines.loc["legacy_average_gain", "printed"] == pytest.approx(15 / 4)
    assert lines.loc["legacy_complexity", "n"] == 4 and lines.loc["legacy_complexity", "batches"] == 3
    assert lines.loc["accuracy", "printed"] == pytest.approx(0.5)
    assert printed_means.printed(rows, 4).set_index("metric").loc["accuracy", "printed"] == pytest.approx(0.5)
    assert printed_means.printed(rows, 5).set_index("metric").loc["accuracy", "printed"] == pytest.approx((0.4 + 1) / 2)
    silent = rows[rows["clip"].isin(["d", "e"])]
    assert np.isnan(printed_means.printed(silent, 2).set_index("metric").loc["legacy_complexity", "printed"])
    assert (
        printed_means.printed(rows[rows["clip"] != "c"], 1).set_index("metric").loc["legacy_complexity", "batches"] == 3
    )


def test_an_unknown_protocol_is_refused_in_one_line(xaibench: Command) -> None:
    with pytest.raises(RegistryError, match="there are legacy-speechbrain, spectrogram, standard"):
        registry.load("protocols", "other")
    done = xaibench("run", "--method", "energy", "--protocol", "legacy")
    assert done.code == 2
    assert "unknown protocol 'legacy'" in done.err


def test_the_command_line_prints_what_the_recipe_prints(
    xaibench: Command, reference_folder: Path, esc50_folder: Path
) -> None:
    added = xaibench("classifiers", "add", "paper", "--from", reference_folder / "focalnet")
    assert added.code == 0, added.err
    where = ("--dataset", "esc10", "--data-dir", esc50_folder)
    done = xaibench(
        "run", "-m", "all", "-c", "paper", *where, "--limit", 7, "--protocol", "legacy-speechbrain", "--device", "cpu"
    )
    assert done.code == 0, done.err
    assert "saliency is not scored" not in done.out
    (folder,) = Path("results/runs").iterdir()
    scored = store.read_rows(folder)["clip"].unique()
    expected = slow.table(reference_folder / "focalnet" / "amt.csv").loc[scored]
    assert len(scored) == 7
    assert f"{expected['faithfulness'].mean():.5f}" in done.out
    assert "as the original recipe prints it" in done.out
    assert folder.name == "esc10-fold5-limit7-legacy-speechbrain"
    assert set(store.read_rows(folder)["metric"]) == OF_MAPS
