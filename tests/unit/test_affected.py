"""What a change would affect: the run stays as it is, and what is said of it comes true when the change is made."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from core_making import Story, plan_of
from core_making import task as of_codex

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.surgery.affected import Affected, Difference, Moved, Waiting, affected, waits_for
from daplug_supervisor.core.surgery.edits import Edit
from daplug_supervisor.core.surgery.new_tasks import Known, NewTask
from daplug_supervisor.views.affected import Preview, affected_text

LOCAL = Provider(worker="command")


def task(*needs: str) -> Task:
    return of_codex(*needs, provider="local")


def chain(*names: str) -> Plan:
    """Commands of which each needs the one before it."""
    return plan_of(
        {name: task(*names[max(0, at - 1) : at]) for at, name in enumerate(names)}, {"local": LOCAL}
    )


def shown(story: Story, **command: Any) -> Affected:
    """What a command would affect; checked to change nothing, and to be what comes of it."""
    known = Known({"gemini": Provider()})
    before = deepcopy(story.state)
    events = events_of(story.run, Command("c", **command), story.now, known)
    found = affected(story.run, events, story.now)
    assert story.state == before
    story.record(*events)
    assert set(found.added) == story.run.tasks.keys() - before.runs[story.run.id].tasks.keys()
    for one in found.waits:
        assert waits_for(story.run, one.task) == one.after
    for name in found.ready:
        assert not story.task(name).unmet
    return found


def new(name: str, *needs: str, **more: Any) -> NewTask:
    return NewTask(name, "true", command=True, needs=needs, **more)


def test_a_new_task_is_ready_or_blocked() -> None:
    story = Story(chain("a"))
    assert shown(story, verb="create", new=(new("b"),)) == Affected(added=("b",), ready=("b",))
    assert shown(story, verb="create", new=(new("c", "a", "b"),)) == Affected(
        added=("c",), blocked=("c",), waits=(Waiting("c", (), ("a", "b")),)
    )
    found = shown(story, verb="create", new=(NewTask("d", "do it", provider="gemini"),))
    assert (found.added, found.providers) == (("d",), ("gemini",))


def test_other_needs_make_a_task_ready_or_blocked_or_have_it_wait_for_others() -> None:
    story = Story(chain("a", "b"))
    story.record(ev.TaskAdded("c", task()))
    found = shown(story, verb="update", task="b", edit=Edit(add_needs=("c",)))
    assert (found.waits, found.ready, found.blocked) == ((Waiting("b", ("a",), ("a", "c")),), (), ())
    assert found.changed == (Difference("b", "needs a -> a, c"),)
    found = shown(story, verb="update", task="b", edit=Edit(needs=()))
    assert (found.waits, found.ready) == ((), ("b",))
    found = shown(story, verb="update", task="b", edit=Edit(needs=("a",), priority=5))
    assert (found.blocked, found.waits) == (("b",), (Waiting("b", (), ("a",)),))
    assert found.changed == (Difference("b", "needs none -> a, priority 0 -> 5"),)


def test_what_needs_a_split_task_waits_for_all_of_its_parts() -> None:
    story = Story(chain("a", "b"))
    story.attempt("a", OutcomeKind.BLOCKED)
    assert shown(story, verb="split", task="a", new=(new("x"), new("y", "x"))) == Affected(
        added=("x", "y"),
        statuses=(Moved("a", "stuck", "delegated"),),
        ready=("x",),
        blocked=("y",),
        waits=(Waiting("a", (), ("x", "y")), Waiting("b", ("a",), ("x", "y")), Waiting("y", (), ("x",))),
    )
    assert shown(story, verb="split", task="x", new=(new("p"), new("q"))).waits == (
        Waiting("a", ("x", "y"), ("p", "q", "y")),
        Waiting("b", ("x", "y"), ("p", "q", "y")),
        Waiting("x", (), ("p", "q")),
        Waiting("y", ("x",), ("p", "q")),
    )
    story.finish("p", "q")
    assert waits_for(story.run, "y") == ("x",), "its parts are done, and it is not yet"


def test_what_is_removed_or_skipped_lets_others_go_on() -> None:
    story = Story(chain("a", "b", "c"))
    found = shown(story, verb="remove", task="b", force=True)
    assert (found.removed, found.waits) == (("b",), (Waiting("c", ("b",), ("a",)),))
    assert found.changed == (Difference("c", "needs b -> a"),)
    found = shown(story, verb="skip", task="a")
    assert (found.statuses, found.ready) == ((Moved("a", "pending", "skipped"),), ("c",))


def test_what_is_not_selected_does_not_become_ready() -> None:
    story = Story(chain("a"), only=("a",))
    assert shown(story, verb="create", new=(new("b"),)).ready == ()


def test_as_text_one_line_for_each_thing() -> None:
    found = Affected(
        ("n",), (Difference("c", "priority 0 -> 5"),), ("r",), ("p",), (Moved("s", "failed", "delegated"),),
        ("n", "o"), ("b",), (Waiting("w", ("x",), ("y", "z")), Waiting("n", (), ("y",))),
    )  # fmt: skip
    assert affected_text(Preview("update", "p-1", "task\x1b c is changed", found), 80).splitlines() == [
        "Nothing was changed. This would be: task\\x1b c is changed",
        "  added        n",
        "  removed      r",
        "  new provider p",
        "  could start  n, o",
        "  blocked      b",
        "  changed      c: priority 0 -> 5",
        "  status       s: failed -> delegated",
        "  waits        w for y, z (before: for x)",
        "  waits        n for y",
    ]
    long = Affected(added=tuple(f"task-{number}" for number in range(9)))
    lines = affected_text(Preview("split", "p-1", "it is split", long), 40).splitlines()
    assert lines[1:3] == ["  added        task-0, task-1, task-2,", "               task-3, task-4, task-5,"]
