"""A sandbox as agents' programs have it: all can be read, and written nowhere but below one directory."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

E2E = Path(__file__).parents[2] / "build" / "e2e"


@functools.cache
def program() -> str:
    """bubblewrap, the system's or the one that a provider's CLI brings along; '' if none works here."""
    for found in _found():
        try:
            if (
                subprocess.run(
                    [*_words(found), "true"], capture_output=True, timeout=20, check=False
                ).returncode
                == 0
            ):
                return found
        except (OSError, subprocess.TimeoutExpired):
            continue
    return ""


def _found() -> Iterator[str]:
    installed = shutil.which("bwrap")
    if installed:
        yield installed
    yield from map(str, E2E.glob("node_modules/**/codex-resources/bwrap"))


def _words(bwrap: str) -> tuple[str, ...]:
    return (
        bwrap,
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--unshare-pid",
        "--die-with-parent",
    )


def sandboxed(line: str, workspace: str) -> tuple[str, ...]:
    """A shell line that may write below one directory only."""
    return (*_words(program()), "--bind", workspace, workspace, "--chdir", workspace, "sh", "-c", line)
