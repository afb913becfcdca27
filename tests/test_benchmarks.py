"""The benchmarks run, and say what they measure; all but one in this process, and no time is taken three times."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

import xaibench as xb
from tests.support.made_up_runs import FF, Scores, noise, write_run
from xaibench import registry
from xaibench.commands import options

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARKS = REPOSITORY / "benchmarks"
Printed = Callable[..., list[str]]
ENERGY = ("faithfulness_equal_energy", None)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a benchmark, as the one beside it does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def printed(benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Lines on standard output of a benchmark that is called with these arguments."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(benchmark("engine"), "QUICK_SECONDS", 0.0)

    def call(name: str, *arguments: object) -> list[str]:
        program = getattr(benchmark(name), "app", None)  # where it has several commands
        if program is None:
            program = typer.Typer()
            program.command()(benchmark(name).main)
        try:
            done = CliRunner().invoke(program, [*map(str, arguments)], catch_exceptions=False)
        finally:
            torch.set_num_threads(threads)
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()

    return call


@pytest.fixture
def engine(printed: Printed) -> Printed:
    """The same of the engine's benchmark, on two clips."""

    def call(*arguments: str, clips: int = 2) -> list[str]:
        return printed("engine", "--clips", clips, "--classifier", "cnn-micro", "--threads", 1, *arguments)

    return call


def table(lines: list[str]) -> list[dict[str, str]]:
    """Rows of the Markdown table among the lines, by heading."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_the_engine_beside_quantus(engine: Printed) -> None:
    lines = engine("--markdown", "--metric", "deletion_auc", "--metric", "relevance_rank", "--metric", "infidelity")
    assert lines[0].startswith("2 clips of synth, cnn-micro, saliency; cpu (")
    rows = {row["metric"]: row for row in table(lines)}
    assert list(rows) == ["deletion_auc", "relevance_rank", "infidelity", "these 2, sharing", "all 3, sharing"]
    assert rows["deletion_auc"]["forwards"] == "38", "19 areas of 2 clips"
    assert float(rows["deletion_auc"]["s / bare"]) > 0
    assert float(rows["relevance_rank"]["largest difference"]) < 1e-9
    shared = rows["these 2, sharing"]
    alone = [rows[name]["Quantus s"] for name in ("deletion_auc", "relevance_rank")]
    assert abs(float(shared["Quantus s"]) - sum(map(float, alone))) < 0.02 * float(shared["Quantus s"])
    ratio = float(shared["Quantus s"]) / float(shared["s"])
    assert abs(float(shared["Quantus / ours"]) - ratio) < 0.03 * ratio + 0.01
    notes = [line for line in lines if line.startswith("- ")]
    assert notes[0].startswith("- deletion_auc: nearest: Quantus's PixelFlipping (features_in_step=11637")
    assert notes[1].startswith("- relevance_rank: the same as Quantus's RelevanceRankAccuracy")
    assert notes[2].startswith("- infidelity: Quantus's Infidelity (n_perturb_samples=1) fails: ValueError")
    assert rows["all 3, sharing"]["forwards"] == "138", "every run starts from nothing"


def test_mprt_layer_by_layer_beside_quantus(engine: Printed) -> None:
    lines = engine("--markdown", "--metric", "mprt", clips=1)
    stages, layers = table(lines)
    assert [stages["metric"], layers["metric"]] == ["mprt", "mprt, layer by layer"]
    assert stages["Quantus s"] == layers["Quantus s"], "one call of Quantus for both"
    assert int(layers["maps"]) > int(stages["maps"])
    assert stages["largest difference"] == "\N{EN DASH}"
    assert float(layers["largest difference"]) < 1e-9
    assert lines[-1].endswith(f"{layers['maps']} layers")


@pytest.fixture
def one_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the default set; nothing that is tested here depends on which and how many."""
    monkeypatch.setattr(options, "metrics", lambda *_: {"faithfulness": registry.create("metrics", "faithfulness")})


@pytest.mark.usefixtures("one_metric")
def test_throughput(printed: Printed) -> None:
    arguments = ("--classifier", "cnn-micro", "--device", "cpu", "--clips", 1, "--batch-size", "1,2")
    lines = printed("throughput", *arguments, "--precision", "bfloat16")
    assert lines[0].startswith("cnn-micro (1.2 M parameters) at 128 x 128; cpu (")
    rows = table(lines)
    score = next(row["work"] for row in rows if row["work"].startswith("saliency, "))
    inference = [(work, size) for size in "12" for work in ("forward", score)]
    assert [(row["work"], row["batch"]) for row in rows] == [*inference, ("training", "16")]
    assert {row["precision"] for row in rows} == {"bfloat16"}
    for row in rows:
        rate = int(row["clips"]) / float(row["s"])
        assert float(row["clips / s"]) == pytest.approx(rate, rel=0.02)


def test_the_audio_cache(small_esc50: Path) -> None:
    """A script as it is called, in a process of its own."""
    command = [sys.executable, BENCHMARKS / "audio_cache.py", small_esc50, "--clips", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["as they are", "44.1 kHz wav"]
    for line in lines:
        anew, kept, ratio = map(float, re.findall(r"[0-9.]+(?= ms|$)", line))
        assert ratio == pytest.approx(anew / kept, rel=0.1)


def test_the_start_of_commands(
    printed: Printed, benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    startup = benchmark("startup")
    assert ["--help", *registry.LISTED] == startup.COMMANDS
    monkeypatch.setattr(startup, "COMMANDS", ["--help", "datasets"])
    rows = table(printed("startup", "--calls", 1))
    assert [row["command"] for row in rows] == ["xaibench --help", "xaibench datasets"]
    for row in rows:
        assert float(row["first call, s"]) > 0
        assert float(row["later calls, s (median)"]) == float(row["best"]) > 0


def test_the_differences_of_the_protocols(printed: Printed, esc50_folder: Path, reference_folder: Path) -> None:
    lines = printed("legacy_differences", esc50_folder, reference_folder, "--only", "vit", "--clips", 2)
    rows = table(lines)
    original = pd.read_csv(reference_folder / "vit" / "amt.csv").iloc[:2]
    assert rows[0]["what changes"] == "legacy-speechbrain"
    for when in ("alone", "so far"):
        assert float(rows[0][f"FF, {when}"]) == pytest.approx(original["faithfulness"].mean(), rel=1e-3)
        assert float(rows[0][f"Fid-In, {when}"]) == original["input_fidelity"].mean()
        # By itself, and as the first of all changes, the first change is the same.
        assert rows[1][f"FF, {when}"] == rows[1]["FF, alone"] != rows[0]["FF, alone"]
    assert [row["what changes"].partition(":")[0] for row in rows[1:]] == ["polarity", "temperature", "mask", "input"]
    assert "10 classes: at temperature 1 a probability lies between 0.0148 and 0.4509" in lines


def test_the_engine_in_a_terminal(engine: Printed) -> None:
    text = "\n".join(engine("--metric", "relevance_mass"))
    assert "difference" in text
    assert "relevance_mass" in text


def test_counterparts_are_of_registered_metrics(benchmark: Callable[[str], ModuleType]) -> None:
    """A renamed metric would lose its comparison in silence."""
    counterparts = benchmark("_quantus").COUNTERPARTS
    assert set(counterparts) <= set(registry.names("metrics"))


def test_short_times_are_the_median_of_three(benchmark: Callable[[str], ModuleType]) -> None:
    engine = benchmark("engine")
    times = iter([7.0, 1.0, 3.0])
    assert engine.median(lambda: next(times), float) == 3.0
    times = iter([8.0, 1.0, 3.0])
    assert engine.median(lambda: next(times), float) == 8.0


@pytest.mark.usefixtures("one_metric")
def test_heard_and_fed_side_by_side(printed: Printed) -> None:
    (row,) = table(printed("heard", "--classifier", "cnn-micro", "--clips", 2, "--repeats", 1))
    assert row["classifier"] == "cnn-micro"
    ratio = float(row["standard, s"]) / float(row["spectrogram, s"])
    assert float(row["ratio"]) == pytest.approx(ratio, abs=0.05)


def test_memory_of_many_clips(
    printed: Printed, benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The run itself is stubbed: a program that holds 1 MB for each clip of its folder, half of it in a child."""
    scale, processes = benchmark("scale"), benchmark("_processes")
    hold = "import sys; held = bytearray(b'x') * (int(sys.argv[1]) * 500_000); "
    child = "import subprocess; subprocess.run([sys.executable, '-c', sys.argv[2], sys.argv[1]])"
    wait = "import time; time.sleep(0.3)"

    def run_of(folder: Path) -> list[str]:
        clips = len(list(folder.rglob("*.wav")))
        return [sys.executable, "-c", hold + child, str(clips), hold + wait]

    monkeypatch.setattr(scale, "run_of", run_of)
    monkeypatch.setattr(scale, "xaibench", lambda *_: [sys.executable, "-c", ""])
    few, more = table(printed("scale", "clips", "--count", 8, "--count", 40))
    assert (few["clips"], more["clips"], few["ratio"]) == ("8", "40", "1.00")
    assert 20 < float(more["peak, MB"]) - float(few["peak, MB"]) < 44
    assert float(more["ratio"]) > 1.2
    sounds = scale.write_sounds(tmp_path / "sounds", 8)
    assert len({sound.parent for sound in sounds}) == len(scale.CLASSES)
    slept = processes.measured([sys.executable, "-c", "import time; time.sleep(0.5)"], tmp_path, {})
    assert slept.peak > 1e6
    assert 0 < slept.busy < slept.seconds - 0.3


def test_many_scores_are_compared_and_verified(printed: Printed) -> None:
    compared, verified = table(printed("scale", "rows", "--count", 2000))
    assert (compared["command"], verified["command"]) == ("`compare`", "`verify`")
    assert (compared["scores"], compared["clips"], compared["parts"]) == ("16128", "16", "36")
    assert float(compared["peak, MB"]) > 50


def test_processes_are_compared_with_one(printed: Printed, benchmark: Callable[[str], ModuleType], monkeypatch) -> None:
    """The run is stubbed: more processes sleep less."""
    scale = benchmark("scale")

    def run(*arguments: object) -> list[str]:
        return [sys.executable, "-c", f"import time; time.sleep(1 / {arguments[arguments.index('--workers') + 1]})"]

    monkeypatch.setattr(scale, "xaibench", run)
    one, ray, two, _ = table(printed("scale", "workers", "--count", 1, "--count", 2))
    assert (one["ratio"], one["engine"], ray["engine"], two["workers"]) == ("1.00", "local", "ray", "2")
    assert float(two["ratio"]) < 0.8


def test_orders_are_written_of_runs(printed: Printed, tmp_path: Path) -> None:
    energy = ("faithfulness_equal_energy", None)
    scores = {"one": 0.5, "two": 0.25, "random": 0.0}
    signs = {"--pictures": 1, "--heard": -1, "--direct": 1, "--mean": 1, "--noise": 1}
    words: list[object] = []
    for option, sign in signs.items():
        methods: dict[str, Scores] = {
            name: {FF: noise(i) + sign * mean, energy: noise(i) + sign * mean}
            for i, (name, mean) in enumerate(scores.items())
        }
        words += [option, write_run(tmp_path / option.strip("-"), methods)]
    printed("orders", *words, "--out", tmp_path / "orders")
    page = (tmp_path / "orders.md").read_text()
    assert "40 clips (25 recordings)" in page
    assert "## Reversed, 10% of the area: 3 pairs" in page
    assert "| cnn-micro | one - random | +0." in page
    assert page.count("## cnn-micro") == 2 and "| fill=mean" not in page and "sound, fill=mean" in page
    written = {"orders.csv", "orders-changes.csv", "orders-elements.csv", "orders.md"}
    assert {path.name for path in tmp_path.glob("orders*")} == written


def test_the_sanity_table_says_what_changes_with_the_weights(printed: Printed, tmp_path: Path) -> None:
    def scores(stages: float, other: float) -> Scores:
        spread = np.linspace(-0.02, 0.02, 6)
        return {
            ("mprt", None): np.minimum(stages + spread, 1.0) if stages < 1 else np.ones(6),
            ("efficient_mprt", None): 0.2 + spread,
            ("random_logit", None): np.ones(6) if other == 1 else other + spread,
        }

    methods = {
        "saliency": scores(0.1, 0.3),
        "guided-backprop": scores(0.8, 0.9),
        "energy": scores(1, 1),
        "vit-rollout": scores(0.5, 1),
        "gradcam": scores(0.1, 0.3) | {("mprt", None): np.full(6, np.nan)},
        "uniform": {(metric, None): np.full(6, np.nan) for metric in ("mprt", "efficient_mprt", "random_logit")},
        "deeplift": {("random_logit", None): np.linspace(0.1, 0.2, 6)},
    }
    write_run(tmp_path / "run", methods, controls=("energy", "uniform"))
    printed("sanity", tmp_path / "run", "--out", tmp_path / "made" / "sanity")
    table = pd.read_csv(tmp_path / "made" / "sanity.csv").set_index("method")
    assert table["verdict"].to_dict() == {
        "energy": "ignores the weights; one map for all classes",
        "guided-backprop": "hardly changes with the weights",
        "vit-rollout": "may change with the weights; one map for all classes",
        "saliency": "changes with the weights",
        "gradcam": "changes with the weights: with random ones it is the same everywhere",
        "uniform": "is the same everywhere",
        "deeplift": "was not followed through the stages",
    }
    text = (tmp_path / "made" / "sanity.md").read_text()
    assert "## cnn-micro" in text and "| saliency" in text and "0.10 [0.0" in text and "undefined" in text


def test_stability_is_written_as_tables(printed: Printed, tmp_path: Path) -> None:
    scores: dict[str, Scores] = {
        name: {(FF[0], area): noise(seed, mean) for area in (0.05, 0.1, 0.2, 0.4)} | {ENERGY: noise(seed, mean)}
        for seed, (name, mean) in enumerate({"good": 0.8, "fair": 0.5, "random": 0.1}.items())
    }
    run = write_run(tmp_path / "run", scores)
    other = write_run(tmp_path / "other", {name: {FF: values[FF]} for name, values in scores.items()}, seed=1)
    printed("stability", "--reference", run, "--condition", f"same={other}", "--out", tmp_path / "out")
    page = (tmp_path / "out.md").read_text()
    assert "| same | 3 | 40 (25) | 1.00 [1.00, 1.00] | 1.00 |" in page
    assert "| cnn-micro | 3 | 3 | 3 |" in page and "- good > fair, random" in page
    assert list(pd.read_csv(tmp_path / "out.csv")["condition"]) == [
        *("area 5%", "area 20%", "area 40%", "equal energy", "same"),
    ]


def test_masks_of_cells_are_a_condition_of_stability(printed: Printed, tmp_path: Path) -> None:
    run, methods = tmp_path / "run", ("--method", "saliency", "--method", "random")
    lines = printed("cells", "cnn-micro", *methods, "--limit", 4, "--out", tmp_path / "cells")
    assert {"saliency", "random"} <= {line.split()[0] for line in lines if line}
    xb.evaluate("cnn-micro", "synth", ["saliency", "random"], ["faithfulness", ENERGY[0]], limit=4, out=run)
    other = f"cells={tmp_path / 'cells'}=faithfulness_of_cells"
    printed("stability", "--reference", run, "--condition", other, "--out", tmp_path / "out")
    assert "| cells | 2 | 4 (4) |" in (tmp_path / "out.md").read_text()


def test_bins_of_a_cell_go_together(benchmark: Callable[[str], ModuleType]) -> None:
    maps = torch.rand(1, 6, 4, generator=torch.Generator().manual_seed(0))
    cells = benchmark("cells").in_cells(maps)
    assert len(cells.unique()) == 4
    torch.testing.assert_close(cells[0, :3, 2:], maps[0, :3, 2:].mean().expand(3, 2))


def test_the_planted_cue_is_looked_for(printed: Printed) -> None:
    lines = printed("planted_cue", "--pairs", 4, "--method", "saliency")
    assert sum("the cue decides" in line for line in lines) == 2
    assert {line.split(" | ")[0] for line in lines if line.startswith("| ")} >= {"| saliency", "| energy", "| oracle"}
