"""Who a process is, and what is left of a shim that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE
from daplug_supervisor.ports import Identity
from daplug_supervisor.processes import tree
from daplug_supervisor.processes.tree import identity_of, leftovers, lives, sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MARK = f"the mark {os.getpid()}"
"""Of these tests alone: whoever runs the others of this file beside us looks for a mark, too."""

NOBODY = Identity(2**22 - 1, 1, tree.boot_id() if sys.platform == "linux" else "-")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, with a mark."""
    environ = os.environ | {ATTEMPT_VARIABLE: MARK}
    with subprocess.Popen(["sleep", "1000"], start_new_session=True, env=environ) as process:
        while MARK.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes():
            time.sleep(0.001)  # it is there, and not yet what it is to be
        yield process
        process.kill()


def known(pid: int) -> Identity:
    found = identity_of(pid)
    assert found is not None
    return found


def test_a_process_is_its_pid_its_start_and_the_boot(sleeper: subprocess.Popen[bytes]) -> None:
    identity = known(sleeper.pid)
    assert identity.pid == sleeper.pid
    assert identity.boot == tree.boot_id()
    began = psutil.Process(sleeper.pid).create_time() - psutil.boot_time()
    assert abs(identity.start / os.sysconf("SC_CLK_TCK") - began) < 2
    assert lives(identity)
    assert not lives(replace(identity, start=identity.start + 1))
    assert not lives(replace(identity, boot="another"))
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert identity_of(sleeper.pid) == identity
    assert not lives(identity), "a zombie does not live"
    sleeper.wait()
    assert identity_of(sleeper.pid) is None
    assert not lives(identity)


def test_a_name_with_brackets_and_spaces_is_no_trap(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "1000"]) as process:
        try:
            assert known(process.pid).start > known(1).start
        finally:
            process.kill()


def test_what_is_left_is_found_by_session_and_by_mark(sleeper: subprocess.Popen[bytes]) -> None:
    identity = known(sleeper.pid)
    assert leftovers(identity, "") == [identity]
    assert leftovers(NOBODY, MARK) == [identity]
    assert leftovers(NOBODY, "the") == leftovers(NOBODY, "") == []
    assert leftovers(replace(identity, start=1), "") == [], (
        "somebody else has the pid, so the session is theirs"
    )
    assert leftovers(replace(identity, boot="another"), "") == []


def test_what_is_left_is_found_by_its_output(tmp_path: Path) -> None:
    """Whoever writes to it. Who reads it may be anybody."""
    output = tmp_path / "stdout.log"
    with output.open("wb") as sink, output.open("rb") as source:
        writer = subprocess.Popen(["sleep", "1000"], stdout=sink, start_new_session=True, env={})
        reader = subprocess.Popen(["sleep", "1000"], stdin=source, start_new_session=True, env={})
    try:
        assert [one.pid for one in leftovers(NOBODY, "", str(tmp_path))] == [writer.pid]
        assert leftovers(NOBODY, "", str(tmp_path / "other")) == []
        assert sweep(NOBODY, "", str(tmp_path))
        assert writer.wait() == -signal.SIGKILL
        assert reader.poll() is None
    finally:
        for process in (writer, reader):
            process.kill()
            process.wait()


def test_what_descends_from_what_is_left_is_left_too(tmp_path: Path) -> None:
    """It wiped its environment, left the session and closed its output; its parent did not."""
    line = f"setsid env -i sh -c 'echo $$ > {tmp_path}/child; exec sleep 1000' >/dev/null 2>&1 & wait"
    environ = os.environ | {ATTEMPT_VARIABLE: MARK}
    with subprocess.Popen(["sh", "-c", line], start_new_session=True, env=environ) as process:
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
            time.sleep(0.005)
        child = int((tmp_path / "child").read_text())
        assert {one.pid for one in leftovers(NOBODY, MARK)} == {process.pid, child}
        assert sweep(NOBODY, MARK)
    assert identity_of(child) is None or not lives(known(child))


def test_a_session_of_a_pid_that_was_used_again_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    """A stranger had the dead shim's pid, made a session, and died; somebody is in that session still."""
    line = "sleep 1000 >/dev/null 2>&1 & echo $!"
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        stranger = int(process.stdout.readline())
    try:
        shim = Identity(process.pid, 1, tree.boot_id())
        assert os.getsid(stranger) == process.pid
        assert leftovers(shim, MARK) == [known(sleeper.pid)]
        began = time.monotonic()
        assert sweep(shim, "")
        assert time.monotonic() - began >= tree._DOUBT, (
            "one that is just being born gets a moment to show its mark"
        )
        assert lives(known(stranger))
    finally:
        os.kill(stranger, signal.SIGKILL)


def test_we_are_never_swept(sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor may have the pid of a dead shim, or its mark, when an agent of it started it."""
    monkeypatch.setattr(os, "getpid", lambda: sleeper.pid)
    assert leftovers(known(sleeper.pid), MARK) == []
    assert sweep(known(sleeper.pid), MARK)
    assert sleeper.poll() is None


def test_what_we_started_ourselves_is_not_the_tree_of_the_agent_that_started_us(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getppid()
    monkeypatch.setattr(tree, "_is_marked", lambda pid, *_: pid == parent)
    found = [one.pid for one in leftovers(NOBODY, MARK)]
    assert parent in found
    assert {os.getpid(), sleeper.pid}.isdisjoint(found)


def test_sweeping_kills_what_is_left_and_nothing_else(sleeper: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:
        try:
            assert sweep(NOBODY, MARK)
            assert sleeper.wait() == -signal.SIGKILL
            assert other.poll() is None
        finally:
            other.kill()


def test_what_cannot_be_killed_is_said(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refused)
    assert not sweep(NOBODY, MARK, patience=0.05)
    assert sleeper.poll() is None


def test_whoever_gets_the_pid_in_the_meantime_is_spared(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list was made, then its process ended and another came to have its pid."""
    before = replace(known(sleeper.pid), start=1)
    rounds = iter([([before, NOBODY], False), ([], False)])
    monkeypatch.setattr(tree, "_look", lambda *_: next(rounds))
    assert sweep(NOBODY, "another mark")
    assert sleeper.poll() is None
