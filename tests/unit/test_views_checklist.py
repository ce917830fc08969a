"""The report at the end of a PLAN.md, and what is said of a run that has stopped on one of its TODOs."""

from __future__ import annotations

from typing import Any

import pytest
from core_making import Story, plan_of, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.boxes import BY_HAND
from daplug_supervisor.core.plan import Criterion, Origin, Provider
from daplug_supervisor.core.results import Exit, Finding, Outcome, OutcomeKind, Result
from daplug_supervisor.views.checklist_report import checklist_report, checklist_text, stands_text

PATH = ".dev/specs/login/PLAN.md"
BEGIN = replace(task(), command=("x", "pr", "begin", "https://github.com/acme/site/pull/12"))
CRITERIA = (
    Criterion("test -f a", name="a"), Criterion("tsc", name="types", category="static"),
    Criterion("npm test", category="runtime"),
)  # fmt: skip


def story(*, pr: bool = False) -> Story:
    tasks = {f"todo-{at}": replace(task(), title=f"Do {at}", accept=CRITERIA) for at in (1, 2, 3)}
    steps = {"state-begin": BEGIN} if pr else {}
    return Story(
        replace(plan_of({**steps, **tasks, "report": task(*tasks)}), origin=Origin("checklist", PATH))
    )


def findings(*failing: int) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            at, one.label, one.category, int(at in failing), detail="exit code 1" if at in failing else ""
        )
        for at, one in enumerate(CRITERIA)
    )


def did(told: Story, name: str, *files: str, **claim: Any) -> None:
    told.start(name)
    told.record(
        ev.AttemptExited(name, Result(Outcome(OutcomeKind.COMPLETED, claim={"result": claim}), Exit(0)))
    )
    told.record(ev.VerificationPassed(name, findings()), ev.Landed(name, "c0ffee", files))


def failed(told: Story, name: str, *failing: int) -> None:
    told.start(name)
    outcome = Outcome(
        OutcomeKind.VERIFY_FAILED, "types: exit code 1", claim={"result": {"issues": ["old bug"]}}
    )
    told.record(ev.TaskFailed(name, Result(outcome, Exit(0), findings(*failing))))


def test_all_is_done() -> None:
    told = story(pr=True)
    did(told, "todo-1", "b.ts", "a.ts", learnings=["ESM only", " "], issues=["old bug\x1b[31m"])
    did(told, "todo-2", "a.ts")
    told.record(ev.TaskAdopted("todo-3", BY_HAND))
    told.task("todo-3").findings = findings()
    full = checklist_report(told.run, {"1": True, "2": True, "3": True, "4": True})
    assert (full.plan, full.mode, full.total, full.completed, full.failed) == (PATH, "PR #12", 4, 4, 0)
    assert (full.before, full.by_hand, full.criteria, full.verified) == (1, ("TODO 3",), 9, 9)
    assert full.files == ("a.ts", "b.ts")
    assert (
        checklist_text(full)
        == r"""Every TODO is done
  plan      .dev/specs/login/PLAN.md
  mode      PR #12
  run       r1
  TODOs     4 in all, 4 completed, 1 of them before this run, TODO 3 ticked by
            hand, 0 failed
  criteria  9 in all, 9 verified and checked

Criteria by category
  functional: PASS (3 of 3, all TODOs)
  static: PASS (3 of 3, all TODOs)
  runtime: PASS (3 of 3, all TODOs)

Files modified
  a.ts
  b.ts

Learnings
  TODO 1: ESM only

Issues found, and left alone
  TODO 1: old bug\x1b[31m"""
    )


def test_some_are_not() -> None:
    told = story()
    did(told, "todo-1")
    failed(told, "todo-2", 1)
    full = checklist_report(told.run, {"1": True, "2": False, "3": False})
    assert (full.mode, full.total, full.completed, full.failed) == ("Local", 3, 1, 1)
    assert (full.criteria, full.verified) == (9, 3)
    assert [(row.status, row.todos) for row in full.categories] == [
        ("OPEN", ("TODO 2", "TODO 3")), ("FAIL", ("TODO 2", "TODO 3")), ("OPEN", ("TODO 2", "TODO 3")),
    ]  # fmt: skip
    text = checklist_text(full)
    assert text.startswith("1 of 3 TODOs are done\n")
    assert "  static: FAIL (1 of 3, not yet TODO 2 and TODO 3)" in text
    assert "\nFiles modified\n  none\n" in text
    assert full.issues == ("TODO 2: old bug",)


def test_nothing_is_too_long() -> None:
    told = story()
    did(told, "todo-1", *(f"{at}.ts" for at in range(300)), learnings=["x " * 9000] * 300)
    text = checklist_text(checklist_report(told.run, {}))
    assert "  and 100 more" in text
    assert "  and 200 more" in text
    assert len(text) < 100_000


def test_a_halt_says_where_it_is_written_down_and_what_to_type() -> None:
    told = story()
    assert stands_text(told.run) == ""
    failed(told, "todo-2", 1)
    assert stands_text(told.run) == ""  # what runs may finish first
    told.record(ev.HaltRequested("a task did not succeed", "failure"))
    assert (
        stands_text(told.run)
        == """Continue or stop?
  stopped on   TODO 2 (Do 2)
  recorded in  .dev/specs/login/context/issues.md
  still open   its box in .dev/specs/login/PLAN.md
  to continue, mend the cause, then:
    daplug-supervise task retry todo-2
    daplug-supervise resume
  to stop: nothing more is done until one of these is typed"""
    )


def test_a_pull_request_has_to_be_released_first() -> None:
    told = story(pr=True)
    for name in ("todo-2", "todo-3"):
        failed(told, name)
    told.record(ev.RunFinished())
    told.run.source = PATH
    text = stands_text(told.run)
    assert "  still open   their boxes in .dev/specs/login/PLAN.md\n" in text
    assert text.splitlines()[-3:-1] == [
        "    daplug-supervise pr continue https://github.com/acme/site/pull/12",
        f"    daplug-supervise run {PATH}",
    ]


@pytest.mark.parametrize(
    ("provider", "worktree", "options"),
    [
        (Provider(), False, ""),
        (Provider(model="gemini"), True, " --provider gemini --worktree"),
        (Provider(model="claude", cli="claude"), False, " --provider claude"),
        (Provider(model="glm5", cli="opencode"), False, " --provider glm5:opencode"),
    ],
)
def test_the_command_that_goes_on_has_the_options_of_the_first_one(
    provider: Provider, worktree: bool, options: str
) -> None:
    tasks = {"todo-1": replace(task(), worktree=worktree)}
    told = Story(replace(plan_of(tasks, {"codex": provider}), origin=Origin("checklist", PATH)))
    failed(told, "todo-1")
    told.record(ev.RunFinished())
    told.run.source = PATH
    assert stands_text(told.run).splitlines()[-2] == f"    daplug-supervise run {PATH}{options}"


def test_other_plans_have_none_of_this() -> None:
    told = Story(plan_of(["todo-1"]))
    told.start("todo-1")
    told.record(ev.TaskFailed("todo-1", result()), ev.RunFinished())
    assert stands_text(told.run) == ""
    told.run.source = "plan.yaml"
    assert checklist_report(told.run, {}).plan == "plan.yaml"
