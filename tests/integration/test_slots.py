"""What a slot does before anything runs: worktrees, prompts, and workers that hand it nonsense."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from cli import MARKING, Place, ended, opened, plan_of, reached, sh

from daplug_supervisor import (
    Bundle,
    Command,
    Evidence,
    Outcome,
    OutcomeKind,
    Plan,
    Provider,
    Report,
    Retry,
    Supervisor,
    Task,
    Worker,
)
from daplug_supervisor.core import events as ev
from daplug_supervisor.core import plan as plans
from daplug_supervisor.core.commands import Command as InboxCommand
from daplug_supervisor.core.surgery.new_tasks import NewTask
from daplug_supervisor.supervisor.attempts import differences
from daplug_supervisor.workspace.git.worktrees import worktree

place = pytest.fixture(opened)


class Scribe:
    """A worker for tasks with prompts: it copies its prompt, and fails the first time."""

    output_wanted = 0

    def problems(self, _assignments: Sequence[plans.Assignment]) -> list[str]:
        return []

    def command(self, bundle: Bundle) -> Command:
        return Command(("cp", bundle.prompt_file or "", f"{bundle.target}/prompt-{bundle.number}"))

    def outcome(self, evidence: Evidence) -> Outcome:
        kind = OutcomeKind.COMPLETED if evidence.bundle.number > 1 else OutcomeKind.MAX_ITERATIONS
        return Outcome(kind, "two tests still fail")


class Mistyped(Scribe):
    """A worker whose command is not text."""

    def command(self, _bundle: Bundle) -> Command:
        return Command(("env",), {"NUMBER": 1})  # type: ignore[dict-item]


class Unwilling(Scribe):
    """A worker that finds the prompt wanting."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def command(self, _bundle: Bundle) -> Command:
        raise self.error


async def ran(place: Place, plan: Plan, worker: Worker | None = None) -> Report:
    async with Supervisor(place.state, workers={"scribe": worker} if worker else None) as supervisor:
        return await ended(await supervisor.submit(plan))


def repository(place: Place) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *identity, *words], cwd=place.target, check=True, stdin=subprocess.DEVNULL)


def prompted(**more: object) -> Plan:
    task = Task(instructions="Do it.", provider="p", retry=Retry(attempts=2, backoff=0.01), **more)  # type: ignore[arg-type]
    return plan_of({"a": task}, {"p": Provider(worker="scribe")})


async def test_a_task_works_in_a_worktree_of_its_own_also_the_second_time(place: Place) -> None:
    repository(place)
    (place.target / "deep").mkdir()
    line = "pwd >> ../../places; git branch --show-current >> ../../places; test -e once || { touch once; exit 1; }"
    report = await ran(place, plan_of({"a": sh(line, worktree=True)}))
    assert report.counts["done"] == 1
    folder = place.target / ".worktrees" / "p-1-a"
    assert place.lines("places") == [str(folder), "daplug/p-1-a"] * 2
    assert (folder / "once").exists()


async def test_a_folder_below_the_worktree(place: Place) -> None:
    repository(place)
    line = "mkdir sub; true"
    tasks = {
        "a": sh(line, worktree=True),
        "b": sh("true", "a", worktree=True, cwd="nowhere", retry=Retry(attempts=1)),
    }
    report = await ran(place, plan_of(tasks))
    assert [(row.task, "nowhere" in row.detail) for row in report.failures] == [("b", True)]


async def test_what_worktrees_need(place: Place) -> None:
    report = await ran(place, plan_of({"a": sh("true", worktree=True)}))
    assert [(row.task, row.kind) for row in report.failures] == [("a", "plan_error")]
    assert "git repository" in report.failures[0].detail


async def test_a_name_that_is_taken_makes_the_task_stuck(place: Place) -> None:
    repository(place)
    worktree(place.target, owner="somebody", name="p-1-a")
    report = await ran(place, plan_of({"a": sh(MARKING, worktree=True)}))
    assert [(row.task, row.kind) for row in report.failures] == [("a", "conflict")]
    assert not place.lines()
    reused = plan_of({"a": sh(MARKING, worktree=True, on_conflict="reuse")}, name="p")
    assert (await ran(place, reused)).counts["done"] == 1


async def test_a_base_that_is_not_there_is_the_plans_fault(place: Place) -> None:
    repository(place)
    report = await ran(place, plan_of({"a": sh("true", worktree=True, base="no-such-branch")}))
    assert [(row.task, row.kind, row.attempts) for row in report.failures] == [("a", "plan_error", 1)]
    assert "no-such-branch" in report.failures[0].detail


async def test_git_that_fails_is_tried_again(place: Place) -> None:
    repository(place)
    (place.target / ".worktrees").write_text("in the way\n")
    report = await ran(place, plan_of({"a": sh("true", worktree=True)}))
    assert [(row.task, row.kind, row.attempts) for row in report.failures] == [("a", "crashed", 3)]


async def test_a_second_try_is_told_why(place: Place) -> None:
    report = await ran(place, prompted(), Scribe())
    assert report.counts["done"] == 1
    assert (place.target / "prompt-1").read_text() == "Do it."
    told = (place.target / "prompt-2").read_text()
    assert told.startswith("Do it.")
    assert "max_iterations: two tests still fail" in told


async def test_a_command_that_is_not_text_stops_its_provider(place: Place) -> None:
    report = await ran(place, prompted(), Mistyped())
    assert report.halt is not None
    assert "must be text" in report.halt.reason


@pytest.mark.parametrize(
    ("error", "kind"),
    [(OSError(28, "No space left on device"), "configuration"), (ValueError("odd"), "configuration")],
)
async def test_a_worker_that_cannot_prepare(place: Place, error: Exception, kind: str) -> None:
    await ran(place, prompted(), Unwilling(error))
    [retried] = place.events(ev.RetryScheduled)
    assert retried.result.outcome.kind == kind
    assert not retried.uses_try


async def test_a_prompt_that_goes_between_check_and_start_fails_its_task_alone(place: Place) -> None:
    prompt = place.target / "task.md"
    prompt.write_text("Do it.")
    tasks = {
        "first": sh("rm task.md"),
        "a": Task(prompt=str(prompt), provider="q", needs=("first",)),
        "b": sh("true", "first"),
    }
    providers = {"p": Provider(worker="command"), "q": Provider(worker="scribe")}
    report = await ran(place, plan_of(tasks, providers), Scribe())
    assert [(row.task, row.kind) for row in report.failures] == [("a", "plan_error")]
    assert report.counts["done"] == 2


async def tidying(
    place: Place, monkeypatch: pytest.MonkeyPatch, line: str, meanwhile: tuple[InboxCommand, ...]
) -> Report:
    """Run a task that fails; people say something while its files are being put back."""
    repository(place)
    back, begun, go = differences.put_back, threading.Event(), threading.Event()

    def slow(*words: Any) -> str:
        begun.set()
        assert go.wait(20)
        return back(*words)

    monkeypatch.setattr(differences, "put_back", slow)
    tasks = {"a": sh(line, rollback=True, files=("half",), retry=Retry(attempts=1)), "b": sh("true")}
    async with Supervisor(place.state) as supervisor:
        run = await supervisor.submit(plan_of(tasks))
        await reached(begun.is_set, "its files are being put back")
        for command in meanwhile:
            await supervisor.command(command)
        go.set()
        return await ended(run)


async def test_who_is_tried_again_while_its_files_are_put_back_begins_after_that(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And has one slot, whatever else people say: what has none is given one then."""
    line = f"{MARKING}if [ -e .git/again ]; then test ! -e half; else touch .git/again half; false; fi"
    new = NewTask("c", "true", command=True)
    more = InboxCommand("1", "retry", task="a"), InboxCommand("2", "create", new=(new,))
    assert (await tidying(place, monkeypatch, line, more)).counts["done"] == 3
    assert len(place.events(ev.AttemptStarted, task="a")) == 2


async def test_who_is_removed_while_its_files_are_put_back_is_nobodys_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await tidying(place, monkeypatch, "false", (InboxCommand("1", "remove", task="a"),))
    assert found.counts["done"] == 1
    assert place.statuses() == {"b": "done"}
