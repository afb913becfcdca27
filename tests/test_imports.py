"""Imports between the folders run one way; the check sees every kind of line that would break that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.import_graph import complaints, graph, imported, module_name, read

# A small house in order: a file of each kind, with what it may import.
HOUSE = {
    "xaibench/__init__.py": "from xaibench.testing import check_explainer",
    "xaibench/errors.py": "class XaibenchError(Exception): ...",
    "xaibench/registry.py": "from xaibench.errors import XaibenchError",
    "xaibench/sound/audio.py": "import numpy\nfrom xaibench.errors import XaibenchError",
    "xaibench/sound/dataset.py": "from xaibench.sound import audio",
    "xaibench/explaining/explainer.py": "from xaibench.sound.dataset import Clip",
    "xaibench/scoring/metric.py": "from xaibench.explaining.explainer import Explainer",
    "xaibench/commands/options.py": "from xaibench import registry",
    "xaibench/cli.py": "from xaibench.commands import options",
    "xaibench/testing/__init__.py": "from xaibench.testing.explainers import check_explainer",
    "xaibench/testing/explainers.py": "from xaibench.explaining.explainer import Explainer",
    "xaibench/speechbrain/files.py": "from xaibench.errors import XaibenchError",
    "methods/cam.py": "from xaibench.explaining.explainer import Explainer\nfrom ._captum import quiet",
    "methods/_captum.py": "import torch",
    "metrics/regions.py": "from xaibench.scoring.metric import Metric",
}


def complaints_of(house: dict[str, str]) -> list[str]:
    return complaints({module_name(Path(path)): set(imported(Path(path), text)) for path, text in house.items()})


def test_the_folders_import_one_way() -> None:
    assert complaints(read()) == []


def test_the_small_house_is_in_order() -> None:
    assert complaints_of(HOUSE) == []


@pytest.mark.parametrize(
    ("path", "line", "expected"),
    [
        (
            "xaibench/sound/audio.py",
            "from xaibench.scoring.metric import Metric",
            "scoring does not stand before sound",
        ),
        ("xaibench/sound/audio.py", "import xaibench.scoring.metric as m", "scoring does not stand before sound"),
        ("xaibench/sound/audio.py", "from ..scoring.metric import Metric", "scoring does not stand before sound"),
        (
            "xaibench/sound/audio.py",
            "if TYPE_CHECKING:\n    from xaibench.scoring.metric import Metric",
            "scoring does not stand before sound",
        ),
        (
            "xaibench/sound/audio.py",
            "def late():\n    from xaibench.explaining import explainer",
            "explaining does not stand before sound",
        ),
        (
            "xaibench/sound/audio.py",
            "importlib.import_module('xaibench.cli')",
            "cli does not stand before sound",
        ),
        ("xaibench/errors.py", "from xaibench import registry", "registry does not stand before errors"),
        ("xaibench/commands/options.py", "from xaibench import cli", "cli does not stand before commands"),
        ("xaibench/sound/audio.py", "import xaibench", "the public names are for users"),
        ("xaibench/sound/audio.py", "from xaibench import Explainer", "the public names are for users"),
        ("xaibench/scoring/metric.py", "from xaibench.methods.cam import GradCam", "methods is a leaf"),
        ("xaibench/commands/options.py", "from xaibench.speechbrain import files", "speechbrain is a leaf"),
        ("xaibench/scoring/metric.py", "from xaibench.testing import check_metric", "testing is a leaf"),
        ("methods/cam.py", "from xaibench.metrics.regions import Irof", "metrics is a leaf"),
        ("methods/cam.py", "from ..metrics.regions import Irof", "metrics is a leaf"),
        ("metrics/regions.py", "from xaibench.methods import cam", "methods is a leaf"),
        ("metrics/regions.py", "from xaibench.speechbrain.files import read", "speechbrain is a leaf"),
        ("methods/cam.py", "from xaibench.commands import options", "commands does not stand before methods"),
        ("xaibench/newcomer/thing.py", "import torch", "newcomer has no place in the order"),
        ("xaibench/sound/audio.py", "from xaibench.sound.dataset import Clip", "circle: xaibench.sound."),
        (
            "xaibench/sound/audio.py",
            "if TYPE_CHECKING:\n    from xaibench.sound.dataset import Clip",
            "circle: xaibench.sound.",
        ),
        ("methods/_captum.py", "from .cam import GradCam", "circle: xaibench.methods."),
    ],
)
def test_a_line_that_breaks_the_order_is_refused(path: str, line: str, expected: str) -> None:
    found = complaints_of(HOUSE | {path: HOUSE.get(path, "") + "\n" + line})
    assert any(expected in complaint for complaint in found), found


def test_the_graph_names_every_folder_once() -> None:
    rooms = graph(
        {"xaibench.sound.audio": {"xaibench.errors.X", "xaibench.sound.batch.Batch"}, "xaibench.errors": set()}
    )
    assert rooms == {"sound": {"errors"}, "errors": set()}
