"""``task attach``: a person looks at an agent at work, through a real terminal, and the agent works on."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from cli import HOLD, MARKING, PATIENCE, PROGRAM, Place, kill, opened, plan_of, sh, until
from repositories import commit, git

from daplug_supervisor.core.plan import Retry

place = pytest.fixture(opened)

EVIL = "\x1b]0;owned\x07\x1b[2J\u202eevil"
WORKS = "The agent works on."
ONCE = Retry(attempts=1)


class Screen:
    """The command on a terminal that it is the foreground of, so that Ctrl-C reaches it."""

    def __init__(self, place: Place, *words: str, **environ: str) -> None:
        self.parent, child = pty.openpty()
        self.text = ""
        # Whoever leads a session gets the first terminal that it opens.
        opens = 'exec "$@" < "$TERMINAL" > "$TERMINAL" 2>&1'
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", opens, "sh", PROGRAM, *words],
            cwd=place.target,
            env=place.environ | environ | {"TERMINAL": os.ttyname(child)},
            start_new_session=True,
            # Whoever runs the tests in the background has had Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        select.select([self.parent], [], [], PATIENCE)
        os.close(child)
        place.others.append(self.process)

    def until(self, what: str, times: int = 1) -> None:
        end = time.monotonic() + PATIENCE
        while self.text.count(what) < times:
            assert time.monotonic() < end, self.text
            self.read()

    def read(self) -> bool:
        if not select.select([self.parent], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self.parent, 65536)
        except OSError:
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self.parent, text.encode())

    def end(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < end, self.text
        os.close(self.parent)
        return self.process.wait(PATIENCE)


@pytest.fixture
def at_work(place: Place) -> Iterator[subprocess.Popen[str]]:
    """A run with an agent at work in its worktree, one that failed, and one that waits for that."""
    git(place.target, "init", "-q", "-b", "main")
    commit(place.target, "evil", EVIL + "\n")
    marks, holds = MARKING.replace("starts", "../../starts"), HOLD.replace("-e ", "-e ../../")
    long = f"cat evil; echo oops >&2; {marks}{holds}echo last words"
    tasks = {
        "a": sh(long, worktree=True, land=False),
        "bad": sh("echo said; exit 4", retry=ONCE),
        "late": sh("true", "bad"),
    }
    process = place.start(place.write(plan_of(tasks)), "-q")
    place.started("a")
    until(lambda: place.task("bad").status == "failed", "bad failed")
    yield process
    place.go()
    process.wait(PATIENCE)


def test_a_person_looks_and_leaves_and_the_agent_works_on(
    place: Place, at_work: subprocess.Popen[str]
) -> None:
    screen = Screen(place, "task", "attach", "a")
    screen.until("oops")
    screen.until("evil")
    for line in (
        "a: Running attempt 1 of 3 by provider p",
        ".worktrees/p-1-a",
        "daplug/p-1-a",
        "Ctrl-C ends",
    ):
        assert line in screen.text
    screen.type("\x03")
    screen.until(WORKS)
    assert screen.end() == 0
    for hostile in ("\x1b]0;", "\x07", "\x1b[2J", "\u202e"):
        assert hostile not in screen.text
    assert "daplug-supervise task cancel a" in screen.text
    assert place.task("a").status == "running"
    screen = Screen(place, "task", "attach", "a")
    screen.until("evil")
    place.go()
    assert screen.end() == 0
    assert "last words" in screen.text
    assert "a: Done" in screen.text
    assert at_work.wait(PATIENCE) == 1
    assert len(place.lines()) == 1


def test_a_shell_where_it_works(place: Place, at_work: subprocess.Popen[str]) -> None:
    screen = Screen(place, "task", "attach", "a", "--shell", SHELL="/bin/sh", PS1="shell> ")
    screen.until("The agent is still at work here")
    screen.until("'exit' leaves it")
    screen.type("echo at=$(pwd) of=$DAPLUG_RUN/$DAPLUG_TASK\n")
    screen.until(f"at={place.target.resolve()}/.worktrees/p-1-a of=p-1/a")
    screen.type("sh -c 'echo begun-$((40 + 2)); exec sleep 1000'; echo interrupted\n")
    screen.until("begun-42")  # now it is what Ctrl-C reaches, and no longer the shell that begins it
    screen.type("\x03")
    end = time.monotonic() + PATIENCE
    while "still-42" not in screen.text:  # a shell that is interrupted may throw away what was typed ahead
        assert time.monotonic() < end, screen.text
        screen.type("echo still-$((40 + 2))\n")
        screen.read()
    screen.type("exit 7\n")
    assert screen.end() == 0
    assert at_work.poll() is None
    assert place.task("a").status == "running"


def test_what_is_not_at_work_says_what_there_is(place: Place, at_work: subprocess.Popen[str]) -> None:
    found = place.run("task", "attach", "a", "--json").json()
    assert (found["status"], found["alive"], found["supervised"], found["worktree"]) == (
        "running",
        True,
        True,
        True,
    )
    assert found["directory"] == f"{place.target.resolve()}/.worktrees/p-1-a"
    assert found["pid"] == place.task("a").attempt.pid  # type: ignore[union-attr]
    looked = place.run("task", "attach", "a", "--no-follow")
    assert "oops" in looked.out
    assert "Ctrl-C" not in looked.out
    failed = place.run("task", "attach", "bad")
    assert failed.code == 0
    assert "bad: Failed" in failed.out
    assert "--- stdout.log\nsaid\n" in failed.out
    assert "daplug-supervise task retry bad" in failed.out
    late = place.run("task", "attach", "late", "--run", "p-1")
    assert "Blocked by failed task bad" in late.out
    assert "none yet" in late.out
    assert place.run("task", "attach", "nobody").code == 2
    assert place.run("task", "attach", "a", "--shell", "--json").code == 2
    refused = place.run("task", "attach", "a", "--shell", env=place.environ | {"SHELL": "/no/such/shell"})
    assert "cannot be started" in refused.err
    place.go()
    assert at_work.wait(PATIENCE) == 1
    (place.target / ".worktrees" / "p-1-a").rename(place.target / "elsewhere")
    gone = place.run("task", "attach", "a", "--shell")
    assert gone.code == 2
    assert "the worktree of task a is not there" in gone.err


def test_looking_ends_when_nobody_can_tell_any_more_how_it_goes_on(place: Place) -> None:
    process = place.start(place.write(plan_of({"a": sh(MARKING + HOLD)})), "-q")
    place.started("a")
    screen = Screen(place, "task", "attach", "a")
    screen.until("Ctrl-C ends")
    kill(process)
    attempt = place.task("a").attempt
    assert attempt is not None
    os.kill(attempt.pid, signal.SIGKILL)
    assert screen.end() == 0
    assert "its process is gone" in " ".join(screen.text.split())
    assert "daplug-supervise resume" in screen.text
