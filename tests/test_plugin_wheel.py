"""From wheels, in an environment of their own: the program, a third-party package, and a generated one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import xaibench
from tests.support.few_clips import link_few

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLE = REPOSITORY / "examples" / "xaibench-band-occlusion"


TUTORIAL = REPOSITORY / "docs" / "tutorial.ipynb"
FEWER = {"CLIPS, EPOCHS = 320, 40": "CLIPS, EPOCHS = 20, 2", "LIMIT = 20": "LIMIT = 2", "limit=20": "limit=2"}
NOTEBOOK = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
nbformat.write(notebook, sys.argv[2])
"""
END = "-- the end of a call --"
# What takes long is to import torch and the plugins; `xaibench` itself is started where nothing else is imported.
CALLS = f"""
import json, sys
from xaibench import cli
for sys.argv in json.loads(sys.argv[1]):
    try:
        cli.main()
    except SystemExit as stopped:
        if stopped.code:
            raise
    print({END!r})
"""


@dataclass
class House:
    """An environment with the wheels of xaibench and of the example, and an empty folder to work in."""

    environment: Path
    work: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def run(self, *command: str | Path) -> str:
        """Standard output of a command of this environment, which must succeed."""
        # Neither the repository nor a path of the developer's may help out.
        variables = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "COLUMNS"}}
        program = self.environment / "bin" / command[0]
        done = subprocess.run([program, *command[1:]], cwd=self.work, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def program(self, *commands: Sequence[str | Path]) -> list[str]:
        """Standard output of each call of the program, one after the other in one process; all must succeed."""
        words = json.dumps([["xaibench", *map(str, command)] for command in commands])
        return self.run("python", "-c", CALLS, words).split(END)[:-1]

    def install(self, *what: Path) -> None:
        self.run("python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", *what)


def build_wheel(source: Path, out: Path) -> Path:
    """The wheel of a copy of a source folder, so that no build output lands in it."""
    copy = out / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "runs"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    root = tmp_path_factory.mktemp("house")
    wheels = [build_wheel(source, tmp_path_factory.mktemp("wheel")) for source in (REPOSITORY, EXAMPLE)]
    subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)
    made = House(root / "venv", root / "work")
    made.work.mkdir()
    made.install(*wheels)
    # The dependencies come from the environment of the tests, behind the new one's own packages. It
    # is added after the wheels, which pip would else take for installed already.
    (site,) = (made.environment / "lib").glob("python*/site-packages")
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(paths) + "\n")
    return made


def test_the_program_is_the_wheels(house: House) -> None:
    places = house.run(
        "python", "-c", "import xaibench, xaibench_band_occlusion as e; print(xaibench.__file__, e.__file__)"
    )
    assert all(Path(place).is_relative_to(house.environment) for place in places.split())
    assert house.run("xaibench", "--version") == f"xaibench {xaibench.__version__}\n"


@dataclass(frozen=True)
class Said:
    """What the program printed on the way from a list of methods to a comparison."""

    methods: str
    method: str
    metric: str
    run: str
    fit: str
    trained: str


@pytest.fixture(scope="module")
def said(house: House, esc50_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Said:
    few = link_few(esc50_folder, tmp_path_factory.mktemp("data") / "few")
    metrics = ["--metric", "log_odds_drop", "--metric", "faithfulness", "--device", "cpu"]
    methods = ["--method", "band-occlusion", "--method", "energy", "--method", "random"]
    chosen = ["--method", "class-contrast", "--classifier", "cnn-micro", "--dataset", "esc10", "--data-dir", few]
    listed, method, metric, run, _, fit, trained = house.program(
        ("methods",),
        ("methods", "show", "band-occlusion"),
        ("metrics", "show", "log_odds_drop"),
        ("run", *methods, "--classifier", "cnn-micro", "--dataset", "synth", "--limit", "2", *metrics, "--out", "run"),
        ("compare", "run", "--out", "comparison.csv"),
        ("fit", *chosen, "--device", "cpu"),
        ("run", *chosen, "--method", "random", *metrics, "--limit", "2", "--no-controls", "--out", "trained"),
    )
    return Said(listed, method, metric, run, fit, trained)


def test_the_methods_list_the_plugin_among_the_built_ins(said: Said) -> None:
    lines = [line for line in said.methods.splitlines() if line[:1].strip()]
    names = [line.split()[0] for line in lines if not line.startswith("family ")]
    assert {"band-occlusion", "saliency", "focalnet", "vit-rollout", "random"} <= set(names)
    assert len(names) == len(set(names))


def test_a_plugin_is_shown_with_its_origin(said: Said) -> None:
    assert "drop of the predicted class's logit when a frequency band is silenced" in said.method
    assert "bands=27" in said.method
    assert "xaibench-band-occlusion" in said.method
    assert "log-odds of the predicted class" in said.metric


def test_a_run_ranks_the_plugin_beside_built_ins(house: House, said: Said) -> None:
    assert all(word in said.run for word in ("band-occlusion", "energy", "random", "LOD", "FF"))
    lines = (house.work / "comparison.csv").read_text().splitlines()
    assert any("band-occlusion" in line and "log_odds_drop" in line for line in lines)


def test_a_strangers_trained_explainer_is_fitted_and_scored(house: House, said: Said) -> None:
    assert "class-contrast for cnn-micro on esc10: 5,130 parameters" in said.fit
    folder = house.work / "explainers" / "esc10" / "cnn-micro" / "class-contrast"
    assert {path.name for path in folder.iterdir()} == {"explainer.json", "contrast.safetensors"}
    assert all(word in said.trained for word in ("class-contrast", "random", "LOD", "FF"))
    assert "class-contrast-soft" not in said.trained


def test_generated_packages_install_pass_their_own_tests_and_work_together(house: House, tmp_path: Path) -> None:
    """With the example's own tests, which pytest's one process collects beside theirs."""
    made = {"explainer": "my-method", "metric": "my_drop", "classifier": "my-net", "dataset": "my-clips"}
    told = house.program(*(("new", kind, name) for kind, name in made.items()))
    assert all("next: pip install" in text for text in told)
    folders = [house.work / f"xaibench-{name.replace('_', '-')}" for name in made.values()]
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, *folders], check=True)  # all in one process
    house.install(*tmp_path.glob("*.whl"))
    tests = [EXAMPLE / "tests", *(folder / "tests" for folder in folders)]
    assert "13 passed" in house.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    chosen = ["-m", "my-method", "-m", "gradcam", "-m", "random", "--metric", "my_drop", "-c", "my-net"]
    shown, printed = house.program(
        ("classifiers", "show", "my-net"),
        ("run", *chosen, "--dataset", "my-clips", "--limit", "2", "--device", "cpu"),
    )
    assert "xaibench-my-net" in shown
    assert all(word in printed for word in ("my-clips, my-net: 2 clips", "my-method", "gradcam", "My drop"))


def test_the_tutorial_runs_on_fewer_clips(house: House) -> None:
    text = TUTORIAL.read_text()
    for all_, few in FEWER.items():
        assert all_ in text
        text = text.replace(all_, few)
    (house.work / "few.ipynb").write_text(text)
    house.run("python", "-c", NOTEBOOK, "few.ipynb", "done.ipynb")
    cells = json.loads((house.work / "done.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    shown = [kind for output in outputs for kind in output.get("data", {})]
    assert shown.count("image/png") == 2, "the plot and the explanation"
    assert sum("<audio" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs) == 3
    assert any("mine" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs), "the board"


def test_the_tutorial_is_committed_without_outputs() -> None:
    cells = [cell for cell in json.loads(TUTORIAL.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
