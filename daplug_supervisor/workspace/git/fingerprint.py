"""What a checkout holds, in one short text: equal as long as nobody has committed or changed anything in it."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.changes import uncommitted_in

_PATIENCE = 120.0
_LARGE = 16 << 20
"""Bytes from which on a file is told by its size and time: reading a model's weights would take too long."""


def fingerprint(place: str | Path, kept: str = "") -> str:
    """Of the whole checkout that a directory is in: its commit, and the files that are not committed as they are.

    What is below `kept`, a path from the directory, is passed over.

    Raises:
        NoRepositoryError: it is in none.
        GitError: git does not tell.
    """
    found = git.repository(place)
    names, _ = uncommitted_in(found.own, found.top, _PATIENCE)
    summed = sha256(git.commit(found.own, "HEAD").encode())
    passed = f"{found.prefix}{kept}/" if kept else ""
    for name in sorted(names):
        if passed and name.startswith(passed):
            continue
        summed.update(f"\0{name}\0{_content(Path(found.top) / name)}".encode("utf-8", "surrogateescape"))
    return summed.hexdigest()


def _content(path: Path) -> str:
    """Says when a file has become another one."""
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return f"link {os.fsdecode(path.readlink())}"
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGE:
            return f"{status.st_mode} {status.st_size} {status.st_mtime_ns}"
        return f"{status.st_mode} {sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        return f"error {error.errno}"
