"""Starting the agent, and saying why it could not be started."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

from .memory import Victim
from .output import Log

LACKS = {
    errno.ENOSPC: "disk", errno.EDQUOT: "disk", errno.EAGAIN: "processes", errno.ENOMEM: "memory",
    errno.EMFILE: "files", errno.ENFILE: "files",
}  # fmt: skip
"""What the machine has too little of, by the error that says so."""

ENVIRON = dict(os.environ)
_BYTES = dict(os.environb)
"""As bytes, which `posix_spawn` need not encode anew for every agent."""


def spawn(launch: dict[str, Any], logs: list[Log], victim: Victim) -> int:
    """Start the agent in a group of its own, with its input and its output in files."""
    argv = launch["argv"]
    environ = {
        **_BYTES,
        **{os.fsencode(name): os.fsencode(value) for name, value in launch["env"].items()},
    }
    os.chdir(launch["cwd"])
    try:
        program = argv[0] if "/" in argv[0] else find(argv[0], {**ENVIRON, **launch["env"]})
        with victim:
            return os.posix_spawn(
                program,
                argv,
                environ,
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, launch.get("stdin") or "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, logs[0].descriptor, 1),
                    (os.POSIX_SPAWN_DUP2, logs[1].descriptor, 2),
                ),
                setpgroup=0,
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP),
            )
    finally:
        os.chdir("/")


def find(program: str, environ: dict[str, str]) -> str:
    """The path of a program, looked up on the PATH that it will have."""
    if "/" in program:
        return program
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{folder or '.'}/{program}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
            return path
    raise FileNotFoundError(2, "not found on PATH", program)


def refusal(error: OSError | ValueError, launch: dict[str, Any], *, claimed: bool) -> dict[str, str]:
    """Why it could not be started; and of what there was too little, if it was that."""
    lack = LACKS.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    lack = lack or ("" if claimed else "directory")
    return {"error": _say(error, launch), **({"lack": lack} if lack else {})}


def _say(error: OSError | ValueError, launch: dict[str, Any]) -> str:
    if isinstance(error, ValueError):
        return f"{launch['argv'][0]}: {error}"
    if error.filename == launch["cwd"]:
        return f"working directory {launch['cwd']}: {error.strerror}"
    return f"{error.filename or launch['argv'][0]}: {error.strerror}"
