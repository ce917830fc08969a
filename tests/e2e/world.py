"""For tests with real provider CLIs: a repository, a home with their settings, a mock model, and what became of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import anyio
import clis
import pytest
from cli import PLACE, Place, Ran, plan_of, until
from model import Model

from daplug_supervisor import Retry, RunHandle, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.workspace.git import run_branch

LONG = 240.0
"""Seconds after which a test gives up on a CLI: they are slow when the machine is busy."""

_KEPT = ("COV", "PYTEST", "PYTHON", "LD_LIBRARY_PATH", "CI")
_MODELS = {"gemini": "gemini-2.5-flash"}
"""gemini asks a model which model fits, unless it is told."""

LABELS = {
    "429long": "429, Retry-After 3600",
    "hang": "no answer",
    "hangs": "stalled stream",
    "drop": "connection closed",
    "cut": "answer cut off",
}
"""What the scenarios are called in the table."""

UNCONFINED = {"codex": ["--sandbox=danger-full-access"]}
"""Options for machines that do not let codex make its sandbox."""


def prompt(name: str) -> str:
    """What the mock model understands: its tool call writes this file."""
    return f"Write the file {name}.txt."


class World:
    """A place for one test, in which the four CLIs know no other provider than the mock model.

    Attributes:
        rows: what the test shows, for the table: scenario, CLI, class, what happened next.
    """

    def __init__(self, programs: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model = Model()
        self.rows: list[tuple[str, str, str, str]] = []
        self._executor = os.environ.get("DAPLUG_EXECUTOR", "")
        self._programs, self._root, self._patch = programs, root, monkeypatch

    def __enter__(self) -> Self:
        self.model.start()
        self.place = Place(self._root)
        clis.set_up(self.place.home, self.model)
        self.environ(clis.environment(self._programs, self.place.home, self.model))
        self.git("init", "-q")
        (self.place.target / ".gitignore").write_text(".daplug/\n.worktrees/\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "first")
        return self

    def __exit__(self, *_: object) -> None:
        self.place.close()
        self.model.stop()

    def environ(self, wanted: Mapping[str, str]) -> None:
        """Make this the environment, of this process as well; nothing of the machine's own is left."""
        for name in [name for name in os.environ if not name.startswith(_KEPT)]:
            self._patch.delenv(name)
        self.place.environ = {**os.environ, **wanted, PLACE: self.place.name}
        for name, value in self.place.environ.items():
            self._patch.setenv(name, value)

    def git(self, *words: str) -> str:
        command = ["git", *words]
        return subprocess.run(
            command, cwd=self.place.target, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    # --- what to run

    def provider(self, cli: str, **more: Any) -> Provider:
        options = more.pop("options", {"args": UNCONFINED[cli]} if cli in UNCONFINED else {})
        given = {"worker": "cli", "cli": cli, "model": _MODELS.get(cli, cli), "options": options}
        return Provider(**{**given, **more})

    def plan(
        self, tasks: Mapping[str, str], *, providers: Mapping[str, Provider] | None = None, **more: Any
    ) -> Plan:
        """A plan: each task, in a worktree of its own, with the provider that is to run it."""
        given = {"worktree": True, "timeout": LONG, "retry": Retry(attempts=3, backoff=0.1), "grace": 2.0}
        made = {
            name: Task(instructions=prompt(name), provider=provider, **{**given, **more})
            for name, provider in tasks.items()
        }
        pools = providers or {cli: self.provider(cli) for cli in dict.fromkeys(tasks.values())}
        return plan_of(made, pools)

    def login(self, changes: Mapping[str, str]) -> None:
        """Change what the CLIs log in with; an empty value takes a variable away."""
        wanted = {**self.place.environ, **changes}
        self.environ({name: value for name, value in wanted.items() if value})

    def unhurried(self) -> None:
        """Let the commands that were started take longer than other tests allow."""
        for watchdog in self.place.watchdogs:
            watchdog.cancel()

    def run(self, *words: str) -> Ran:
        """Run the installed command to its end."""
        process = self.place.start(*words)
        self.unhurried()
        out, err = process.communicate(timeout=LONG)
        return Ran(process.returncode, out, err)

    def can_confine(self) -> bool:
        """Whether this machine lets codex make its sandbox."""
        command = [str(self._programs / clis.NEW / "codex"), "sandbox", "--", "true"]
        how: dict[str, Any] = {"cwd": self.place.target, "env": self.place.environ, "capture_output": True}
        return subprocess.run(command, check=False, timeout=60, **how).returncode == 0

    def with_executor(self) -> None:
        """Run tasks through daplug's executor.py, with the codex that takes its flags."""
        executor = self._executor
        if not executor:
            pytest.skip("DAPLUG_EXECUTOR names no executor.py of daplug")
        path = f"{self._programs / clis.OLD}:{self.place.environ['PATH']}"
        self.environ({**self.place.environ, "PATH": path, "DAPLUG_EXECUTOR": executor})

    def supervised(self, lives: int) -> None:
        """Wait until so many supervisors have started."""
        until(lambda: len(self.place.events(ev.SupervisorStarted)) >= lives, f"{lives} supervisors", LONG)

    def supervisor(self) -> Supervisor:
        return Supervisor(self.place.state, environ=self.place.environ)

    async def failed(self, handle: RunHandle) -> None:
        """Wait until an attempt has ended without success."""
        with anyio.fail_after(LONG):
            async for entry in handle.events():
                if isinstance(entry.event, ev.RetryScheduled | ev.TaskStuck | ev.TaskFailed):
                    return
        raise AssertionError("the run ended, and no attempt failed")

    async def ended(self, handle: RunHandle) -> None:
        with anyio.fail_after(LONG):
            await handle.wait()

    # --- what became of it

    def written(self, name: str) -> list[str]:
        """What a task's file has in it, in all worktrees: one text, unless they differ."""
        found = [path for path in self.place.target.rglob(f"{name}.txt") if ".daplug" not in path.parts]
        return sorted({path.read_text() for path in found})

    def landed(self, name: str) -> str:
        """What a task's file has in it on the branch of the run."""
        return self.git("show", f"{run_branch.name('p-1')}:{name}.txt")

    def done_once(self, *names: str, tries: int = 1) -> None:
        """Check that tasks are done, that they used so many tries, and that each wrote its file once."""
        for name in names:
            task = self.place.task(name)
            assert (task.status, task.tries) == (Status.DONE, tries), tell(self.place, name)
            assert self.written(name) == ["written by a tool call\n"]
            assert self.model.called(f"{name}.txt") == 1

    def sleeps(self) -> list[int]:
        """The processes of tools that sleep."""
        found = []
        for pid in self.place.processes():
            with contextlib.suppress(OSError):
                if b"sleep\x00297" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def kinds(self, name: str) -> list[str]:
        """What the attempts of a task were read as."""
        return [str(past.result.outcome.kind) for past in self.place.task(name).past]

    def show(self, scenario: str, cli: str, *names: str) -> None:
        """A row of the table for a task, or for several that went the same way."""
        name = names[0] if names else "a"
        kinds = dict.fromkeys(self.kinds(name))
        told = [kind for kind in kinds if kind != "completed"] or kinds or ["-"]
        self.rows.append((LABELS.get(scenario, scenario), cli, ", ".join(told), tell(self.place, name)))


def tell(place: Place, task: str) -> str:
    """What the journal says happened to a task and its provider after its first attempt, in words."""
    told: list[str] = []
    first = place.events(ev.AttemptStarted, task=task)[0].provider
    for entry in place.entries():
        words = _words(entry, task, first)
        if words and words not in told[-1:]:
            told.append(words)
    state = place.task(task)
    return ", ".join([*told, f"{state.status} (tries used: {state.tries}, attempts: {len(state.past)})"])


def _words(entry: ev.Entry, task: str, first: str) -> str:  # noqa: PLR0911 (a table)
    match entry.event:
        case ev.ProviderRested(provider=name, until=until) if name == first:
            return f"{first} rests {max(0.0, until - entry.at):.1f} s"
        case ev.ProviderStopped(provider=name) if name == first:
            return f"{first} is stopped"
        case ev.RetryScheduled(task=name, uses_try=True) if name == task:
            return "tried again"
        case ev.AttemptStarted(task=name, provider=other) if name == task and other != first:
            return f"taken over by {other}"
        case ev.HaltRequested():
            return "the run halts"
        case ev.ProviderResumed() | ev.Resumed():
            return f"{first} is resumed"
    return ""
