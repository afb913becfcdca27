"""The command line as a user meets it: what is printed where, exit codes, one line for what must be mended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from xaibench import audio, cli, registry, results
from xaibench.classifiers import checkpoint
from xaibench.commands import choices
from xaibench.data.synth import Synth
from xaibench.errors import XaibenchError


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """Lines on standard error that are not empty."""
        return [line for line in self.err.splitlines() if line.strip()]


Command = Callable[..., Done]


@pytest.fixture
def xaibench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run a command in an empty folder, through the program's own entry point."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["xaibench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        return Done(int(stopped.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a CNN for synth, made of shipped weights for whichever ten classes there are."""
    source = "synth" if ("synth", "cnn-micro") in checkpoint.shipped() else "esc10"
    classifier, card = checkpoint.resolve("cnn-micro", source)
    folder = tmp_path_factory.mktemp("weights") / "cnn"
    checkpoint.save(folder, classifier, replace(card, dataset="synth", classes=Synth.classes))
    return folder


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


CALL = (
    "import sys; sys.argv = ['xaibench', *sys.argv[1:]]\n"
    "from xaibench import cli\n"
    "try:\n    cli.main()\nfinally:\n    heavy = {'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules)\n"
    "    print('HEAVY', sorted(heavy), file=sys.stderr)\n"
)


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    seconds = []
    for _ in range(3):
        before, started = os.times(), time.perf_counter()
        done = python(CALL, "--help")
        after = os.times()
        # Processor time where a busy machine makes the clock meaningless.
        busy = (after.children_user - before.children_user) + (after.children_system - before.children_system)
        seconds.append(min(busy, time.perf_counter() - started))
        assert done.returncode == 0
        assert "HEAVY []" in done.stderr
    assert min(seconds) < 1.0, seconds
    for command in ("run", "compare", "leaderboard", "explain", "methods", "metrics", "classifiers", "datasets"):
        assert command in done.stdout
    for command in ("train", "data", "new"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["compare"],
        ["leaderboard"],
        ["explain"],
        ["methods"],
        ["methods", "show"],
        ["metrics"],
        ["metrics", "show"],
        ["classifiers"],
        ["classifiers", "show"],
        ["datasets"],
        ["datasets", "show"],
        ["train"],
        ["validate"],
        ["data"],
        ["data", "check"],
        ["data", "fetch"],
        ["new"],
        ["new", "explainer"],
    ],
    ids=" ".join,
)
def test_every_command_has_help(xaibench: Command, command: list[str]) -> None:
    done = xaibench(*command, "--help")
    assert done.code == 0
    assert "Usage: xaibench" in done.out
    assert "│" in done.out or "Options" in done.out
    assert done.err == ""


def test_version(xaibench: Command) -> None:
    import xaibench as package

    assert xaibench("--version").out == f"xaibench {package.__version__}\n"


def assert_refused(done: Done, *words: str) -> None:
    """Exit code 2 and one line that holds the words."""
    assert done.code == 2, done
    assert len(done.error_lines) == 1, done.err
    assert done.error_lines[0].startswith("Error: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.error_lines[0]
    assert done.out == ""


def test_what_the_user_must_mend_is_one_line(
    xaibench: Command, tmp_path: Path, small_esc50: Path, weights: Path
) -> None:
    refused: list[tuple[list[object], list[str]]] = [
        (["run", "-m", "salincy"], ["unknown method 'salincy'; did you mean 'saliency'?"]),
        (["run", "-m", "saliency", "-m", "randm"], ["unknown method 'randm'; did you mean 'random'?"]),
        (["run", "-m", "saliency", "--metric", "faithfullness"], ["did you mean 'faithfulness'?"]),
        (["run", "-m", "saliency", "-c", "cnn-mikro"], ["unknown classifier 'cnn-mikro'; did you mean 'cnn-micro'?"]),
        (["run", "-m", "saliency", "--dataset", "synht"], ["unknown dataset 'synht'; did you mean 'synth'?"]),
        (["run", "-m", "saliency", "-c", tmp_path / "nowhere"], ["nowhere holds no card.json", "xaibench train"]),
        (["run", "-m", "saliency", "--dataset", "esc10"], ["esc10 needs --data-dir FOLDER", "data fetch esc50"]),
        (["run", "-m", "saliency", "--dataset", "esc10", "--data-dir", "/no/such"], ["/no/such is not a folder"]),
        (["run", "-m", "saliency", "--data-dir", tmp_path], ["synth is generated", "leave out --data-dir"]),
        (["run", "-m", "vit-rollout", "-c", weights], ["vit-rollout cannot run here: it needs attention weights"]),
        (["run", "-m", "focalnet", "-c", weights], ["focalnet cannot run here: it needs focal modulation"]),
        (["run", "-m", "saliency", "--folds", "9"], ["synth has no clips in fold 9", "1, 2, 3, 4, 5"]),
        (["run", "-m", "saliency", "--folds", "five"], ["--folds 'five'", "write 5, 4,5 or all"]),
        (["run", "-m", "saliency", "--folds", ""], ["--folds ''"]),
        (["run", "-m", "saliency", "--device", "cuda:9"], ["no device 'cuda:9'", "use --device cpu"]),
        (["run", "-m", "saliency", "--device", "tpu"], ["unknown device 'tpu'; use auto, cpu, cuda or cuda:N"]),
        (["run", "-m", "saliency", "--device", "cpu:"], ["unknown device 'cpu:'"]),
        (["run", "-m", "saliency", "--device", "cuda:"], ["unknown device 'cuda:'"]),
        (["run", "-m", "saliency", "--batch-size", "0"], ["--batch-size '0' is neither auto nor a positive number"]),
        (["run", "-m", "saliency", "--batch-size", "many"], ["--batch-size 'many'"]),
        (
            ["run", "-m", "energy", "-c", weights, "--dataset", "esc10", "--data-dir", small_esc50],
            ["was trained on the 10 classes of synth", "choose another --classifier or --dataset"],
        ),
        (["compare"], ["results holds no results", "xaibench run"]),
        (["leaderboard"], ["results holds no results", "xaibench run"]),
        (["leaderboard", tmp_path / "nowhere"], ["nowhere holds no results"]),
        (["explain", tmp_path / "none.wav", "-m", "saliency"], ["none.wav", "cannot be read"]),
        (["explain", tmp_path, "-m", "saliency"], ["cannot be read", "Is a directory"]),
        (["explain", "x.wav", "-m", "salincy"], ["did you mean 'saliency'?"]),
        (["methods", "show", "salincy"], ["did you mean 'saliency'?"]),
        (["metrics", "show", "sparsenes"], ["did you mean 'sparseness'?"]),
        (["train", "-c", "cnn-mikro"], ["did you mean 'cnn-micro'?"]),
        (["train", "-c", "cnn-micro", "--dataset", "esc10"], ["esc10 needs --data-dir FOLDER"]),
        (["data", "check", tmp_path / "nowhere"], []),
        (["data", "fetch", "esc51"], ["esc51"]),
    ]
    for arguments, words in refused:
        done = xaibench(*arguments)
        if arguments[:2] == ["data", "check"]:
            assert done.code == 2, arguments
            assert "nowhere is not a folder" in done.out
            continue
        assert_refused(done, *words)


def test_files_that_are_not_what_they_are_called(xaibench: Command, tmp_path: Path, small_esc50: Path) -> None:
    (tmp_path / "text.wav").write_text("this is a text\n")
    done = xaibench("explain", "text.wav", "-m", "saliency")
    assert_refused(done, "text.wav: not audio that libsndfile can read", "expected wav, flac, ogg or mp3")
    (tmp_path / "empty.wav").write_bytes(b"")
    assert_refused(xaibench("explain", "empty.wav", "-m", "saliency"), "empty.wav: is an empty file")
    assert not (tmp_path / "explained").exists(), "nothing is left behind"
    listed = small_esc50 / "meta" / "esc50.csv"
    listed.write_text("")
    run = ["run", "-m", "saliency", "--dataset", "esc10", "--data-dir", small_esc50]
    assert_refused(xaibench(*run), "esc50.csv is empty; expected a header")
    listed.write_text("filename,fold,target,category,esc10,src_file,take\n")
    assert_refused(xaibench(*run), "has a header but no clips")
    listed.write_bytes(bytes(range(256)))
    assert_refused(xaibench(*run), "esc50.csv")


def test_missing_options_are_typers_own_error(xaibench: Command) -> None:
    for arguments in (["run"], ["explain", "x.wav"], ["train"], ["frobnicate"], ["run", "-m", "x", "--seed", "-1"]):
        done = xaibench(*arguments)
        assert done.code == 2
        assert "Traceback" not in done.err
        assert "Usage: xaibench" in done.err
    assert xaibench("run", "-m", "random", "--seed", 10**30).code == 2


@pytest.fixture
def a_run(xaibench: Command, weights: Path, tmp_path: Path) -> Path:
    """Two clips under a method and a control."""
    done = xaibench(
        *("run", "-m", "energy", "-m", "random", "-c", weights, "--limit", 2, "--metric", "faithfulness"),
        *("--metric", "sparseness", "--metric", "pointing_game", "--out", "made"),
    )
    assert done.code == 0, done.err
    return tmp_path / "made"


def test_run_prints_a_table_and_a_second_run_is_quick(xaibench: Command, weights: Path, tmp_path: Path) -> None:
    arguments = ("run", "-m", "energy", "-m", "random", "-c", weights, "--limit", 2, "--metric", "faithfulness")
    first = xaibench(*arguments)
    assert first.code == 0
    assert "energy" in first.out
    assert "random" in first.out
    assert "FF ↑" in first.out
    assert "per-clip scores: results/runs/synth-fold5-first2" in first.out
    # Progress and notes are no results.
    assert "scoring" not in first.out
    assert "\x1b" not in first.out
    assert "\r" not in first.out
    made = tmp_path / "results" / "runs" / "synth-fold5-first2"
    rows = results.read_rows(made)
    assert rows["clip"].nunique() == 2
    label = f"cnn-micro@{checkpoint.file_hash(weights / checkpoint.WEIGHTS)[:8]}"
    assert set(rows["classifier"]) == {label}, "weights that are not the shipped ones are not called so"
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    started = time.perf_counter()
    second = xaibench(*arguments)
    assert time.perf_counter() - started < 10
    assert second.out == first.out
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == before
    # A method that cannot run beside one that can is a note, not an error.
    third = xaibench("run", "-m", "all", "-c", weights, "--limit", 1, "--metric", "sparseness", "--folds", "4,5")
    assert third.code == 0
    for name in ("focalnet", "vit-attention", "vit-rollout"):
        assert f"left out: {name} on {label} (needs " in third.err
        assert name not in third.out
    assert "gradcam" in third.out
    assert (tmp_path / "results" / "runs" / "synth-fold4-5-first1").is_dir()


def test_scoring_clips_that_were_trained_on_is_said(xaibench: Command, weights: Path) -> None:
    run = ("run", "-m", "energy", "-c", weights, "--limit", 1, "--metric", "sparseness")
    done = xaibench(*run, "--folds", "1,5")
    assert done.code == 0
    assert "was trained on fold 1: scores there are of clips it has seen" in done.err
    assert "was trained on" not in xaibench(*run, "--folds", "5").err


def test_other_settings_in_the_same_folder_are_refused(xaibench: Command, a_run: Path, weights: Path) -> None:
    run = ("run", "-m", "energy", "-c", weights, "--limit", 2, "--metric", "sparseness", "--out", a_run)
    assert_refused(xaibench(*run, "--seed", 3), "made holds a run with seed 0, this one has 3; choose another --out")
    assert_refused(xaibench(*run, "--folds", "4"), "choose another --out")
    assert xaibench(*run).code == 0
    (a_run.parent / "file").write_text("")
    assert_refused(xaibench(*run[:-1], "file"), "file cannot be written")


def test_a_metric_that_needs_evidence_where_there_is_none(
    xaibench: Command, tmp_path: Path, esc50_folder: Path
) -> None:
    arguments = ("--dataset", "esc10", "--data-dir", esc50_folder, "--limit", 1, "-c", "cnn-micro", "--device", "cpu")
    done = xaibench("run", "-m", "energy", "--metric", "pointing_game", *arguments)
    assert_refused(done, "pointing_game: not on esc10, whose evidence is not known; choose another --metric")
    done = xaibench("run", "-m", "oracle", *arguments)
    assert_refused(done, "oracle cannot run here: it needs clips whose evidence is known, such as --dataset synth")


def test_compare_and_leaderboard(xaibench: Command, a_run: Path, tmp_path: Path) -> None:
    done = xaibench("compare", a_run)
    assert done.code == 0
    assert done.out.startswith("results/comparison.csv: ")
    comparison = pd.read_csv(tmp_path / "results" / "comparison.csv")
    assert set(comparison["method"]) == {"energy", "random"}
    assert set(comparison["metric"]) == {"faithfulness", "sparseness", "pointing_game"}
    # The mean of the table is the mean of the clips.
    rows = results.read_rows(a_run)
    cell = (rows["method"] == "energy") & (rows["metric"] == "sparseness")
    line = (comparison["method"] == "energy") & (comparison["metric"] == "sparseness")
    assert comparison.loc[line, "mean"].item() == pytest.approx(rows.loc[cell, "value"].mean(), abs=1e-12)
    done = xaibench("leaderboard", a_run, "--out", "board", "--no-plots")
    assert done.code == 0
    assert "energy" in done.out
    for suffix in ("csv", "md", "tex"):
        assert f"wrote board/leaderboard-synth.{suffix}" in done.out
        assert (tmp_path / "board" / f"leaderboard-synth.{suffix}").stat().st_size > 100


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("manifest.json", "{}", "manifest.json is not a run manifest"),
        ("*/energy/part-000.parquet", "PAR1 no", "part-000.parquet is damaged"),
        ("*/energy/part-000.json", "{", "part-000.json is damaged"),
        ("*/energy/part-000.json", None, "part-000.json is damaged"),
    ],
)
def test_a_corrupt_results_folder(xaibench: Command, a_run: Path, file: str, content: str | None, words: str) -> None:
    (path,) = a_run.glob(file)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    for command in ("compare", "leaderboard"):
        assert_refused(xaibench(command, a_run), words)


def test_explain_writes_a_figure_and_sound_that_adds_up(xaibench: Command, tmp_path: Path, esc50_folder: Path) -> None:
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")  # a dog
    done = xaibench("explain", clip, "-m", "gradcam", "-m", "saliency", "-c", "cnn-micro", "--area", "0.2")
    assert done.code == 0, done.err
    folder = tmp_path / "explained" / clip.stem
    assert "says dog (p = " in done.out
    assert "$" not in done.out
    names = {"explanation.png", "explanation.pdf", "original.wav"}
    names |= {f"{method}-{part}.wav" for method in ("gradcam", "saliency") for part in ("kept", "removed")}
    assert {path.name for path in folder.iterdir()} == names
    for name in names:
        assert f"wrote {Path('explained') / clip.stem / name}" in done.out
    assert (folder / "explanation.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (folder / "explanation.png").stat().st_size > 20_000
    assert (folder / "explanation.pdf").read_bytes()[:5] == b"%PDF-"
    original, rate = soundfile.read(folder / "original.wav", dtype="int16")
    assert (len(original), rate) == (80_000, 16_000)
    for method in ("gradcam", "saliency"):
        kept, removed = (soundfile.read(folder / f"{method}-{p}.wav", dtype="int16")[0] for p in ("kept", "removed"))
        assert np.abs(kept).max() > 0
        assert np.abs(removed).max() > 0
        # Three roundings to 16 bits.
        assert np.abs(kept.astype(int) + removed.astype(int) - original.astype(int)).max() <= 2
    # This bark is so loud that a part of it alone overshoots; the gain is the same for all.
    sound = audio.read_clip(clip)
    gain = np.abs(original).max() / 32767 / np.abs(sound).max()
    assert 0.5 < gain <= 1
    np.testing.assert_allclose(original / 32767, gain * sound, atol=2 / 32767)


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
    assert_refused(done, "no classifier fits: oracle needs clips whose evidence is known")
    done = xaibench("explain", clip, "-m", "vit-rollout", "-c", "cnn-micro")
    assert_refused(done, "vit-rollout needs attention weights, which cnn-micro (cnn) has not")
    done = xaibench("explain", clip, "-m", "saliency", "--dataset", "esc50")
    assert_refused(done, "no weights are shipped for esc50; give --classifier a checkpoint folder")


PLUGIN = """
import torch
from xaibench.explainer import Explainer
from xaibench.explanation import Explanation

class Odd(Explainer):
    title = "Odd"
    reference = "nobody"
    description = "nothing"
    polarity = "positive"

class Fails(Odd):
    def explain(self, classifier, batch, target):
        raise ValueError("first line\\nsecond line")

class Hollow(Odd):
    def explain(self, classifier, batch, target):
        return Explanation(batch.x * float("nan"), batch.grid)

class WithGradient(Odd):
    def explain(self, classifier, batch, target):
        return Explanation(batch.x.clone().requires_grad_() * 2, batch.grid)

class Abstract(Odd):
    pass
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stranger's package with one good and four bad explainers."""
    (tmp_path / "odd_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    names = {"fails": "Fails", "hollow": "Hollow", "with-gradient": "WithGradient", "abstract": "Abstract"}
    points = [EntryPoint(name, f"odd_plugin:{kind}", "xaibench.methods") for name, kind in names.items()]
    points.append(EntryPoint("absent", "package_nobody_has:Method", "xaibench.methods"))
    real = registry.entry_points
    with monkeypatch.context() as patch:
        patch.setattr(
            registry, "entry_points", lambda group: [*real(group=group), *(p for p in points if p.group == group)]
        )
        registry._entries.cache_clear()
        registry.load.cache_clear()
        yield
    registry._entries.cache_clear()
    registry.load.cache_clear()
    sys.modules.pop("odd_plugin", None)


@pytest.mark.usefixtures("plugin")
def test_bad_plugins_are_named_and_the_rest_is_saved(
    xaibench: Command, weights: Path, tmp_path: Path, esc50_folder: Path
) -> None:
    run = ("run", "-c", weights, "--limit", 1, "--metric", "sparseness", "--metric", "faithfulness", "--out", "made")
    done = xaibench(*run, "-m", "fails", "-m", "energy", "-m", "hollow", "-m", "with-gradient")
    assert done.code == 2
    assert "failed: fails on cnn-micro@" in done.err
    assert ": ValueError: first line\n" in done.err
    assert "second line" not in done.err
    assert "Error: 1 of 4 pairs failed (see above); everything else is saved" in done.err
    assert "energy" in done.out
    assert set(results.read_rows(tmp_path / "made")["method"]) == {"energy", "hollow", "with-gradient"}
    assert_refused(xaibench(*run, "-m", "abstract"), "method 'abstract' of odd_plugin:Abstract cannot be made")
    assert_refused(xaibench(*run, "-m", "absent"), "method 'absent' of package_nobody_has:Method does not load")
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    explain = ("explain", clip, "-c", "cnn-micro")
    assert_refused(xaibench(*explain, "-m", "fails"), "fails failed: ValueError: first line second line")
    assert_refused(xaibench(*explain, "-m", "hollow"), "hollow explains nothing here: the map holds NaN")
    assert xaibench(*explain, "-m", "with-gradient").code == 0
    listing = xaibench("methods")
    assert listing.code == 0
    assert "does not load: ModuleNotFoundError" in listing.out
    assert "vit-rollout" in listing.out


@pytest.mark.parametrize("group", ["methods", "metrics", "classifiers", "datasets"])
def test_listings(xaibench: Command, group: registry.Group) -> None:
    done = xaibench(group)
    assert done.code == 0
    lines = done.out.splitlines()
    for name in registry.names(group):
        (line,) = [line for line in lines if line.split() and line.split()[0] == name]
        assert len(line.split()) > 3, "a name with no word about it"
    for name in registry.names(group)[:3]:
        shown = xaibench(group, "show", name)
        assert shown.code == 0
        assert shown.out.split()[:2] == ["name", name]
        assert shown.out.split()[-2:] == ["from", "xaibench"]


def test_show_tells_references_and_needs(xaibench: Command) -> None:
    shown = xaibench("methods", "show", "vit-rollout").out
    assert "2005.00928" in shown
    assert "attentions" in shown
    shown = xaibench("metrics", "show", "average_drop").out
    assert "lower" in shown
    assert "1710.11063" in shown
    dataset, name = checkpoint.shipped()[0]
    _, card = checkpoint.resolve(name, dataset)
    shown = " ".join(xaibench("classifiers", "show", name).out.split())
    assert f"{card.test_accuracy:.3f} on fold 5" in shown
    assert card.data_licence in shown


def test_train_writes_a_checkpoint_that_run_takes(
    xaibench: Command, small_esc50: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = xaibench(
        *("train", "-c", "cnn-micro", "--dataset", "esc10", "--data-dir", small_esc50, "--epochs", 1),
        *("--device", "cpu", "--out", "mine"),
    )
    assert done.code == 0, done.err
    assert "cnn-micro on esc10: accuracy" in done.out
    assert "weights and card: mine" in done.out
    card = checkpoint.read_card(tmp_path / "mine")
    assert card.command.startswith("xaibench train -c cnn-micro --dataset esc10 --data-dir ")
    assert card.epochs == 1
    done = xaibench(
        *("run", "-m", "energy", "-c", "mine", "--dataset", "esc10", "--data-dir", small_esc50),
        *("--metric", "sparseness", "--out", "made", "--batch-size", 3),
    )
    assert done.code == 0, done.err
    info = json.loads(next((tmp_path / "made").rglob("part-000.json")).read_text())
    assert info["batch_size"] == 3


def test_data_check(xaibench: Command, small_esc50: Path) -> None:
    done = xaibench("data", "check", small_esc50)
    text = done.out
    assert "10 clips" in text
    (small_esc50 / "audio" / "1-1000-A-0.wav").unlink()
    done = xaibench("data", "check", small_esc50)
    assert done.code == 2
    assert "1-1000-A-0.wav is listed in meta/esc50.csv and missing" in done.out


def test_an_interrupted_command_says_so(xaibench: Command, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xaibench import evaluate

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate", interrupt)
    done = xaibench("run", "-m", "energy", "-c", weights, "--limit", 1)
    assert done.code == 130
    assert "Interrupted; finished parts are kept, the same command goes on from there." in done.err
    assert "Traceback" not in done.err


def test_a_full_disk_is_one_line(xaibench: Command, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(results, "write_atomically", full)
    done = xaibench("run", "-m", "energy", "-c", weights, "--limit", 1)
    assert_refused(done, "No space left on device")


def test_devices() -> None:
    assert choices.open_device("cpu") == torch.device("cpu")
    assert choices.open_device("auto").type in {"cpu", "cuda"}
    for name in ("", "gpu", "cuda:x", "cpu:0", "CPU", "cuda:-1", "cuda:999"):
        with pytest.raises(XaibenchError):
            choices.open_device(name)
