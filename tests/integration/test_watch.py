"""``status --watch`` in a real terminal, and without one."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import HOLD, MARKING, PROGRAM, Place, alive, finish, kill, opened, plan_of, sh, until
from core_making import RUN, Story
from core_making import plan_of as core_plan

from daplug_supervisor.cli.watch.tails import Tails
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.plan import Plan, Provider, Retry
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.supervisor.commands.inbox import send
from daplug_supervisor.workspace.files import StateDirectory

place = pytest.fixture(opened)
needs_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="tmux is not installed: there is no terminal"
)

SECRET = "-".join(("sk", "proj", "Ab3dE5gH7j" * 3))


class Terminal:
    """A terminal with a shell in it, on a tmux server of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = f"watch-{secrets.token_hex(4)}"
        self.environ = {
            **place.environ, "TMUX_TMPDIR": str(place.home), "PYTHONUTF8": "1", "ENV": "",
        }  # fmt: skip

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-u", "-L", self.name, "-f", "/dev/null", *words]
        ran = subprocess.run(
            argv,
            env=self.environ,
            cwd=self.place.target,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        return ran.stdout

    def open(self, width: int = 80, height: int = 24, **more: str) -> None:
        self.environ |= more
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), "exec /bin/sh -i")
        self.command("PS1='prom''pt> '; clear")
        self.shows("prompt>")

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def command(self, line: str) -> None:
        self.type("-l", line)
        self.type("Enter")

    def watch(self, *words: str) -> None:
        self.command(f"{PROGRAM} status --watch {' '.join(words)}; echo code=$?")

    def seen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def shows(self, *texts: str) -> str:
        found = ""

        def all_there() -> bool:
            nonlocal found
            found = self.seen()
            return all(text in found for text in texts)

        try:
            until(all_there, f"{texts} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{found}") from None
        return found

    def flag(self, name: str) -> str:
        return self.tmux("display", "-p", f"#{{{name}}}").strip()

    def watcher(self) -> int:
        """The process that watches."""
        found = [
            pid
            for pid in self.place.processes()
            if b"--watch" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
        assert len(found) == 1
        return found[0]

    def is_restored(self, code: int) -> None:
        """The first screen is back with what was on it, with a cursor, and the terminal is as it was."""
        self.shows(f"code={code}", "prompt>")
        assert self.flag("alternate_on") == "0"
        assert self.flag("cursor_flag") == "1"
        assert self.flag("wrap_flag") == "1"
        self.command("clear; stty -a | tr ' ;' '\\n\\n' | grep -xE -- '-?(icanon|echo|isig)' | xargs echo is")
        assert sorted(self.shows("is ").split("is ")[-1].split()[:3]) == ["echo", "icanon", "isig"]

    def close(self) -> None:
        subprocess.run(
            ["tmux", "-L", self.name, "kill-server"],
            env=self.environ,
            capture_output=True,
            check=False,
            timeout=20,
        )


@pytest.fixture
def terminal(place: Place) -> Iterator[Terminal]:
    found = Terminal(place)
    yield found
    found.close()


def family() -> Plan:
    """A task that hands its work to three parts, one of which prints what no screen may show."""
    key = " ".join(SECRET.split("-"))  # a plan with a secret in it is refused
    hostile = f"printf 'key %s-%s-%s at work 日本\\033[2J\\033]0;evil\\007\\n' {key}; "
    tasks = {
        "epic": sh(MARKING + HOLD, title="The whole"),
        "first": sh("true", parent="epic"),
        "second": sh(hostile + MARKING + HOLD, parent="epic", title="Second \\u202e part", timeout=900.0),
        "third": sh("true", "second", parent="epic"),
        "bill": sh("echo bill", review="human"),
        "mail": sh("echo oops >&2; exit 3", retry=Retry(attempts=1)),
        "later": sh("true", "mail"),
    }
    return plan_of(tasks, {"p": Provider(worker="command", parallel=2), "quiet": Provider(worker="command")})


def begin(place: Place, plan: Plan) -> subprocess.Popen[str]:
    return place.start("run", place.write(plan), "--quiet")


def delegate(place: Place, task: str) -> None:
    send(StateDirectory(place.state), Command(secrets.token_hex(8), "delegate", task=task))


@needs_tmux
def test_a_delegated_family_at_80_by_24_and_wider(place: Place, terminal: Terminal) -> None:
    run = begin(place, family())
    place.started("epic", "second")
    delegate(place, "epic")
    assert place.run("provider", "pause", "quiet", "--for", "1h").code == 0
    terminal.open()
    terminal.watch()
    seen = terminal.shows(
        "p-1  RUNNING", "1/7 done", "1 failed", "PROVIDERS", "quiet", "is paused until", "AT WORK (1)",
        "key *** at work 日本", "NEEDS A PERSON (2)", "daplug-supervise task approve bill", "review for a person",
        "TASKS", "delegated (1/3)", "by failed mail", "q quit",
    )  # fmt: skip
    lines = seen.splitlines()
    epic = next(line for line in lines if line.startswith(" ↓ epic"))
    assert "The whole" in epic
    assert lines[lines.index(epic) + 1].startswith(" ✓   first")
    assert SECRET not in seen
    assert "\u202e" not in seen
    assert terminal.flag("alternate_on") == "1"
    assert terminal.flag("pane_title") != "evil"

    terminal.type("Down")
    terminal.shows("\n>▸   second")
    terminal.type("l")
    terminal.shows("LAST OUTPUT second#1", r"key *** at work 日本\x1b[2J\x1b]0;evil\x07")
    terminal.type("w")
    terminal.shows("WHY second", "Running attempt 1 of 3")
    terminal.type("Escape")
    terminal.shows("PROVIDERS")
    terminal.type("f", "f")
    assert " ✓   first" not in terminal.shows("TASKS (needs a person)", "✗ mail", "? bill")
    terminal.type("?")
    terminal.shows("HELP", "this only looks")
    terminal.type("q")
    terminal.shows("PROVIDERS")

    terminal.tmux("resize-window", "-x", "140", "-y", "50")
    assert len(max(terminal.shows("─" * 130).splitlines(), key=len)) == 140
    terminal.tmux("resize-window", "-x", "20", "-y", "8")
    terminal.shows("p-1  RUNNING", "q quit")
    terminal.tmux("resize-window", "-x", "80", "-y", "24")

    place.go()
    terminal.type("Escape", "f")

    assert finish(run).code == 1
    terminal.shows("p-1  FINISHED", "4/7 done", "daplug-supervise report says what was done")
    terminal.type("q")
    terminal.is_restored(0)


@needs_tmux
def test_signals_give_the_terminal_back(place: Place, terminal: Terminal) -> None:
    run = begin(place, plan_of({"a": sh(MARKING + HOLD)}))
    place.started("a")
    terminal.open(NO_COLOR="1")
    terminal.watch()
    terminal.shows("p-1  RUNNING", "AT WORK (1)")
    assert not re.search(r"\x1b\[(?:[\d;]*;)?3[0-8]", terminal.tmux("capture-pane", "-p", "-e"))
    terminal.type("C-z")  # stopped, and taken up again
    terminal.shows("prompt>")
    assert terminal.flag("alternate_on") == "0"
    terminal.command("clear; fg; echo code=$?")
    terminal.shows("p-1  RUNNING", "AT WORK (1)")
    terminal.type("C-c")
    terminal.is_restored(130)
    terminal.watch()
    terminal.shows("p-1  RUNNING", "AT WORK (1)")
    os.kill(terminal.watcher(), signal.SIGTERM)
    terminal.is_restored(143)
    place.go()
    assert finish(run).code == 0


@needs_tmux
def test_a_killed_supervisor_and_a_journal_that_is_gone(place: Place, terminal: Terminal) -> None:
    run = begin(place, plan_of({"a": sh(MARKING + HOLD)}))
    place.started("a")
    terminal.open()
    terminal.watch()
    terminal.shows("p-1  RUNNING")
    kill(run)
    terminal.shows("p-1  INTERRUPTED", "daplug-supervise resume")
    for name in ("journal.tail", "journal.db-wal", "journal.db"):
        (place.state / name).rename(place.state / f"old-{name}")
    terminal.shows("daplug-supervise: ", "has no journal")
    terminal.is_restored(2)
    place.go()


@needs_tmux
def test_a_dumb_terminal_gets_lines_and_it_ends_with_its_terminal(place: Place, terminal: Terminal) -> None:
    assert finish(begin(place, plan_of({"a": sh("true")}))).code == 0
    terminal.open()
    terminal.command(f"TERM=dumb {PROGRAM} status --watch; echo code=$?")
    assert "PROVIDERS" not in terminal.shows("p-1 finished: 1 of 1 done", "code=0")
    terminal.watch("p-1")
    terminal.shows("p-1  FINISHED")
    pid = terminal.watcher()
    terminal.tmux("kill-server")
    until(lambda: not alive(pid), "the end of it")


def test_without_a_terminal_it_prints_a_line_for_each_change(place: Place) -> None:
    run = begin(place, plan_of({"a": sh(MARKING + HOLD), "b": sh("true", "a")}))
    place.started("a")
    watching = place.start("status", "--watch")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    place.go()
    found = finish(watching)
    assert finish(run).code == 0
    lines = [first.rstrip(), *found.out.splitlines()]
    assert "p-1 running: 0 of 2 done" in lines[0]
    assert found.code == 0, found.err
    assert "p-1 finished: 2 of 2 done" in lines[-1]
    assert len(set(lines)) == len(lines)


def test_nobody_drives_it_so_it_does_not_wait(place: Place) -> None:
    run = begin(place, plan_of({"a": sh(MARKING + HOLD)}))
    place.started("a")
    kill(run)
    found = place.run("status", "--watch")
    assert (found.code, "p-1 interrupted: 0 of 1 done" in found.out) == (0, True)
    place.go()


def test_the_tree_once_as_text(place: Place) -> None:
    tasks = {
        "epic": sh("true"),
        "part": sh("true", parent="epic"),
        "bad": sh("exit 1", retry=Retry(attempts=1)),
    }
    assert finish(begin(place, plan_of(tasks))).code == 1
    found = place.run("status", "--tree")
    assert [line.split()[:3] for line in found.out.splitlines()] == [
        ["✓", "epic", "done"],
        ["✓", "part", "done"],
        ["✗", "bad", "failed"],
    ]
    assert found.out.splitlines()[1].startswith("✓   part")


def test_what_does_not_go_together_is_refused(place: Place) -> None:
    found = place.run("status", "--watch", "--json")
    assert found.code == 2
    assert "events --follow --json" in found.err
    assert json.loads(found.out)["error"]["code"] == "usage"


def test_of_a_line_longer_than_what_is_read_the_end_is_shown_without_half_a_secret(place: Place) -> None:
    story = Story(core_plan(["a"]))
    story.start("a")
    directory, mask = StateDirectory(place.state), Mask.of({"API_TOKEN": SECRET})
    output = Path(directory.attempt(RUN, "a", 1), "stdout.log")
    output.parent.mkdir(parents=True)
    end = f"{SECRET[-20:]} {'word ' * 20000}"[:65536]
    output.write_text(SECRET[:-20] + end)
    [shown] = Tails(directory, mask).lines(story.run, "a", 5)
    assert shown.startswith("*** word word")
