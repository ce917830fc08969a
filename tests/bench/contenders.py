"""Ours, the floors, and the peers that are found on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .measure import HERE, Call, FailedError
from .workloads import COMMAND, JOBS, Workload

OURS = "ours"
YARDSTICK = "F3"
LIBRARIES = ("huey", "doit")
_ENVIRONMENT = ".venv-bench"


@dataclass(frozen=True)
class Contender:
    """One way to run a workload. `note` is what it does not do, or is instead."""

    name: str
    prepare: Callable[[Workload, Path], Call]
    workloads: str
    note: str


def ours(command: Sequence[str], state_options: Sequence[str] = ()) -> Contender:
    def prepare(load: Workload, folder: Path) -> Call:
        plan = write_plan(load, folder)
        return Call([*command, "run", str(plan), "--quiet", "--parallel", str(JOBS), *state_options], folder)

    return Contender(OURS, prepare, "W0 W1 W2 W3 W4", "durable, shim, adoption")


def write_plan(load: Workload, folder: Path, command: Sequence[str] = (COMMAND,)) -> Path:
    tasks = {
        name: {"command": list(command), **({"needs": needs} if needs else {})}
        for name, needs in load.needs.items()
    }
    plan = {"name": load.name.lower(), "providers": {"local": {"parallel": JOBS}}, "tasks": tasks}
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    return path


def our_command() -> list[str]:
    """The installed command; without one, the module."""
    script = Path(sys.executable).with_name("daplug-supervise")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from daplug_supervisor.cli.main import main; main()"]


# --- floors -----------------------------------------------------------------------------------------------------


def f0(folder: Path) -> Contender:
    """In C if there is a compiler, else in Python."""
    program = folder / "f0"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    built = (
        compiler
        and not subprocess.run(
            [compiler, "-O2", "-o", str(program), str(HERE / "f0.c")], capture_output=True, check=False
        ).returncode
    )
    start = [str(program)] if built else [sys.executable, "-I", "-S", str(HERE / "f0.py")]

    def prepare(load: Workload, place: Path) -> Call:
        return Call([*start, str(load.size), str(min(JOBS, load.width)), COMMAND], place)

    note = "C: vfork, exec, wait" if built else "no C compiler: Python, posix_spawn"
    return Contender("F0", prepare, "W0 W1 W2 W4", f"{note}; no graph, no state")


def bare(name: str, note: str, *, journal: bool) -> Contender:
    def prepare(load: Workload, folder: Path) -> Call:
        graph = write_graph(load, folder)
        argv = [sys.executable, str(HERE / "bare.py"), str(graph)]
        return Call([*argv, str(folder / "journal.db")] if journal else argv, folder)

    return Contender(name, prepare, "W0 W1 W2 W3 W4", note)


def write_graph(load: Workload, folder: Path) -> Path:
    path = folder / "graph.json"
    path.write_text(json.dumps({"jobs": JOBS, "command": COMMAND, "needs": load.needs}))
    return path


def floors(folder: Path) -> list[Contender]:
    return [
        f0(folder),
        bare("F1", "asyncio, create_subprocess_exec; no state", journal=False),
        bare(YARDSTICK, "F1 with a durable journal: the yardstick", journal=True),
    ]


# --- peers ------------------------------------------------------------------------------------------------------


def _make(load: Workload, folder: Path) -> Call:
    names = " ".join(load.needs)
    rules = [f"all: {names}", f".PHONY: all {names}"]
    rules += [f"{name}: {' '.join(needs)}\n\t@{COMMAND}" for name, needs in load.needs.items()]
    (folder / "Makefile").write_text("\n".join(rules) + "\n")
    return Call(["make", "-s", f"-j{JOBS}", "all"], folder)


def _ninja(load: Workload, folder: Path) -> Call:
    rules = [f"rule run\n  command = {COMMAND} && : > $out"]
    rules += [f"build {name}: run {' '.join(needs)}" for name, needs in load.needs.items()]
    (folder / "build.ninja").write_text("\n".join(rules) + "\n")
    return Call(["ninja", "--quiet", f"-j{JOBS}"], folder)


def _names(load: Workload, folder: Path) -> str:
    path = folder / "names"
    path.write_text("".join(f"{name}\n" for name in load.needs))
    return str(path)


def _xargs(load: Workload, folder: Path) -> Call:
    return Call(["xargs", "-a", _names(load, folder), "-n", "1", "-P", str(JOBS), COMMAND], folder)


def _parallel(load: Workload, folder: Path) -> Call:
    (folder / ".parallel").mkdir()
    (folder / ".parallel" / "will-cite").touch()
    log = str(folder / "joblog")
    argv = ["parallel", "-j", str(JOBS), "--joblog", log, "-a", _names(load, folder), COMMAND]
    return Call(argv, folder, {"HOME": str(folder)})


_DODO = """
import json

GRAPH = json.load(open("graph.json"))


def task_t():
    for name, needs in GRAPH["needs"].items():
        yield {"name": name, "actions": [[GRAPH["command"]]], "task_dep": ["t:" + other for other in needs]}
"""


def _doit(python: Path) -> Callable[[Workload, Path], Call]:
    def prepare(load: Workload, folder: Path) -> Call:
        write_graph(load, folder)
        (folder / "dodo.py").write_text(_DODO)
        options = ["-P", "thread", "-v", "0", "--backend", "sqlite3", "--reporter", "error-only"]
        return Call([str(python), "-m", "doit", "run", "-n", str(JOBS), *options], folder)

    return prepare


def _huey(python: Path) -> Callable[[Workload, Path], Call]:
    def prepare(load: Workload, folder: Path) -> Call:
        graph = write_graph(load, folder)
        return Call([str(python), str(HERE / "hueyrun.py"), str(graph), str(folder / "huey.db")], folder)

    return prepare


def peers(python: Path | None) -> tuple[list[Contender], list[str]]:
    """The peers that are here, and in words which are not."""
    known = [
        Contender("make", _make, "W0 W1 W2 W3 W4", "phony targets; no state"),
        Contender("ninja", _ninja, "W0 W1 W2 W3 W4", "a stamp file a task, log not flushed"),
        Contender("xargs", _xargs, "W0 W1 W4", "no graph, no state"),
        Contender("parallel", _parallel, "W0 W1", "--joblog; no graph"),
    ]
    found = [one for one in known if shutil.which(one.name) and _works(one.name)]
    absent = [f"{one.name}: not on PATH" for one in known if one not in found]
    libraries = {
        "huey": (_huey, "W0 W1 W2", "queue in SQLite; no graph but pipelines"),
        "doit": (_doit, "W0 W1 W2 W3", "state written at the end of the run"),
    }
    for name, (prepare, workloads, note) in libraries.items():
        if python is not None and importable(python, name):
            found.append(Contender(name, prepare(python), workloads, note))
        else:
            absent.append(f"{name}: not installed")
    return found, absent


def _works(program: str) -> bool:
    """Whether it is the GNU one, where that matters: other programs share the name ``parallel``."""
    if program != "parallel":
        return True
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return "GNU parallel" in said


def importable(python: Path, module: str) -> bool:
    return not subprocess.run(
        [str(python), "-c", f"import {module}"], capture_output=True, check=False
    ).returncode


def library_environment(root: Path, *, install: bool) -> tuple[Path | None, str]:
    """The Python that has the peers that are libraries, made if it is missing; and why there is none."""
    place = root / _ENVIRONMENT
    python = place / "bin" / "python"
    if not install:
        return (python if python.exists() else None), ""
    try:
        if not python.exists():
            venv.create(place, with_pip=True)
            (place / ".gitignore").write_text("*\n")
        if not all(importable(python, name) for name in LIBRARIES):
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *LIBRARIES]
            done = subprocess.run(
                pip, capture_output=True, text=True, check=False, timeout=300, env=os.environ
            )
            if done.returncode:
                raise FailedError((done.stderr.strip().splitlines() or ["pip failed"])[-1][:200])
    except (OSError, subprocess.SubprocessError, FailedError) as error:
        return (
            python if python.exists() else None
        ), f"{', '.join(LIBRARIES)}: could not be installed: {error}"
    return python, ""
