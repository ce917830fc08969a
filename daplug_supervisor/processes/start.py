"""Starting the launcher: a small program of its own, which may outlive the supervisor."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.processes import shim

_STARTING = (
    "import sys; sys.path.insert(0, sys.argv[1].rpartition('/')[0]); from shim.main import main; "
    "del sys.path[0]; main()"
)
"""Where the package lies is on the path only as long as it is imported."""


class LauncherProcess(subprocess.Popen[bytes]):
    """A launcher. It may outlive us: that is no mistake, and not worth the warning of its base class."""

    def __del__(self) -> None:
        pass


_outliving: list[LauncherProcess] = []
"""Launchers that were let go, and are not collected yet: they live as long as their shims."""


def let_go(process: LauncherProcess) -> None:
    """Collect it if it has ended, now or when there is another occasion."""
    _outliving.append(process)
    _outliving[:] = [process for process in _outliving if process.poll() is None]


def start(theirs: socket.socket, environ: Mapping[str, str]) -> LauncherProcess:
    """Start a launcher at its end of a socket. Not by way of asyncio, which kills what outlives its loop.

    It has no mark, although we may have: an agent may have started us, and a mark is for its own tree only.

    Raises:
        OSError: it cannot be started.
    """
    null, number = subprocess.DEVNULL, theirs.fileno()
    clean = {name: value for name, value in environ.items() if name != ATTEMPT_VARIABLE}
    return LauncherProcess(
        [sys.executable, "-I", "-S", *program(), str(number)],
        stdin=null, stdout=null, stderr=null, pass_fds=(number,), start_new_session=True, env=clean,
    )  # fmt: skip


def program() -> list[str]:
    """The words that start the shim's package as a program of its own. The last of them says in `ps` what it is.

    What was compiled from another source does not count, however it was compiled: nobody may have been allowed to
    replace it since. Compiled files are kept, or not, and where, as they are for us.
    """
    options = ["--check-hash-based-pycs", "always"]
    if sys.dont_write_bytecode:
        options.append("-B")
    if sys.pycache_prefix:
        options += ["-X", f"pycache_prefix={Path(sys.pycache_prefix).resolve()}"]
    return [*options, "-c", _STARTING, str(Path(shim.__file__).resolve().parent)]
