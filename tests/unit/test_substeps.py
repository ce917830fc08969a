"""The sub-steps of a PLAN.md: their subjects, what blocks them, their rounds, and whether a run kept to them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from core_making import Story, result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from todo_making import EXAMPLE, plan, project

from daplug_supervisor.cli.main import cli
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Commit, Origin, Plan, Provider, Task
from daplug_supervisor.formats.todos.substeps import SubStep, broken, done, is_one, substeps
from daplug_supervisor.views.plan.preview import check
from daplug_supervisor.views.plan.substeps import substep_lines
from daplug_supervisor.views.plan.text import check_text

DOCUMENTED = EXAMPLE.replace("[ ] TODO 3: Utils\n\n**Type**: verification (read-only)", "[ ] TODO 3: Utils")
"""The example of the documents: a pull request, TODO 2 needs TODO 1, TODOs 1 and 3 have commits."""

TABLE = """\
  id   round  sub-step                   blocked by
  #1   0      Init:State Begin
  #2   1      1.1:Worker — Config setup  #1
  #3   2      1.2:Verify                 #2
  #4   3      1.3:Context                #3
  #5   4      1.4:Checkbox               #4
  #6   5      1.5:Commit                 #5
  #7   6      2.1:Worker — API           #6
  #8   7      2.2:Verify                 #7
  #9   8      2.3:Context                #8
  #10  9      2.4:Checkbox               #9
  #11  1      3.1:Worker — Utils         #1
  #12  2      3.2:Verify                 #11
  #13  3      3.3:Context                #12
  #14  4      3.4:Checkbox               #13
  #15  5      3.5:Commit                 #14
  #16  10     Finalize:Residual Commit   #6, #10, #15
  #17  11     Finalize:State Complete    #16
  #18  12     Finalize:Report            #17"""


def of(folder: Path, **options: object) -> tuple[SubStep, ...]:
    return substeps(plan(folder, DOCUMENTED, **options))


def test_the_documented_example(tmp_path: Path) -> None:
    steps = of(tmp_path, pr=123)
    assert "\n".join(substep_lines(steps)) == TABLE
    assert [sorted(one.id for one in steps if one.round == number) for number in range(13)] == [
        [1], [2, 11], [3, 12], [4, 13], [5, 14], [6, 15], [7], [8], [9], [10], [16], [17], [18],
    ]  # fmt: skip
    assert [one.kind for one in steps[:6]] == ["begin", "worker", "verify", "context", "checkbox", "commit"]


def test_without_a_pull_request_two_are_missing(tmp_path: Path) -> None:
    steps = of(tmp_path)
    assert [one.subject for one in steps if one.kind in {"begin", "rest", "complete", "report"}] == [
        "Finalize:Residual Commit",
        "Finalize:Report",
    ]
    assert [(one.id, one.round) for one in steps if not one.blockers] == [(1, 0), (10, 0)]


def test_what_is_ticked_yields_nothing(tmp_path: Path) -> None:
    steps = substeps(plan(tmp_path, DOCUMENTED.replace("[ ] TODO 3", "[x] TODO 3")))
    assert {one.task for one in steps} == {"todo-1", "todo-2", "residual-commit", "report"}
    assert steps[-2].blockers == (5, 9)


def test_tasks_in_any_order_and_of_any_name() -> None:
    tasks = {
        "mine": Task(command=("true",), provider="p"),
        "todo-2": Task(title="b", instructions="x", needs=("todo-1", "gone"), provider="p"),
        "todo-1": Task(title="a", instructions="x", commit=Commit(), provider="p"),
    }
    found = Plan("p", tasks, {"p": Provider()}, origin=Origin("checklist", "PLAN.md"))
    assert is_one(found)
    assert not is_one(Plan("p", tasks, {"p": Provider()}))
    assert not is_one(Plan("p", tasks, {"p": Provider()}, origin=Origin("tasker", ".tasker")))
    steps = substeps(found)
    assert [(one.id, one.subject, one.blockers, one.round) for one in steps[:3]] == [
        (1, "mine", (), 0), (2, "2.1:Worker — b", (10,), 5), (3, "2.2:Verify", (2,), 6),
    ]  # fmt: skip
    assert len({one.id for one in steps}) == len(steps) == 10


# --- of a run ---------------------------------------------------------------------------------------------------


def events_of(step: SubStep) -> list[ev.Event]:
    """What a run records when a sub-step is done."""
    name = step.task
    if step.kind == "worker":
        return [ev.AttemptStarted(name, 1, "t", "codex"), ev.AttemptExited(name, result())]
    if step.kind == "verify":
        return [ev.VerificationPassed(name)]
    if step.kind in {"context", "checkbox", "commit"}:
        return [ev.StepDone(name, step.kind)]
    return [
        ev.AttemptStarted(name, 1, "t", "local"), ev.AttemptExited(name, result()), ev.VerificationPassed(name),
        ev.Landed(name),
    ]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.booleans())
def test_an_order_that_keeps_to_the_blockers_is_seen_as_one(tmp_path: Path, random: object, pr: bool) -> None:
    steps = of(tmp_path, pr=7 if pr else None)
    events: list[ev.Event] = [ev.RunStarted()]
    order: list[int] = []
    left = list(steps)
    while left:
        free = [one for one in left if set(one.blockers) <= set(order)]
        chosen = random.choice(free)  # type: ignore[attr-defined]
        left.remove(chosen)
        order.append(chosen.id)
        events += events_of(chosen)
    assert done(steps, events) == tuple(order)
    assert broken(steps, events) == ()


@pytest.mark.parametrize("number", range(1, 19))
def test_a_sub_step_that_is_left_out_is_seen(tmp_path: Path, number: int) -> None:
    steps = of(tmp_path, pr=7)
    events = [event for one in steps if one.id != number for event in events_of(one)]
    waiting = [one for one in steps if number in one.blockers]
    found = broken(steps, events)
    for one in waiting:
        verb = "was started" if one.kind in {"worker", "rest", "complete", "report"} else "was done"
        assert (
            f"#{one.id} {one.subject} {verb} before #{number} {steps[number - 1].subject} was done" in found
        )
    assert bool(found) == bool(waiting)
    assert number not in done(steps, events)


def test_a_round_of_fixing_begins_again_with_the_worker(tmp_path: Path) -> None:
    steps = of(tmp_path)
    first = events_of(steps[0])
    again = [
        *first,
        ev.RetryScheduled("todo-1", result()),
        *first,
        *(e for one in steps[1:] for e in events_of(one)),
    ]
    assert broken(steps, again) == ()
    assert done(steps, again) == tuple(one.id for one in steps)
    late = [*(event for one in steps[:5] for event in events_of(one)), ev.TaskReset("todo-1")]
    assert done(steps, late) == ()
    assert broken(steps, [*late, ev.StepDone("todo-1", "commit")]) == (
        "#5 1.5:Commit was done before #4 1.4:Checkbox was done",
    )
    assert (
        broken(
            steps,
            [ev.AttemptStarted("other", 1, "t", "p"), ev.StepDone("todo-1", "merge"), ev.Landed("other")],
        )
        == ()
    )


def test_a_run_that_the_core_decides_keeps_to_them(tmp_path: Path) -> None:
    """What may start is decided by the core alone; here it starts everything that it can, again and again."""
    found = plan(tmp_path, DOCUMENTED, pr=7)
    steps = substeps(found)
    story = Story(found)
    while started := story.start_all():
        for name in started:
            story.record(ev.AttemptExited(name, result()), ev.VerificationPassed(name))
            for one in steps:
                if one.task == name and one.kind in {"context", "checkbox", "commit"}:
                    story.record(*events_of(one))
            story.record(ev.Landed(name))
    events = [entry.event for entry in story.entries]
    assert broken(steps, events) == ()
    assert sorted(done(steps, events)) == [one.id for one in steps]


# --- shown ------------------------------------------------------------------------------------------------------


def test_check_shows_them(tmp_path: Path) -> None:
    found = check(plan(tmp_path, DOCUMENTED, pr=123))
    text = check_text(found, 80)
    assert text.endswith(f"\n\nSub-steps (18 in 13 rounds; all of a round may run at once)\n{TABLE}")
    assert max(map(len, text.splitlines())) <= 80
    shown = json.loads(msgspec.json.encode(found))["sub_steps"]
    assert shown[15] == {
        "id": 16,
        "round": 10,
        "subject": "Finalize:Residual Commit",
        "blockers": [6, 10, 15],
        "task": "residual-commit",
        "kind": "rest",
    }
    assert (
        check(Plan("p", {"a": Task(command=("true",), provider="local")}, {"local": Provider()})).sub_steps
        == ()
    )


def test_hostile_titles_and_many_steps(tmp_path: Path) -> None:
    text = "".join(f"### [ ] TODO {number}: \u202e {'x' * 100}\n" for number in range(60))
    lines = substep_lines(substeps(plan(tmp_path, text)))
    assert max(map(len, lines)) <= 80
    assert len(lines) == 202
    assert lines[-1] == "  and 42 more sub-steps"
    assert "\\u202e" in lines[1]


def test_the_command_shows_them_and_what_is_not_looked_at(tmp_path: Path) -> None:
    path = project(tmp_path)
    found = CliRunner().invoke(cli, ["check", str(path)], standalone_mode=False)
    assert "#1   0      1.1:Worker — Config setup" in found.stdout
    assert (
        "note: TODO 1: 1 of 5 criteria have no command to be run, and are not ticked: Reads well"
        in found.stderr
    )
    as_json = CliRunner().invoke(cli, ["check", str(path), "--json"], standalone_mode=False)
    assert len(json.loads(as_json.stdout)["sub_steps"]) == 16
