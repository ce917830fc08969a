"""The parts of the shim that need no process of their own. The rest: tests/integration/test_launcher*.py."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daplug_supervisor.processes import shim
from daplug_supervisor.processes.launch import read_exit
from daplug_supervisor.processes.shim import RECORD_SIZE, Watch, bound_output, find

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no such processes")
BLOCK = 4096


@given(st.text(), st.text(), st.integers() | st.none(), st.floats(0, 1e9))
def test_every_record_is_json_and_fits_its_room(
    error: str, mark: str, code: int | None, seconds: float
) -> None:
    record = {
        "state": "exited",
        "mark": mark,
        "code": code,
        "error": error,
        "seconds": seconds,
        "max_rss": 2**62,
    }
    data = shim._json(record)
    assert len(data) < RECORD_SIZE
    read = json.loads(data)
    assert error.startswith(read.pop("error"))
    assert mark.startswith(read.pop("mark"))
    assert read == {"state": "exited", "code": code, "seconds": seconds, "max_rss": 2**62}
    found = read_exit(data.ljust(RECORD_SIZE - 1) + b"\n")
    assert found is not None
    assert (found.code, found.seconds) == (code, seconds)


def test_a_name_that_is_no_text_does_not_make_the_record_unreadable() -> None:
    found = read_exit(shim._json({"state": "exited", "error": os.fsdecode(b"/no/\xff\xe4: not found")}))
    assert found is not None
    assert found.error == "/no/??: not found"


@pytest.mark.parametrize("text", ["x" * 5000, "\U0001f600" * 1000, '"\\\n' * 500])
def test_long_texts_are_cut(text: str) -> None:
    data = shim._json({"state": "exited", "mark": text, "error": text})
    assert len(data) < RECORD_SIZE
    assert text.startswith(json.loads(data)["error"])
    assert len(json.loads(data)["error"]) > 25


def test_programs_are_looked_up_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "tool").touch(0o755)
    (tmp_path / "folder").mkdir()
    environ = {"PATH": f"/none:{tmp_path}"}
    assert find("tool", environ) == f"{tmp_path}/tool"
    assert find("./tool", environ) == "./tool"
    assert find("sh", {}) in ("/bin/sh", "/usr/bin/sh")
    with pytest.raises(FileNotFoundError, match="not found on PATH"):
        find("folder", environ)


def launch_of(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"directory": str(tmp_path), "deadline": None, "grace": 5.0, "output_limit": 2 * BLOCK, **more}


def test_what_is_due_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda pid, number: sent.append((-pid, number)))
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    watch = Watch(7, launch_of(tmp_path, deadline=101.5), 100.0)
    assert watch.patience(100.0) == 1.5
    watch.act(101.0, 0)
    assert (sent, watch.patience(101.9)) == ([], 0.0)
    watch.act(101.9, 0)
    assert (sent, watch.stopped) == ([(-7, signal.SIGTERM)], "deadline")
    assert watch.patience(101.9) == pytest.approx(0.1), "the next look at the output"
    watch.act(103.0, 1)
    assert len(sent) == 1
    watch.act(106.9, 1)
    assert sent[1:] == [(-7, signal.SIGKILL), (7, signal.SIGKILL)]
    watch.act(107.0, 1)
    assert len(sent) == 3
    watch.act(107.9, 1)
    assert len(sent) == 5, "again, for one that was just being born"
    watch.status, watch.usage = 9, SimpleNamespace(ru_utime=1.0, ru_stime=0.5, ru_maxrss=3)
    assert watch.patience(108.0) < 0.1
    watch.act(200.0, 9)
    assert len(sent) == 5
    assert watch.result("m", 8.0) == {
        "state": "exited", "mark": "m", "code": -9, "stopped": "deadline", "seconds": 8.0, "cpu": 1.5,
        "max_rss": 3 * (1024 if shim.LINUX else 1),
    }  # fmt: skip


def test_a_second_request_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda _, number: sent.append(number))
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    watch = Watch(7, launch_of(tmp_path), 100.0)
    assert watch.patience(100.0) == 2.0
    watch.act(100.1, 1)
    watch.act(100.2, 2)
    assert sent == [signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]
    assert watch.result("m", 1.0) == {
        "state": "exited",
        "mark": "m",
        "code": None,
        "stopped": "request",
        "seconds": 1.0,
    }


def test_signals_to_what_is_gone_or_not_ours_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ProcessLookupError, PermissionError):

        def refused(*_: object, error: type[OSError] = error) -> None:
            raise error

        monkeypatch.setattr(os, "kill", refused)
        monkeypatch.setattr(os, "killpg", refused)
        shim.kill(1, signal.SIGTERM)
        shim.kill_group(1, signal.SIGTERM)


@pytest.mark.parametrize("size", [0, 100, 2 * BLOCK, 2 * BLOCK + 1, 5 * BLOCK, 100 * BLOCK + 17])
def test_output_is_bounded_from_its_middle(tmp_path: Path, size: int) -> None:
    whole = os.urandom(size)
    path, limit = tmp_path / "stdout.log", 2 * BLOCK
    path.write_bytes(whole)
    bound_output(str(tmp_path), limit)
    held = path.read_bytes()
    assert len(held) == size, "offsets stay while it is written"
    assert (held[: limit // 2], held[-(limit // 2) :]) == (whole[: limit // 2], whole[-(limit // 2) :])
    assert path.stat().st_blocks * 512 <= limit + 2 * BLOCK
    bound_output(str(tmp_path), limit, ended=True)
    if size <= limit:
        assert path.read_bytes() == whole
    else:
        marker = b"\n[... %d bytes left out ...]\n" % (size - limit)
        assert path.read_bytes() == whole[: limit // 2] + marker + whole[-(limit // 2) :]
    assert [file.name for file in tmp_path.iterdir()] == ["stdout.log"]


def test_a_system_that_cannot_punch_holes_keeps_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim, "libc", lambda: None)
    (tmp_path / "stderr.log").write_bytes(b"x" * 10 * BLOCK)
    bound_output(str(tmp_path), BLOCK)
    assert (tmp_path / "stderr.log").stat().st_blocks * 512 >= 10 * BLOCK


def test_output_that_cannot_be_rewritten_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_bytes(b"x" * 10 * BLOCK)
    (tmp_path / "stdout.log.tmp").mkdir()
    bound_output(str(tmp_path), BLOCK, ended=True)
    assert (tmp_path / "stdout.log").stat().st_size == 10 * BLOCK


def test_a_file_that_shrinks_while_it_is_copied(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_bytes(b"abc")
    shim._rewrite(str(tmp_path / "stdout.log"), 100, 50)
    assert (tmp_path / "stdout.log").read_bytes() == b"abc\n[... 50 bytes left out ...]\n"


def test_who_we_are() -> None:
    start, boot = shim.identify(os.getpid())
    assert start > 0
    assert len(boot) == 36
    assert isinstance(shim.children(), list)


def test_an_alarm_is_readable_until_it_is_drained() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    old = signal.set_wakeup_fd(-1)
    readable = shim.alarm_pipe()
    try:
        signal.raise_signal(signal.SIGUSR1)
        shim.drain(readable)
        with pytest.raises(BlockingIOError):
            os.read(readable, 1)
    finally:
        os.close(signal.set_wakeup_fd(old))
        os.close(readable)
        signal.signal(signal.SIGUSR1, before)
