"""Try in a process of its own whether strangers' plugins can be made: some end, or stop, the process that imports them.

What such a plugin does later is for `scoring.workers`; but this process, too, has to import it, to read its facts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from xaibench import registry

SECONDS = 60.0  # for all that one process tries; importing torch and captum takes five
# Announces each name, and in the end that all were tried. What raises is told by whoever makes it in earnest.
_PROGRAM = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
from xaibench import registry
for index, (group, name) in enumerate(json.loads(sys.argv[2])):
    os.write(int(sys.argv[3]), b"%d\\n" % index)
    try:
        registry.create(group, name)
    except registry.RegistryError:
        pass
os.write(int(sys.argv[3]), b"done\\n")
os._exit(0)
"""

Named = tuple[registry.Group, str]


def give_up_on_deadly(wanted: Sequence[Named]) -> None:
    """Make the names of other distributions in a process, and let the registry refuse those that end or stop it.

    Args:
        wanted: groups and names; xaibench's own, and unknown ones, are not tried.
    """
    left = [one for one in wanted if registry.is_foreign(*one)]
    while left:
        tried, reason = _try(left)
        if not reason:
            return
        registry.give_up(*left[tried], f"cannot be made: the process that tried {reason}")
        del left[tried]


def _try(names: Sequence[Named]) -> tuple[int, str]:
    """Make all in one process; return the number of the last that was tried, and what happened then, if anything."""
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), json.dumps(names), str(writer)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(writer,),
        start_new_session=True,
    )
    os.close(writer)
    try:
        process.wait(SECONDS)
        reason = f"exited with code {process.returncode}"
        if process.returncode < 0:
            reason = f"died (signal {-process.returncode})"
    except subprocess.TimeoutExpired:
        reason = f"took longer than {SECONDS:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with os.fdopen(reader) as channel:
        said = channel.read().split()
    if not said or said[-1] == "done":  # where no process can be started, nobody is to blame
        return 0, ""
    return int(said[-1]), reason
