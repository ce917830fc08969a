"""Changing a plan while it runs: what is refused, what follows, and what stays when the plan file is run again."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from core_making import Story, plan_of, result
from core_making import task as of_codex

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.surgery.edits import Edit, delegation, with_edits
from daplug_supervisor.core.surgery.new_tasks import Known, NewTask
from daplug_supervisor.errors import NotPossibleError, PlanError

PROVIDERS = {"codex": Provider(), "local": Provider(worker="command")}
KNOWN = Known({"gemini": Provider(), "local": Provider(worker="command")})


def task(*needs: str, **more: Any) -> Task:
    return of_codex(*needs, provider="local", **more)


def chain(*names: str) -> Plan:
    """Commands of which each needs the one before it."""
    tasks = {name: task(*names[max(0, at - 1) : at]) for at, name in enumerate(names)}
    return plan_of(tasks, PROVIDERS)


def new(name: str, *needs: str, **more: Any) -> NewTask:
    return NewTask(name, "true", command=True, needs=needs, **more)


def say(story: Story, verb: Any, **more: Any) -> list[ev.Event]:
    """Carry a command out."""
    events = events_of(story.run, Command("c", verb, **more), story.now, KNOWN)
    story.record(*events)
    return events


def refused(story: Story, words: str, verb: Any, **more: Any) -> None:
    before = deepcopy(story.state)
    with pytest.raises(NotPossibleError, match=words):
        events_of(story.run, Command("c", verb, **more), story.now, KNOWN)
    assert story.state == before


def test_parts_are_added_in_an_order_in_which_each_comes_after_what_it_needs() -> None:
    story = Story(chain("a"))
    events = say(story, "split", task="a", new=(new("last", "mid"), new("mid", "first"), new("first")))
    added = [event.id for event in events if isinstance(event, ev.TaskAdded)]
    assert (added, story.task("a").status) == (["first", "mid", "last"], "delegated")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((), "split into nothing"),
        ((new("x"), new("X")), "a task x already"),
        ((new("x", "y"), new("y", "x")), "would wait for each other"),
        ((new("x", "a"),), "would wait for each other"),
        ((new("x", "nosuch"),), "no task 'nosuch'"),
        ((new("x"), new("y", parent="b")), "cannot be one of b"),
    ],
)
def test_a_split_that_cannot_be(parts: tuple[NewTask, ...], words: str) -> None:
    refused(Story(chain("a", "b")), words, "split", task="a", new=parts)


def test_what_is_done_is_not_split() -> None:
    story = Story(chain("a"))
    story.finish("a")
    refused(story, "task a is done", "split", task="a", new=(new("x"),))


def test_a_task_that_others_have_come_after_stays() -> None:
    story = Story(chain("a", "b"))
    story.record(ev.TaskSkipped("a"))
    story.start("b")
    refused(story, "task b, which is running, was to come after it", "remove", task="a", force=True)
    story.record(
        ev.AttemptExited("b", result(OutcomeKind.COMPLETED)), ev.VerificationPassed("b"), ev.Landed("b")
    )
    refused(story, "task b, which is done, was to come after it", "remove", task="a", force=True)


def test_only_an_attempt_delegates_without_naming_a_task() -> None:
    refused(Story(chain("a")), "say which task", "delegate")


def test_a_new_provider_does_not_become_the_default() -> None:
    story = Story(plan_of({"a": Task(instructions="do it", provider="codex")}, PROVIDERS))
    say(story, "create", new=(NewTask("b", "more", provider="gemini"),))
    say(story, "create", new=(NewTask("c", "more"),))
    assert (story.run.spec("b").provider, story.run.spec("c").provider) == ("gemini", "codex")


def family() -> Story:
    """An agent at work that may divide what it does, with two parts, one of which runs a command."""
    agent = Task(instructions="do it", provider="codex", delegate=1, timeout=60.0)
    story = Story(plan_of({"p": agent, "other": task("p"), "only": task()}, PROVIDERS))
    story.start("p")
    say(story, "create", new=(NewTask("part", "more"),), sender="p")
    say(story, "create", new=(new("shell", parent="p"),))
    return story


@pytest.mark.parametrize(
    ("task", "edit", "sender", "words"),
    [
        ("p", Edit(priority=1), "", "task p is running: it can be changed when it has ended"),
        ("done", Edit(priority=1), "", "task done is done: what it has done was judged"),
        ("other", Edit(priority=0), "", "is so already"),
        ("other", Edit(remove_needs=("only",)), "", "it does not need only; it needs p"),
        ("only", Edit(remove_needs=("p",)), "", "it needs nothing"),
        ("only", Edit(add_needs=("other",), needs=("nosuch",)), "", "no task 'nosuch'"),
        ("part", Edit(add_needs=("other",)), "", "would wait for each other"),
        ("only", Edit(provider="codex"), "", "runs agents, no commands"),
        ("other", Edit(priority=0), "p", "only tasks that are parts of it, and other is none"),
        ("part", Edit(model="big"), "p", "an agent cannot choose models"),
        ("part", Edit(provider="gemini"), "p", "the plan has no provider 'gemini'"),
        ("part", Edit(timeout=None), "p", "more time than task p"),
        ("shell", Edit(text="rm -rf ."), "p", "tasks for agents only"),
    ],
)
def test_a_change_that_cannot_be(task: str, edit: Edit, sender: str, words: str) -> None:
    story = family()
    say(story, "create", new=(new("done"),))
    story.finish("done")
    refused(story, words, "update", task=task, edit=edit, sender=sender)


def test_the_provider_that_it_has_already_leaves_the_model_as_it_is() -> None:
    agent = Task(instructions="do it", provider="codex", model="small", variant="high", delegate=1)
    story = Story(plan_of({"p": agent}, PROVIDERS))
    story.start("p")
    say(story, "create", new=(NewTask("part", "more"),), sender="p")
    refused(story, "is so already", "update", task="part", edit=Edit(provider="codex"), sender="p")
    say(story, "update", task="part", edit=Edit(provider="codex", priority=-1), sender="p")
    part = story.run.spec("part")
    assert (part.model, part.variant, part.priority) == ("small", "high", -1)


def test_a_command_may_change_what_it_may_create() -> None:
    story = Story(plan_of({"p": task(delegate=1), "q": task()}, PROVIDERS))
    story.start("p")
    for one in (new("shell"), NewTask("part", "more", provider="codex", model="m")):
        say(story, "create", new=(one,), sender="p")
    say(story, "update", task="shell", edit=Edit(text="echo"), sender="p")
    say(story, "update", task="part", edit=Edit(provider="gemini", model="other"), sender="p")
    part = story.run.spec("part")
    assert (story.run.spec("shell").command, part.provider, part.model) == (
        ("/bin/sh", "-c", "echo"), "gemini", "other",
    )  # fmt: skip


def test_whose_attempt_is_being_cancelled_has_nothing_to_say_any_more() -> None:
    story = family()
    say(story, "cancel", task="p")
    for verb, more in (
        ("create", {"new": (NewTask("late", "more"),)}),
        ("update", {"task": "part", "edit": Edit(text="all")}),
        ("delegate", {}),
    ):
        refused(story, "task p is being cancelled", verb, sender="p", **more)
    say(story, "create", new=(NewTask("wanted", "more", parent="p"),))


def test_each_field_that_can_be_changed() -> None:
    story = family()
    say(story, "update", task="shell", edit=Edit(text="echo", title="T", timeout=5.0))
    say(story, "update", task="part", edit=Edit(text="less", priority=-1), sender="p")
    say(story, "update", task="part", edit=Edit(provider="gemini", model="big", add_needs=("only",)))
    shell, part = story.run.spec("shell"), story.run.spec("part")
    assert (shell.command, shell.title, shell.timeout) == (("/bin/sh", "-c", "echo"), "T", 5.0)
    assert (part.instructions, part.priority, part.provider, part.model) == ("less", -1, "gemini", "big")
    assert (part.needs, story.task("part").provider) == (("only",), "gemini")


def test_what_is_removed_is_needed_by_nobody_or_gives_them_its_needs() -> None:
    story = family()
    refused(story, "task p is running: cancel it first", "remove", task="p", force=True)
    refused(Story(chain("a")), "the only one of run r1", "remove", task="a")
    refused(Story(chain("a", "b")), "task a is needed by b: give them other needs", "remove", task="a")
    story.finish("only")
    refused(story, "task only is done: it stays", "remove", task="only")
    story.record(ev.DelegationRequested("p"), ev.Delegated("p", result(OutcomeKind.DELEGATED)))
    assert say(story, "remove", task="p", force=True, reason="why")[-1] == ev.TaskRemoved("p", "why")
    assert {name: (spec.needs, spec.parent) for name, spec in story.run.plan.tasks.items()} == {
        "other": ((), None), "only": ((), None), "part": ((), None), "shell": ((), None),
    }  # fmt: skip


def test_a_name_under_which_work_lies_is_not_given_to_another_task() -> None:
    story = Story(plan_of(dict.fromkeys(("tried", "divided", "untouched", "last"), task()), PROVIDERS))
    story.attempt("tried", OutcomeKind.PLAN_ERROR)
    say(story, "split", task="divided", new=(new("part"),))
    for name in ("tried", "divided", "untouched"):
        say(story, "remove", task=name)
    words = "was removed after it had begun, and its work is still there under that name"
    refused(story, f"a task Tried {words}", "create", new=(new("Tried"),))
    refused(story, f"a task divided {words}", "split", task="last", new=(new("divided"),))
    say(story, "create", new=(new("untouched"),))


def test_who_may_delegate_what() -> None:
    story = family()
    refused(story, "may delegate only itself", "delegate", task="part", sender="p")
    refused(story, "task other has no children: create its parts first", "delegate", task="other")
    story.start("only")
    refused(story, "task only may not delegate", "delegate", sender="only")
    assert say(story, "delegate", sender="p") == [ev.DelegationRequested("p")]
    refused(story, "is being delegated already", "delegate", sender="p")
    say(story, "create", new=(new("below", parent="other"),))
    assert say(story, "delegate", task="other") == [ev.Delegated("other")]
    refused(story, "task other is delegated: it cannot be delegated", "delegate", task="other")
    say(story, "create", new=(new("last", parent="shell"),))
    story.record(ev.TaskCancelled("shell"))
    assert say(story, "delegate", task="shell") == [ev.TaskReset("shell"), ev.Delegated("shell")]
    story.record(ev.CancelRequested("p"))
    refused(story, "is being cancelled already", "delegate", task="p")
    with pytest.raises(NotPossibleError, match="has no children"):
        delegation(story.task("only"), 0)


# --- the plan file is run again ---------------------------------------------------------------------------------


FILE = plan_of({"a": task(), "b": task("a"), "c": task("b")}, PROVIDERS)


def edited() -> Story:
    """The file's run, with one task created, one changed, and one removed."""
    story = Story(FILE)
    say(story, "create", new=(NewTask("made", "x", provider="gemini", needs=("a",)),))
    say(story, "update", task="a", edit=Edit(priority=7))
    say(story, "remove", task="b", force=True)
    return story


def test_the_same_file_again_changes_nothing() -> None:
    story = edited()
    merged = with_edits(story.run, FILE)
    assert merged.tasks == story.run.plan.tasks
    assert set(merged.providers) == {*PROVIDERS, "gemini"}
    assert with_edits(story.run, merged).tasks == merged.tasks


def test_what_the_file_says_anew_counts() -> None:
    story = edited()
    again = plan_of({**FILE.tasks, "a": task(title="new"), "more": task("c")}, PROVIDERS)
    merged = with_edits(story.run, again)
    assert (merged.tasks["a"], set(merged.tasks)) == (again.tasks["a"], {"a", "c", "made", "more"})
    assert merged.tasks["c"].needs == ("a",)
    taken = plan_of({**FILE.tasks, "made": task()}, PROVIDERS)
    assert with_edits(story.run, taken).tasks["made"] == task()


def test_what_was_removed_comes_back_with_what_needs_it() -> None:
    story = edited()
    say(story, "remove", task="c")
    assert set(with_edits(story.run, FILE).tasks) == {"a", "made"}
    merged = with_edits(story.run, plan_of({**FILE.tasks, "d": task("c")}, PROVIDERS))
    assert set(merged.tasks) == {"a", "b", "c", "d", "made"}


def test_what_a_created_task_waits_for_cannot_leave_the_file_unnoticed() -> None:
    story = Story(FILE)
    say(story, "create", new=(new("made", "c"),))
    without = plan_of({"a": task(), "b": task("a")}, PROVIDERS)
    with pytest.raises(PlanError, match="task made was changed while the run went on, and waits for c"):
        with_edits(story.run, without)
    for name in ("a", "b", "c"):
        story.finish(name)
    assert with_edits(story.run, without).tasks["made"].needs == ("c",), "what has started stays anyway"


def test_parts_go_on_without_a_parent_that_the_file_has_no_longer() -> None:
    story = Story(FILE)
    say(story, "create", new=(new("part", parent="c"),))
    assert with_edits(story.run, FILE).tasks["part"].parent == "c"
    assert with_edits(story.run, plan_of({"a": task()}, PROVIDERS)).tasks["part"].parent is None


def test_parts_without_their_parent_stay_also_when_the_file_is_run_once_more() -> None:
    story = Story(FILE)
    say(story, "create", new=(new("part", parent="c"),))
    file = plan_of({"a": task()}, PROVIDERS)
    story.record(ev.PlanChanged(with_edits(story.run, file)))
    assert set(with_edits(story.run, file).tasks) == {"a", "part"}


@pytest.mark.parametrize("again", [True, False])
def test_what_has_failed_and_left_the_file_goes_if_it_would_be_tried_again(*, again: bool) -> None:
    story = Story(FILE)
    story.attempt("a", OutcomeKind.PLAN_ERROR)
    say(story, "create", new=(new("part", parent="a"),))
    without = plan_of({"x": task()}, PROVIDERS)
    if again:
        story.record(ev.RunFinished())
    assert with_edits(story.run, without).tasks["part"].parent == (None if again else "a")
    say(story, "create", new=(new("made", "a"),))
    if again:
        story.record(ev.RunFinished())
        with pytest.raises(PlanError, match="task made was changed while the run went on, and waits for a"):
            with_edits(story.run, without)
    else:
        assert with_edits(story.run, without).tasks["made"].needs == ("a",)
