"""The commands of attempts, over restarts and with files that are only half there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from core_making import RUN, Story, plan_of, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.commands import Command, events_of
from daplug_supervisor.core.plan import Assignment, Task
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.errors import IllegalTransitionError
from daplug_supervisor.supervisor.commands import outboxes
from daplug_supervisor.supervisor.commands.outboxes import MOST, Outboxes
from daplug_supervisor.supervisor.commands.watching import Watch
from daplug_supervisor.workspace import outbox

TOKEN = "0123456789abcdef"


class Done:
    async def wait(self) -> None:
        await anyio.sleep(0)


class Desk:
    """What carries commands out, and its journal."""

    def __init__(self, cwd: Path) -> None:
        agent = Task(instructions="Do it.", provider="codex", delegate=1)
        self.story = Story(plan_of({"a": agent, "b": task()}))
        self.story.start("a")
        self.mask = Mask(["hunter2-hunter2"])
        self.fault: Exception | None = None
        (cwd / "attempt").mkdir()
        self.path = Path(outbox.make(str(cwd), TOKEN, cwd / "state"))
        outbox.furnish(str(self.path), b"{}")
        (cwd / "attempt" / "outbox").write_text(str(self.path))
        spec = self.story.run.spec("a")
        who = Assignment("codex", "cli", "m", None, None)
        self.bundle = Bundle(RUN, "a", 1, TOKEN, f"{cwd}/attempt", str(cwd), str(cwd), spec, who)

    async def command(self, command: Command) -> ev.CommandAnswered:
        if self.fault is not None:
            raise self.fault
        events = events_of(self.story.run, command, self.story.now)
        answer = ev.CommandAnswered(command.id, command.verb, applied=True, message="so it is")
        self.story.record(*events, answer)
        await anyio.sleep(0)
        return answer

    def record(self, run: str, *events: ev.Event) -> Any:
        assert run == RUN
        self.story.record(*events)
        return Done()

    async def settle(self) -> None:
        await anyio.sleep(0)

    async def answer(self, command: str) -> ev.CommandAnswered | None:
        return next((one for one in self.answered if one.id == command), None)

    @property
    def answered(self) -> list[ev.CommandAnswered]:
        return [entry.event for entry in self.story.entries if isinstance(entry.event, ev.CommandAnswered)]

    def put(self, name: str, text: str) -> None:
        (self.path / "commands" / f"{name}.json").write_text(text)

    def heard(self, name: str) -> ev.CommandAnswered:
        return msgspec.json.decode(
            (self.path / "answers" / f"{name}.json").read_bytes(), type=ev.CommandAnswered
        )

    @property
    def left(self) -> list[str]:
        return sorted(one.name for one in (self.path / "commands").iterdir())

    def boxes(self) -> Outboxes:
        """A supervisor's life."""
        return Outboxes(self, self)  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def last(desk: Desk, boxes: Outboxes | None = None) -> None:
    await (boxes or desk.boxes()).last(desk.story.run, desk.bundle)


CREATE = '{"verb": "create", "new": [{"id": "a-1", "text": "Do that."}]}'


async def test_what_was_recorded_before_a_crash_is_answered_after_it(desk: Desk) -> None:
    desk.put("1", CREATE)
    desk.put("2", '{"verb": "halt"}')
    await last(desk)
    first = desk.heard("1"), desk.heard("2")
    assert [(one.id, one.applied) for one in first] == [("1", True), ("2", False)]
    assert [one.id for one in desk.answered] == [f"{TOKEN}-1", f"{TOKEN}-2"]
    for name, text in (
        ("1", CREATE),
        ("2", '{"verb": "halt"}'),
    ):  # the crash came before they were taken away
        (desk.path / "answers" / f"{name}.json").unlink()
        desk.put(name, text)
    await last(desk)
    assert (desk.heard("1"), desk.heard("2")) == first
    assert len(desk.answered) == 2
    assert desk.left == []


async def test_what_a_restart_has_forgotten_still_counts(desk: Desk) -> None:
    for number in range(MOST):
        desk.story.record(ev.CommandAnswered(f"{TOKEN}-old{number}", "halt", applied=False))
    desk.put("1", CREATE)
    desk.put("old3", CREATE)
    await last(desk)
    assert "may give 200 commands" in desk.heard("1").message
    assert desk.heard("old3").message == ""
    assert len(desk.answered) == MOST
    assert "a-1" not in desk.story.run.tasks


async def test_after_twice_as_many_nothing_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MOST", 2)
    boxes = desk.boxes()
    with boxes.over(desk.story.run, desk.bundle):
        box = boxes._boxes[TOKEN]
        for name in "123456":
            desk.put(name, "{}")
            await boxes._take(box, last=True)
    assert desk.left == ["5.json", "6.json"]
    assert len(desk.answered) == 2


async def test_half_a_file_is_looked_at_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "_HALF", 0.1)
    boxes = desk.boxes()
    async with anyio.create_task_group() as tasks:
        desk.put("1", CREATE[:20])
        desk.put("2", CREATE[:20])
        tasks.start_soon(boxes.watch)
        await anyio.sleep(0)
        with boxes.over(desk.story.run, desk.bundle):
            with anyio.fail_after(20):
                while not boxes._boxes[TOKEN].odd:
                    await anyio.sleep(0.01)
                desk.put("1", CREATE)
                while desk.left:
                    await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert desk.heard("1").applied
    assert desk.heard("2").message.startswith("not a command: ")


async def test_a_refusal_holds_no_secret_and_a_fault_is_one(desk: Desk) -> None:
    desk.put("1", '{"verb": "update", "task": "hunter2-hunter2"}')
    await last(desk)
    assert "hunter2" not in desk.heard("1").message
    desk.fault = IllegalTransitionError("task 'a' is done: it cannot follow")
    desk.put("2", CREATE)
    await last(desk)
    assert (desk.heard("2").applied, desk.heard("2").verb) == (False, "create")


async def test_an_outbox_that_is_gone_is_its_agents_loss(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    boxes = desk.boxes()
    desk.put("1", CREATE)
    (desk.path / "answers").rmdir()
    await last(desk, boxes)
    assert (desk.left, len(desk.answered)) == ([], 1)
    with boxes.over(desk.story.run, desk.bundle):
        (desk.path / "commands").rmdir()
        await boxes._take(boxes._boxes[TOKEN])
        await boxes._take(boxes._boxes[TOKEN])
    assert len([line for line in caplog.messages if "No such file" in line]) == 2
    await last(desk, boxes)


async def test_who_may_not_divide_its_work_has_no_commands(desk: Desk) -> None:
    desk.put("1", CREATE)
    boxes = desk.boxes()
    spec = msgspec.structs.replace(desk.bundle.spec, delegate=0)
    for bundle in (
        msgspec.structs.replace(desk.bundle, spec=spec),
        msgspec.structs.replace(desk.bundle, token="another"),
    ):
        with boxes.over(desk.story.run, bundle):
            assert boxes._boxes == {}
        await boxes.last(desk.story.run, bundle)
    assert desk.answered == []


async def test_nothing_is_watched_for_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    armed: list[list[str]] = []
    monkeypatch.setattr(Watch, "arm", lambda _self, folders: armed.append(list(folders)))
    boxes = desk.boxes()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(boxes.watch)
        with anyio.fail_after(20):
            while not armed:
                await anyio.sleep(0)
        assert armed == [[]]
        with boxes.over(desk.story.run, desk.bundle), anyio.fail_after(20):
            while len(armed) < 2:
                await anyio.sleep(0.01)
        assert armed[1] == [f"{desk.path}/commands"]
        with anyio.fail_after(20):
            while armed[-1]:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
