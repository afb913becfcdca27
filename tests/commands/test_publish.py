"""`xaibench publish`."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Command, assert_refused
from tests.support.made_up_runs import FF, noise, write_run

SCORES = {"a": {FF: noise(1)}, "random": {FF: noise(3)}}


def test_out_is_a_folder_or_the_file_of_a_single_run(xaibench: Command, tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / "runs" / name, SCORES) for name in ("one", "two"))
    done = xaibench("publish", one, two, "--out", "packed")
    assert done.code == 0
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == ["one.run.tar.xz", "two.run.tar.xz"]
    done = xaibench("publish", one, "--out", "board/mine.run.tar.xz")
    assert done.code == 0 and done.out.startswith("board/mine.run.tar.xz: ")
    assert (tmp_path / "board" / "mine.run.tar.xz").is_file()
    done = xaibench("publish", one, two, "--out", "both.run.tar.xz")
    assert_refused(done, "--out both.run.tar.xz is one file, and there are 2 runs; give a folder")
    assert not (tmp_path / "both.run.tar.xz").exists()
