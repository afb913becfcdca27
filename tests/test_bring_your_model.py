"""The scripts and commands of docs/bring-your-model.md run as a reader runs them, on fewer clips."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch

import xaibench as xb
from tests.support.few_clips import link_few
from tests.support.sound_models import CLASSES, LogMel, mel_cnn
from xaibench import cli

README = Path(__file__).parents[1] / "README.md"
PAGE = Path(__file__).parents[1] / "docs" / "bring-your-model.md"
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
SCRIPTS = [text for kind, text in BLOCKS if kind == "python"]
DATA = 'xb.dataset("esc10", "ESC-50-master"'
FEW = {f"{DATA})": f"{DATA}, limit=8)"}
TRANSFORMERS = FEW | {"limit=4)": "limit=1)", "masks=100": "masks=20", "gradients\"": "gradients:steps=4\"",
                      '["faithfulness", "insertion_auc"]': '"faithfulness"'}  # fmt: skip
# Of each script: what makes it short here, and what it must print or warn of.
CASES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "log-mel": (
        {
            "EPOCHS = 40": "EPOCHS = 1",
            f"{DATA})": f"{DATA}, limit=2)",
            'gradients"], limit=16)': 'gradients:steps=4"], "faithfulness", limit=1)',
        },
        ("same class as the bare model     on 100% of the clips", "log-mel-cnn", "gradcam", "integrated-gradients"),
    ),
    "ast": (TRANSFORMERS, ("small-ast, checked on 8 clips: it is right on", "vit-rollout", "occlusion")),
    "wav2vec2": (
        TRANSFORMERS,
        ("its answers hardly change at -20 dB", "vit-rollout", "rise"),
    ),
    "black box": (
        {"limit=8)": "limit=1)", "limit=40)": "limit=10)", "masks=200": "masks=20"},
        (
            "left out: saliency on bands (needs gradients, which bands (a black box) does not give)",
            "saliency cannot run here: it needs gradients, which bands (a black box) does not give",
            "occlusion",
        ),
    ),
    "maps made elsewhere": (
        {'saliency"], limit=16)': 'saliency"], "faithfulness", limit=1)'},
        ("scipy-loudness", "saliency"),
    ),
}


IN_A_PROCESS = "maps made elsewhere"  # the others run in this one, which has imported everything already
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path, esc50_folder: Path) -> Path:
    """An empty folder with a part of the data in it."""
    link_few(esc50_folder, tmp_path / "ESC-50-master", per_class=2)
    return tmp_path


def process(folder: Path, *command: str) -> tuple[int, str]:
    """Run a command in the folder: its exit code, and both streams."""
    variables = os.environ | {"COLUMNS": "200"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=folder, env=variables, text=True, check=False, **pipes)
    return done.returncode, done.stdout


@pytest.fixture
def said(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Run a script or the program in the folder, in this process: its exit code, both streams and what it warned of."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    threads = torch.get_num_threads()

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", list(words))
        capsys.readouterr()
        code = 0
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("default")
            try:
                if words[0] == "xaibench":
                    cli.main()
                else:
                    runpy.run_path(str(folder / words[0]), run_name="__main__")
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return code, "\n".join([captured.out, captured.err, *(str(one.message) for one in warned)])

    yield call
    torch.set_num_threads(threads)


def test_every_script_has_a_case() -> None:
    assert len(SCRIPTS) == len(CASES) + 1  # and my_models.py


@pytest.mark.parametrize("case", CASES)
def test_a_script_runs(folder: Path, said: Said, case: str) -> None:
    script = SCRIPTS[list(CASES).index(case)]
    shorter, words = CASES[case]
    for text, other in shorter.items():
        assert text in script, f"the page no longer says {text}"
        script = script.replace(text, other)
    (folder / "script.py").write_text(script)
    code, text = process(folder, sys.executable, "script.py") if case == IN_A_PROCESS else said("script.py")
    assert code == 0, text
    for word in words:
        assert word in text, text


def test_the_commands_run(folder: Path, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAIBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (text,) = (text for kind, text in BLOCKS if kind == "bash")
    (folder / "my_models.py").write_text(SCRIPTS[-1])
    found = []
    for line in text.splitlines():
        words = shlex.split(line.replace("--limit 16", "--limit 1 --metric faithfulness"))
        if words[1:3] == ["classifiers", "check"]:
            words += ["--limit", "20"]
        # One in a process of its own, where the classifier is known by nothing but its name.
        found.append(process(folder, sys.executable, "-m", *words) if words[1] == "run" else said(*words))
    sys.modules.pop("my_models", None)
    codes, texts = zip(*found, strict=True)
    assert codes == (0, 1, 0, 0), texts
    assert "its accuracy is near chance" in texts[1]
    assert "mine, checked on 16 clips: it is right on" in texts[2] and "gradcam" in texts[2]


def test_the_first_lines_of_the_readme_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "data").mkdir()  # where `data fetch` puts the clips
    (folder / "ESC-50-master").rename(folder / "data" / "ESC-50-master")
    (text, *_) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    for part, other in (
        ('data/ESC-50-master")', 'data/ESC-50-master", limit=1)'),
        ('gradients"])', 'gradients:steps=2"], "sparseness", controls=False)'),
    ):
        assert part in text
        text = text.replace(part, other)
    names: dict[str, object] = {"net": mel_cnn(), "logmel": LogMel(), "names": CLASSES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, str(README), "exec"), names)
    assert set(cast(xb.Results, names["results"]).rows["method"]) == {"saliency", "integrated-gradients"}
