"""Makes the golden journal of the present schema version: ``python tests/golden/make.py``.

A golden journal that was released is never made again: it stands for the files that users have. When the schema or
the meaning of an event changes, a new one is made beside it, and the old ones must still replay to what is written
beside them. (Of the first one, and of an early second one, the event `children_done` was taken out: no supervisor
ever wrote it before it got its present form.)
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import msgspec

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.model import Attempt, Past
from daplug_supervisor.core.plan import Commit, Criterion, Loop, Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result
from daplug_supervisor.core.state import Run, State
from daplug_supervisor.journal.header import SCHEMA_VERSION
from daplug_supervisor.journal.sqlite import SqliteJournal

HERE = Path(__file__).parent
T0 = 1_795_224_123.5
NUMBER = 0x64617073
"""The journal's own number, which is drawn by lot otherwise."""


def result(kind: OutcomeKind, code: int | None = 1, **more: Any) -> Result:
    return Result(
        Outcome(kind, f"it {kind}: äöü", **more), Exit(code, seconds=12.25, cpu=1.5, max_rss=50 << 20)
    )


DONE = result(OutcomeKind.COMPLETED, 0, claim={"status": "complete", "files": ["a.py", None, 3.5]})
TASKS = {
    "schema": Task(prompt="012", provider="codex", retry=Retry(2, 1.5, 60.0), labels=("db", "first")),
    "api": Task(
        instructions="Écrire l'API\n", needs=("schema",), provider="codex", timeout=2700.0, worktree=True
    ),
    "ui": Task(command=("sh", "-c", "exit 0"), needs=("api",), provider="local", env={"A": "b"}, cwd="ui"),
    "docs": Task(prompt="docs/014", provider="opencode", model="glm5", loop=Loop(5, "DONE-1"), priority=-3),
    "split": Task(prompt="015", provider="opencode", sandbox="strict", require_diff=True, estimate=600.0),
}
PLAN = Plan(
    "add-oauth",
    TASKS,
    {
        "codex": Provider("gpt", 2, cli="codex", variant="high", fallback=("opencode",), env={"K": "v"}),
        "opencode": Provider(parallel=1, options={"depth": [1, {"a": True}]}),
        "local": Provider(worker="command", parallel=4),
    },
    on_failure="continue",
    timeout=86400.0,
)
PROVEN = Task(
    instructions="Prove it",
    provider="codex",
    accept=(Criterion(run=("make", "test"), name="it works", category="runtime"),),
    outputs=("path",),
    commit=Commit("feat: b", ("a.py",)),
)
PART = Task(
    instructions="Do a part", provider="glm", needs=("schema",), parent="split", review="human", ask=True
)
GLM = Provider("glm5", 1)
EDITED = msgspec.structs.replace(
    PLAN, tasks={**TASKS, "docs": msgspec.structs.replace(TASKS["docs"], priority=9)}
)


def spawned(task: str, number: int, provider: str = "codex") -> list[ev.Event]:
    started = ev.AttemptStarted(task, number, f"token-{task}-{number}", provider)
    return [started, ev.AttemptSpawned(task, 4000 + number, 123456, "0b5f7a3e-boot", 99_000.25)]


def done(task: str, number: int, provider: str = "codex") -> list[ev.Event]:
    end = [ev.AttemptExited(task, DONE), ev.VerificationPassed(task), ev.Landed(task)]
    return [*spawned(task, number, provider), *end]


STORY: list[tuple[str, list[ev.Event]]] = [
    ("", [ev.SupervisorStarted(4711, "0b5f7a3e-boot", "0.1.0")]),
    (
        "add-oauth-1",
        [ev.RunSubmitted(PLAN, "/home/me/project", "plan.yaml"), ev.RunStarted(("schema", "docs"), 3)],
    ),
    ("add-oauth-1", spawned("schema", 1)),
    ("add-oauth-1", [ev.RetryScheduled("schema", result(OutcomeKind.FAILED), T0 + 60.0)]),
    ("add-oauth-1", [ev.ProviderRested("codex", T0 + 100.0, "429 until 12:00")]),
    (
        "add-oauth-1",
        [
            ev.ProviderStopped("codex", "401"),
            ev.ProviderResumed("codex"),
        ],
    ),
    ("add-oauth-1", done("schema", 2)),
    ("add-oauth-1", spawned("docs", 1, "opencode")),
    (
        "add-oauth-1",
        [ev.TaskStuck("docs", result(OutcomeKind.BLOCKED), "remove what blocks the agent, then retry")],
    ),
    ("add-oauth-1", [ev.HaltRequested("tea", "command", ("docs",)), ev.Halted()]),
    ("add-oauth-1", [ev.CommandAnswered("c-1", "halt", applied=True, message="run add-oauth-1 halts")]),
    ("", [ev.SupervisorStopped(1), ev.SupervisorStarted(4712, "1c6f-boot", "0.1.0")]),
    ("add-oauth-1", [ev.Resumed("command"), ev.PlanChanged(EDITED, ("docs: priority",)), ev.RunStarted()]),
    ("add-oauth-1", [ev.TaskReset("docs", "retry"), *done("docs", 2, "opencode")]),
    ("add-oauth-1", [*spawned("api", 1), ev.TaskFailed("api", result(OutcomeKind.PLAN_ERROR, None))]),
    ("add-oauth-1", [ev.TaskReset("api", "again"), ev.TaskSkipped("api", "by hand")]),
    ("add-oauth-1", [*spawned("ui", 1, "local"), ev.CancelRequested("ui", "not now")]),
    ("add-oauth-1", [ev.TaskCancelled("ui", "not now")]),
    ("add-oauth-1", [*spawned("split", 1, "opencode"), ev.TaskAdded("part", PART, GLM)]),
    (
        "add-oauth-1",
        [
            ev.TaskAdded("other", Task(command=("true",), provider="local", parent="split")),
            ev.TaskChanged(
                "part", msgspec.structs.replace(PART, needs=("schema", "other"), priority=2), "needs"
            ),
            ev.DelegationRequested("split"),
            ev.Delegated("split", result(OutcomeKind.DELEGATED, -15), "refs/daplug/kept/split"),
            ev.TaskAdded("later", Task(command=("true",), provider="local")),
            ev.TaskRemoved("later", "not wanted"),
        ],
    ),
    ("add-oauth-1", [*done("other", 1, "local"), *spawned("part", 1, "glm")]),
    (
        "add-oauth-1",
        [
            ev.TaskStuck("part", result(OutcomeKind.NEEDS_INPUT, 0), "answer its question"),
            ev.Notified("needs_person", "part#1", "exit code 1"),
            ev.TaskAnswered("part", "the second", "me"),
            *spawned("part", 2, "glm"),
            ev.AttemptExited("part", DONE),
            ev.ReviewRequested("part", (Finding(0, "it works", code=0),), ("look",)),
            ev.Rejected("part", "not like this", "me"),
            *spawned("part", 3, "glm"),
            ev.AttemptExited("part", DONE),
            ev.ReviewRequested("part"),
            ev.Approved("part", "me", "better"),
            ev.Landed("part", "c0ffee"),
        ],
    ),
    (
        "add-oauth-1",
        [
            ev.ChildrenDone("split", 2, "token-split-2", "opencode", result(OutcomeKind.COMPLETED, 0)),
            ev.VerificationPassed("split"),
            ev.Landed("split"),
            ev.RunFinished(),
        ],
    ),
    ("small-1", [ev.RunSubmitted(Plan("small", {"a": TASKS["split"]}, PLAN.providers), "/elsewhere")]),
    ("small-1", [ev.RunStarted(), ev.TaskAdopted("a", "was done already")]),
    ("small-1", [ev.ProviderPaused("codex", T0 + 9e4, "lunch")]),
    ("small-1", [ev.TaskAdded("b", PROVEN), *spawned("b", 1), ev.AttemptExited("b", DONE)]),
    (
        "small-1",
        [
            ev.VerificationStarted("b", 1, 4999, 123457, "1c6f-boot"),
            ev.VerificationPassed(
                "b", (Finding(0, "it works", "runtime", 0, 1.5, claimed="PASS"),), ("look",)
            ),
            ev.StepDone("b", "merge", "daplug/run/small-1"),
            ev.Landed("b", "c0ffee", ("a.py",)),
            ev.HookRan("post_task", "b", 3, "exit code 3"),
        ],
    ),
    ("", [ev.JournalRepaired("damaged-20261121T012203Z", ((7, 9), (12, 12)), (14,))]),
]


async def write(path: Path) -> None:
    """Write the story into a journal."""
    journal = SqliteJournal(path)
    await journal.open()
    journal._chain.own = journal._chain.sum = NUMBER
    for number, (run, events) in enumerate(STORY):
        await journal.append(run, T0 + number, events)[1].wait()
    await journal.close()


def told(state: State) -> dict[str, Any]:
    """What of a state must stay the same for ever: not how it is indexed."""
    found: dict[str, Any] = msgspec.to_builtins(
        {
            "supervisor": state.supervisor,
            "seq": state.seq,
            "runs": {run.id: _run(run) for run in state.runs.values()},
        }
    )
    return found


def _run(run: Run) -> dict[str, Any]:
    return {
        "plan": run.plan,
        "target": run.target,
        "source": run.source,
        "times": [run.submitted_at, run.started_at, run.finished_at],
        "only": sorted(run.only),
        "parallel": run.parallel,
        "halt": run.halt,
        "answered": sorted(run.answered),
        "counts": {str(status): count for status, count in run.counts.items() if count},
        "pools": {
            pool.name: [pool.running, pool.rest_until, pool.stopped, pool.reason]
            for pool in run.pools.values()
        },
        "tasks": {
            name: {
                "status": str(task.status),
                "provider": task.provider,
                "tries": [task.tries, task.lost],
                "not_before": task.not_before,
                "changed_at": task.changed_at,
                "attempt": _first_form(task.attempt),
                "past": [_first_form(past) for past in task.past],
                "why": [task.reason, task.remedy],
                **({"children": [task.children, task.open]} if task.children else {}),
                **({"kept": task.kept} if task.kept else {}),
                **({"remarks": task.remarks} if task.remarks else {}),
            }
            for name, task in run.tasks.items()
        },
    }


def _first_form(found: Attempt | Past | None) -> dict[str, Any] | None:
    """Without what came later, where it says nothing."""
    return {
        name: value
        for name, value in (msgspec.structs.asdict(found) if found else {}).items()
        if name != "of_children" or value
    } or None


def main() -> None:
    """Make the journal and, beside it, what it must replay to."""
    from test_golden import replayed  # the reading is the test's own

    path = HERE / f"journal-v{SCHEMA_VERSION}.db"
    if path.exists():
        sys.exit(f"{path} is there: what was released is not made again")
    anyio.run(write, path)
    with tempfile.TemporaryDirectory() as folder:  # reading a journal makes files beside it
        state = replayed(Path(shutil.copy(path, folder)))
    path.with_suffix(".tail").unlink(missing_ok=True)
    expected = msgspec.json.format(msgspec.json.encode(told(state)), indent=1)
    path.with_suffix(".json").write_bytes(expected + b"\n")


if __name__ == "__main__":
    main()
