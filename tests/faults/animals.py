"""For tests of hostile agents: the zoo, whole and built, launched by us or by an ordinary user."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import launch

from daplug_supervisor.ports import Launch
from daplug_supervisor.processes import shim, start

MOST = 500
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""

TESTS = Path(__file__).parents[1]
NOBODY = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()


@contextmanager
def cage() -> Iterator[str]:
    """The path of ``zoo.c``, built where everybody may run it; '' without a compiler."""
    compiler = shutil.which("cc")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = f"{folder}/zoo" if compiler else ""
        if compiler:
            subprocess.run([compiler, "-O1", "-o", path, str(TESTS / "zoo.c")], check=True)
        yield path


@pytest.fixture(scope="session")
def built() -> Iterator[str]:
    with cage() as path:
        yield path


def as_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on launchers and their shims run as an ordinary user, who owns `home`. For root alone."""
    python, setpriv = (
        next(filter(_is_for_all, (sys.executable, "/usr/bin/python3")), ""),
        shutil.which("setpriv"),
    )
    if not python or not setpriv:
        pytest.skip("needs setpriv, and a Python that an ordinary user can reach")
    os.chown(home, NOBODY, NOBODY)
    wrapper, program = home / "python", home / "shim"
    become = f"{setpriv} --reuid={NOBODY} --regid={NOBODY} --clear-groups"
    wrapper.write_text(f'#!/bin/sh\n[ $(id -u) = 0 ] && exec {become} {python} "$@"\nexec {python} "$@"\n')
    wrapper.chmod(0o755)
    shutil.copytree(Path(shim.__file__).parent, program, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sys, "executable", str(wrapper))
    words = [*start.program()[:-1], str(program)]
    monkeypatch.setattr(start, "program", lambda: words)


def _is_for_all(python: str) -> bool:
    try:
        tried = subprocess.run(
            [python, "-I", "-S", "-c", "import ctypes, socket"],
            user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return tried.returncode == 0


def zoo(directory: Path, token: str, built: str, *, stay: bool, **more: Any) -> Launch:
    """All the animals there are; `stay`: their keeper stays until it is ended."""
    python, kept = sys.executable, "stay" if stay else "go"
    return launch(directory, "/bin/sh", str(TESTS / "zoo.sh"), token, python, kept, built, **more)


def animal(directory: Path, token: str, built: str, *words: object, **more: Any) -> Launch:
    """One of those in ``zoo.c``. There are never more than 500 of them: for others than root, the kernel sees to it."""
    if not built:
        pytest.skip("needs a C compiler")
    most = str(_threads_of(NOBODY) + MOST)
    program = (sys.executable, "-I", "-S", "-c", LIMITED, most, built, f"zoo-{token}")
    return launch(directory, *program, *map(str, words), **more)


def _threads_of(user: int) -> int:
    count = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            told = dict(line.split(":", 1) for line in path.read_text().splitlines())
            count += int(told["Threads"]) if int(told["Uid"].split()[0]) == user else 0
    return count
