"""The live picture, through a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable

import pytest
from cli import HOLD, MARKING, PATIENCE, PROGRAM, Place, opened, plan_of, sh

from daplug_supervisor import Provider, Retry

place = pytest.fixture(opened)

OURS = re.compile(r"\x1b\[(\?25[lh]|[0-9;]*m|[0-9]*[AK]|[0-9;]*H|2K|1A)")
"""What rich itself sends: colours, cursor up, clear line, hide and show the cursor."""

EVIL = "\x1b]0;owned\x07\x1b[2J\u202eevil"


class Terminal:
    """The command on a pseudo-terminal of its own; `text` is all that it wrote so far."""

    def __init__(self, place: Place, columns: int, *words: str, **environ: str) -> None:
        self.parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        attributes = termios.tcgetattr(child)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(child, termios.TCSANOW, attributes)
        self.process = subprocess.Popen(
            [PROGRAM, *words],
            cwd=place.target,
            env=place.environ | environ,
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        self.data = b""
        place.others.append(self.process)

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        """All lines that were ever drawn, without what rich itself sends."""
        return OURS.sub("", self.text).replace("\r", "\n").splitlines()

    def until(self, find: Callable[[str], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not find(self.text):
            assert time.monotonic() < end, self.text
            self.read()

    def read(self) -> bool:
        """Take what is there, for at most a moment. False at the end."""
        if select.select([self.parent], [], [], 0.1)[0]:
            try:
                data = os.read(self.parent, 65536)
            except OSError:
                return False
            self.data += data
            return bool(data)
        return True

    def say(self, text: str) -> None:
        os.write(self.parent, text.encode())

    def finish(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < end, self.text
        os.close(self.parent)
        return self.process.wait(PATIENCE)


@pytest.mark.parametrize("columns", [80, 140])
def test_what_runs_is_shown_within_the_width_and_nothing_hostile(place: Place, columns: int) -> None:
    (place.target / "evil").write_text(EVIL + "x" * 300 + "\n")
    line = f"{MARKING} cat evil; {HOLD}"
    tasks = {f"build-{name}": sh(line, title=EVIL) for name in ("one", "two")}
    tasks |= {"then" + "n" * 60: sh("true", "build-one"), "bad": sh("exit 1", retry=Retry(attempts=1))}
    plan = plan_of(tasks, {"p": Provider(worker="command", parallel=3)})
    terminal = Terminal(place, columns, place.write(plan))
    terminal.until(
        lambda text: "build-one" in text and "build-two" in text and "1 failed" in text and "owned" in text
    )
    place.go()
    assert terminal.finish() == 1
    picture = [line for line in terminal.lines if "build-one" in line and "owned" in line]
    assert picture, terminal.text
    assert any(
        "p-1" in line and "━" in line and "0/4" in line and "2 running" in line for line in terminal.lines
    )
    assert "\\x1b]0;owned" in picture[0]
    drawn = terminal.lines[: next(at for at, line in enumerate(terminal.lines) if "FINISHED" in line)]
    assert all(len(line) <= columns for line in drawn), max(drawn, key=len)
    for hostile in ("\x1b]0;", "\x07", "\x1b[2J", "\u202e"):
        assert hostile not in terminal.text
    assert "Run p-1 of plan p: FINISHED" in terminal.text
    place.nothing_left()


def test_without_colour(place: Place) -> None:
    terminal = Terminal(place, 80, place.write(plan_of({"a": sh(MARKING + HOLD)})), NO_COLOR="1")
    terminal.until(lambda text: "1 running" in text)
    place.go()
    assert terminal.finish() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.text)


def test_a_halt_is_shown(place: Place) -> None:
    terminal = Terminal(place, 100, place.write(plan_of({"a": sh(MARKING + HOLD), "b": sh("true", "a")})))
    place.started("a")
    assert place.run("halt", EVIL).code == 0
    terminal.until(lambda text: "halting: " in text)
    place.go()
    assert terminal.finish() == 3
    assert "\x1b]0;" not in terminal.text


def test_more_tasks_than_fit_are_counted(place: Place) -> None:
    tasks = {f"t{number:02}": sh(MARKING + HOLD) for number in range(23)}
    plan = plan_of(tasks, {"p": Provider(worker="command", parallel=23)})
    terminal = Terminal(place, 90, place.write(plan))
    terminal.until(lambda text: "and 3 more" in text)
    place.go()
    assert terminal.finish() == 0


def test_quiet_draws_nothing(place: Place) -> None:
    terminal = Terminal(place, 80, "run", "--quiet", place.write(plan_of({"a": sh("true")})))
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.text


def test_step_asks_before_each_start(place: Place) -> None:
    tasks = {"a": sh(MARKING, title=EVIL), "b": sh(MARKING, "a"), "c": sh(MARKING, "b")}
    terminal = Terminal(place, 80, "run", "--step", place.write(plan_of(tasks)))
    terminal.until(lambda text: "Start a" in text)
    terminal.say("y\n")
    terminal.until(lambda text: "Start b" in text)
    terminal.say("n\n")
    assert terminal.finish() == 3
    assert [line.split()[0] for line in place.lines()] == ["a"]
    assert place.statuses() == {"a": "done", "b": "pending", "c": "pending"}
    assert "\x1b" not in terminal.text
    assert place.run("run", "plan.json", "--step").code == 2


@pytest.mark.parametrize("how", ["interrupt", "end of input"])
def test_step_can_be_left_at_its_question(place: Place, how: str) -> None:
    terminal = Terminal(place, 80, "run", "--step", place.write(plan_of({"a": sh(MARKING)})))
    terminal.until(lambda text: "Start a" in text)
    if how == "interrupt":
        terminal.process.send_signal(signal.SIGINT)
    else:
        terminal.say("\x04")
    assert terminal.finish() == (130 if how == "interrupt" else 3)
    assert "Traceback" not in terminal.text
    assert place.lines() == []


def test_what_was_decided_during_the_question_counts(place: Place) -> None:
    terminal = Terminal(
        place, 80, "run", "--step", place.write(plan_of({"a": sh(MARKING), "b": sh(MARKING, "a")}))
    )
    terminal.until(lambda text: "Start a" in text)
    assert place.run("task", "skip", "a").code == 0
    terminal.say("y\n")
    terminal.until(lambda text: "Start b" in text)
    terminal.say("y\n")
    assert terminal.finish() == 0
    assert place.statuses() == {"a": "skipped", "b": "done"}
