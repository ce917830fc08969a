"""Tasks that are created while a plan runs: what they take over, and what agents may not have (rows C3, C4, C20)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from core_making import Story, plan_of, result

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, Verb, events_of
from daplug_supervisor.core.lookup import find_provider
from daplug_supervisor.core.plan import Budget, Criterion, Provider, Retry, Task
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.core.surgery.edits import Edit
from daplug_supervisor.core.surgery.new_tasks import Known, NewTask
from daplug_supervisor.core.surgery.permitted import MOST_CHILDREN, free_id
from daplug_supervisor.errors import NotPossibleError

PROVIDERS = {"codex": Provider(), "glm": Provider(), "local": Provider(worker="command")}
KNOWN = Known({"gemini": Provider("gemini"), "local": Provider(worker="command")})

P = Task(
    title="the whole",
    instructions="do all of it",
    provider="glm",
    model="big",
    cli="opencode",
    variant="high",
    priority=2,
    timeout=900.0,
    needs=("first",),
    delegate=2,
    review="human",
    worktree=True,
    sandbox="strict",
    budget=Budget(cost=3.0),
    accept=(Criterion("make test"),),
    outputs=("x",),
    estimate=60.0,
    files=("src/", "docs/**", "README.md"),
    env={"A": "b"},
    cwd="sub",
)
BELOW = Task(command=("true",), provider="local", parent="p", delegate=1)


def made(**options: Any) -> Story:
    """A run in which the agent of ``p`` is at work."""
    tasks = {
        "first": Task(command=("true",), provider="local"),
        "p": P,
        "other": Task(instructions="x", provider="glm"),
    }
    story = Story(plan_of(tasks, PROVIDERS, **options))
    story.finish("first")
    story.start("p")
    return story


def create(story: Story, new: NewTask, sender: str = "") -> Task:
    [event] = story.tell("create", known=KNOWN, new=(new,), sender=sender)
    assert isinstance(event, ev.TaskAdded)
    return event.spec


def refused(story: Story, words: str, verb: Verb = "create", **said: Any) -> None:
    before = deepcopy(story.state)
    if isinstance(said.get("new"), NewTask):
        said["new"] = (said["new"],)
    with pytest.raises(NotPossibleError, match=words):
        events_of(story.run, Command("c", verb, **said), story.now, KNOWN)
    assert story.state == before


# --- what is taken over -------------------------------------------------------------------------------------


def test_a_part_takes_over_all_but_what_is_its_own() -> None:
    found = create(made(), NewTask("n", "do a part", parent="p", title="T", needs=("first", "first")))
    plain = Task()
    own = {
        "title": "T",
        "instructions": "do a part",
        "needs": ("first",),
        "parent": "p",
        "delegate": 1,
        "review": None,
        "accept": (),
        "outputs": (),
        "estimate": None,
    }
    for name in Task.__struct_fields__:
        assert getattr(found, name) == own.get(name, getattr(P, name)), name
    assert plain.budget is None
    assert found.budget == P.budget


def test_a_part_of_a_part_may_divide_its_work_once_less_until_it_may_not() -> None:
    story = made()
    assert [
        create(story, NewTask(name, "x", parent=parent)).delegate
        for name, parent in (("a", "p"), ("b", "a"), ("c", "b"))
    ] == [1, 0, 0]


def test_what_is_said_of_a_new_task_counts() -> None:
    new = NewTask(
        "n",
        "x",
        parent="p",
        provider="gemini",
        model="pro",
        priority=5,
        timeout=3600.0,
        accept=(Criterion("true"),),
        files=("src/a.py",),
        inputs={"A": "b"},
        outputs=("y",),
        estimate=5.0,
    )
    story = made()
    found = create(story, new)
    for name in (
        "provider",
        "model",
        "priority",
        "timeout",
        "accept",
        "files",
        "inputs",
        "outputs",
        "estimate",
    ):
        assert getattr(found, name) == getattr(new, name), name
    assert (found.cli, found.variant) == (None, None)
    assert story.run.plan.providers["gemini"] == Provider("gemini")
    assert story.task("n").provider == story.pool("gemini").name


def test_a_task_of_its_own_takes_over_what_the_plan_says_for_all() -> None:
    created = Task(provider="glm", model="big", timeout=60.0, delegate=1, review="human", retry=Retry(7))
    story = made(created=created)
    found = create(story, NewTask("n", "x"))
    assert found == Task(
        instructions="x",
        provider="glm",
        model="big",
        timeout=60.0,
        delegate=1,
        review="human",
        retry=Retry(7),
    )
    line = create(story, NewTask("c", "make it", command=True))
    assert line == Task(command=("/bin/sh", "-c", "make it"), provider="local", timeout=60.0, retry=Retry(7))


def test_without_a_word_in_the_plan_an_agents_task_goes_to_its_first_provider_for_agents() -> None:
    assert create(made(), NewTask("n", "x")).provider == "codex"
    story = Story(plan_of({"a": Task(command=("true",), provider="local")}, {"local": PROVIDERS["local"]}))
    refused(story, "nothing says which provider runs task n: name one with --provider", new=NewTask("n", "x"))


def test_a_part_of_another_kind_takes_over_the_place_only() -> None:
    story = made()
    found = create(story, NewTask("n", "make", parent="p", command=True))
    assert found == Task(
        command=("/bin/sh", "-c", "make"),
        provider="local",
        parent="p",
        delegate=1,
        worktree=True,
        cwd="sub",
        priority=2,
    )
    assert create(story, NewTask("agent", "x", parent="n")).provider == "codex"


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (NewTask("first", "x"), "there is a task first already: take another name"),
        (NewTask("FIRST", "x"), r"there is a task first already \(upper and lower case are the same\)"),
        (NewTask("n", "x", needs=("n",)), "task n cannot wait for itself"),
        (NewTask("n", "x", needs=("firts",)), "no task 'firts' to wait for; did you mean first?"),
        (NewTask("n", "x", needs=("zzz",)), "no task 'zzz' to wait for$"),
        (NewTask("n", "x", parent="zzz"), "no task 'zzz'"),
        (NewTask("n", "x", parent="first"), "task first is done: it gets no more parts"),
        (NewTask("n", "x", parent="p", needs=("p",)), "would wait for each other: "),
        (NewTask("n", "x", provider="zzz"), "has no provider 'zzz'; it has codex, glm, local"),
        (NewTask("n", "x", provider="local"), "provider local runs commands, no agents"),
        (NewTask("n", "x", provider="glm", command=True), "provider glm runs agents, no commands"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(new: NewTask, words: str) -> None:
    refused(made(), words, new=new)


def test_a_task_of_another_run_cannot_be_waited_for() -> None:
    story = made()
    known = Known(KNOWN.providers, lambda name: "r9" if name == "far" else "")
    with pytest.raises(
        NotPossibleError, match="task far is of run r9: a task can only wait for tasks of its own"
    ):
        story.tell("create", known=known, new=(NewTask("n", "x", needs=("far",)),))


def test_one_task_is_created_at_a_time_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    story = made()
    refused(story, "create makes one task")
    monkeypatch.setattr("daplug_supervisor.core.surgery.permitted.MAX_TASKS", 3)
    with pytest.raises(NotPossibleError, match="run r1 has 3 tasks: that is the most there can be"):
        free_id(story.run, "n")


def test_a_provider_that_is_not_there_is_said_so_with_those_that_are() -> None:
    with pytest.raises(NotPossibleError, match="no provider 'zzz'; it has codex, glm, local"):
        find_provider(made().run, "zzz")


# --- agents -------------------------------------------------------------------------------------------------


def test_what_an_agent_creates_is_a_part_of_its_own_task() -> None:
    story = made()
    assert create(story, NewTask("n", "x"), "p").parent == "p"
    assert create(story, NewTask("m", "x", parent="n", provider="codex", model="big"), "p").parent == "n"
    create(story, NewTask("o", "x", files=("src/a.py", "docs/x/**", "README.md"), priority=2), "p")


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (NewTask("n", "x", parent="other"), "may create parts of itself only, and other is no part of it"),
        (NewTask("n", "x", command=True), "an agent can create tasks for agents only"),
        (NewTask("n", "x", accept=(Criterion("true"),)), "an agent can create tasks for agents only"),
        (NewTask("n", "x", model="bigger"), "an agent cannot choose models"),
        (NewTask("n", "x", provider="gemini"), "the plan has no provider 'gemini'; it has codex"),
        (NewTask("n", "x", priority=3), "a part cannot be more urgent than task p: at most 2"),
        (NewTask("n", "x", timeout=901.0), "a part cannot have more time than task p: at most 900s"),
        (
            NewTask("n", "x", files=("lib/a",)),
            r"lib/a is not among the files that task p may change: src/, docs",
        ),
        (NewTask("n", "x", files=("src/../lib/a",)), "is not among the files"),
    ],
)
def test_what_an_agent_may_not_have_is_refused(new: NewTask, words: str) -> None:
    refused(made(), words, new=new, sender="p")


def test_an_agent_changes_its_parts_within_the_same_limits() -> None:
    story = made()
    create(story, NewTask("n", "x"), "p")
    refused(story, "more urgent than task p", "update", task="n", edit=Edit(priority=3), sender="p")
    refused(story, "more time than task p", "update", task="n", edit=Edit(timeout=None), sender="p")
    refused(story, "more time than task p", "update", task="n", edit=Edit(timeout=901.0), sender="p")
    story.tell("update", "n", edit=Edit(priority=-1, timeout=5.0, add_needs=("first",)), sender="p")
    found = story.run.spec("n")
    assert (found.priority, found.timeout, found.needs) == (-1, 5.0, ("first",))


def test_a_command_that_is_a_task_itself_may_create_commands() -> None:
    story = Story(plan_of({"p": Task(command=("sh",), provider="local", delegate=1)}, PROVIDERS))
    story.start("p")
    assert create(story, NewTask("n", "make", command=True, priority=9), "p").provider == "local"
    story.tell("update", "n", edit=Edit(priority=10), sender="p")


def test_without_delegate_an_agent_creates_nothing() -> None:
    story = made()
    story.start("other")
    refused(story, "task other may not delegate: the plan says so", new=NewTask("n", "x"), sender="other")
    create(story, NewTask("a", "x"), "p")
    create(story, NewTask("b", "x", parent="a"), "p")
    refused(story, "task b may not delegate", new=NewTask("n", "x", parent="b"), sender="p")


def test_an_agent_does_not_create_parts_without_end() -> None:
    story = made()
    for number in range(MOST_CHILDREN):
        create(story, NewTask(f"n{number}", "x"), "p")
    refused(story, "task p has 50 parts already: more need a person", new=NewTask("n", "x"), sender="p")
    create(story, NewTask("n", "x", parent="p"))


@pytest.mark.parametrize("verb", ["halt", "retry", "skip", "remove", "split", "approve", "pause_provider"])
def test_what_is_for_people_no_agent_does(verb: Verb) -> None:
    words = f"an agent cannot {verb.replace('_', ' ')} anything: that is for people"
    refused(made(), words, verb, task="p", provider="codex", sender="p")


def test_an_agent_whose_attempt_is_over_has_nothing_to_say() -> None:
    story = made()
    story.record(ev.AttemptExited("p", result(OutcomeKind.COMPLETED)))
    refused(story, "task p is verifying, and has nothing to say any more", new=NewTask("n", "x"), sender="p")
