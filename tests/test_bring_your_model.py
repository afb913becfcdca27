"""The scripts and commands of docs/bring-your-model.md run as a reader runs them, on fewer clips."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import cast

import pytest

import xaibench as xb
from tests.support.sound_models import CLASSES, LogMel, mel_cnn

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
            'gradients", "random"], limit=16)': 'gradients:steps=4", "random"], "faithfulness", limit=1)',
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
        {'random"], limit=16)': 'random"], "faithfulness", limit=1)'},
        ("scipy-loudness", "saliency"),
    ),
}


@pytest.fixture
def folder(tmp_path: Path, esc50_folder: Path) -> Path:
    """An empty folder with the data in it."""
    (tmp_path / "ESC-50-master").symlink_to(esc50_folder)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder; its output has both streams."""
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def test_every_script_has_a_case() -> None:
    assert len(SCRIPTS) == len(CASES) + 1  # and my_models.py


@pytest.mark.parametrize("case", CASES)
def test_a_script_runs(folder: Path, case: str) -> None:
    script = SCRIPTS[list(CASES).index(case)]
    shorter, words = CASES[case]
    for text, other in shorter.items():
        assert text in script, f"the page no longer says {text}"
        script = script.replace(text, other)
    (folder / "script.py").write_text(script)
    done = run(folder, sys.executable, "script.py")
    assert done.returncode == 0, done.stdout
    for said in words:
        assert said in done.stdout, done.stdout


def test_the_commands_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAIBENCH_DATA", str(tmp_path / "data"))
    (text,) = (text for kind, text in BLOCKS if kind == "bash")
    (folder / "my_models.py").write_text(SCRIPTS[-1])
    codes = {}
    for line in text.splitlines():
        words = shlex.split(line.replace("--limit 16", "--limit 1 --metric faithfulness"))
        if words[1:3] == ["classifiers", "check"]:
            words += ["--limit", "20"]
        assert words.pop(0) == "xaibench"
        codes[line] = run(folder, sys.executable, "-m", "xaibench", *words)
    assert [done.returncode for done in codes.values()] == [0, 1, 0, 0], codes
    checked, scored = list(codes.values())[1:3]
    assert "its accuracy is near chance" in checked.stdout
    assert "mine, checked on 16 clips: it is right on" in scored.stdout and "gradcam" in scored.stdout


def test_the_first_lines_of_the_readme_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (text, *_) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    for part, other in (
        (f"{DATA})", f"{DATA}, limit=1)"),
        ('gradients", "random"])', 'gradients:steps=2"], "sparseness")'),
    ):
        assert part in text
        text = text.replace(part, other)
    names: dict[str, object] = {"net": mel_cnn(), "logmel": LogMel(), "names": CLASSES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, str(README), "exec"), names)
    assert set(cast(xb.Results, names["results"]).rows["method"]) == {"saliency", "integrated-gradients"}
