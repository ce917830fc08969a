"""What people are asked and what they said, in every view: reviews, questions, remarks."""

from __future__ import annotations

import pytest
from build import T0, Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Criterion
from daplug_supervisor.core.results import Finding
from daplug_supervisor.views.evaluation.ledger import ledger
from daplug_supervisor.views.html.head import verdict
from daplug_supervisor.views.html.page import page
from daplug_supervisor.views.report.contents import Report, report
from daplug_supervisor.views.report.text import report_text
from daplug_supervisor.views.review import look, said_by_people
from daplug_supervisor.views.rows import NOTHING_SEEN, SeenOf
from daplug_supervisor.views.status import RunStatus, status
from daplug_supervisor.views.status_text import status_text
from daplug_supervisor.views.task_detail import task_detail, task_text
from daplug_supervisor.views.tasks import tasks, tasks_text
from daplug_supervisor.views.why import Why, why, why_text
from daplug_supervisor.workspace.git.changes import Where, Work

RESUME = "daplug-supervise resume"
APPROVE = "daplug-supervise task approve a"
REJECT = "daplug-supervise task reject a --remark 'what is to be different'"
PLACE = Where("/target/.worktrees/r1-a", "daplug/r1-a", "abc123")
LONG = "Which database?\n\n- sqlite\n- postgres \x1b[2J\u202e\n" + "It matters a lot. " * 30


def ask(world: World, name: str = "a", *, live: bool = True, seen: Where | None = None) -> Why:
    return why(world.run, name, world.at, live=live, seen=seen)


def view(world: World, *, live: bool = True, seen: SeenOf = NOTHING_SEEN) -> RunStatus:
    return status(world.run, world.at, live, seen=seen)


def made(world: World) -> Report:
    return report(world.run, world.at, seen={"a": PLACE})


def reviewing(*flags: str, criteria: bool = True, **more: object) -> World:
    """A task whose work was proven, and waits for a person."""
    accept = (Criterion(run="make test", name="tests pass"),) if criteria else ()
    world = World(plan({"a": task(title="A", accept=accept, review="human", **more), "b": ("a",)}))
    world.begin("a").tick(5).say(ev.AttemptExited("a", result()))
    return world.say(ev.ReviewRequested("a", (Finding(0, "tests pass"),) if criteria else (), flags))


def asking(question: str = "which database?") -> World:
    world = World(plan({"a": task(title="A"), "b": ("a",)}))
    return world.stuck("a", result("needs_input", question, 0), "answer its question")


# --- reviews ----------------------------------------------------------------------------------------------------


def test_a_review_says_what_was_proven_where_it_is_and_what_to_type() -> None:
    found = ask(reviewing("it changed a test", worktree=True), seen=PLACE)
    assert (found.state, found.sentence) == (
        "reviewing",
        (
            "Waits for your review since 01:22:08Z: attempt 1 by provider codex; criteria: 1 of 1 hold; "
            "flagged: it changed a test; it is in /target/.worktrees/r1-a, branch daplug/r1-a."
        ),
    )
    git = "git -C /target/.worktrees/r1-a"
    assert found.next == (f"{git} status --short", f"{git} diff abc123", APPROVE, REJECT)
    assert ask(reviewing(), live=False).next[-1] == RESUME


def test_a_review_of_work_in_a_shared_checkout() -> None:
    found = ask(reviewing(criteria=False, files=("src/a b.py", "-x")))
    assert found.sentence.endswith("attempt 1 by provider codex; it has no criteria; it is in /target.")
    git = "git -C /target"
    assert found.next[:2] == (f"{git} status --short -- 'src/a b.py' -x", f"{git} diff -- 'src/a b.py' -x")


def test_a_review_where_there_is_no_repository_names_no_git() -> None:
    found = ask(reviewing(), seen=Where("/target", "", ""))
    assert found.sentence.endswith("criteria: 1 of 1 hold; it is in /target.")
    assert found.next == (APPROVE, REJECT)
    world = reviewing()
    shown = task_detail(world.run, "a", world.at, True, seen=Where("/target", "", ""))
    assert shown.next == (APPROVE, REJECT)
    assert shown.worktree is None


def test_a_review_whose_worktree_is_not_known_says_what_shows_it() -> None:
    found = ask(reviewing(worktree=True))
    assert found.sentence.endswith("criteria: 1 of 1 hold.")
    assert found.next == ("daplug-supervise task show a", APPROVE, REJECT)
    world = reviewing(worktree=True)
    bare = Where("/w", "x", "")
    assert look(world.run, world.run.tasks["a"], bare) == ("git -C /w status --short", "git -C /w diff")


def test_a_review_of_what_parts_came_to() -> None:
    world = World(plan({"a": task(review="human")}, {"codex": Provider(parallel=3)}))
    world.say(ev.TaskAdded("c", task(parent="a")), ev.Delegated("a")).done("c")
    world.say(ev.ChildrenDone("a", 1, "t1", "codex", result()), ev.ReviewRequested("a"))
    assert "since 01:22:08Z: what its 1 part came to; it has no criteria;" in ask(world).sentence
    world.run.tasks["a"].attempt = None  # cannot happen, and must not break a status
    assert "since 01:22:08Z: its work; it has no criteria;" in ask(world).sentence


def test_a_review_in_every_view() -> None:
    world = reviewing(worktree=True)
    found = view(world, seen={"a": PLACE})
    [row] = found.attention
    assert (row.task, row.wants, row.status, row.blocks) == ("a", "review", "reviewing", 1)
    assert found.needs_person == 1
    text = status_text(found, 200)
    assert f"      git -C {PLACE.path} diff abc123\n      {APPROVE}\n      {REJECT}" in text
    assert (
        tasks_text(tasks(world.run, world.at, True), world.at, 120)
        .splitlines()[1]
        .endswith("waits for your review")
    )
    work = Work(PLACE.path, PLACE.branch, 1, ("x",), (), base="abc123")
    shown = task_text(task_detail(world.run, "a", world.at, True, work=work), world.at, 200)
    assert f"it is in {PLACE.path}, branch {PLACE.branch}." in shown
    assert "  reviewed by  a person\n" in shown
    text = report_text(made(world), 200)
    assert (
        "\nWaits for your review\n  a: A\n    Waits for your review since 01:22:08Z: attempt 1 by provider codex"
        in text
    )
    assert f"  {APPROVE}\n  {REJECT}\n  {RESUME}" in text
    drawn = page(world.run, made(world), world.at)
    assert '<span class="pill reviewing">review</span> <span class="id">a</span>' in drawn
    assert f"<code>{APPROVE}</code>" in drawn


def test_the_end_of_a_run_says_what_to_type_for_a_review() -> None:
    world = reviewing().say(ev.RunFinished())
    assert view(world).sentence == (
        "Nothing more can happen by itself: 1 blocked and 1 reviewing. "
        f"1 waits for your review: `{APPROVE}`; then `{RESUME}`."
    )
    assert view(world).next[-1] == "daplug-supervise report"
    assert verdict(made(world)) == ("Waits for a person", "stuck")


def test_many_reviews_are_counted_and_cut() -> None:
    names = [f"t{at}" for at in range(60)]
    world = World(plan({name: task(review="human") for name in names}, {"codex": Provider(parallel=60)}))
    for name in names:
        world.begin(name).say(ev.AttemptExited(name, result()), ev.ReviewRequested(name))
    world.say(ev.RunFinished())
    assert "60 wait for your review: `daplug-supervise task approve t0`;" in view(world).sentence
    text = report_text(report(world.run, world.at), 120)
    assert text.split("Waits for your review\n")[1].split("\n\n")[0].endswith("\n  and 40 more")
    drawn = page(world.run, report(world.run, world.at), world.at)
    assert "And 10 tasks more: see the table of tasks." in drawn


# --- questions --------------------------------------------------------------------------------------------------


def test_a_question_is_told_whole_with_what_to_type() -> None:
    found = ask(asking())
    assert found.sentence == "Stuck since 01:22:08Z: its agent asks: which database?"
    assert found.question == "which database?"
    assert found.next == (
        "daplug-supervise task answer a 'your answer'",
        "daplug-supervise task logs a",
        "daplug-supervise task skip a --reason ...",
    )
    assert why_text(found, 80).splitlines()[:2] == [
        "a: Stuck since 01:22:08Z: its agent asks: which database?",
        "  daplug-supervise task answer a 'your answer'",
    ]
    assert ask(asking(" \n")).sentence == "Stuck since 01:22:08Z: its agent asks: (nothing)"


def test_a_long_question_is_shown_below_and_is_harmless() -> None:
    world = asking(LONG)
    found = ask(world)
    assert len(found.sentence) < 400
    assert found.question == LONG
    said = why_text(found, 60)
    assert not set(said) & {"\x1b", "\u202e"}
    assert (
        "  | Which database?\n  |\n  | - sqlite\n  | - postgres \\x1b[2J\\u202e\n  | It matters a lot."
        in said
    )
    assert said.count("It matters a lot.") >= 25
    assert max(map(len, said.splitlines())) <= 60
    shown = task_text(task_detail(world.run, "a", world.at, True), world.at, 60)
    assert "\n  | - sqlite\n" in shown
    short = status_text(view(world), 60)
    assert "    | - sqlite\n" in short
    assert "    | ... (`daplug-supervise task why a` shows all of it)\n" in short
    text = report_text(made(world), 60)
    assert "\nAsked by agents\n  a: A\n" in text
    assert "\nFailures\n" not in text
    assert "    | - sqlite\n" in text
    drawn = page(world.run, made(world), world.at)
    assert (
        "<blockquote><div>Which database?</div><br><div>- sqlite</div><div>- postgres \\x1b[2J\\u202e</div>"
        in drawn
    )
    assert '<span class="pill stuck">question</span>' in drawn
    assert not set(short + text + drawn) & {"\x1b", "\u202e"}


def test_a_question_in_every_view() -> None:
    world = asking()
    [row] = view(world).attention
    assert (row.wants, row.question, row.next[0]) == (
        "answer", "which database?", "daplug-supervise task answer a 'your answer'",
    )  # fmt: skip
    [failure] = made(world).failures
    assert (failure.question, failure.next) == ("which database?", row.next)
    assert made(world).next == (row.next[0], row.next[1], RESUME)
    assert (
        tasks_text(tasks(world.run, world.at, True), world.at, 120)
        .splitlines()[1]
        .endswith("which database?")
    )
    world.say(ev.RunFinished())
    assert view(world).sentence.endswith(
        f" 1 asks you something: `daplug-supervise task answer a 'your answer'`; then `{RESUME}`."
    )


def test_a_question_of_a_part() -> None:
    world = World(plan({"a": (), "c": task(parent="a")})).say(ev.Delegated("a"))
    world.stuck("c", result("needs_input", "which?", 0))
    assert "waits for a person: c asks something." in ask(world).sentence
    assert ask(world).next[0] == "daplug-supervise task answer c 'your answer'"
    world.say(ev.RunFinished())
    told = "`daplug-supervise task answer c 'your answer'`"
    assert (
        f"1 asks you something: {told}; 1 is delegated and cannot go on without you: {told};"
        in view(world).sentence
    )


# --- what was said ----------------------------------------------------------------------------------------------


def discussed() -> World:
    """A question, a rejection and an approval."""
    world = asking().tick(60).say(ev.TaskAnswered("a", "sqlite", "ann")).tick(1)
    world.begin("a").tick(5).say(ev.AttemptExited("a", result()), ev.ReviewRequested("a"))
    world.tick(30).say(ev.Rejected("a", "no tests \x1b[1m", "bob")).tick(2)
    return world


def test_what_people_said_goes_with_the_next_attempt_and_is_kept() -> None:
    world = discussed()
    assert ask(world).sentence == (
        "Ready: provider codex starts it next; what a person said of it goes with it."
    )
    world.begin("a").say(ev.AttemptExited("a", result()), ev.ReviewRequested("a"))
    world.tick(9).say(ev.Approved("a", "ann"))
    said = said_by_people(world.run)
    assert [(one.of, one.by, one.at - T0) for one in said] == [
        ("answer", "ann", 65.0), ("rejection", "bob", 101.0), ("approval", "ann", 112.0),
    ]  # fmt: skip
    lines = report_text(made(world), 120).split("\nSaid by people\n")[1].split("\n\n")[0].splitlines()
    assert lines == [
        "  a approved by ann, 2026-11-21 01:23:55Z",
        "  a rejected by bob, 2026-11-21 01:23:44Z: no tests \\x1b[1m",
        "  a answered by ann, 2026-11-21 01:23:08Z: sqlite (asked: which database?)",
    ]
    shown = task_text(task_detail(world.run, "a", world.at, True), world.at, 120)
    assert "\nSaid by people\n  approved by ann, 2026-11-21 01:23:55Z\n" in shown
    drawn = page(world.run, made(world), world.at)
    assert "<h2>Said by people</h2>" in drawn
    assert "rejected by bob, 2026-11-21 01:23:44Z: no tests \\x1b[1m" in drawn
    [row] = [one for one in ledger(world.run).tasks if one.task == "a"]
    assert row.remarks == said


def test_many_remarks_are_cut() -> None:
    world = World(plan({"a": ()}))
    for _ in range(25):
        world.begin("a").say(
            ev.AttemptExited("a", result()), ev.ReviewRequested("a"), ev.Rejected("a", "again")
        )
    lines = report_text(made(world), 120).split("\nSaid by people\n")[1].split("\n\n")[0].splitlines()
    assert (len(lines), lines[-1]) == (21, "  and 5 more")
    assert lines[0] == "  a rejected, 2026-11-21 01:22:03Z: again"


def test_a_clock_that_was_set_moves_what_was_said() -> None:
    world = discussed()
    world.begin("a").say(ev.AttemptExited("a", result()), ev.ReviewRequested("a"), ev.Approved("a", "ann"))
    before = [one.at for one in said_by_people(world.run)]
    world.say(ev.RunStarted(boot="x", booted=100.0)).say(ev.RunStarted(boot="x", booted=3700.0))
    assert [one.at for one in said_by_people(world.run)] == pytest.approx([at + 3600 for at in before])
