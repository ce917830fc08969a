"""Where the work of parts comes home, and how that is told."""

from __future__ import annotations

from typing import Any

from core_making import Story, plan_of, result, task
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.claims import Claim, claim_of, kept, lacking
from daplug_supervisor.core.delegation import children_done, landing_on, parts_of, progress, reviewed
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.queues import unmet
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.supervisor.attempts.landing import message
from daplug_supervisor.supervisor.closing.cleaning import over
from daplug_supervisor.views.derived import is_ready
from daplug_supervisor.views.report.landed import homes_of, landing
from daplug_supervisor.views.report.overlap import overlaps
from daplug_supervisor.views.tasks import tasks
from daplug_supervisor.views.why import why
from daplug_supervisor.views.work import WorktreeRow, work_left, worktree_words
from daplug_supervisor.workspace.git.changes import Work

RUNS = "daplug/run/r1"


def family(**middle: Any) -> Story:
    """`a` waits for `b`, which waits for `c` and `d`; `e` is nobody's part."""
    tasks = {
        "a": task(worktree=True, title="whole"),
        "b": task(worktree=True, parent="a", **middle),
        "c": task(worktree=True, parent="b", title="third"),
        "d": task(worktree=True, parent="b"),
        "e": task(worktree=True),
    }
    story = Story(plan_of(tasks))
    story.record(ev.Delegated("a"), ev.Delegated("b"))
    return story


def done(story: Story, name: str, branch: str, *files: str, commit: str = "x") -> None:
    story.start(name)
    story.record(
        ev.AttemptExited(name, result()), ev.VerificationPassed(name), ev.StepDone(name, "merge", branch),
        ev.Landed(name, commit, files),
    )  # fmt: skip


def test_a_person_looks_at_a_part_unless_something_above_is_looked_at_with_it() -> None:
    story = family(review="human")
    assert [reviewed(story.run, name) for name in "abcde"] == [False, True, False, False, False]
    story.record(ev.TaskReset("b"))
    assert [reviewed(story.run, name) for name in "abcde"] == [False, True, True, True, False]
    story.record(ev.TaskRemoved("b"))
    assert not reviewed(story.run, "c")


def test_work_comes_home_on_the_branch_of_the_nearest_that_waits() -> None:
    story = family()
    assert landing_on(story.run, "c") == ("a", "b")
    assert landing_on(story.run, "e") == ()
    story.record(ev.TaskReset("b"))
    assert landing_on(story.run, "c") == ("a",)
    story.record(ev.TaskCancelled("a"))
    assert landing_on(story.run, "c") == ()
    assert parts_of(story.run, "a") == ["b", "c", "d"]


def test_there_is_no_end_to_how_deep_people_may_divide_a_task() -> None:
    names = [f"t{number}" for number in range(3000)]
    above = dict(zip(names[1:], names, strict=False))
    story = Story(plan_of({name: task(parent=above.get(name)) for name in names}))
    assert parts_of(story.run, "t0") == names[1:]


def test_what_is_to_stay_in_a_worktree_has_the_work_of_its_parts_and_goes_no_further() -> None:
    """Parts take `land: false` over from the task that they are a part of: their work is a part of its own."""
    story = family(land=False)
    assert (landing_on(story.run, "d"), landing_on(story.run, "b")) == (("b",), ())
    stays = task(worktree=True, land=False)
    parts = {"b": replace(stays, parent="a"), "c": replace(stays, parent="b")}
    story = Story(plan_of({"a": stays, **parts}))
    story.record(ev.Delegated("a"), ev.Delegated("b"))
    assert (landing_on(story.run, "c"), landing_on(story.run, "b")) == (("a", "b"), ("a",))
    story.record(ev.TaskCancelled("b"))
    assert landing_on(story.run, "c") == ("a",)


def test_no_part_begins_while_the_task_that_it_is_a_part_of_is_at_work() -> None:
    """It would neither find what that has begun, nor come home with it."""
    story = Story(plan_of({"a": task(), "z": task(), "b": task("z", parent="a")}))
    story.start("a", "z")
    assert (unmet(story.run, "b"), story.task("b").unmet) == (("z", "a"), 2)
    story.record(ev.TaskAdded("c", task(parent="a")))
    assert not story.start_all()
    assert why(story.run, "c", story.now, live=True).sentence == "Waits for a (running)."
    assert tasks(story.run, story.now, live=True)[-1].waits_for == ("a",)
    story.record(ev.DelegationRequested("a"))
    assert not story.start_all()
    story.record(ev.Delegated("a"))
    assert story.start_all() == ["c"]
    story.record(ev.TaskReset("a"), ev.RetryScheduled("c", result(), not_before=0.0, uses_try=False))
    assert is_ready(story.run, story.task("c"), story.now)
    story.start("a")
    assert not is_ready(story.run, story.task("c"), story.now)
    assert not story.start_all()


def whole() -> Run:
    story = family()
    done(story, "c", "daplug/r1-b", "one", "both", commit="c")
    done(story, "d", "daplug/r1-b", "both", commit="d")
    for name, branch in (("b", "daplug/r1-a"), ("a", RUNS)):
        story.record(ev.ChildrenDone(name, 1, f"{name}-1", "codex", result()), ev.VerificationPassed(name))
        story.record(ev.StepDone(name, "merge", branch), ev.Landed(name, name, ("both", "one")))
    done(story, "e", RUNS, "one", commit="e")
    return story.run


def test_the_commit_of_a_whole_names_its_parts_when_all_are_done() -> None:
    run = whole()
    assert message(run, run.tasks["a"]) == "a: whole\n\nOf 3 parts:\n- b\n- c: third\n- d"
    assert message(run, run.tasks["e"]) == "e: e"
    open_ = family().run
    assert message(open_, open_.tasks["b"]) == "b: b"


def test_only_what_is_on_the_branch_of_the_run_is_counted_there() -> None:
    found = landing(whole())
    assert (found.branch, found.commits) == (RUNS, 2)
    assert [row.task for row in homes_of(found)] == ["a", "e"]
    assert len(found.tasks) == 5
    story = family()
    done(story, "c", "daplug/r1-b")
    found = landing(story.run)
    assert (found.branch, found.commits, found.review, homes_of(found)) == ("", 0, (), [])


def test_what_parts_have_changed_is_not_told_of_their_parents_as_well() -> None:
    run = whole()
    assert {row.tasks: row.files for row in overlaps(run)} == {("c", "d"): ("both",), ("c", "e"): ("one",)}
    works = {
        name: Work("", f"daplug/r1-{name}", 2, files, ()) for name, files in
        {"a": ("one", "both", "own"), "c": ("one", "both"), "e": ("own",)}.items()
    }  # fmt: skip
    left = work_left(run, works)
    assert [row.tasks for row in left.overlaps] == [("a", "e")]
    assert worktree_words(left.worktrees[0]) == "freed, branch daplug/r1-a, 2 commits"
    assert isinstance(left.worktrees[0], WorktreeRow)


def test_whose_branch_is_still_waited_for_is_known_from_the_journal() -> None:
    story = family()
    assert over(story.entries).waiting.keys() == over(story.entries).divided == {"a", "b"}
    story.record(ev.TaskReset("b"), ev.Delegated("b"), ev.TaskRemoved("b"))
    assert over(story.entries).waiting.keys() == over(story.entries).divided == {"a"}
    story.record(ev.TaskCancelled("a"))
    assert not over(story.entries).waiting
    assert over(story.entries).divided == {"a"}


def test_what_waits_for_a_person_and_what_parts_did_is_kept_until_it_has_landed() -> None:
    story = family()
    done(story, "c", "daplug/r1-b")
    done(story, "d", "daplug/r1-b")
    story.record(ev.ChildrenDone("b", 1, "b-1", "codex", result()))
    assert over(story.entries).waiting.keys() == {"a"}
    assert over(story.entries).divided == {"a", "b"}
    story.record(ev.ReviewRequested("b"))
    assert over(story.entries).waiting["b"] == "waits for a person to look at its work"
    story.record(ev.Approved("b"))
    assert over(story.entries).waiting.keys() == {"a"}
    stays = over([*story.entries, ev.Entry(99, "r1", 0.0, ev.Landed("b"))])
    assert stays.divided == {"a", "b"}, "it was to stay where it is"
    story.record(ev.StepDone("b", "merge", "daplug/r1-a"), ev.Landed("b", "x", ("file",)))
    assert over(story.entries).divided == {"a"}


def test_a_whole_hands_on_what_its_parts_do_and_what_none_does_is_missed() -> None:
    """Of the same name it is what the last one says; what was skipped says nothing."""
    tasks = {
        "a": task(outputs=("x", "y", "z")),
        **{name: task(parent="a") for name in ("b", "c", "d")},
        "e": task(),
        "f": task(parent="e"),
    }
    story = Story(plan_of(tasks))
    story.record(ev.Delegated("a"), ev.Delegated("e"), ev.TaskSkipped("d"))
    for name, outputs in (("b", {"x": 1, "y": 1}), ("c", {"x": 2}), ("f", {"x": 3})):
        story.start(name)
        claimed = result(OutcomeKind.COMPLETED)
        claimed = replace(claimed, outcome=replace(claimed.outcome, claim=kept(Claim(outputs=outputs))))
        story.record(ev.AttemptExited(name, claimed), ev.VerificationPassed(name), ev.Landed(name))
    found = children_done(story.run, story.task("a"), "token")
    assert (found.number, found.result.outcome.detail) == (1, "its 3 children are done or skipped")
    claim = claim_of(found.result.outcome.claim)
    assert claim.outputs == {"x": 2, "y": 1}
    assert lacking(claim, ("x", "y", "z")) == ("z",)
    alone = children_done(story.run, story.task("e"), "token").result.outcome
    assert (alone.detail, alone.claim) == ("its child is done", None)
    assert progress(story.task("a")) == (3, 3)
