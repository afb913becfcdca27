"""Every command of the README works: run as written on a part of ESC-50, or known and checked otherwise."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.few_clips import link_few
from tests.support.few_passes import let_all_ask_rarely
from xaibench import cli, registry
from xaibench.classifiers import references
from xaibench.storage import hub

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
# How the README calls a folder in ESC-50's layout.
FETCHED = "data/ESC-50-master"  # where `data fetch` puts the clips


def commands(text: str) -> Iterator[str]:
    """Commands of all ```bash blocks, one a line; comments are left out, continued lines joined."""
    for block in re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield line.strip()


def value_of(words: list[str], *options: str, default: str = "") -> str:
    """Value of an option of a command, the last if it is repeated."""
    found = default
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if word in options:
            found = words[i + 1]
        elif equals and name in options:
            found = value
    return found


class Reader:
    """Somebody who types the README's commands one after another, in a folder of their own."""

    def __init__(self, folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.data, self.monkeypatch = folder, data, monkeypatch
        self.new_methods: set[str] = set()
        self.runs = 0

    def follow(self, command: str) -> str | None:
        """What is wrong with a command, or None."""
        words = shlex.split(command, comments=True)
        match words:
            case ["make", *targets]:
                return self._make([word for word in targets if "=" not in word])
            case ["git", "clone", address, *_]:
                return None if address.startswith("https://") else f"{address} is no address"
            case ["cd", folder]:
                # The clone's own folder, or one of its folders.
                known = folder in {"xaibench", ".."} or (REPOSITORY / folder).is_dir()
                return None if known else f"there is no folder {folder}"
            case ["python" | "python3", "-m", "venv", _]:
                return None
            case ["." | "source", script]:
                return None if script.endswith("/bin/activate") else f"{script} is not known"
            case ["pip", "install", *rest]:
                return self._pip(rest)
            case ["pytest", *paths]:
                return self._exist([path for path in paths if not path.startswith("-")])
            case ["xaibench", *rest]:
                return self._xaibench(rest)
        return "the test does not know this command: teach it, or take it out of the README"

    def _make(self, targets: list[str]) -> str | None:
        defined = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
        missing = [target for target in targets if target not in defined]
        return f"the Makefile has no {', '.join(missing)}" if missing else None

    def _pip(self, words: list[str]) -> str | None:
        return self._exist([word.partition("[")[0] for word in words if not word.startswith("-")])

    def _exist(self, paths: list[str]) -> str | None:
        """Paths in the repository, or that an earlier command has made."""
        missing = [path for path in paths if not ((REPOSITORY / path).exists() or (self.folder / path).exists())]
        return f"{', '.join(missing)} does not exist" if missing or not paths else None

    def _xaibench(self, words: list[str]) -> str | None:
        words = [self._on_real_data(word) for word in words]
        if words[:2] == ["data", "fetch"]:
            return self._fetch(words)
        if words[:2] == ["new", "explainer"]:
            self.new_methods.add(words[2])
        if words[0] == "run":
            self.runs += 1
            methods = {words[i + 1] for i, word in enumerate(words) if word in {"-m", "--method"}}
            # Installed by a pip line, which this test only checks; test_plugin runs such a package for real.
            if methods & self._plugins_not_installed():
                return None
            if self.runs > 1:
                words.append("--no-controls")  # one run that scores them is enough
            if "--limit" not in words:
                words += ["--limit", "1"]
                if not value_of(words, "--out"):
                    # Where the command as written would put it: what follows reads it from there.
                    folds = value_of(words, "--folds", default="5").replace(",", "-")
                    seed = value_of(words, "--seed")
                    name = f"{value_of(words, '--dataset', default='synth')}-fold{folds}" + (
                        f"-seed{seed}" * bool(seed)
                    )
                    words += ["--out", f"results/runs/{name}"]
            if "all" in methods and not value_of(words, "-c", "--classifier"):
                words += ["--classifier", "cnn-micro"]  # every other one is asked by a command or a test of its own
            if self.runs > 1 and not value_of(words, "--metric", "--family"):
                words += ["--metric", "faithfulness"]  # all others were scored by the first
        if words[0] == "validate":
            words += ["--limit", "2", "--metric", "faithfulness", "--metric", "insertion_auc"]
        if words[0] == "train":
            words += ["--epochs", "1"]
        if words[0] == "fit":
            words += ["--set", "epochs=1", "--set", "decoder_width=4"]
        if words[:2] == ["classifiers", "add"]:
            return self._without_hub(words)
        if words[0] == "explain" and "/" not in words[1] and not Path(words[1]).exists():
            # "dog.wav" stands for a sound of the reader's own.
            sound = next((self.data / "audio").glob("5-203128-A-0.*"))
            (self.folder / words[1]).write_bytes(sound.read_bytes())
        code = self._call(words)
        return None if code == 0 else f"exit code {code}"

    def _on_real_data(self, word: str) -> str:
        """Name a clip as it is called in the folder at hand, which may hold another format than the official wav."""
        path = self.folder / word
        if word.startswith(f"{FETCHED}/") and path.suffix == ".wav" and not path.exists():
            return str(next(path.parent.glob(f"{path.stem}.*"), word))
        return word

    def _plugins_not_installed(self) -> set[str]:
        named = set(self.new_methods)
        for project in (REPOSITORY / "examples").glob("*/pyproject.toml"):
            block = project.read_text().partition('"xaibench.methods"]')[2].partition("\n[")[0]
            named |= set(re.findall(r"^([\w-]+) *=", block, flags=re.MULTILINE))
        return named - set(registry.names("methods"))

    def _fetch(self, words: list[str]) -> str | None:
        """Without network: exit code 2 and what to do by hand."""

        def no_network(*arguments: object, **options: object) -> None:
            raise httpx2.ConnectError("Name or service not known")

        with self.monkeypatch.context() as patch:
            patch.setattr(httpx2.HTTPTransport, "handle_request", no_network)
            code = self._call(words)
        if code != 2:
            return f"without network the exit code is {code}, not 2"
        (self.folder / FETCHED).parent.mkdir(exist_ok=True)
        (self.folder / FETCHED).symlink_to(self.data)  # as if there had been one
        return None

    def _without_hub(self, words: list[str]) -> str | None:
        """Without the hub: exit code 2 and what to do by hand."""
        with self.monkeypatch.context() as patch:
            patch.setattr(hub, "_unreachable", lambda endpoint: "no network")
            code = self._call(words)
        return None if code == 2 else f"without the hub the exit code is {code}, not 2"

    def _call(self, words: list[str]) -> int:
        self.monkeypatch.setattr(sys, "argv", ["xaibench", *words])
        try:
            cli.main()
        except SystemExit as stopped:
            return int(stopped.code or 0)
        return 0


@pytest.fixture
def reader(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, esc50_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Reader:
    """A reader in an empty folder, who has 50 of the clips."""
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path, link_few(esc50_folder, tmp_path_factory.mktemp("data") / "few"), monkeypatch)


def test_every_command_of_the_readme_works(
    reader: Reader, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_all_ask_rarely(monkeypatch, reader.folder.parent / "kept")
    found = list(commands(README.read_text()))
    assert any(command.startswith("make demo") for command in found)
    assert any(command.startswith("xaibench run") for command in found)
    problems = []
    for command in found:
        capsys.readouterr()
        problem = reader.follow(command)
        if problem is not None:
            said = capsys.readouterr().err.strip()
            problems.append(f"{command}\n    {problem}\n    {said}")
    assert not problems, "\n".join(problems)
    # What the commands claim to write is there.
    written = {path.name for path in reader.folder.rglob("*")}
    if any("xaibench compare" in command for command in found):
        assert "comparison.csv" in written
    if any("xaibench explain" in command for command in found):
        assert "explanation.pdf" in written


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_files_named_by_a_page_exist(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    named = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    assert named
    assert not [path for path in named if not (REPOSITORY / path).exists()]


def test_files_named_by_the_guide_for_contributors_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    words = [word for command in commands(text) for word in shlex.split(command)]
    words += re.findall(r"`([^`\s]+)`", text)
    made = ("../", ".venv/", "build/", "results/runs/")  # beside the clone, or not in a fresh one
    paths = [word for word in words if "/" in word and not word.startswith(made)]
    assert len(paths) > 20
    places = (REPOSITORY, REPOSITORY / "xaibench")
    assert not [path for path in paths if not any((place / path).exists() for place in places)]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("make coffee", "the Makefile has no coffee"),
        ("curl https://example.org | sh", "the test does not know this command"),
        ("pip install -e examples/nowhere", "examples/nowhere does not exist"),
        ("pip install xaibench-from-an-index", "does not exist"),
        ("cd nowhere", "there is no folder nowhere"),
        ("xaibench frobnicate", "exit code 2"),
        ("xaibench run --method salincy", "exit code 2"),
        ("make demo", None),
        ("pip install -e .", None),
        ("xaibench methods", None),
        ("xaibench data fetch esc50", None),
    ],
)
def test_the_reader_notices(reader: Reader, command: str, problem: str | None) -> None:
    """The test above can fail."""
    found = reader.follow(command)
    assert (found is None) == (problem is None)
    if problem is not None:
        assert found is not None
        assert problem in found


def test_commands_are_read_from_blocks() -> None:
    text = "a\n```bash\n# note\nmake demo  # why\n\nxaibench run \\\n  -m x\n```\n```python\nmake(no)\n```\n"
    assert [shlex.split(c, comments=True) for c in commands(text)] == [["make", "demo"], ["xaibench", "run", "-m", "x"]]


def test_fetch_without_network_says_what_to_do(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    assert reader.follow("xaibench data fetch esc50") is None
    error = capsys.readouterr().err
    assert "cannot be downloaded" in error
    assert "ESC-50-master.zip, and run this again" in " ".join(error.split())
    assert "Traceback" not in error


def test_the_readme_runs_on_shipped_weights() -> None:
    """`xaibench run --method focalnet` needs the embedded set's FocalNet."""
    assert ("synth", "focalnet-micro") in references.shipped()
