"""What a run was worth: B70, and the evaluation that is shown by `evaluate` and in the report."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from build import BOOM, World, plan, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Provider
from daplug_supervisor.core.results import Finding, Result, Usage
from daplug_supervisor.views.evaluation import figures as evaluation
from daplug_supervisor.views.evaluation import text as texts
from daplug_supervisor.views.evaluation.figures import (
    ALWAYS,
    Criteria,
    Evaluation,
    Planning,
    Proof,
    Rounds,
    evaluate,
)


def found(number: int = 0, label: str = "tests", detail: str = "", **more: Any) -> Finding:
    return Finding(number, label, detail=detail, **more)


def unfit(*findings: Finding, tree: str = "", usage: Usage | None = None) -> Result:
    """An attempt whose work did not pass."""
    made = result("verify_failed", "1 of 1 criteria failed", 0)
    return replace(made, findings=findings, tree=tree, outcome=replace(made.outcome, usage=usage))


def passed(world: World, name: str, *findings: Finding) -> World:
    world.begin(name).tick(3)
    world.say(ev.AttemptExited(name, result(seconds=3)))
    return world.say(ev.VerificationPassed(name, findings), ev.Landed(name, "abc", ("a.py",)))


BAD = found(detail="exit code 1 instead of 0: FAILED", blame="code", claimed="PASS")
COST = Usage(input=900, output=100, cost=0.5)


def mixed() -> World:
    """Of everything one."""
    names = {name: task(title=name.upper()) for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i")}
    world = World(plan({**names, "z": task("d", title="Z")}))
    passed(world, "a", found(), found(1, "lint", category="static"))
    world.retried("b", why=unfit(BAD, usage=COST), uses_try=False)
    passed(world, "b", found(claimed="FAIL"), found(-1, "its files"))
    for _ in range(2):
        world.retried("c", why=unfit(BAD, found(1, "types", category="static"), tree="t"), uses_try=False)
    world.failed("c", unfit(BAD, found(1, "types", category="static"), tree="t"))
    world.stuck(
        "d", unfit(found(2, "serves", "exit code 7", category="runtime", blame="environment")), "mend it"
    )
    world.stuck("e").failed("f").failed("g")
    world.say(ev.TaskSkipped("h"), ev.TaskAdopted("i", "was there"))
    return world


def test_what_a_run_was_worth_in_numbers() -> None:
    got = evaluate(mixed().run)
    assert got.counts == {
        "total": 10, "done": 3, "failed": 3, "stuck": 2, "cancelled": 0, "skipped": 1, "reviewing": 0, "delegated": 0,
        "blocked": 1, "in_progress": 0, "not_started": 0,
    }  # fmt: skip
    assert sum(got.counts.values()) == 2 * got.counts["total"]
    assert got.first_attempt_success_rate == 0.5  # of a and b; what was there already does not count
    assert got.rounds == Rounds(total=3, tasks=2, helped=1, most=2)
    assert got.criteria == (
        Criteria("functional", 3, 2, 1),
        Criteria("static", 2, 2, 0),
        Criteria("runtime", 1, 0, 1),
        Criteria(ALWAYS, 1, 1, 0),
    )
    assert got.proof == Proof(all=2, some=1, none=1, unchecked=6, overstated=1, understated=1)
    assert got.planning == Planning()


def test_tokens_and_cost_are_told_for_the_whole_and_for_each_task_and_unknown_stays_unknown() -> None:
    got = evaluate(mixed().run)
    assert got.used is not None
    assert (got.used.tokens, got.used.cost) == (1000, 0.5)
    assert got.used.unknown == got.used.attempts - 1
    rows = {row.task: row for row in got.tasks}
    b, h = rows["b"], rows["h"]
    assert b.used is not None
    assert (b.used.tokens, b.used.cost, b.attempts, b.rounds, b.first_attempt) == (1000, 0.5, 2, 1, False)
    assert (h.used, h.attempts, h.first_attempt, h.seconds) == (None, 0, None, 0.0)
    a = rows["a"].used
    assert a is not None
    assert (a.tokens, a.cost, rows["a"].first_attempt) == (None, None, True)
    assert got.tasks_used["b"] == b.used


def test_failures_are_grouped_by_what_they_are() -> None:
    groups = evaluate(mixed().run).failures
    told = [
        (one.kind, one.category, one.count, one.blocks, [row.task for row in one.tasks]) for one in groups
    ]
    assert told == [
        ("failed", "", 2, 0, ["f", "g"]),
        ("verify_failed", "code_error", 1, 0, ["c"]),
        ("verify_failed", "env_error", 1, 1, ["d"]),
        ("blocked", "", 1, 0, ["e"]),
    ]
    assert groups[2].remedy == "mend it"
    assert groups[0].tasks[0].detail == "exit code 1: boom"


def test_what_recurs_is_told_with_what_would_help() -> None:
    rows = {(row.kind, row.what): row for row in evaluate(mixed().run).patterns}
    counts = {key: (row.count, row.tasks) for key, row in rows.items()}
    assert counts == {
        ("outcome", "verify_failed"): (5, ("b", "c", "d")),
        ("outcome", "failed"): (2, ("f", "g")),
        ("criterion", "tests"): (4, ("b", "c")),
        ("category", "functional"): (4, ("b", "c")),
        ("claims", "criteria that agents call passed and that fail"): (4, ("b", "c")),
        ("unchanged", "work that came back as it was"): (2, ("c",)),
    }
    assert all(row.advice for row in rows.values())
    order = [row.count for row in evaluate(mixed().run).patterns]
    assert order == sorted(order, reverse=True)


def test_a_lack_of_the_surroundings_and_odd_claims_recur_as_well() -> None:
    world = World(plan({"a": task(), "b": task()}))
    lack = found(0, "serves", "exit code 127", blame="environment", category="runtime")
    lie = found(-1, "its files", "a.py is not there")
    for name in "ab":
        world.stuck(name, unfit(lack, lie))
    kinds = {(row.kind, row.what) for row in evaluate(world.run).patterns}
    assert ("environment", "criteria that lacked something of their surroundings") in kinds
    assert {("category", "runtime"), ("category", ALWAYS)} <= kinds


def test_what_is_still_looked_at_has_not_failed_yet() -> None:
    world = World(plan({"a": task(), "b": task()}))
    world.begin("a").say(ev.AttemptExited("a", unfit(BAD)))
    world.begin("b")
    got = evaluate(world.run)
    assert (got.patterns, got.failures, got.first_attempt_success_rate) == ((), (), None)
    assert got.counts["in_progress"] == 2


def test_a_task_that_is_stuck_without_an_attempt_to_show_for_it() -> None:
    world = World(plan({"a": task()}))
    world.stuck("a")
    state = world.run.tasks["a"]
    state.past, state.reason = (), "nobody knows"
    group = evaluate(world.run).failures[0]
    assert (group.kind, group.tasks[0].detail) == ("", "nobody knows")
    assert "1 task (not known why)" in texts.evaluation_text(evaluate(world.run))


TEXT = """\
Evaluation of run r1 of plan add-oauth

Planning
  READY_WITH_NOTES: two small things
  - T1 is vague

Numbers
  tasks                    10 total, 3 done, 3 failed, 2 stuck, 1 skipped, 1 blocked
  planning                 READY_WITH_NOTES
  done at first attempt    50%
  rounds of mending        3 in 2 tasks, of which 1 are done
  functional criteria      2 of 3 hold
  static criteria          2 of 2 hold
  runtime criteria         0 of 1 hold
  looked at in every task  1 of 1 hold
  proof                    2 all proven, 1 in part, 1 not at all, 6 not looked at
  claims                   1 called passed that fail
  used                     1,000 tokens (900 in, 100 out), $0.50 (9 of 10 attempts report nothing)
  used by a done task      at least 333 tokens, $0.17
"""


def test_the_text_says_it_all() -> None:
    planning = Planning("READY_WITH_NOTES", "two small things", ("T1 is vague",))
    got = evaluate(mixed().run, planning)
    text = texts.evaluation_text(got, 100)
    assert text.startswith(TEXT)
    assert "\nTasks\n" in text
    assert "  c     failed   3      2       1/2   15s   unknown  unknown  C" in text
    assert "1 task (verify failed, env_error), 1 task behind: mend it" in text
    assert "attempts end as verify failed: 5 times, in b, c and d" in text
    numbers = evaluation.metrics_only(got)
    assert texts.metrics_text(numbers, 100).splitlines() == TEXT.splitlines()[7:]
    assert not isinstance(numbers, Evaluation)
    assert msgspec.json.decode(msgspec.json.encode(numbers))["rounds"]["most"] == 2


def test_a_run_of_nothing_and_one_of_very_much() -> None:
    empty = evaluate(World(plan({"a": task()})).run)
    text = texts.evaluation_text(empty)
    assert "no task was done by an attempt" in text
    assert "rounds of mending      none" in text
    assert "Why tasks failed" not in text
    world = World(plan({f"t{number:02}": task() for number in range(25)}))
    for name in world.run.tasks:
        world.failed(name, BOOM)
    text = texts.evaluation_text(evaluate(world.run))
    assert "  and 5 more" in text
    assert "    and 5 more" in text
    assert texts.evaluation_text(Evaluation(
        run="r", plan="p", planning=Planning("READY"), counts={"done": 0}, first_attempt_success_rate=None,
        rounds=Rounds(0, 0, 0, 0), criteria=(), proof=Proof(0, 0, 0, 0, 2, 0),
    )).count("2 called passed that fail") == 1  # fmt: skip


def test_what_is_known_of_the_cost_of_a_done_task() -> None:
    providers = {"codex": Provider(), "local": Provider(worker="command")}
    world = World(
        plan({"a": task(), "b": task(provider="local", command=("true",), instructions=None)}, providers)
    )
    passed(world, "b")
    assert "used by a done task" not in texts.evaluation_text(evaluate(world.run))
    for usage, words in ((Usage(input=10, output=5), "15 tokens"), (Usage(cost=2.0), "at least $2.00")):
        world = World(plan({"a": task()}))
        world.begin("a").say(
            ev.AttemptExited("a", replace(result(), outcome=replace(result().outcome, usage=usage))),
            ev.VerificationPassed("a"),
            ev.Landed("a"),
        )
        assert words in texts.evaluation_text(evaluate(world.run))


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "a\nb", "\u202egnp"])
def test_nothing_hostile_gets_into_the_text(text: str) -> None:
    world = World(plan({"a": task(title=text), "b": task(title=text)}))
    bad = found(0, text, text, blame="code")
    for name in "ab":
        world.failed(name, unfit(bad))
    shown = texts.evaluation_text(evaluate(world.run, Planning(text, text, (text,))))
    assert all(sign not in shown for sign in ("\x1b", "\u202e"))
