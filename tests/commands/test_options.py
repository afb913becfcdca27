"""Which metrics and devices a user's words name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from xaibench import registry
from xaibench.classifiers.determinism import WORKSPACE_VARIABLE
from xaibench.commands import options
from xaibench.errors import DataError, RegistryError, XaibenchError
from xaibench.sound.dataset import data_option
from xaibench.sound.synth import Synth
from xaibench.storage import provenance


def test_the_default_set_is_what_declares_itself_so() -> None:
    every = {name: registry.load("metrics", name) for name in registry.names("metrics")}
    for protocol in registry.names("protocols"):
        expected = {name for name, one in every.items() if one.in_default_set and protocol in one.protocols}
        assert set(options.metrics([], [], protocol)) == set(options.metrics(["default"], [], protocol)) == expected
    expected = set(options.metrics([], []))
    assert "faithfulness" in expected


def test_all_is_everything() -> None:
    of_any = {name: registry.load("metrics", name).protocols for name in registry.names("metrics")}
    assert list(options.metrics(["all"], [])) == [name for name in of_any if "standard" in of_any[name]]
    legacy = [name for name in of_any if "legacy-speechbrain" in of_any[name]]
    for named in ([], ["default"], ["all"]):
        assert list(options.metrics(named, [], "legacy-speechbrain")) == legacy
    assert legacy


def test_a_metric_of_another_protocol_is_refused() -> None:
    with pytest.raises(XaibenchError, match="not belong to the protocol standard; use --protocol legacy-speechbrain"):
        options.metrics(["legacy_complexity"], [])
    with pytest.raises(XaibenchError, match="use --protocol standard or spectrogram"):
        options.metrics(["complexity"], [], "legacy-speechbrain")
    with pytest.raises(XaibenchError, match="unknown metric family 'complexity'; there are legacy"):
        options.metrics([], ["complexity"], "legacy-speechbrain")


def test_a_family_is_its_metrics_and_no_others() -> None:
    chosen = options.metrics([], ["localisation"])
    assert chosen
    assert {metric.family for metric in chosen.values()} == {"localisation"}
    members = [name for name in registry.names("metrics") if registry.load("metrics", name).family == "localisation"]
    assert list(chosen) == members


def test_names_and_families_add_up() -> None:
    assert set(options.metrics(["sparseness", "sparseness"], ["localisation"])) == {
        "sparseness",
        *options.metrics([], ["localisation"]),
    }


def test_typos_get_a_suggestion() -> None:
    with pytest.raises(XaibenchError, match="unknown metric family 'localization'; did you mean 'localisation'"):
        options.metrics([], ["localization"])
    with pytest.raises(XaibenchError, match=r"unknown metric family 'xyz'; there are .*faithfulness"):
        options.metrics([], ["xyz"])
    with pytest.raises(RegistryError, match="did you mean 'sparseness'"):
        options.metrics(["sparsenes"], [])


class Made(Synth):
    """Generated, although it can be made with an argument."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        assert folder is None


class Read(Synth):
    """Read from a folder, however it takes its arguments."""

    reads_folder = True

    def __init__(self, *arguments: Path) -> None:
        super().__init__()
        (self.folder,) = arguments


def test_a_dataset_says_itself_whether_it_reads_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kinds = {"made": Made, "read": Read}
    monkeypatch.setattr(registry, "load", lambda group, name: kinds[name])
    assert isinstance(options.open_dataset("made", None), Made)
    assert options.open_dataset("read", tmp_path).folder == tmp_path  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="made is generated and reads no folder; leave out --data-dir"):
        options.open_dataset("made", tmp_path)
    with pytest.raises(DataError, match="read needs --data-dir FOLDER"):
        options.open_dataset("read", None)
    assert (data_option("made"), data_option("read")) == ("", " --data-dir FOLDER")


def test_remedies_name_the_folder_only_where_one_is_read() -> None:
    assert data_option("synth") == data_option("nobody-has-this") == ""
    assert data_option("esc50") == data_option("esc10") == " --data-dir FOLDER"


def test_devices() -> None:
    assert options.open_device("cpu") == torch.device("cpu")
    assert options.open_device("auto").type in {"cpu", "cuda"}
    for name in ("", "gpu", "cuda:x", "cpu:0", "CPU", "cuda:-1", "cuda:999"):
        with pytest.raises(XaibenchError):
            options.open_device(name)


@pytest.fixture
def _restored_modes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(WORKSPACE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_restored_modes")
def test_deterministic_is_for_gpus_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H200")
    cpu = options.open_device("cpu", deterministic=True)
    gpu = options.open_device("cuda:0")
    assert not torch.are_deterministic_algorithms_enabled()
    assert provenance.device_name(gpu) == "cuda (H200)"
    plain = provenance.device_name(cpu)
    assert options.open_device("cuda:0", deterministic=True) == gpu
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ[WORKSPACE_VARIABLE] == ":4096:8"
    assert provenance.device_name(gpu) == "cuda (H200, deterministic)"
    assert provenance.device_name(cpu) == plain
