"""`xaibench explain`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional

from tests.support import recipes
from tests.support.command_line import Command, assert_refused
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.class_order import in_order
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.commands.pairs import Pairing, split
from xaibench.errors import XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.trainable import TrainableExplainer
from xaibench.sound import audio, reading
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.esc50 import Esc10, Esc50
from xaibench.storage.user_folders import DATA_VARIABLE

BESIDE_SOUNDS = {"listening", "sounds.json", "index.html"}


def test_explain_writes_a_figure_and_sound_that_adds_up(xaibench: Command, tmp_path: Path, esc50_folder: Path) -> None:
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")  # a dog
    done = xaibench("explain", clip, "-m", "gradcam", "-m", "saliency", "-c", "cnn-micro", "--area", "0.2")
    assert done.code == 0, done.err
    folder = tmp_path / "explained" / clip.stem
    assert "says dog (p = " in done.out
    assert "$" not in done.out
    sounds = {"original.wav"}
    sounds |= {f"{method}-{part}.wav" for method in ("gradcam", "saliency") for part in ("kept", "removed")}
    names = {"explanation.png", "explanation.pdf", *BESIDE_SOUNDS, *sounds}
    assert {path.name for path in folder.iterdir()} == names
    assert {path.name for path in (folder / "listening").iterdir()} == sounds
    for name in names - {"listening"}:
        assert f"wrote {Path('explained') / clip.stem / name}" in done.out
    assert (folder / "explanation.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (folder / "explanation.png").stat().st_size > 20_000
    assert (folder / "explanation.pdf").read_bytes()[:5] == b"%PDF-"
    original, rate = soundfile.read(folder / "original.wav", dtype="float32")
    assert (len(original), rate) == (80_000, 16_000)
    np.testing.assert_array_equal(original, reading.read_clip(clip).waveform)
    for method in ("gradcam", "saliency"):
        kept, removed = (soundfile.read(folder / f"{method}-{p}.wav", dtype="float32")[0] for p in ("kept", "removed"))
        assert np.abs(kept).max() > 0
        assert np.abs(removed).max() > 0
        np.testing.assert_allclose(kept + removed, original, atol=1e-6 * np.abs(original).max())
    _check_sounds(folder)


def _check_sounds(folder: Path) -> None:
    """What is said of each file is what the classifier says of it; the copies are equally loud."""
    facts = json.loads((folder / "sounds.json").read_text())
    levels = []
    for one in facts["sounds"]:
        classifier, _ = checkpoint.resolve(one["classifier"], "esc10")
        samples, rate = soundfile.read(folder / one["file"], dtype="float32")
        assert rate == facts["sample_rate"]
        p = torch.softmax(classifier.temperature * classifier.logits(torch.from_numpy(samples)[None]).double(), dim=1)
        c = classifier.classes.index(one["explained"].replace(" ", "_"))
        assert float(p[0, c]) == pytest.approx(one["p"], abs=1e-5)
        copy, rate = soundfile.read(folder / "listening" / one["file"], dtype="float32")
        assert copy[0] == copy[-1] == 0 and np.abs(copy).max() < 1
        levels.append(float(torchaudio.functional.loudness(torch.from_numpy(copy)[None], rate)))
        assert f'src="listening/{one["file"]}"' in (folder / "index.html").read_text()
    assert max(levels) - min(levels) < 0.5


def test_explain_survives_odd_file_names(xaibench: Command, tmp_path: Path, esc50_folder: Path) -> None:
    """Dollars are mathematics to matplotlib, brackets are markup to rich, colons are emoji."""
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    odd = tmp_path / "a $_$ [bold]b :dog: ü.ogg"
    odd.write_bytes(clip.read_bytes())
    done = xaibench("explain", odd, "-m", "energy", "-c", "cnn-micro", "--out", "[red]out")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{odd.name}: cnn-micro says dog")
    assert "wrote [red]out/explanation.png" in done.out


def test_explain_picks_a_classifier_that_fits(xaibench: Command, esc50_folder: Path) -> None:
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    done = xaibench("explain", clip, "-m", "guided-backprop")
    assert done.code == 0, done.err
    assert "cnn-micro says" in done.out
    done = xaibench("explain", clip, "-m", "oracle")
    assert_refused(done, "no classifier fits: oracle needs clips with ground truth")
    done = xaibench("explain", clip, "-m", "vit-rollout", "-c", "cnn-micro")
    assert_refused(done, "vit-rollout needs attention weights, which cnn-micro (cnn) has not")
    done = xaibench("explain", clip, "-m", "saliency", "--dataset", "folder")
    assert_refused(done, "no weights are shipped for folder; give --classifier a checkpoint folder")


@pytest.fixture
def fitted(small_esc50: Path, tmp_path: Path) -> Path:
    """A folder with a PIQ that saw the six training clips of the small data set once, for ESC-10's FocalNet."""
    classifier, card = checkpoint.resolve("focalnet-micro", "esc10")
    loaded = LoadedClassifier("focalnet-micro", classifier, card.weights_sha256)
    piq = registry.create("methods", "piq")
    assert isinstance(piq, TrainableExplainer)
    config = fitting.FittingConfig(
        method="piq", settings=piq.settings | {"epochs": 1}, seed=0, precision=torch.float32, command="test"
    )
    folder = fitting.folder_of(tmp_path / "mine", "esc50", "focalnet-micro", "piq")
    folder.mkdir(parents=True)
    fitting.fit(piq, loaded, Esc50(small_esc50), config, folder, lambda epoch: None)
    return tmp_path / "mine"


def test_explain_several_files_and_classifiers_side_by_side(
    xaibench: Command, tmp_path: Path, esc50_folder: Path, fitted: Path
) -> None:
    clips = [next((esc50_folder / "audio").glob(f"{name}.*")) for name in ("5-203128-A-0", "5-181766-A-10")]
    names = ["vit-rollout@cnn-micro", "piq@focalnet-micro", "energy"]
    options = [word for name in names for word in ("-m", name)]
    done = xaibench("explain", *clips, *options, "-c", "vit-micro", "--explainers", fitted, "--out", "out")
    assert_refused(
        done, "vit-rollout needs attention"
    )  # a pair that makes no sense is refused, whatever the others are
    names[0] = "vit-attention@vit-micro"
    options[1] = names[0]
    done = xaibench("explain", *clips, *options, "-c", "cnn-micro", "--explainers", fitted, "--out", "out")
    assert done.code == 0, done.err
    parts = [(name, part) for name in names for part in ("kept", "removed")] + [("piq@focalnet-micro", "soft")]
    expected = {"original.wav", *BESIDE_SOUNDS} | {f"{name}-{part}.wav" for name, part in parts}
    for clip in clips:
        assert {path.name for path in (tmp_path / "out" / clip.stem).iterdir()} == expected
        for classifier in ("cnn-micro", "vit-micro", "focalnet-micro"):
            assert done.out.count(f"{clip.name}: {classifier} says ") == 1
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"explanation.png", "explanation.pdf", *(clip.stem for clip in clips)}
    assert (tmp_path / "out" / "explanation.png").stat().st_size > 100_000
    assert done.out.count("soft mask of area") == len(clips)
    # The soft sound is the clip through the mask: between silence and the clip, and not the top bins' sound.
    folder = tmp_path / "out" / clips[0].stem
    soft, kept, whole = (
        soundfile.read(folder / name)[0]
        for name in ("piq@focalnet-micro-soft.wav", "piq@focalnet-micro-kept.wav", "original.wav")
    )
    assert 0 < np.square(soft).sum() < np.square(whole).sum()
    assert np.abs(soft - kept).max() > 1e-3


def test_explain_chooses_the_classifier_that_a_method_is_fitted_to(
    xaibench: Command, tmp_path: Path, esc50_folder: Path, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if nothing were shipped.
    monkeypatch.setattr(fitting, "resources", SimpleNamespace(files=lambda package: tmp_path / "nothing"))
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    done = xaibench("explain", clip, "-m", "piq", "-m", "energy", "--explainers", fitted)
    assert done.code == 0, done.err
    assert "focalnet-micro says" in done.out and "soft mask of area" in done.out
    folder = tmp_path / "explained" / clip.stem
    names = {"explanation.png", "explanation.pdf", "original.wav", "piq-soft.wav", *BESIDE_SOUNDS}
    assert {path.name for path in folder.iterdir()} == names | {
        f"{method}-{part}.wav" for method in ("piq", "energy") for part in ("kept", "removed")
    }
    refused = xaibench("explain", clip, "-m", "piq", "-c", "vit-micro", "--explainers", fitted)
    assert_refused(refused, "piq is not fitted to vit-micro; fit it with 'xaibench fit --method piq")


def test_explain_says_what_is_wrong_with_a_pair(xaibench: Command, tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    soundfile.write(tone, np.sin(np.arange(80_000) / 5).astype(np.float32), 16_000)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tone.wav").write_bytes(tone.read_bytes())
    done = xaibench("explain", tone, "-m", "energy@cnn-micro", "-c", "vit-micro")
    assert_refused(done, "every --method names its classifier", "leave out --classifier")
    assert_refused(xaibench("explain", tone, "-m", "energy@"), "'energy@' is neither METHOD nor METHOD@CLASSIFIER")
    assert_refused(xaibench("explain", tone, "-m", "energy@cnn-mico"), "did you mean 'cnn-micro'?")
    done = xaibench("explain", tone, tmp_path / "other" / "tone.wav", "-m", "energy")
    assert_refused(done, "several files are called tone")
    assert not (tmp_path / "explained").exists()


class Tones(Dataset):
    """One noise a fold, as if of a dataset with these classes."""

    name = licence = "tones"

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.clips = tuple(Clip(f"tone-{fold}", fold, 0, f"recording-{fold}") for fold in range(1, 6))

    def waveform(self, clip: Clip) -> np.ndarray:
        return (0.5 * np.random.default_rng(clip.fold).uniform(-1, 1, audio.CLIP_SAMPLES)).astype(np.float32)


def test_a_pairs_classifier_has_its_classes_in_the_order_that_explainers_are_fitted_in(
    xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, esc50_folder: Path
) -> None:
    """A codebook is divided by class: the classes of an added classifier are numbered as `run` and `fit` do."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    classes = Esc10(esc50_folder).classes
    order = tuple(reversed(classes))
    folder = recipes.write(tmp_path / "theirs", "vit")
    (folder / "labels.txt").write_text("\n".join(order))
    recipes.change(folder / "classifier.ckpt", weight=torch.randn(10, 5, generator=torch.Generator().manual_seed(0)))
    assert xaibench("classifiers", "add", "theirs", "--from", folder).code == 0
    loaded, card = checkpoint.resolve("theirs", "synth")
    assert (card.dataset, loaded.classes) == ("esc10", order)
    source = Tones(classes)
    loaded = LoadedClassifier("theirs", in_order(loaded, classes), card.weights_sha256)
    method = registry.create("methods", "piq")
    small = {"epochs": 1, "decoder_width": 2, "codes": 40, "code_size": 4}
    config = fitting.FittingConfig(
        method="piq", settings=method.settings | small, seed=0, precision=torch.float32, command=""
    )
    folder = fitting.folder_of(tmp_path / "explainers", "esc10", "theirs", "piq")
    fitting.fit(method, loaded, source, config, folder, lambda epoch: None)
    (pair,) = Pairing("esc10", tmp_path / "explainers", torch.device("cpu")).pairs(["piq@theirs"], None)
    assert pair.loaded.classifier.classes == classes
    x = torch.rand(3, 513, 431, generator=torch.Generator().manual_seed(0))
    target = Forwarder(pair.loaded.classifier, 3).logits(x).argmax(dim=1)
    batch = Batch(x, ("a", "b", "c"))
    fitting.load(method, folder, loaded.classifier, card.weights_sha256)
    expected = method.explain(loaded.classifier, batch, Forwarder(loaded.classifier, 3).logits(x).argmax(dim=1)).map
    torch.testing.assert_close(pair.explainer.explain(pair.loaded.classifier, batch, target).map, expected)


def test_a_pair_is_split_at_its_first_mark() -> None:
    assert split("piq") == ("piq", None)
    assert split("piq@./checkpoints/a@b") == ("piq", "./checkpoints/a@b")
    for text in ("@cnn-micro", "piq@", "@"):
        with pytest.raises(XaibenchError, match="neither METHOD"):
            split(text)
