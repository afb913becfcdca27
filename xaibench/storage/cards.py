"""Cards: the JSON files beside weights. They are not trusted; every value is checked when a card is read."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter, ValidationError

from xaibench.errors import CheckpointError

NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]*"
# Names become parts of paths, so they must not contain separators.
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
NameOrNone = Annotated[str, StringConstraints(pattern=f"^({NAME})?$")]


def read(path: Path, kind: type[Any], what: str, remedy: str) -> Any:
    """Read a dataclass from a JSON file, and check the type of every value.

    Args:
        path: path of the file.
        kind: the dataclass.
        what: what the file should be, in words, for errors.
        remedy: what the user can do about an error.

    Raises:
        CheckpointError: the file is missing, is not JSON, or does not fit the dataclass.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(content) - {field.name for field in fields(kind)}) if isinstance(content, dict) else []
        if not unknown:
            return TypeAdapter(kind).validate_python(content)
        reason = f"it holds {', '.join(unknown)}"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
    except OSError as error:
        reason = str(error.strerror)
    except (ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise CheckpointError(f"{path} is not {what} ({reason}); {remedy}")
