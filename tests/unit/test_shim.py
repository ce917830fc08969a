"""The parts of the shim that need no process of their own. The rest: tests/integration/test_launcher*.py."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daplug_supervisor.processes.ends import read_exit
from daplug_supervisor.processes.shim import RECORD_SIZE, agent, memory, output, record, system
from daplug_supervisor.processes.shim.agent import find
from daplug_supervisor.processes.shim.output import Log
from daplug_supervisor.processes.shim.shim import Shim
from daplug_supervisor.processes.shim.watch import Watch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no such processes")
BLOCK = 4096


@given(st.text(), st.text(), st.integers() | st.none(), st.floats(0, 1e9))
def test_every_record_is_json_and_fits_its_room(
    error: str, mark: str, code: int | None, seconds: float
) -> None:
    told = {
        "state": "exited",
        "mark": mark,
        "code": code,
        "error": error,
        "seconds": seconds,
        "max_rss": 2**62,
    }
    data = record.as_json(told)
    assert len(data) < RECORD_SIZE
    read = json.loads(data)
    assert error.startswith(read.pop("error"))
    assert mark.startswith(read.pop("mark"))
    assert read == {"state": "exited", "code": code, "seconds": seconds, "max_rss": 2**62}
    found = read_exit(data.ljust(RECORD_SIZE - 1) + b"\n")
    assert found is not None
    assert (found.code, found.seconds) == (code, seconds)


def test_a_name_that_is_no_text_does_not_make_the_record_unreadable() -> None:
    found = read_exit(record.as_json({"state": "exited", "error": os.fsdecode(b"/no/\xff\xe4: not found")}))
    assert found is not None
    assert found.error == "/no/??: not found"


@pytest.mark.parametrize("text", ["x" * 5000, "\U0001f600" * 1000, '"\\\n' * 500])
def test_long_texts_are_cut(text: str) -> None:
    data = record.as_json({"state": "exited", "mark": text, "error": text})
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
    assert watch.patience(100.0) == 0.25, "the next look at the output"
    watch.act(101.0, 0)
    assert sent == []
    assert watch.patience(101.2) == pytest.approx(0.3), "the deadline"
    watch.act(101.9, 0)
    assert (sent, watch.stopped) == ([(-7, signal.SIGTERM), (-7, signal.SIGCONT)], "deadline")
    watch.act(103.0, 1)
    assert len(sent) == 2
    watch.act(106.9, 1)
    assert sent[2:] == [(-7, signal.SIGKILL), (7, signal.SIGKILL)]
    watch.act(107.0, 1)
    assert len(sent) == 4
    watch.act(107.9, 1)
    assert len(sent) == 6, "again, for one that was just being born"
    watch.status, watch.usage = 9, SimpleNamespace(ru_utime=1.0, ru_stime=0.5, ru_maxrss=3)
    assert watch.patience(108.0) < 0.1
    watch.act(200.0, 9)
    assert len(sent) == 6
    assert watch.result("m", 8.0) == {
        "state": "exited", "mark": "m", "code": -9, "stopped": "deadline", "seconds": 8.0, "cpu": 1.5,
        "max_rss": 3 * (1024 if system.LINUX else 1),
    }  # fmt: skip


def test_a_second_request_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda _, number: sent.append(number))
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    watch = Watch(7, launch_of(tmp_path), 100.0)
    assert watch.patience(100.0) == 0.25
    watch.act(100.1, 1)
    watch.act(100.2, 2)
    assert sent == [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL, signal.SIGKILL]
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
        system.kill(1, signal.SIGTERM)
        system.kill_group(1, signal.SIGTERM)


@pytest.mark.parametrize("size", [0, 100, 2 * BLOCK, 2 * BLOCK + 1, 5 * BLOCK, 100 * BLOCK + 17])
def test_output_is_bounded_from_its_middle(tmp_path: Path, size: int) -> None:
    whole, limit = os.urandom(size), 2 * BLOCK
    log = filled(tmp_path, whole, limit)
    path = Path(log.path)
    log.bound()
    held = path.read_bytes()
    assert len(held) == size, "offsets stay while it is written"
    assert (held[: limit // 2], held[-(limit // 2) :]) == (whole[: limit // 2], whole[-(limit // 2) :])
    assert path.stat().st_blocks * 512 <= limit + 2 * BLOCK
    log.shorten()
    if size <= limit:
        assert path.read_bytes() == whole
    else:
        marker = b"\n[... %d bytes left out ...]\n" % (size - limit)
        assert path.read_bytes() == whole[: limit // 2] + marker + whole[-(limit // 2) :]
    assert [file.name for file in tmp_path.iterdir()] == ["stdout.log"]
    assert path.stat().st_mode & 0o777 == 0o600


def filled(folder: Path, data: bytes, limit: int) -> Log:
    log = Log(str(folder / "stdout.log"), limit)
    os.write(log.descriptor, data)
    return log


def test_the_faster_it_grows_the_sooner_it_is_looked_at_again(tmp_path: Path) -> None:
    log = filled(tmp_path, b"", 100 * BLOCK)
    watch = Watch(7, launch_of(tmp_path), 100.0, [log])
    pauses = []
    for now, size in enumerate((0, 1, 99, 199, 1000, 100_000, 100_000)):
        os.ftruncate(log.descriptor, size * BLOCK)
        watch.look(101.0 + now)
        pauses.append(watch.look_at - (101.0 + now))
    assert pauses == pytest.approx([1.0, 1.0, 25 / 98, 0.25, 25 / 801, 0.01, 1.0], rel=0.01)


def test_the_longer_it_is_quiet_the_less_often_it_is_looked_at(tmp_path: Path) -> None:
    watch = Watch(7, launch_of(tmp_path), 0.0, [filled(tmp_path, b"", 100)])
    looks: list[float] = []
    while len(looks) < 5:
        looks.append(watch.look_at)
        watch.look(watch.look_at)
    assert looks == [0.25, 0.75, 1.75, 2.75, 3.75]


def test_a_system_that_cannot_punch_holes_keeps_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "libc", lambda: None)
    log = filled(tmp_path, b"x" * 10 * BLOCK, BLOCK)
    log.bound()
    assert Path(log.path).stat().st_blocks * 512 >= 10 * BLOCK


def test_output_that_cannot_be_rewritten_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = filled(tmp_path, b"x" * 10 * BLOCK, BLOCK)
    (tmp_path / "stdout.log.tmp").mkdir()
    with pytest.raises(OSError, match=r"stdout\.log\.tmp"):
        log.shorten()
    (tmp_path / "stdout.log.tmp").rmdir()
    monkeypatch.setattr(output, "_copy", lambda *_: Path("/no/such").stat())
    with pytest.raises(FileNotFoundError):
        log.shorten()
    assert [file.name for file in tmp_path.iterdir()] == ["stdout.log"], "half a copy is not left"
    assert (tmp_path / "stdout.log").stat().st_size == 10 * BLOCK


def test_what_is_not_the_output_any_more_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"p" * 50 * BLOCK)
    (tmp_path / "a").mkdir()
    puts: list[Callable[[Path, str], object]] = [os.symlink, os.link]
    for number, put in enumerate(puts):
        log = filled(tmp_path / "a", b"x" * 10 * BLOCK, BLOCK)
        Path(log.path).unlink()
        put(tmp_path / "precious", log.path)
        log.bound()
        with contextlib.suppress(OSError):
            log.shorten()
        assert (tmp_path / "precious").read_bytes() == b"p" * 50 * BLOCK, number
        assert os.fstat(log.descriptor).st_blocks * 512 <= 2 * BLOCK, "its own is bounded also without a name"
        log.close()
    log = filled(tmp_path / "a", b"x" * 10 * BLOCK, BLOCK)
    Path(log.path).unlink()
    os.mkfifo(log.path)
    log.shorten()
    again = Log(log.path, BLOCK)
    assert stat.S_ISREG(os.lstat(again.path).st_mode), "a fifo that an earlier attempt left is no trap"


def test_a_file_that_shrinks_while_it_is_copied(tmp_path: Path) -> None:
    source, sink = io.BytesIO(b"abc"), io.BytesIO()
    output._copy(source, sink, 50)
    assert sink.getvalue() == b"abc"


CGROUPS = {
    "one": ("0::/user/me\n", "user/me/memory.events"),
    "one in a container": ("0::/docker/abc\n", "memory.events"),
    "many": ("5:cpu:/\n4:hugetlb,memory:/jobs\n0::/\n", "memory/jobs/memory.oom_control"),
    "many in a container": ("4:memory:/docker/abc\n", "memory/memory.oom_control"),
}


@pytest.mark.parametrize("kind", CGROUPS)
def test_kills_for_want_of_memory_are_counted_where_we_are(tmp_path: Path, kind: str) -> None:
    text, place = CGROUPS[kind]
    (tmp_path / "cgroup").write_text(text)
    counter = tmp_path / "fs" / place
    counter.parent.mkdir(parents=True)
    counter.write_text("low 0\noom 9\noom_kill 4\noom_group_kill 7\n")
    found = memory.open_kills(str(tmp_path / "cgroup"), str(tmp_path / "fs"))
    assert memory.count_kills(found) == 4
    os.close(found)


def test_without_a_control_group_the_systems_own_count_is_taken(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("nothing of use\n")
    (tmp_path / "cgroup").write_text("0::/\n")
    for cgroup in (tmp_path / "cgroup", tmp_path / "none"):
        found = memory.open_kills(str(cgroup), str(tmp_path))
        if found >= 0:
            assert Path(f"/proc/self/fd/{found}").readlink() == Path("/proc/vmstat")
            os.close(found)
    assert memory.count_kills(-1) is None


def watched(tmp_path: Path, status: int) -> tuple[Watch, Path]:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 4\n")
    watch = Watch(7, launch_of(tmp_path), 100.0, [], os.open(counter, os.O_RDONLY))
    watch.status = status
    return watch, counter


@pytest.mark.parametrize(
    ("status", "labelled"), [(9, True), (137 << 8, True), (1 << 8, False), (0, False), (15, False)]
)
def test_an_end_is_put_down_to_the_memory_only_if_the_system_says_so(
    tmp_path: Path, status: int, labelled: bool
) -> None:
    watch, counter = watched(tmp_path, status)
    assert "lack" not in watch.result("m", 1.0), "nobody was killed for memory"
    counter.write_text("oom_kill 5\n")
    assert watch.result("m", 1.0).get("lack", "") == ("memory" if labelled else "")
    found = read_exit(record.written(watch.result("m", 1.0)))
    assert found is not None
    assert found.lack == ("memory" if labelled else "")
    watch.stopped = "deadline"
    assert "lack" not in watch.result("m", 1.0), "that was us"
    os.close(watch.kills)


def test_somebody_elses_want_of_memory_hours_ago_says_nothing(tmp_path: Path) -> None:
    watch, counter = watched(tmp_path, 9)
    counter.write_text("oom_kill 5\n")
    watch.look(111.0)
    assert watch.result("m", 1.0)["lack"] == "memory", "just now"
    watch.look(122.0)
    assert "lack" not in watch.result("m", 1.0)
    os.close(watch.kills)


def test_of_what_there_was_too_little_is_said_of_what_cannot_start() -> None:
    launch = {"argv": ["a"], "cwd": "/"}
    for number, lack in ((errno.ENOSPC, "disk"), (errno.EAGAIN, "processes"), (errno.EMFILE, "files")):
        assert agent.refusal(OSError(number, "no"), launch, claimed=True) == {"error": "a: no", "lack": lack}
    assert agent.refusal(OSError(errno.ENOENT, "no"), launch, claimed=True) == {"error": "a: no"}
    assert agent.refusal(ValueError("no"), launch, claimed=True) == {"error": "a: no"}


def test_who_we_are() -> None:
    start, boot = system.identify(os.getpid())
    assert start > 0
    assert len(boot) == 36
    assert isinstance(system.children(), list)


def test_an_alarm_is_readable_until_it_is_drained() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    old = signal.set_wakeup_fd(-1)
    readable = system.alarm_pipe()
    try:
        signal.raise_signal(signal.SIGUSR1)
        system.drain(readable)
        with pytest.raises(BlockingIOError):
            os.read(readable, 1)
    finally:
        os.close(signal.set_wakeup_fd(old))
        os.close(readable)
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOSPC])
def test_a_file_system_that_cannot_promise_room_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    one = Shim.__new__(Shim)
    try:
        with pytest.raises(OSError, match="no") if number == errno.ENOSPC else contextlib.nullcontext():
            one.claim(str(tmp_path / "1"), "mark")
            assert json.loads((tmp_path / "1" / "process.json").read_bytes())["state"] == "starting"
    finally:
        os.close(one.record)
