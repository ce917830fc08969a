"""People are told by their command, by a webhook and on their desktop; and no run is ever hurt by that."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli import HOLD, MARKING, PATIENCE, Place, kill, opened, plan_of, sh, until

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Notify, Plan, Retry, Task
from daplug_supervisor.processes.webhook import PostError, post, resolved, shown

place = pytest.fixture(opened)

ONCE = Retry(attempts=1)
TELL = """#!/bin/sh
printf '%s|%s|%s|%s\\n' "$DAPLUG_TROUBLE" "$DAPLUG_RUN" "$DAPLUG_TASK" "$*" >> told
printf '%s\\n' "$DAPLUG_MESSAGE" >> messages
cat >> json
"""
NOT_USED = "cannot be used as an address: it must begin with http:// or https://"
SECRET = "x7K2m9Qp4Zs8Wd3vAb5"


def failing(line: str = "exit 3", **more: Any) -> Task:
    return sh(line, retry=ONCE, **more)


def told(tasks: dict[str, Task], **notify: Any) -> Plan:
    return plan_of(tasks, notify=Notify(**notify))


def script(place: Place, text: str = TELL, name: str = "tell") -> str:
    """A program of a person's own; returns its path."""
    path = place.target / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def messages(place: Place) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.lines("json")]


def everything(place: Place) -> str:
    """All that is kept of a run, and the log, as text."""
    files = [path for path in place.state.rglob("*") if path.is_file()]
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


class Server:
    """A web server on the loopback: what it got, and what it answers."""

    def __init__(self, *answers: int, location: str = "", hangs: float = 0.0) -> None:
        self.got: list[tuple[str, dict[str, str], Any]] = []
        server, left, over = self, list(answers or (204,)), threading.Event()
        self.over = over

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.got.append((self.path, dict(self.headers.items()), json.loads(body)))
                over.wait(hangs)
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                if location:
                    self.send_header("Location", location)
                self.end_headers()

            def do_GET(self) -> None:
                server.got.append((self.path, {}, None))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving(*answers: int, location: str = "", hangs: float = 0.0) -> Iterator[Server]:
    server = Server(*answers, location=location, hangs=hangs)
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.server.shutdown()
        server.server.server_close()
        thread.join(PATIENCE)


# --- a command ---------------------------------------------------------------------------------------------------


def test_a_command_is_told_in_its_environment_and_on_its_input_and_never_by_a_shell(place: Place) -> None:
    place.environ["API_TOKEN"] = SECRET
    (place.target / "evil.txt").write_text(f"\033]0;owned\007 $(touch evil) {SECRET}\n")
    line = "cat evil.txt >&2; exit 3"
    plan = told({"a": failing(line), "b": sh("true", "a")}, command=(script(place), "$(touch evil)", "`x`"))
    ran = place.run(place.write(plan), "-q")
    assert ran.code == 1
    assert place.lines("told") == ["needs_person|p-1||$(touch evil) `x`"]
    [message] = messages(place)
    assert [(one["trouble"], one["key"], one["task"]) for one in message["told"]] == [
        ("needs_person", "needs_person/a/1", "a"),
        ("finished", "finished/1", ""),
    ]
    said = "Task a failed after 1 try: exit code 3: \\x1b]0;owned\\x07 $(touch evil) ***; 1 task needs it."
    assert message["told"][0]["message"] == said
    assert "daplug-supervise task retry a --run p-1" in place.lines("messages")[3]
    assert [(one.key, one.detail) for one in place.events(ev.Notified)] == [
        ("needs_person/a/1", ""),
        ("finished/1", ""),
    ]
    assert not (place.target / "evil").exists()
    assert list((place.state / "runs" / "p-1" / "hooks").iterdir()) == []
    assert place.run("task", "retry", "a").code == 0
    assert place.run("resume", "-q").code == 1
    assert [one["key"] for one in messages(place)[1]["told"]] == ["needs_person/a/2", "finished/2"]
    place.nothing_left()


def test_a_task_gets_stuck_while_others_run_and_that_is_told_at_once(place: Place) -> None:
    tasks = {"a": failing(), "b": sh(MARKING + HOLD)}
    process = place.start(place.write(told(tasks, command=(script(place),))), "-q")
    until(lambda: place.lines("told"), "told while b runs")
    assert place.lines("told") == ["needs_person|p-1|a|"]
    place.go()
    assert process.wait(PATIENCE) == 1
    assert place.lines("told")[1:] == ["finished|p-1||"]


def test_a_command_that_fails_is_tried_once_more_and_the_run_goes_on(place: Place) -> None:
    line = "#!/bin/sh\necho x >> tries; echo 'no network' >&2; exit 7\n"
    plan = told({"a": sh("true")}, command=(script(place, line),))
    ran = place.run(place.write(plan))
    assert ran.code == 0
    assert len(place.lines("tries")) == 2
    [event] = place.events(ev.Notified)
    assert (event.trouble, event.detail) == ("finished", "command: exit code 7: no network")
    assert "a message of run p-1 did not arrive: command: exit code 7: no network" in ran.err


def test_what_is_not_there_is_said_at_the_beginning_and_once(place: Place) -> None:
    bare = place.target / "bare"
    bare.mkdir()
    for name in ("sh", "git"):
        found = next(Path(folder, name) for folder in os.get_exec_path() if Path(folder, name).exists())
        (bare / name).symlink_to(found)
    place.environ["PATH"] = str(bare)
    plan = told({"a": sh(":")}, command=("no-such-program",), webhook="$NOWHERE", desktop=True)
    ran = place.run(place.write(plan))
    assert ran.code == 0
    for lack in (
        "the command no-such-program is not there",
        "webhook: the variable NOWHERE is not set",
        "desktop: there is neither notify-send nor osascript",
    ):
        assert ran.err.count(lack) == 1
    [event] = place.events(ev.Notified)
    assert "webhook: the variable NOWHERE is not set" in event.detail


def test_what_never_ends_holds_the_end_up_no_longer_than_its_time(place: Place) -> None:
    command = (script(place, "#!/bin/sh\nsleep 1000\n"),)
    with serving(hangs=1000.0) as server:
        plan = told({"a": sh("true")}, command=command, webhook=f"{server.url}/hook", timeout=1.0)
        began = time.monotonic()
        assert place.run(place.write(plan), "-q").code == 0
        assert time.monotonic() - began < PATIENCE / 2
    [event] = place.events(ev.Notified)
    assert "command: not finished after 1 s" in event.detail
    assert "webhook: http://127.0.0.1: no answer" in event.detail
    place.nothing_left()


def test_killed_while_it_tells_the_next_start_tells_it_again_and_then_never_more(place: Place) -> None:
    line = f"{TELL}until [ -e answered ]; do sleep 0.02; done\n"
    plan = place.write(told({"a": failing(), "b": sh(MARKING + HOLD)}, command=(script(place, line),)))
    process = place.start(plan, "-q")
    until(lambda: place.lines("told"), "being told")
    kill(process)
    assert place.events(ev.Notified) == []
    (place.target / "answered").touch()
    process = place.start(plan, "-q")
    until(lambda: place.events(ev.Notified), "told")
    kill(process)
    place.go()
    assert place.run(plan, "-q").code == 1
    keys = [one["key"] for message in messages(place) for one in message["told"]]
    assert keys == ["needs_person/a/1", "needs_person/a/1", "finished/1"]
    assert [one.key for one in place.events(ev.Notified)] == ["needs_person/a/1", "finished/1"]
    place.nothing_left()


def test_three_failures_are_told_once_and_a_halt_is_told_too(place: Place) -> None:
    tasks = {"a": sh("exit 3", retry=Retry(attempts=3, backoff=0.01)), "b": sh("true", "a")}
    plan = plan_of(tasks, notify=Notify(command=(script(place),)), on_failure="halt")
    assert place.run(place.write(plan), "-q").code == 1
    told = [one["key"] for message in messages(place) for one in message["told"]]
    assert told.count("needs_person/a/3") == 1
    assert "after 3 tries: exit code 3" in messages(place)[0]["told"][0]["message"]
    tasks = {"bad": failing(), "other": sh(MARKING + HOLD), "late": sh("true", "other")}
    process = place.start(place.write(plan_of(tasks, name="q", notify=plan.notify, on_failure="halt")), "-q")
    until(lambda: place.events(ev.HaltRequested), "halting")
    place.go()
    assert process.wait(PATIENCE) == 3
    last = messages(place)[-1]["told"][-1]
    assert (last["key"], last["next"][-1]) == ("halted/1", "daplug-supervise resume q-1")


# --- a webhook ---------------------------------------------------------------------------------------------------


def test_a_webhook_gets_json_and_its_address_is_nowhere_to_be_read(place: Place) -> None:
    with serving() as server:
        place.environ["CHAT"] = f"{server.url.replace('//', '//me:pw' + SECRET + '@')}/{SECRET}?key={SECRET}"
        plan = told({"a": failing("echo '<!channel> @all'; exit 3")}, webhook="$CHAT")
        ran = place.run(place.write(plan))
    [(path, headers, body)] = server.got
    assert path == f"/{SECRET}?key={SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"].startswith("Basic ")
    assert body["title"] == "Run p-1 needs a person and has finished"
    assert "<" not in body["text"]
    assert "@" not in body["text"]
    assert place.events(ev.Notified)[0].detail == ""
    assert SECRET not in ran.out + ran.err + everything(place)


def test_a_server_that_cannot_take_it_at_the_moment_is_asked_once_more(place: Place) -> None:
    with serving(500, 302) as server:
        place.environ["CHAT"] = f"{server.url}/{SECRET}"
        ran = place.run(place.write(told({"a": sh("true")}, webhook="${CHAT}")))
    assert ran.code == 0
    [event] = place.events(ev.Notified)
    assert event.detail == "webhook: http://127.0.0.1: it answered 302, and redirects are not followed"
    assert len(server.got) == 2
    assert SECRET not in ran.err + everything(place)


@pytest.mark.parametrize(
    ("status", "passing"),
    [(200, None), (204, None), (404, False), (429, True), (503, True), (302, False), (307, False)],
)
def test_what_a_server_answers(status: int, passing: bool | None) -> None:
    with serving() as other, serving(status, location=f"{other.url}/elsewhere") as server:
        if passing is None:
            post(f"{server.url}/{SECRET}", b"{}", PATIENCE)
        else:
            with pytest.raises(PostError, match=f"^it answered {status}") as found:
                post(f"{server.url}/{SECRET}", b"{}", PATIENCE)
            assert found.value.passing is passing
    assert len(server.got) == 1
    assert other.got == [], "nobody else gets to know"


@pytest.mark.parametrize(
    "address", ["", "ftp://x", "https://", "http://[::1", "file:///etc/passwd", "http://a b/", "http://x:0/"]
)
def test_what_a_variable_says_must_be_a_web_address(address: str) -> None:
    with pytest.raises(PostError) as found:
        resolved("$CHAT", {"CHAT": address})
    assert str(found.value) in ("the variable CHAT is not set", f"what CHAT says {NOT_USED}")


def test_only_scheme_and_host_of_an_address_are_shown() -> None:
    assert shown(f"https://me:{SECRET}@example.org:8443/{SECRET}?x={SECRET}") == "https://example.org"
    assert shown("http://[::1]:80/x") == "http://[::1]"


def test_what_goes_wrong_on_the_way_is_said_without_the_address() -> None:
    with serving() as server:
        closed = server.url
    with pytest.raises(PostError, match="refused") as found:
        post(f"{closed}/{SECRET}", b"{}", PATIENCE)
    assert found.value.passing
    assert SECRET not in str(found.value)


# --- a desktop ---------------------------------------------------------------------------------------------------


def test_a_message_on_the_desktop(place: Place) -> None:
    programs = place.target / "programs"
    programs.mkdir()
    script(place, '#!/bin/sh\nprintf "%s\\n" "$@" >> shown\n', "programs/notify-send")
    place.environ["PATH"] = f"{programs}{os.pathsep}{place.environ['PATH']}"
    assert place.run(place.write(told({"a": failing("echo '<b>&'; exit 3")}, desktop=True)), "-q").code == 1
    lines = place.lines("shown")
    assert lines[:3] == ["--app-name=daplug-supervisor", "--", "Run p-1 needs a person and has finished"]
    assert lines[3].startswith("Task a failed after 1 try: exit code 3: \u2039b\u203a\uff06")
    assert not any("daplug-supervise task" in line for line in lines), "only what has happened"


def test_what_an_agent_prints_becomes_no_other_character_on_the_desktop(place: Place) -> None:
    r"""``notify-send`` reads ``\74`` in a text as ``<``, and refuses one in which ``\377`` stands."""
    programs = place.target / "programs"
    programs.mkdir()
    script(place, '#!/bin/sh\nprintf "%s\\n" "$@" >> shown\n', "programs/notify-send")
    place.environ["PATH"] = f"{programs}{os.pathsep}{place.environ['PATH']}"
    (place.target / "evil").write_text(r"\74b\76 \377")
    assert place.run(place.write(told({"a": failing("cat evil; exit 3")}, desktop=True)), "-q").code == 1
    assert r"exit code 3: \\74b\\76 \\377." in place.lines("shown")[3]


# --- trying it out -----------------------------------------------------------------------------------------------


def test_a_trial_message(place: Place) -> None:
    with serving(404) as server:
        plan = place.write(told({"a": sh(MARKING)}, command=(script(place),), webhook=f"{server.url}/hook"))
        ran = place.run("check", plan, "--notify")
    assert ran.code == 1
    assert "command: sent; see whether it arrived" in ran.out
    assert "webhook: http://127.0.0.1: it answered 404" in ran.out
    assert messages(place)[0]["trial"] is True
    assert place.lines() == []
    assert not place.state.exists()
    found = place.run(
        "check", place.write(told({"a": sh("true")}, command=(script(place),))), "--notify", "--json"
    )
    assert found.json() == [{"way": "command", "problem": ""}]
