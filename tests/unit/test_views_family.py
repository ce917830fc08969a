"""Tasks that divide their work, in every view: how far they are, what they wait for, whom they need."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from build import BOOM, Provider, World, plan, result, task, used

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.delegation import children_done
from daplug_supervisor.core.results import Outcome, OutcomeKind, Result, Usage
from daplug_supervisor.views.derived import blocked_by, blockers, blocks, held_by, is_ready
from daplug_supervisor.views.evaluation.figures import evaluate
from daplug_supervisor.views.evaluation.ledger import ledger
from daplug_supervisor.views.evaluation.text import evaluation_text
from daplug_supervisor.views.family import edited, families, family_lines, nested, parts_used
from daplug_supervisor.views.html.dag import dag
from daplug_supervisor.views.html.page import page, places_of
from daplug_supervisor.views.html.timeline import Bar, rows
from daplug_supervisor.views.report.claims import disagreements
from daplug_supervisor.views.report.contents import Report, report
from daplug_supervisor.views.report.metrics import Attempts
from daplug_supervisor.views.report.text import report_text
from daplug_supervisor.views.status import RunStatus, status
from daplug_supervisor.views.status_text import status_text
from daplug_supervisor.views.task_detail import task_detail, task_text
from daplug_supervisor.views.tasks import tasks, tasks_text
from daplug_supervisor.views.usage import plus, uses
from daplug_supervisor.views.why import Why, why

RESUME = "daplug-supervise resume"


def own(verb: str, name: str, *more: str) -> str:
    return " ".join(("daplug-supervise task", verb, name, *more))


def part(name: str, *needs: str, of: str = "oauth", **more: Any) -> ev.TaskAdded:
    return ev.TaskAdded(name, task(*needs, parent=of, title=f"Do {name}", **more))


def oauth(*more: str) -> World:
    """A task that hands its work to a chain of three others, one that needs it, and one beside them."""
    tasks = {
        "oauth": task(title="Add OAuth"),
        "docs": task("oauth", title="Docs"),
        "lint": task(title="Lint"),
    }
    world = World(plan(tasks | {name: task() for name in more}, {"codex": Provider(parallel=3)}))
    world.begin("oauth").tick(20).say(part("db"), part("api", "db"), part("ui", "api"))
    return world


def delegate(world: World, name: str = "oauth", *, cost: float | None = 0.25) -> World:
    """The agent of a task hands its work over."""
    usage = None if cost is None else Usage(input=1000, output=200, cost=cost)
    ended = used(usage, "delegated")
    return world.say(ev.DelegationRequested(name)).tick(1).say(ev.Delegated(name, ended, "refs/daplug/x"))


def ask(world: World, name: str, *, live: bool = True) -> Why:
    return why(world.run, name, world.at, live=live)


def view(world: World, *, live: bool = True) -> RunStatus:
    return status(world.run, world.at, live)


def made(world: World) -> Report:
    return report(world.run, world.at)


def bars(world: World) -> list[Bar]:
    return [bar for row in rows(world.run, world.at) for lane in row.lanes for bar in lane]


def everywhere(world: World) -> dict[str, str]:
    """What each view says of the run."""
    run, at = world.run, world.at
    found = made(world)
    return {
        "list": tasks_text(tasks(run, at, True), at, 120),
        "flat": tasks_text(tasks(run, at, True), at, 120, tree=False),
        "show": task_text(task_detail(run, "oauth", at, True), at, 120),
        "status": status_text(view(world), 120),
        "why": ask(world, "oauth").sentence,
        "dependent": ask(world, "docs").sentence,
        "report": report_text(found, 120),
        "page": page(run, found, at),
        "dag": dag(run, places_of(run)),
        "evaluation": evaluation_text(evaluate(run), 160),
        "timeline": " ".join(bar.words for bar in bars(world)),
    }


# --- C22: how far it is ---------------------------------------------------------------------------------------


def test_every_view_says_how_many_parts_are_done() -> None:
    world = delegate(oauth())
    for done in range(3):
        for name, said in everywhere(world).items():
            assert f"delegated ({done}/3)" in said.lower(), (name, done)
        world.done(("db", "api", "ui")[done])
    [row] = [one for one in ledger(world.run).tasks if one.task == "oauth"]
    assert (row.status, row.progress and (row.progress.done, row.progress.total)) == ("delegated", (3, 3))
    assert (row.children, row.parent) == (("db", "api", "ui"), None)
    assert "oauth 3/3" in dag(world.run, {})


def test_a_skipped_part_holds_nothing_back() -> None:
    world = delegate(oauth()).done("db").say(ev.TaskSkipped("api", "not needed"))
    assert "delegated (2/3)" in everywhere(world)["list"]


def test_a_task_that_is_about_to_be_delegated_says_that_its_agent_is_being_ended() -> None:
    world = oauth().say(ev.DelegationRequested("oauth")).tick(2)
    assert ask(world, "oauth").sentence == (
        "Running attempt 1 of 3 by provider codex for 22s, since 01:22:03Z; its agent is being ended, because it "
        "hands its work to its 3 parts."
    )


# --- what it waits for ----------------------------------------------------------------------------------------


def test_a_delegated_task_waits_for_its_parts() -> None:
    world = delegate(oauth()).begin("db").tick(60)
    found = ask(world, "oauth")
    assert found.sentence == (
        "Delegated (0/3) 1m 00s ago, at 01:22:24Z: waits for 3 of 3 parts: "
        "db (running), api (blocked) and ui (blocked)."
    )
    assert found.next == ()
    world = delegate(oauth())
    assert ask(world, "oauth").next == (own("why", "db"),)
    assert ask(world, "oauth", live=False).sentence.endswith("; no supervisor drives the run.")


def test_what_needs_a_delegated_task_waits_for_its_parts_too() -> None:
    world = delegate(oauth()).done("db").begin("api")
    assert ask(world, "docs").sentence == "Waits for oauth, delegated (1/3); first comes api."
    assert ask(world, "docs").next == ()
    world = complete(oauth())
    assert ask(world, "docs").sentence == "Waits for oauth (verifying)."


def test_whose_parts_are_done_goes_on_by_itself() -> None:
    world = delegate(oauth()).done("db", "api", "ui")
    assert ask(world, "oauth").sentence == (
        "Delegated (3/3) 15s ago, at 01:22:24Z: its parts are done, and it goes on when provider codex has a place."
    )


def test_where_the_rest_of_its_work_is_is_told() -> None:
    world = oauth().say(ev.Delegated("oauth", result("delegated"), reason="the rest is in .worktrees/x."))
    assert ask(world, "oauth").sentence.endswith("and ui (blocked); the rest is in .worktrees/x.")


# --- C15: a person --------------------------------------------------------------------------------------------


def test_a_failed_part_leaves_its_task_waiting_for_a_person_and_says_why() -> None:
    world = delegate(oauth()).failed("db")
    found = ask(world, "oauth")
    assert found.state == "delegated"
    assert found.sentence == (
        "Delegated (0/3) 5.0s ago, at 01:22:24Z: waits for a person: db failed (exit code 1: boom); "
        "it waits for 2 of 3 parts: api (blocked) and ui (blocked)."
    )
    assert found.next == (own("logs", "db"), own("retry", "db"), own("skip", "db", "--reason ..."))
    assert ask(world, "docs").sentence == "Blocked by failed task db; it needs oauth, delegated (0/3) first."
    assert ask(world, "docs").next == found.next
    text = status_text(view(world), 120)
    assert "delegated (0/3), waits for a person" in text
    assert [(row.task, row.wants, row.blocks) for row in view(world).attention] == [
        ("oauth", "parts", 1),
        ("db", "repair", 3),
    ]
    assert view(world).needs_person == 2


def test_a_cancelled_or_stuck_part_says_so() -> None:
    world = delegate(oauth("d", "e"))
    world.say(part("extra"), part("more"))
    world.stuck("db").say(ev.TaskCancelled("extra", "not wanted"), ev.TaskCancelled("more"))
    found = ask(world, "oauth")
    assert (
        "waits for a person: db is stuck (blocked: needs a decision), extra was cancelled (not wanted) "
        "and more was cancelled;"
    ) in found.sentence
    assert found.next[-1] == own("why", "extra"), "and after the first"
    only = delegate(oauth()).say(ev.TaskCancelled("db"), ev.TaskSkipped("api"), ev.TaskSkipped("ui"))
    assert ask(only, "oauth").next == (own("retry", "db"), own("skip", "db", "--reason ..."))
    assert "waits for a person: db was cancelled." in ask(only, "oauth").sentence
    assert [(row.task, row.wants) for row in view(only).attention] == [("oauth", "parts")]


def test_a_part_without_a_result_says_what_is_known() -> None:
    world = delegate(oauth()).failed("db")
    world.run.tasks["db"].past = ()  # cannot happen, and must not break a status
    assert "db failed (exit code 1: boom)" in ask(world, "oauth").sentence
    world.run.tasks["db"].reason = ""
    assert "waits for a person: db failed;" in ask(world, "oauth").sentence


def test_a_retried_part_needs_nobody_any_more() -> None:
    world = delegate(oauth()).failed("db").say(ev.TaskReset("db"))
    assert view(world).attention == ()
    assert held_by(world.run) == {}


def test_a_delegated_task_that_has_lost_its_parts_says_what_to_do() -> None:
    world = delegate(oauth()).say(ev.TaskRemoved("ui"), ev.TaskRemoved("api"), ev.TaskRemoved("db"))
    found = ask(world, "oauth")
    assert found.sentence == (
        "Delegated (0/0) 0.0s ago, at 01:22:24Z: waits for a person, because all its parts were removed; "
        "retried, it does its work itself."
    )
    assert found.next == (own("retry", "oauth"), own("skip", "oauth", "--reason ..."))
    assert ask(world, "docs").sentence == "Blocked by delegated task oauth, which has lost its parts."
    assert ask(world, "docs").next == found.next
    assert blocked_by(world.run) == {"docs": "oauth"}
    world.done("lint").say(ev.RunFinished())
    assert found.next[0] in view(world).sentence
    assert ask(world, "oauth").next[-1] == RESUME


def nested_twice() -> World:
    """oauth <- api <- routes: the parts of a part."""
    world = delegate(oauth()).done("db").begin("api").tick(1)
    world.say(part("routes", of="api"), part("checks", "routes", of="api"))
    return delegate(world, "api", cost=0.5)


def test_parts_of_parts() -> None:
    world = nested_twice()
    assert ask(world, "oauth").sentence.endswith(
        "waits for 2 of 3 parts: api, delegated (0/2) and ui (blocked)."
    )
    assert ask(world, "ui").sentence == "Waits for api, delegated (0/2); first comes routes."
    world.failed("routes")
    assert ask(world, "oauth").sentence.endswith(
        "waits for 2 of 3 parts: api, delegated (0/2) and ui (blocked); "
        "a person has to get on with failed task routes."
    )
    assert [(row.task, row.wants) for row in view(world).attention] == [
        ("api", "parts"),
        ("routes", "repair"),
    ]
    assert held_by(world.run) == dict.fromkeys(("checks", "api", "ui", "oauth", "docs"), "routes")
    assert blocked_by(world.run) == dict.fromkeys(("checks", "ui", "docs"), "routes")
    assert blocks(world.run, ["routes"], 100) == {"routes": 3}
    assert blocks(world.run, ["routes"], 2) == {}
    assert blockers(world.run, "docs").dead == ("routes",)
    lost = nested_twice().say(ev.TaskRemoved("checks"), ev.TaskRemoved("routes"))
    assert "waits for a person: api has lost its parts;" in ask(lost, "oauth").sentence


def test_a_part_that_is_blocked_from_outside_names_who_blocks_it() -> None:
    world = oauth("outside").say(part("late", "outside"))
    delegate(world).done("db", "api", "ui").failed("outside")
    assert ask(world, "oauth").sentence.endswith(
        "waits for 1 of 4 parts: late (blocked); a person has to get on with failed task outside."
    )
    assert [row.task for row in view(world).attention] == ["outside"]


# --- C23: lists -----------------------------------------------------------------------------------------------


def test_a_list_shows_parts_below_their_tasks() -> None:
    world = nested_twice()
    lines = tasks_text(tasks(world.run, world.at, True), world.at, 120).splitlines()
    names = [line[:12].rstrip() for line in lines]
    assert names == ["task", "oauth", "  db", "  api", "    routes", "    checks", "  ui", "docs", "lint"]
    assert lines[0].split() == ["task", "state", "provider", "tries", "for"]
    assert [line.split()[1:3] for line in lines[1:4]] == [
        ["delegated", "(1/3)"],
        ["done", "codex"],
        ["delegated", "(0/2)"],
    ]


def test_a_flat_list_has_a_column_for_the_parent() -> None:
    world = nested_twice()
    found = tasks(world.run, world.at, True)
    lines = tasks_text(found, world.at, 120, tree=False).splitlines()
    assert lines[0].split() == ["task", "parent", "state", "provider", "tries", "for"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["oauth", "delegated"], ["docs", "blocked"], ["lint", "ready"], ["db", "oauth"], ["api", "oauth"],
        ["ui", "oauth"], ["routes", "api"], ["checks", "api"],
    ]  # fmt: skip
    alone = tasks(World(plan({"a": ()})).run, world.at, True)
    assert "parent" not in tasks_text(alone, world.at, 120)
    assert "parent" in tasks_text(alone, world.at, 120, tree=False)
    assert tasks_text(alone, world.at, 120, tree=True) == tasks_text(alone, world.at, 120)


def test_a_part_whose_task_is_not_listed_stands_alone() -> None:
    world = nested_twice()
    lines = tasks_text(tasks(world.run, world.at, True, status="pending"), world.at, 120).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["docs", "lint", "ui", "routes", "checks"]
    assert not any(line.startswith(" ") for line in lines)


def test_a_list_says_what_each_waits_for() -> None:
    world = nested_twice()
    said = {
        line.split()[0]: line
        for line in tasks_text(tasks(world.run, world.at, True), world.at, 140).splitlines()
    }
    assert said["oauth"].endswith("waits for api and ui")
    assert said["docs"].endswith("waits for oauth")
    world.failed("routes")
    said = {
        line.split()[0]: line
        for line in tasks_text(tasks(world.run, world.at, True), world.at, 140).splitlines()
    }
    assert said["oauth"].endswith("waits for a person: routes")
    assert said["docs"].endswith("blocked by routes")


def test_data_of_a_family() -> None:
    """C1: blocked_by, parent, children."""
    world = nested_twice()
    by_id = {row["task"]: row for row in json.loads(msgspec.json.encode(tasks(world.run, world.at, True)))}
    api = by_id["api"]
    assert (api["parent"], api["children"], api["blocked_by"]) == ("oauth", ["routes", "checks"], ["db"])
    assert (api["progress"], api["state"], api["waits_for"]) == (
        {"done": 0, "total": 2}, "delegated", ["routes", "checks"],
    )  # fmt: skip
    assert (by_id["lint"]["parent"], by_id["lint"]["children"], by_id["lint"]["progress"]) == (None, [], None)
    shown = json.loads(msgspec.json.encode(task_detail(world.run, "api", world.at, True)))
    assert (shown["parent"], shown["children"], shown["blocked_by"]) == (
        "oauth",
        ["routes", "checks"],
        ["db"],
    )
    assert (shown["progress"], shown["kept"], shown["unmet"]) == (
        {"done": 0, "total": 2}, "refs/daplug/x", ["routes", "checks"],
    )  # fmt: skip


def test_deep_families_are_listed_without_recursion() -> None:
    rows = [task_row(f"t{at}", f"t{at - 1}" if at else None) for at in range(3000)]
    assert list(nested(rows).values()) == list(range(3000))


def task_row(name: str, parent: str | None) -> Any:
    world = World(plan({name: ()}))
    return msgspec.structs.replace(tasks(world.run, world.at, True)[0], parent=parent)


# --- what it cost ---------------------------------------------------------------------------------------------


def spend(world: World, name: str, cost: float) -> World:
    world.begin(name).tick(5)
    outcome = Outcome(OutcomeKind.COMPLETED, usage=Usage(input=100, output=10, cost=cost))
    world.say(ev.AttemptExited(name, Result(outcome, result().exit)), ev.VerificationPassed(name))
    return world.say(ev.Landed(name))


def test_what_a_task_used_itself_and_what_its_parts_used_are_told_apart() -> None:
    world = nested_twice()
    spend(world, "routes", 1.0)
    spend(world, "checks", 2.0)
    every = uses(world.run)
    below = parts_used(world.run, every.tasks)
    assert (below["api"].cost, below["api"].attempts) == (3.0, 2)
    assert (below["oauth"].cost, below["oauth"].attempts) == (3.5, 4), (
        "api itself and its parts; db reports nothing"
    )
    assert below.keys() == {"oauth", "api"}
    shown = task_text(task_detail(world.run, "api", world.at, True), world.at, 120)
    assert "  used           1,200 tokens (1,000 in, 200 out), $0.50\n" in shown
    assert "  used by parts  220 tokens, $3.00\n" in shown
    assert "  part of        oauth\n  parts          2 of 2 done: routes and checks\n" in shown
    text = report_text(made(world), 120)
    assert "    itself 1,200 tokens, $0.50; its parts 220 tokens, $3.00\n" in text
    assert '<td class="n">$0.50</td><td class="n">$3.00</td>' in page(world.run, made(world), world.at)
    [row] = [one for one in ledger(world.run).tasks if one.task == "api"]
    assert row.parts_used == below["api"]


def test_sums_of_what_was_used() -> None:
    one, other = (
        uses(spend(World(plan({"a": ()})), "a", 1.0).run).all,
        uses(World(plan({"a": ()})).done("a").run).all,
    )
    assert plus(None, None) is None
    assert plus(one, None) == plus(None, one) == one
    both = plus(one, other)
    assert both is not None
    assert (both.attempts, both.unknown, both.without_cost, both.cost, both.reasoning) == (2, 1, 1, 1.0, None)


def complete(world: World) -> World:
    return (
        delegate(world).done("db", "api", "ui").say(children_done(world.run, world.run.tasks["oauth"], "t9"))
    )


def test_what_the_parts_came_to_is_no_attempt_and_costs_nothing() -> None:
    world = complete(oauth())
    assert made(world).attempts == Attempts(4, 0, 0, {"completed": 3, "delegated": 1})
    world.say(ev.VerificationPassed("oauth"), ev.Landed("oauth"))
    found = made(world)
    assert found.attempts == Attempts(4, 0, 0, {"completed": 3, "delegated": 1})
    assert found.used is not None
    assert (found.used.attempts, found.used.unknown) == (4, 3)
    assert found.first_attempt_success_rate == 1.0, "of the parts alone"
    assert [one.attempt for one in ledger(world.run).dispatch if one.task == "oauth"] == [1]
    assert [
        bar.number
        for row in rows(world.run, world.at)
        for lane in row.lanes
        for bar in lane
        if bar.task == "oauth"
    ] == [1]
    assert found.disagreements == ()


def test_what_the_parts_came_to_may_fail_and_its_own_agent_mends_it() -> None:
    world = complete(oauth()).tick(3)
    world.say(
        ev.RetryScheduled("oauth", result("verify_failed", "1 of 1 criteria failed", 0), uses_try=False)
    )
    assert disagreements(world.run) == (), "nobody claimed it"
    world.done("oauth")
    assert [past.of_children for past in world.run.tasks["oauth"].past] == [False, True, False]
    assert made(world).first_attempt_success_rate == 0.75


def test_an_attempt_that_delegates_or_asks_goes_wrong_in_no_view() -> None:
    world = delegate(oauth())
    world.stuck("db", result("needs_input", "which database?", 0)).say(ev.TaskAnswered("db", "sqlite"))
    world.stuck("db", result("needs_input", "which version?", 0))
    world.say(part("late")).begin("late").say(part("later", of="late"))
    world.say(ev.Delegated("late", result("delegated", "", -15, stopped="request")))
    found = made(world)
    assert (found.attempts.wasted, found.patterns, found.disagreements) == (0, (), ())
    assert not any(flag.task == "late" for flag in found.flags)
    assert {bar.end for bar in bars(world)} == {"parts", "ask"}


# --- reports --------------------------------------------------------------------------------------------------


def test_families_are_together_in_a_report() -> None:
    world = nested_twice().failed("routes").say(ev.RunFinished())
    found = made(world)
    assert [(row.task, row.parent, row.held_by, row.waits_for) for row in found.families] == [
        ("oauth", None, "routes", ("api", "ui")),
        ("api", "oauth", "routes", ("routes", "checks")),
    ]
    assert report_text(found, 120).split("\nDivided among parts\n")[1].split("\n\n")[0].splitlines() == [
        "  oauth (Add OAuth): delegated (1/3), waits for a person",
        "    itself 1,200 tokens, $0.25; its parts 1,200 tokens, $0.50 (2 of 3 attempts report nothing)",
        "    db   done  Do db",
        "    api  delegated (0/2)  Do api",
        "    ui   pending  Do ui",
        "  api (Do api): delegated (0/2), waits for a person",
        "    itself 1,200 tokens, $0.50",
        "    routes  failed  Do routes",
        "    checks  pending  Do checks",
    ]
    assert list(places_of(world.run)) == ["oauth", "db", "api", "routes", "checks", "ui", "docs", "lint"]
    drawn = page(world.run, found, world.at)
    assert 'class="in1"' in drawn
    assert 'class="in2"' in drawn
    assert '<span class="pill delegated">delegated</span> <span class="id">api</span>' in drawn
    assert families(World(plan({"a": ()})).run, {}) == ()


def test_a_family_that_is_not_delegated_is_told_as_well() -> None:
    world = oauth()
    [row] = families(world.run, {})
    assert (row.waits_for, row.held_by) == ((), None)
    assert family_lines([row], 80)[0] == "  oauth (Add OAuth): running, parts (0/3)"


def test_long_families_are_cut() -> None:
    world = World(plan({f"p{at}": () for at in range(25)}))
    for at in range(25):
        world.say(part(f"c{at}", of=f"p{at}"))
    for at in range(25):
        world.say(part(f"d{at}", of="p0"))
    lines = family_lines(families(world.run, {}), 80)
    assert "    and 6 more" in lines
    assert lines[-1] == "  and 5 tasks more with parts"
    world.say(*(ev.Delegated(f"p{at}") for at in range(25)))
    assert "  and 5 more" in status_text(view(world)).split("Delegated\n")[1].splitlines()
    many = World(plan({f"p{at}": () for at in range(101)}))
    many.say(*(part(f"c{at}", of=f"p{at}") for at in range(101)))
    assert "1 more task not shown." in page(many.run, made(many), many.at)


def test_what_was_edited_while_it_ran_is_marked() -> None:
    world = oauth("old")
    changed = task("oauth", title="Docs", priority=7)
    world.say(
        ev.TaskChanged("docs", changed, "priority 7"),
        ev.TaskRemoved("old"),
        part("gone"),
        ev.TaskRemoved("gone"),
    )
    assert [(row.task, row.what, row.parent) for row in edited(world.run)] == [
        ("db", "created", "oauth"),
        ("api", "created", "oauth"),
        ("ui", "created", "oauth"),
        ("docs", "changed", None),
        ("old", "removed", None),
        ("gone", "removed", None),
    ]
    text = report_text(made(world), 120)
    assert (
        "\nEdited while it ran\n  created: db (part of oauth), api (part of oauth) and ui (part of oauth)\n"
        in text
    )
    assert "  changed: docs\n  removed: old and gone\n" in text
    drawn = page(world.run, made(world), world.at)
    assert '<span class="dim small" title="created while it ran"> created</span>' in drawn
    assert "removed: old and gone" in drawn
    planned = World(plan({"a": (), "b": task(parent="a")})).say(ev.TaskRemoved("b"))
    assert [(row.task, row.parent) for row in edited(planned.run)] == [("b", "a")]


def test_edges_from_parts_to_their_task_are_drawn_apart() -> None:
    world = delegate(oauth())
    drawn = dag(world.run, {})
    assert drawn.count('class="edge part-of"') == 3
    assert drawn.count('class="edge"') == 3, "db to api, api to ui, oauth to docs"
    assert "<title>oauth: Add OAuth (delegated (0/3))</title>" in drawn
    world.failed("db")
    drawn = dag(world.run, {})
    assert drawn.count('class="edge part-of held"') == 3
    assert drawn.count('class="edge held"') == 3
    assert "Dotted: from the parts of a task to that task." in page(world.run, made(world), world.at)


def test_hostile_ids_and_titles_stay_harmless() -> None:
    world = World(plan({"a": task(title="\x1b[2J<script>")}))
    world.say(
        ev.TaskAdded("b", task(parent="a", title="\u202eevil\n<b>")), ev.Delegated("a", reason="\x1b]0;x\x07")
    )
    for name, said in {
        "list": tasks_text(tasks(world.run, world.at, True), world.at, 120),
        "show": task_text(task_detail(world.run, "a", world.at, True), world.at, 120),
        "status": status_text(view(world), 120),
        "report": report_text(made(world), 120),
        "page": page(world.run, made(world), world.at),
        "dag": dag(world.run, {}),
    }.items():
        assert not set(said) & {"\x1b", "\u202e", "\x07"}, name
        assert "<script>" not in said or name not in ("page", "dag")


# --- a part of a run ------------------------------------------------------------------------------------------


def test_parts_of_what_was_asked_for_are_selected_too() -> None:
    world = oauth().say(ev.RunStarted(("oauth",)))
    delegate(world)
    assert is_ready(world.run, world.run.tasks["db"], world.at)
    assert ask(world, "db").state == "ready"
    assert ask(world, "lint").state == "not_selected"
    assert view(world).counts["not_selected"] == 1


# --- at the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True])
def test_the_end_says_which_delegated_tasks_need_a_person(*, many: bool) -> None:
    world = delegate(oauth("other"))
    world.failed("db", BOOM).done("lint")
    if many:
        world.say(part("half", of="other"), ev.Delegated("other")).failed("half")
    else:
        world.done("other")
    world.say(ev.RunFinished())
    what = "2 are delegated and cannot" if many else "1 is delegated and cannot"
    assert view(world).sentence.endswith(
        f" {what} go on without you: `daplug-supervise task retry db`; then `{RESUME}`."
    )
    text = report_text(made(world), 120)
    assert "\nDelegated, and waits for a person\n  oauth: Add OAuth\n    Delegated (0/3) " in text
    assert made(world).next[-1] == RESUME
    assert own("retry", "db") in made(world).next
    assert len(set(made(world).next)) == len(made(world).next)


# --- cost -----------------------------------------------------------------------------------------------------


def large(families: int) -> World:
    """Families of five, of which each third needs a person."""
    specs = {f"p{at}": task() for at in range(families)}
    specs |= {f"c{at}": task(parent=f"p{at % families}") for at in range(4 * families)}
    specs |= {f"d{at}": task(f"p{at}") for at in range(families)}
    world = World(plan(specs, {"codex": Provider(parallel=50)}))
    for at in range(families):
        world.say(ev.Delegated(f"p{at}"))
        (world.failed if at % 3 == 0 else world.done)(f"c{at}")
    return world


def calls(do: Callable[[], object]) -> int:
    """How many functions are called, which is the same each time."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


def test_views_of_families_cost_as_much_as_there_are_tasks() -> None:
    small, twice = large(40), large(80)
    looks: dict[str, Callable[[World], object]] = {
        "status": lambda world: status_text(view(world)),
        "tasks": lambda world: tasks_text(tasks(world.run, world.at, True), world.at, 120),
        "report": made,
        "ledger": lambda world: ledger(world.run),
        "held": lambda world: held_by(world.run),
    }
    for name, look in looks.items():
        before, after = calls(lambda look=look: look(small)), calls(lambda look=look: look(twice))  # type: ignore[misc]
        assert after < 2.2 * before, name
