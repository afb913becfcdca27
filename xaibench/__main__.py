"""The program `xaibench`, also as `python -m xaibench`: streams that can be written to, then the command line."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path

# What stands for a character that the terminal's encoding lacks; any other becomes a question mark.
_PLAIN = {
    "·": "-", "↑": "^", "↓": "v", "±": "+-", "≤": "<=", "→": "->", "←": "<-", "‡": "++", "†": "+", "°": "o", "§": "S",
    "…": "...", "ö": "oe",
}  # fmt: skip


def main() -> None:
    """Run the command line. The first Ctrl-C ends it with one line, whatever is being imported."""
    try:
        _open_streams()
        from xaibench import cli

        cli.main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


def _open_streams() -> None:
    """Give closed streams a place to go, and make every character writable in the terminal's encoding.

    A file that is opened later must not get the number of a closed standard output: what a library prints would end
    in it.
    """
    while (unused := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(unused)
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(character, "?") for character in error.object[error.start : error.end]), error.end


if __name__ == "__main__":
    main()
