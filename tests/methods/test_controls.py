"""The controls: what they are, and that metrics see the oracle beat chance on sound whose evidence is known."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.evaluating import config_of, run
from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.results import store
from xaibench.results.comparison import at_primary_area
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import Masked, ScoringContext
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.sound.batch import Batch
from xaibench.sound.cells import cell_index
from xaibench.sound.synth import Synth
from xaibench.testing import toy_batch, toy_classifier

CLIPS = 8
OF_MASKS = {
    *("average_drop", "average_gain", "average_increase", "deletion_auc", "energy_removed", "faithfulness"),
    *("faithfulness_equal_energy", "faithfulness_kept", "fidelity_in", "insertion_auc", "mask_inconsistency", "si_sdr"),
}


@pytest.fixture(scope="module")
def batch() -> Batch:
    return toy_batch(2)


def explained(name: str, batch: Batch) -> Tensor:
    target = torch.zeros(len(batch), dtype=torch.long)
    return registry.create("methods", name).explain(toy_classifier(), batch, target).map


@pytest.mark.parametrize("name", [name for dataset, name in references.shipped() if dataset == "synth"])
def test_the_oracle_beats_random(name: str, synth: Synth, tmp_path: Path) -> None:
    classifier, card = checkpoint.resolve(name, "synth")
    metrics = ["faithfulness"]
    if name == "cnn-micro":  # whose map it is decides nothing where maps are compared with the ground truth
        every = {metric: registry.load("metrics", metric) for metric in registry.names("metrics")}
        metrics += [metric for metric, kind in every.items() if kind.needs_ground_truth]
    loaded = LoadedClassifier(name, classifier, card.weights_sha256)
    run(config_of(synth, ["oracle", "random"], metrics, CLIPS), loaded, tmp_path)
    means = at_primary_area(store.read_rows(tmp_path)).groupby(["metric", "method"])["value"].mean().unstack()
    assert set(means.index) == set(metrics)
    for metric, line in means.iterrows():
        assert line["oracle"] > line["random"] + 0.05, metric


def test_random_cells_hold_one_number_each(batch: Batch) -> None:
    maps = explained("random-cells", batch)
    cells = cell_index(batch.picture_shape, maps.device)
    for clip in maps:
        assert [len(clip[cells == i].unique()) for i in range(144)] == [1] * 144
        assert len(clip.unique()) == 144
        assert clip.min() >= 0 and clip.max() < 1
    assert not torch.equal(maps[0], maps[1])
    other = replace(batch, seed=1)
    assert not torch.equal(explained("random-cells", other), maps)


def test_the_mask_of_a_control_that_attenuates_is_a_gain(batch: Batch) -> None:
    """Kept is the clip times a, removed the clip times 1 - a, whatever its map; and the ends cost no forward pass."""
    forwarder = Forwarder(toy_classifier(), 16)
    clean = Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch))
    explainer = BoundExplainer(registry.create("methods", "attenuated"), forwarder)
    context = ScoringContext(clean, explained("attenuated", batch), explainer)
    assert batch.waveform is not None
    for area in (0.1, 0.25):
        expected = torch.softmax(forwarder.logits_of_clips(replace(batch, waveform=area * batch.waveform)), dim=1)
        found = context.probabilities(Masked("kept", area)), context.probabilities(Masked("removed", 1 - area))
        for one in found:
            torch.testing.assert_close(one, expected, rtol=0, atol=1e-4)
    before = forwarder.count
    assert torch.equal(context.p_kept(1.0), context.p_full)
    assert torch.equal(context.p_removed(0.0), context.p_full)
    assert torch.equal(context.p_removed(1.0), context.p_kept(0.0))
    assert forwarder.count == before


def test_attenuated_is_scored_by_metrics_of_masks_alone() -> None:
    """The others would score the uniform map under another name."""
    every = {name: registry.create("metrics", name) for name in registry.names("metrics")}
    attenuated, uniform = (registry.create("methods", name) for name in ("attenuated", "uniform"))
    ours = {name for name, metric in every.items() if metric.protocols & attenuated.protocols}
    assert {name for name in ours if every[name].applies_to(attenuated)} == OF_MASKS
    assert all(every[name].applies_to(uniform) for name in ours)


def test_the_controls_of_sound_are_not_scored_on_pictures() -> None:
    every = {name: registry.load("methods", name) for name in registry.names("methods")}
    of_sound = [name for name, method in every.items() if method.control and "spectrogram" not in method.protocols]
    assert of_sound == ["attenuated", "centre", "random-cells"]
