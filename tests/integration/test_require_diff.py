"""`require_diff`: an agent that says it is done is believed only if something is different, as we find."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cli import Place, opened, plan_of
from repositories import commit, git

from daplug_supervisor import (
    Bundle,
    Command,
    Evidence,
    Outcome,
    OutcomeKind,
    Provider,
    Retry,
    Supervisor,
    Task,
)
from daplug_supervisor.core.plan import Assignment

place = pytest.fixture(opened)
POOLS = {"p": Provider(worker="shell"), "q": Provider(worker="shell")}


class Shell:
    """Its agents are lines of shell, which say "done" whatever they did."""

    output_wanted = 0

    def problems(self, assignments: Sequence[Assignment]) -> list[str]:
        del assignments
        return []

    def command(self, bundle: Bundle) -> Command:
        return Command(("sh", "-c", bundle.spec.instructions or ""), cwd=bundle.cwd)

    def outcome(self, evidence: Evidence) -> Outcome:
        done = evidence.exit.code == 0
        return Outcome(OutcomeKind.COMPLETED if done else OutcomeKind.CRASHED, "", claim={"said": "done"})


async def ends(place: Place, tasks: dict[str, Task]) -> dict[str, list[str]]:
    """How the attempts at each task ended."""
    async with Supervisor(place.state, workers={"shell": Shell()}) as supervisor:
        run = await supervisor.submit(plan_of(tasks, POOLS), target=place.target)
        await run.wait()
    return {name: [str(past.result.outcome.kind) for past in place.task(name).past] for name in tasks}


def agent(line: str, **more: object) -> Task:
    given = {
        "worktree": True,
        "land": False,
        "require_diff": True,
        "retry": Retry(attempts=2, backoff=0.01),
        **more,
    }
    return Task(instructions=line, provider="p", **given)  # type: ignore[arg-type]


def repository(place: Place) -> None:
    git(place.target, "init", "-q")
    commit(place.target, ".gitignore", ".daplug/\nignored\n")
    commit(place.target, "file", "one\n")


IDENTITY = "git -c user.name=t -c user.email=t@t"
CHANGES = {
    "writes": "echo x > new",
    "edits": "echo two > file",
    "commits": f"echo x > new; git add -A; {IDENTITY} commit -qm new",
    "removes": "rm file",
    "links": "rm file; ln -s nowhere file",
}
NOTHING = {
    "says": "true",
    "touches": "touch file; git status > /dev/null",
    "ignored": "echo x > ignored",
    "its own prompt": "echo x > TASK.md",
}


async def test_who_changed_nothing_is_not_done_whatever_it_says(place: Place) -> None:
    repository(place)
    tasks = {name.replace(" ", "-"): agent(line) for name, line in (CHANGES | NOTHING).items()}
    found = await ends(place, tasks)
    assert found == {name: ["completed" if name in CHANGES else "unverified"] for name in tasks}
    doubted = place.task("says").past[0].result.outcome
    assert (doubted.detail, doubted.claim) == (
        "the agent says it is done, and no file was changed",
        {"said": "done"},
    )


async def test_what_an_earlier_attempt_changed_counts(place: Place) -> None:
    repository(place)
    found = await ends(place, {"a": agent("test -e new && exit 0; echo x > new; exit 1")})
    assert found == {"a": ["crashed", "completed"]}


async def test_changes_that_were_there_before_do_not_count(place: Place) -> None:
    repository(place)
    (place.target / "file").write_text("half done\n")
    (place.target / "large").write_bytes(bytes(17 << 20))
    assert await ends(place, {"a": agent("true", worktree=False)}) == {"a": ["unverified"]}
    assert await ends(place, {"b": agent("echo more >> file", worktree=False)}) == {"b": ["completed"]}


async def test_without_a_repository_it_cannot_be_told(place: Place) -> None:
    found = await ends(place, {"a": agent("true", worktree=False)})
    assert found == {"a": ["plan_error"]}
    assert "require_diff needs a git repository" in place.task("a").reason


async def test_a_repository_that_is_gone_proves_nothing(place: Place) -> None:
    repository(place)
    found = await ends(place, {"a": agent("echo x > new; rm -rf .git", worktree=False)})
    assert found == {"a": ["unverified"]}
