"""Damage to bytes, tables and JSON, drawn at random."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 55, 2**31 - 1, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", " ", "x", "../../x", "/etc/passwd", "a/b", "\0", "\u2028", "\ud800", "é", "x" * 100_000, "NaN", "1e999", "-1",
    [], [None], [[]], {}, {"": None}, [0] * 10_000,
)  # fmt: skip
ODD_CELLS = (
    "", " ", "0", "-1", "6", "1.5", "1e9", "99999999999999999999", "nan", "inf", "None", "True", "FALSE", "dog ",
    "../x.wav", "/etc/passwd", "a/b.wav", "..", "\0", "é", '"', "x" * 200_000, "1-1-A-0.wav", "=1+1", "\u202e",
)  # fmt: skip


def damaged_bytes(data: bytes, draw: random.Random) -> bytes:
    """Change bytes in one to four places, half of the time near the start, where headers are."""
    made = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        reach = min(len(made), 128) if draw.random() < 0.5 else len(made)
        at = draw.randrange(reach) if reach else 0
        length = draw.choice([1, 2, 4, 8, 64, 1024, max(1, len(made) // 3)])
        noise = bytes(draw.randrange(256) for _ in range(min(length, 64)))
        what = draw.randrange(8)
        if what == 0 and made:
            made[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            made[at : at + len(noise)] = noise
        elif what == 2:
            del made[at:]
        elif what == 3:
            del made[at : at + length]
        elif what == 4:
            made[at:at] = made[at : at + length]
        elif what == 5:
            made[at : at + length] = bytes(min(length, len(made) - at))
        elif what == 6:
            made[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\0"])
        else:
            made += noise
    return bytes(made)


def damaged_csv(data: bytes, draw: random.Random) -> bytes:
    """Change cells, rows, columns, or the bytes of a table."""
    if draw.random() < 0.2:
        return damaged_bytes(data, draw)
    rows = list(csv.reader(io.StringIO(data.decode())))
    for _ in range(draw.randint(1, 3)):
        if not rows or not rows[0]:
            break
        row, column = draw.randrange(len(rows)), draw.randrange(len(rows[0]))
        what = draw.randrange(8)
        if what < 3:
            rows[row] = [*rows[row][:column], draw.choice(ODD_CELLS), *rows[row][column + 1 :]]
        elif what == 3 and len(rows) > 1:
            del rows[row]
        elif what == 4:
            rows.append(list(rows[row]))
        elif what == 5:
            rows[row] = rows[row][:column]
        elif what == 6:
            rows[row] = [*rows[row], draw.choice(ODD_CELLS)]
        else:
            draw.shuffle(rows[row])
    out = io.StringIO()
    csv.writer(out, delimiter=draw.choice(",,,,,;\t")).writerows(rows)
    return out.getvalue().encode(draw.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]), "surrogatepass")


def damaged_json(data: bytes, draw: random.Random) -> bytes:
    """Change values, keys, or the bytes of a JSON file."""
    if draw.random() < 0.2:
        return damaged_bytes(data, draw)
    if draw.random() < 0.03:
        return b"[" * 100_000
    content = json.loads(data)
    for _ in range(draw.randint(1, 3)):
        place = content
        while isinstance(place, dict | list) and place:
            key: Any = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
            if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.6:
                place = place[key]
                continue
            what = draw.randrange(6)
            if what < 4:
                place[key] = draw.choice(ODD_VALUES)
            elif what == 4:
                del place[key]
            elif isinstance(place, dict):
                place[draw.choice(["extra", "", "é", f"{key} "])] = draw.choice(ODD_VALUES)
            break
    if draw.random() < 0.02:
        content = draw.choice(ODD_VALUES)
    return json.dumps(content).encode()
