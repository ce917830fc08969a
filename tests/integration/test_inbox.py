"""What lies in the inbox may be anything: it is refused with an answer, and the run goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from cli import HOLD, MARKING, Place, finish, kill, opened, plan_of, sh, until

from daplug_supervisor import Supervisor
from daplug_supervisor.cli import sending
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command
from daplug_supervisor.supervisor.commands import inbox as inboxes
from daplug_supervisor.supervisor.commands.inbox import MAX_SIZE
from daplug_supervisor.workspace.files import StateDirectory

place = pytest.fixture(opened)

PLAN = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a"), "c": sh(MARKING, "b")})


def put(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


HUGE = b'{"id": "huge", "verb": "halt", "reason": "%s"}' % (b"x" * MAX_SIZE)

MALFORMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "garbage": (put(b"\x00\xff not JSON {"), "malformed"),
    "empty": (put(b""), "truncated"),
    "huge": (put(HUGE), "larger than"),
    "verb": (put(b'{"id": "x", "verb": "destroy"}'), "verb"),
    "types": (put(b'{"id": 7, "verb": "halt"}'), "id"),
    "list": (put(b'[{"id": "x", "verb": "halt"}]'), "object"),
    "field": (put(b'{"id": "x", "verb": "halt", "sudo": true}'), "sudo"),
    "surrogate": (put(b'{"id": "\\ud800", "verb": "halt"}'), "surrogate"),
    "deep": (put(b'{"id":' + b"[" * 30_000), "id"),
    "folder": (lambda path: path.mkdir(), "not a regular file"),
    "full": (lambda path: (path / "inside").mkdir(parents=True), "not a regular file"),
    "pipe": (os.mkfifo, "not a regular file"),
    "link": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
}


def test_every_malformed_file_is_refused_with_an_answer_and_disturbs_nothing(place: Place) -> None:
    process = place.start(place.write(PLAN))
    place.started("a")
    inbox = place.state / "inbox"
    for name, (make, _) in MALFORMED.items():
        make(inbox / f"{name}.json")
    (inbox / os.fsdecode(b"bytes-\xff.json")).write_bytes(b"{}")
    (inbox / "not-for-us.txt").write_text("hello")
    (inbox / ".hidden.json").write_text("{}")
    asked = len(MALFORMED) + 1
    until(lambda: len(place.events(ev.CommandAnswered)) == asked, f"{asked} answers")
    answers = {answer.id: answer for answer in place.events(ev.CommandAnswered)}
    assert set(answers) == {*MALFORMED, "bytes-\\udcff"}
    for name, (_, words) in MALFORMED.items():
        assert (answers[name].applied, answers[name].verb) == (False, "unknown")
        assert words in answers[name].message, name
        assert answers[name].message.startswith("not a command: ")
    until(lambda: not list(inbox.glob("[!.]*.json")), "an empty inbox")
    place.go()
    ran = finish(process)
    assert ran.code == 0, ran
    assert place.statuses() == {"a": "done", "b": "done", "c": "done"}
    assert len(place.events(ev.CommandAnswered)) == asked
    place.nothing_left()


def send(place: Place, command: Command, name: str = "") -> None:
    path = place.state / "inbox" / f".{name or command.id}.tmp"
    path.write_bytes(msgspec.json.encode(command))
    path.rename(place.state / "inbox" / f"{name or command.id}.json")


def answered(place: Place, count: int) -> list[ev.CommandAnswered]:
    """The answers, once there are so many."""
    until(lambda: len(place.events(ev.CommandAnswered)) >= count, f"{count} answers")
    return place.events(ev.CommandAnswered)


def test_the_same_command_twice_counts_once(place: Place) -> None:
    process = place.start(place.write(PLAN))
    place.started("a")
    send(place, Command("one", "skip", task="b"), "first")
    answered(place, 1)
    send(place, Command("one", "skip", task="b"), "second")
    send(place, Command("two", "skip", task="b"))
    first, second = answered(place, 2)
    assert (first.id, first.applied, second.id, second.applied) == ("one", True, "two", False)
    assert "task b is skipped" in second.message
    assert len(place.events(ev.TaskSkipped)) == 1
    place.go()
    assert finish(process).code == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Command("x", "skip", task="nosuch"), "no task 'nosuch'"),
        (Command("x", "skip"), "no task ''"),
        (Command("x", "retry", task="a"), "task a is running"),
        (Command("x", "halt", run="p-9"), "no run 'p-9'"),
        (Command("x", "cancel", task="\x1b[2J\u202e"), "no task"),
        (Command("", "retry", task="b"), "task b is pending"),
    ],
)
def test_what_is_not_possible_now_is_refused(place: Place, command: Command, words: str) -> None:
    process = place.start(place.write(PLAN))
    place.started("a")
    send(place, command, "file")
    [answer] = answered(place, 1)
    assert (answer.id, answer.applied) == (command.id, False)
    assert words in answer.message
    place.go()
    ran = finish(process)
    assert ran.code == 0
    assert "\x1b" not in ran.out + ran.err + place.run("events").out


def test_commands_that_waited_are_carried_out_by_the_next_supervisor(place: Place) -> None:
    process = place.start(place.write(PLAN))
    place.started("a")
    kill(process)
    send(place, Command("waited", "skip", task="b", reason="later"))
    (place.state / "inbox" / "torn.json").write_bytes(b'{"id": "torn", "ve')
    place.go()
    assert place.run("plan.json").code == 0
    assert [(answer.id, answer.applied) for answer in answered(place, 2)] == [
        ("torn", False),
        ("waited", True),
    ]
    assert place.statuses() == {"a": "done", "b": "skipped", "c": "done"}


def test_a_command_that_nobody_takes_is_carried_out_by_its_sender(place: Place) -> None:
    """The supervisor is stopped, then killed, between the question and the answer."""
    import signal

    process = place.start(place.write(PLAN))
    place.started("a")
    process.send_signal(signal.SIGSTOP)
    asking = place.start("task", "skip", "b")
    until(lambda: list((place.state / "inbox").glob("*.json")), "the command in the inbox")
    kill(process)
    assert finish(asking).code == 0
    assert list((place.state / "inbox").glob("*.json")) == []
    assert place.statuses()["b"] == "skipped"


def test_an_answer_is_heard_although_its_supervisor_died_before_it_took_the_command_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the command would be carried out a second time."""
    assert place.run(place.write(plan_of({"a": sh("true")}))).code == 0
    directory = StateDirectory(place.state)
    command = Command("it", "halt")

    def answered(where: StateDirectory, sent: Command) -> None:
        inboxes.send(where, sent)

        async def answer() -> None:
            async with Supervisor(place.state, inbox=False) as supervisor:
                await supervisor.record("", ev.CommandAnswered("it", "halt", applied=True)).wait()

        anyio.run(answer)

    monkeypatch.setattr(sending, "send", answered)
    heard = sending._ask(directory, command)
    assert heard == ev.CommandAnswered("it", "halt", applied=True)
    assert not (directory.inbox / "it.json").exists()
