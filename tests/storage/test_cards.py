"""Weights and card are written so that neither is ever beside a stranger, and nothing else in the folder is touched."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from xaibench.errors import CheckpointError
from xaibench.storage import cards
from xaibench.storage.cards import WeightsCard, file_hash


@dataclass(frozen=True, kw_only=True)
class NumberCard(WeightsCard):
    """Of weights that are all in one file."""

    FILE = "number.json"
    KIND = "a number's card"
    COMMAND = "number"
    REMEDY = "write {folder} again"

    digits: tuple[int, ...] = ()

    @classmethod
    def weights_in(cls, folder: Path) -> list[Path]:
        return [path for path in folder.glob("number*") if path.name != cls.FILE]

    @classmethod
    def hash_of(cls, folder: Path) -> str:
        return file_hash(folder / "number")


CARD = NumberCard(
    classifier="net",
    dataset="",
    dataset_fingerprint="",
    data_licence="",
    train_folds=(1, 2),
    validation_folds=(),
    seed=0,
    best_epoch=0,
    parameters=1,
    command="",
    versions={"python": "3"},
    digits=(4, 2),
)


def save(number: bytes):  # type: ignore[no-untyped-def]
    def write(folder: Path) -> None:
        (folder / "number").write_bytes(number)

    return write


def test_a_card_comes_back_with_the_hash_of_its_weights(tmp_path: Path) -> None:
    written = CARD.write(tmp_path / "new" / "folder", save(b"42"))
    assert written == replace(CARD, weights_sha256=file_hash(tmp_path / "new" / "folder" / "number"))
    assert NumberCard.read(tmp_path / "new" / "folder") == written
    written.check(tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["number", "number.json"]


def test_what_is_not_of_the_weights_stays_and_earlier_weights_go(tmp_path: Path) -> None:
    CARD.write(tmp_path, save(b"42"))
    (tmp_path / "number-of-before").mkdir()
    (tmp_path / "number-of-before" / "file").write_text("")
    (tmp_path / "stranger").mkdir()
    CARD.write(tmp_path, save(b"43")).check(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["number", "number.json", "stranger"]


def test_a_kill_leaves_the_earlier_weights_or_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = CARD.write(tmp_path, save(b"42"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CARD.write(tmp_path, killed)
    NumberCard.read(tmp_path).check(tmp_path)
    assert NumberCard.read(tmp_path) == first
    with monkeypatch.context() as patch:
        patch.setattr(cards, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            CARD.write(tmp_path, save(b"43"))
    with pytest.raises(CheckpointError, match=r"holds no number\.json; expected a folder written by 'number'"):
        NumberCard.read(tmp_path)
    CARD.write(tmp_path, save(b"44")).check(tmp_path)


def test_other_weights_are_named_with_the_remedy(tmp_path: Path) -> None:
    card = CARD.write(tmp_path, save(b"42"))
    (tmp_path / "number").write_bytes(b"43")
    with pytest.raises(CheckpointError, match=f"not hold the files .* differs\\); write {tmp_path} again$"):
        card.check(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digits": "4"}, "digits: "),
        ({"classifier": "../net"}, "classifier: "),
        ({"seed": "x"}, "seed: "),
        ({"invented": 1}, "it holds invented"),
    ],
)
def test_fields_of_both_classes_are_checked(tmp_path: Path, change: dict[str, object], words: str) -> None:
    CARD.write(tmp_path, save(b"42"))
    path = tmp_path / NumberCard.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=rf"number\.json is not a number's card \({words}.*; write .* again$"):
        NumberCard.read(tmp_path)
