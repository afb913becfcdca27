"""The command line as a user meets it: what is printed where, exit codes, one line for what must be mended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.support.command_line import Command, assert_refused
from xaibench import cli
from xaibench.results import runs, store


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


CALL = (
    "import sys; sys.argv = ['xaibench', *sys.argv[1:]]\n"
    "from xaibench import cli\n"
    "try:\n    cli.main()\nfinally:\n"
    "    heavy = {'torch', 'transformers', 'numpy', 'pandas', 'matplotlib', 'pydantic', 'importlib.metadata'}\n"
    "    commands = {name for name in sys.modules if name.startswith('xaibench.commands.')}\n"
    "    print('HEAVY', *sorted(heavy & set(sys.modules) | commands), file=sys.stderr)\n"
)


def test_help_loads_nothing_heavy_and_no_command() -> None:
    done = python(CALL, "--help")
    assert done.returncode == 0
    assert done.stderr == "HEAVY\n"
    for command in cli.COMMANDS:
        assert command in done.stdout


def test_the_lines_of_help_are_those_of_the_commands() -> None:
    """They are written beside the names, so that help imports no command."""
    group = typer.main.get_group(cli.app)
    context = typer.Context(group)
    for name, (_, line) in cli.COMMANDS.items():
        command = group.get_command(context, name)
        assert command.help.partition("\n\n")[0].replace("\n", " ") == line
        assert command.name == name


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


def test_a_file_in_place_of_a_name_leads_to_a_model_of_ones_own(xaibench: Command, tmp_path: Path) -> None:
    (tmp_path / "my.pt").write_bytes(b"weights")
    (tmp_path / "net.onnx").write_bytes(b"graph")
    for file, weights in (
        ("my.pt", " --weights my.pt"),
        ("gone.safetensors", " --weights gone.safetensors"),
        ("net.onnx", ""),
    ):
        done = xaibench("run", "-m", "saliency", "-c", file)
        assert done.code == 2 and done.out == ""
        error, remedy = done.error_lines
        assert error == f"Error: {file} is a file, which does not say what network it is of, and what it hears"
        assert f"'xaibench classifiers add NAME --from my_models:make{weights}'" in remedy
        assert "docs/bring-your-model.md" in remedy and "xaibench.wrap" in remedy


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
        (["run", "-m", "saliency", "-c", "esc10/cnn-mikro"], ["no weights of cnn-mikro are shipped for esc10"]),
        (["train", "-c", "cnn-micro", "--init", "cnn-mikro"], ["did you mean 'cnn-micro'?"]),
        (["train", "-c", "cnn-micro", "--teacher", "./nowhere"], ["nowhere holds no card.json"]),
        (["explain", "x.wav", "-m", "saliency@cnn-mikro"], ["did you mean 'cnn-micro'?"]),
        (["fit", "-m", "piq", "-c", "./nowhere"], ["nowhere holds no card.json"]),
        (
            ["weights", "add", "piq-speechbrain", "-c", "cnn-micro", "--from", "."],
            ["give esc10/cnn-micro, esc50/cn"],
        ),
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
        (["run", "-m", "energy", "-c", weights, "--class-map", tmp_path / "none.csv"], ["none.csv cannot be read"]),
        (["compare"], ["results holds no results", "xaibench run"]),
        (["leaderboard"], ["results holds no results", "xaibench run"]),
        (["leaderboard", tmp_path / "nowhere"], ["nowhere holds no results"]),
        (["explain", tmp_path / "none.wav", "-m", "saliency"], ["none.wav", "cannot be read"]),
        (["explain", tmp_path, "-m", "saliency"], ["cannot be read (a folder, pipe or device, not a file)"]),
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


def test_an_interrupted_command_says_so(xaibench: Command, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xaibench.benchmark import run

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "evaluate", interrupt)
    done = xaibench("run", "-m", "energy", "-c", weights, "--limit", 1)
    assert done.code == 130
    assert "Interrupted. Finished parts are kept; the same command continues from there." in done.err
    assert "Traceback" not in done.err


def test_what_nobody_expected_is_one_line_and_a_traceback_on_demand(
    xaibench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("no such thing\nat all")

    monkeypatch.setattr(runs, "find_runs", broken)
    done = xaibench("verify", "somewhere")
    assert done.code == 1
    assert done.error_lines == ["Error: unexpected KeyError: 'no such thing\\nat all'; --debug shows the traceback"]
    for command in (["--debug", "verify", "somewhere"], ["verify", "somewhere", "--debug"]):
        done = xaibench(*command)
        assert (done.code, done.error_lines[0]) == (1, "Traceback (most recent call last):")


def test_a_full_disk_is_one_line(xaibench: Command, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_atomically", full)
    done = xaibench("run", "-m", "energy", "-c", weights, "--limit", 1)
    assert_refused(done, "No space left on device")


def test_python_runs_the_package() -> None:
    done = subprocess.run([sys.executable, "-m", "xaibench", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("xaibench ")
    imported = python("import xaibench.__main__")
    assert (imported.returncode, imported.stdout) == (0, ""), "importing it runs nothing"
