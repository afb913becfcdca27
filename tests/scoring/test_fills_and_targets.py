"""Runs whose removed bins are filled, and runs that explain the label: scores by hand from the waveforms."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import xaibench as xb
from tests.support.command_line import Command
from tests.support.evaluating import config_of, run, values
from tests.support.objects import bells
from xaibench import registry
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError
from xaibench.results import store
from xaibench.results.comparison import compare
from xaibench.results.verify import verify
from xaibench.scoring.config import RunConfig
from xaibench.scoring.metric import ratios
from xaibench.scoring.protocol import SPECTROGRAM, STANDARD
from xaibench.scoring.targets import LABEL
from xaibench.sound.batch import Batch
from xaibench.sound.fills import fill_of
from xaibench.sound.synth import Synth

METHODS = ("attenuated", "energy")
METRICS = ("average_drop", "energy_removed", "faithfulness", "faithfulness_equal_energy", "mask_inconsistency")
CLIPS = 2


def chosen(synth: Synth, fill: str = "silence", target: str = "predicted", clips: int = CLIPS) -> RunConfig:
    return replace(config_of(synth, METHODS, METRICS, clips), protocol=STANDARD.with_choices(fill, target))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, synth: Synth, trained: LoadedClassifier) -> dict[str, Path]:
    """The same run with each of two fills."""
    folders = {fill: tmp_path_factory.mktemp("filled") / fill for fill in ("silence", "mean")}
    for fill, path in folders.items():
        assert {event.kind for event in run(chosen(synth, fill), trained, path)} == {"scored"}
    return folders


def batch_of(synth: Synth) -> Batch:
    clips = synth.in_folds([5])[:CLIPS]
    waveform = torch.stack([torch.from_numpy(synth.waveform(clip)) for clip in clips])
    return Batch.of_sound(waveform, tuple(clip.id for clip in clips), xb.toy_classifier().domain)


@torch.no_grad()
def probabilities(trained: LoadedClassifier, waveform: Tensor) -> Tensor:
    return torch.softmax(trained.classifier.temperature * trained.classifier.logits(waveform).double(), dim=1)


def test_a_filled_score_is_what_the_definition_says(
    filled: dict[str, Path], synth: Synth, trained: LoadedClassifier
) -> None:
    """x' of M X + (1 - M) STFT(f), the most important tenth of the bins and f by the clip's seed."""
    batch, domain = batch_of(synth), trained.classifier.domain
    fill = fill_of("mean", batch, domain)
    assert fill is not None and batch.waveform is not None
    p = probabilities(trained, batch.waveform)
    c = p.argmax(dim=1)[:, None]
    found, rows = values(filled["mean"]), store.read_rows(filled["mean"]).drop_duplicates("clip").set_index("clip")
    loudest = batch.x.flatten(1).argsort(dim=1, descending=True)[:, : round(0.1 * batch.x[0].numel())]
    hole = torch.zeros(batch.x.shape).flatten(1).scatter_(1, loudest, 1.0).view_as(batch.x)
    gains = {"energy": 1 - hole, "attenuated": torch.full_like(hole, 0.9)}
    for method, left in gains.items():
        mixed = left * domain.stft(batch.waveform) + (1 - left) * domain.stft(fill.waveform)
        rest = probabilities(trained, domain.istft(mixed, batch.waveform.shape[1]))
        expected = (p - rest).gather(1, c)[:, 0]
        for i, clip in enumerate(batch.clip_ids):
            assert found["cnn", method, "faithfulness", 0.1, clip] == pytest.approx(float(expected[i]), abs=1e-4)
    alone = probabilities(trained, fill.waveform).gather(1, c)[:, 0]
    assert rows["p_fill"][list(batch.clip_ids)].tolist() == pytest.approx(alone.tolist(), abs=1e-6)


def test_rows_say_fill_target_share_and_what_is_left_of_nothing(
    filled: dict[str, Path], synth: Synth, trained: LoadedClassifier
) -> None:
    silence = torch.zeros(1, batch_of(synth).x.shape[2] * 186)
    for fill, path in filled.items():
        rows = store.read_rows(path)
        assert set(rows["fill"]) == {fill} and set(rows["target"]) == {"predicted"}
        assert rows["audible_share"].eq(1).all()
        assert verify(path).findings == ()
    rows = store.read_rows(filled["silence"])
    p = probabilities(trained, silence[:, :80_000])[0]
    expected = [float(p[trained.classifier.classes.index(name)]) for name in rows["predicted"]]
    assert rows["p_fill"].tolist() == pytest.approx(expected, abs=1e-6)


def test_what_masks_do_themselves_does_not_depend_on_the_fill(filled: dict[str, Path]) -> None:
    """To the digit: the energy that goes, and whether a mask can be heard, are the mask's; the rest is not."""
    silence, mean = values(filled["silence"]), values(filled["mean"])
    own = silence.index.get_level_values("metric").isin(["energy_removed", "mask_inconsistency"])
    assert silence[own].equals(mean[own])
    for metric in ("faithfulness", "faithfulness_equal_energy"):
        of = silence.index.get_level_values("metric") == metric
        assert not np.isclose(silence[of], mean[of], atol=1e-3).all()


def test_two_fills_are_never_in_one_table_or_folder(
    filled: dict[str, Path], synth: Synth, trained: LoadedClassifier
) -> None:
    lines = compare(list(filled.values()))
    assert set(lines["group"]) == {"synth-fill-silence", "synth-fill-mean"}
    assert lines.groupby("group")["fill"].unique().map(list).to_dict() == {
        "synth-fill-mean": ["mean"],
        "synth-fill-silence": ["silence"],
    }
    with pytest.raises(xb.ResultsError, match="holds a run with fill mean, this one has silence; choose another --out"):
        run(chosen(synth), trained, filled["mean"])


@pytest.mark.parametrize(
    ("protocol", "choices", "words"),
    [
        ("spectrogram", ("mean", "predicted"), "the protocol spectrogram feeds pictures, and the fill mean is a sound"),
        ("legacy-speechbrain", ("noise", "predicted"), "the protocol legacy-speechbrain feeds pictures, and"),
        ("legacy-speechbrain", ("silence", "label"), "the protocol legacy-speechbrain explains the predicted class"),
        ("legacy-speechbrain", ("silence", "predicted", "center"), "hears the beginning of long clips"),
        ("standard", ("loud", "predicted"), "unknown fill 'loud'; choose one of silence, mean, noise"),
        ("standard", ("silence", "best"), "unknown target 'best'; choose one of predicted, label, labels"),
        ("standard", ("silence", "predicted", "middle"), "unknown long 'middle'; choose one of cut, center, windows"),
        ("spectrogram", ("silence", "predicted", "windows"), "feeds pictures of one length, and windows are of sound"),
        ("legacy-speechbrain", ("silence", "predicted", "windows"), "hears the beginning of long clips"),
    ],
)
def test_a_choice_that_a_protocol_has_not_is_refused_in_one_line(
    protocol: str, choices: tuple[str, ...], words: str
) -> None:
    with pytest.raises(XaibenchError, match=words) as caught:
        registry.load("protocols", protocol).with_choices(*choices)
    assert "\n" not in str(caught.value)
    assert SPECTROGRAM.with_choices("silence", LABEL).target == LABEL
    assert STANDARD.with_choices("silence", "predicted") == STANDARD


def test_the_label_is_explained_and_clips_of_unknown_labels_are_counted(
    synth: Synth, trained: LoadedClassifier, tmp_path: Path
) -> None:
    """A network of other names: its second guess on the first clip is the label, and nobody knows the second's."""
    batch, classifier = batch_of(synth), copy.deepcopy(trained.classifier)
    assert batch.waveform is not None
    known, unknown = synth.in_folds([5])[:CLIPS]
    p = probabilities(trained, batch.waveform)[0]
    second = int(p.argsort()[-2])
    names = [f"not {name}" for name in classifier.classes]
    names[second] = synth.classes[known.label]
    classifier.classes = tuple(names)
    events = run(chosen(synth, target=LABEL), LoadedClassifier("cnn", classifier, trained.sha256), tmp_path)
    assert {event.kind for event in events} == {"scored"} and verify(tmp_path).findings == ()
    rows = store.read_rows(tmp_path)
    assert set(rows["target"]) == {LABEL}
    assert not rows.loc[rows["clip"] == known.id, "correct"].any()
    lost = rows[rows["clip"] == unknown.id]
    assert set(lost["reason"]) == {f"its label {synth.classes[unknown.label]} is none of the classes"}
    assert lost["correct"].isna().all()
    lines = compare([tmp_path])
    assert (lines["undefined"] >= 1).all() and set(lines["target"]) == {LABEL}
    # FF of the label by hand, although another class is more probable.
    loudest = batch.x[0].flatten().argsort(descending=True)[: round(0.1 * batch.x[0].numel())]
    hole = torch.zeros(batch.x[0].numel()).index_fill_(0, loudest, 1.0).view_as(batch.x[0])[None]
    rest = probabilities(trained, classifier.domain.masked(batch.waveform[:1], 1 - hole))[0]
    found = values(tmp_path)
    expected = float(p[second] - rest[second])
    assert found["cnn", "energy", "faithfulness", 0.1, known.id] == pytest.approx(expected, abs=1e-4)
    assert np.isnan(found["cnn", "energy", "average_drop", 0.1, known.id]) == bool(p[second] < 1e-3)


def evaluated(classes: tuple[str, ...], **choices: str) -> tuple[pd.DataFrame, str]:
    """Rows of a toy with other names for its classes, and what was said."""
    classifier = xb.toy_classifier()
    classifier.classes = classes
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = xb.evaluate(
            classifier, bells(), "energy", ["faithfulness", "average_drop"], progress=False, **choices, controls=False
        )
    return found.rows, "\n".join(str(one.message) for one in caught)


def test_from_python() -> None:
    names = xb.toy_classifier().classes
    rows, said = evaluated(names, fill="noise")
    assert set(rows["fill"]) == {"noise"} and "none of" not in said
    rows, said = evaluated(("bell", "b", "c", "d"), target="label")
    assert "2 of 3 clips have a label that is none of toy-cnn's classes (crow, rain): there is nothing to" in said
    ff = rows[rows["metric"] == "faithfulness"]
    assert ff["value"].isna().groupby(ff["clip"]).any().tolist() == [False, True, True]
    with pytest.raises(xb.XaibenchError, match=r"none of the labels of 3 clips is a class of toy-cnn; .* predicted\)"):
        evaluated(("a", "b", "c", "d"), target="label")


def test_the_program_names_the_folder_after_the_choices(xaibench: Command, tmp_path: Path) -> None:
    command = "run -m energy -c cnn-micro --limit 1 --metric faithfulness --fill mean --target label --device cpu"
    done = xaibench(*command.split())
    assert done.code == 0, done.err
    rows = store.read_rows(tmp_path / "results" / "runs" / "synth-fold5-limit1-fill-mean-target-label")
    assert set(rows["fill"]) == {"mean"} and set(rows["target"]) == {"label"}
    done = xaibench("run", "-m", "energy", "--fill", "mean", "--protocol", "spectrogram")
    assert done.code == 2 and "the fill mean is a sound; use --protocol standard" in done.err


def test_a_ratio_to_a_tiny_probability_is_undefined() -> None:
    found = ratios(torch.tensor([5.0, 7.0, float("nan")]), torch.tensor([0.5, 0.0009, 0.0]))
    assert found.values.tolist()[0] == 5.0 and found.values[1:].isnan().all()
    assert found.reasons == (None, *["the probability of the class is below 0.001: no ratio to it counts"] * 2)
