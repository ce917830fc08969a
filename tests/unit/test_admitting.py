"""Tasks that a plan gets while it runs: looked at as carefully as a whole plan; and the accounts of their providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from core_making import Story, plan_of
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.plan import Assignment, Provider, Task
from daplug_supervisor.core.state import State
from daplug_supervisor.core.surgery.edits import Edit
from daplug_supervisor.core.surgery.new_tasks import NewTask
from daplug_supervisor.errors import NotPossibleError, UsageError
from daplug_supervisor.supervisor.admission import Admission
from daplug_supervisor.supervisor.commands.admitting import admitted
from daplug_supervisor.supervisor.commands.orders import Orders
from daplug_supervisor.workers.command import CommandWorker
from daplug_supervisor.workers.settings import Settings

SECRET = "s3cr3t-v4lue-of-mine"


class Picky(CommandWorker):
    """Works with few models, each of which has the account of its first letter."""

    def __init__(self) -> None:
        super().__init__(Settings("/"))

    def problems(self, assignments: Sequence[Assignment]) -> list[str]:
        return [f"no {one.model} here" for one in assignments if "bad" in (one.model or "")]

    def account(self, chosen: Assignment) -> str:
        return (chosen.model or "")[:1]


POOLS = {"one": Provider(worker="picky", model="a-one"), "two": Provider(worker="picky", model="a-two")}
ADMISSION = Admission({"picky": Picky(), "command": CommandWorker(Settings("/"))}, None, {"MY_TOKEN": SECRET})


def agent(text: str = "do it", *needs: str, **more: Any) -> Task:
    return Task(instructions=text, provider="one", needs=needs, **more)


def story(**tasks: Task) -> Story:
    return Story(plan_of(tasks or {"a": agent()}, {"one": POOLS["one"]}))


def refused(found: Story, event: ev.Event, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        admitted(ADMISSION, found.run, [event])


def test_a_command_about_a_task_is_of_one_run_whatever_else_it_names() -> None:
    found = State({name: replace(story().run, id=name) for name in ("r1", "r2")})
    recorded: list[str] = []
    orders = Orders(found, lambda: 1.0, ADMISSION)
    for verb in ("pause_provider", "skip"):
        orders.carry_out(Command("c", verb, task="a", provider="one"), lambda run, *_: recorded.append(run))
    assert recorded == ["r1", "r1", "r2", "r2", "r2", "r2"]


def test_what_changes_no_plan_is_not_looked_at() -> None:
    events = [ev.TaskSkipped("a")]
    assert admitted(ADMISSION, story().run, events) is events


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (agent("use ${a.outputs.x}", "a"), r"tasks\.new\.instructions.*hands on no x"),
        (agent("x", inputs={"i": "${nosuch.outputs.x}"}), "unknown task 'nosuch'"),
        (agent(env={"A=B": "c"}), "cannot name an environment variable"),
        (agent(model="bad"), "no bad here"),
        (agent(f"log in with {SECRET}"), "the plan holds the value of MY_TOKEN"),
        (agent("\ud800"), "cannot be kept"),
        (Task(command=("echo", "${a.outputs.x}"), provider="one"), "cannot be put into a command"),
    ],
)
def test_a_task_that_a_plan_file_could_not_have_is_refused(spec: Task, words: str) -> None:
    refused(story(a=agent(outputs=("y",))), ev.TaskAdded("new", spec), words)


def test_what_was_wrong_before_is_not_said_of_a_change() -> None:
    found = story(a=agent("use ${nosuch.outputs.x}", inputs={"i": "${b.outputs.y}"}, model="bad"))
    flawed = agent("use ${nosuch.outputs.x}", inputs={"i": "${b.outputs.y}"}, model="bad", priority=3)
    events = [ev.TaskChanged("a", flawed)]
    assert admitted(ADMISSION, found.run, events) is events
    refused(found, ev.TaskAdded("b", agent(model="very bad")), "no very bad here$")


def test_a_task_that_hands_something_on_is_not_removed_as_long_as_that_is_wanted() -> None:
    found = story(a=agent(outputs=("x",)), b=agent("use ${a.outputs.x}", "a"), c=agent())
    removed = ev.TaskRemoved("a")
    with pytest.raises(UsageError, match="task b is handed something on by a: change its text"):
        admitted(ADMISSION, found.run, [ev.TaskChanged("b", agent("use ${a.outputs.x}")), removed])
    assert admitted(ADMISSION, found.run, [ev.TaskRemoved("c")]) == [ev.TaskRemoved("c")]
    found.record(ev.TaskSkipped("b"))
    assert admitted(ADMISSION, found.run, [removed]) == [removed]


def test_a_new_provider_shares_its_account_with_those_that_are_there() -> None:
    found = story()
    other = agent().__class__(instructions="x", provider="two")
    told = admitted(
        ADMISSION, found.run, [ev.TaskAdded("new", other, POOLS["two"]), ev.TaskAdded("b", agent())]
    )
    assert [event.kind for event in told] == ["plan_changed", "task_added", "task_added"]
    found.record(*told)
    assert {name: pool.account for name, pool in found.run.pools.items()} == {"one": "a", "two": "a"}
    assert list(found.run.edited) == ["new", "b"]
    alone = Provider(worker="picky", model="z")
    [only] = admitted(ADMISSION, story().run, [ev.TaskAdded("new", other, alone)])
    assert (only.kind, getattr(only, "provider", None)) == ("task_added", alone)


def test_a_command_of_an_embedder_is_held_to_what_the_inbox_lets_in() -> None:
    found = story()
    orders = Orders(found.state, lambda: found.now, ADMISSION)
    for new in (NewTask("../x", "do it"), NewTask("x", ""), NewTask("x", "\ud800")):
        with pytest.raises(NotPossibleError, match="this is no command"):
            orders.preview(Command("c", "create", new=(new,)))
    with pytest.raises(NotPossibleError, match="holds the value of MY_TOKEN"):
        orders.preview(Command("c", "skip", task="a", reason=f"it is {SECRET}"))
    with pytest.raises(NotPossibleError, match="there is no run here yet"):
        Orders(type(found.state)(), lambda: 0.0, ADMISSION).preview(Command("c", "skip", task="a"))


def test_what_a_person_should_know_beside() -> None:
    found = story(a=agent(), b=agent())
    driven = True
    orders = Orders(found.state, lambda: found.now, ADMISSION, lambda _run: driven)

    def told(**command: Any) -> str:
        return orders.carry_out(Command("c", **command), lambda _run, *events: found.record(*events)).message

    assert told(verb="create", new=(NewTask("n1", "x"),)) == "task n1 is added to run r1"
    found.record(ev.RunStarted(only=("a",)))
    assert "asked for other tasks only, and n2 waits" in told(verb="create", new=(NewTask("n2", "x"),))
    found.record(ev.HaltRequested("lunch", "command"))
    assert told(verb="update", task="b", edit=Edit(priority=1)).endswith(
        "'daplug-supervise resume' goes on with it"
    )
    found.record(ev.TaskCancelled("b"))
    driven = False
    said = told(verb="update", task="b", edit=Edit(priority=2))
    assert (
        "it is cancelled: 'daplug-supervise task retry b' tries it again; 'daplug-supervise resume r1'"
        in said
    )
    assert found.task("b").status is Status.CANCELLED
