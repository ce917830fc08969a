"""The state directory: one holder at a time, nobody else's eyes, files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daplug_supervisor.errors import BusyError, StateDirectoryError
from daplug_supervisor.workspace import files
from daplug_supervisor.workspace.files import StateDirectory, read_tail, write_atomically

HOLDER = """
import sys
from pathlib import Path
from daplug_supervisor.workspace.files import StateDirectory
directory = StateDirectory(Path(sys.argv[1]))
directory.create()
lock = directory.lock()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / ".daplug")
    made.create()
    return made


@contextlib.contextmanager
def held_by_another(directory: StateDirectory) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(directory.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_holder_is_told_who_has_it_within_a_second(directory: StateDirectory) -> None:
    with held_by_another(directory) as process:
        began = time.monotonic()
        with pytest.raises(
            BusyError, match=rf"process {process.pid} supervises {directory.path} already; .*status"
        ):
            directory.lock()
        assert time.monotonic() - began < 1
        assert directory.holder() == {"pid": process.pid}


def test_the_lock_of_a_killed_holder_is_free_at_once(directory: StateDirectory) -> None:
    with held_by_another(directory) as process:
        process.kill()
        process.wait()
        began = time.monotonic()
        lock = directory.lock()
        assert time.monotonic() - began < 0.1
        assert directory.holder() == {"pid": os.getpid()}
        lock.release()
        lock.release()
        assert directory.holder() is None


def test_the_lock_is_not_inherited(directory: StateDirectory) -> None:
    lock = directory.lock()
    with subprocess.Popen(["sleep", "1000"], close_fds=False) as process:
        try:
            lock.release()
            directory.lock().release()
        finally:
            process.kill()


def test_those_who_only_look_are_in_nobodys_way(directory: StateDirectory) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            directory.holder()

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(300):
            directory.lock().release()
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_lock_file_that_is_removed_lets_nobody_in(directory: StateDirectory) -> None:
    with held_by_another(directory) as process:
        (directory.path / "lock").unlink()
        with pytest.raises(BusyError, match="another process supervises"):
            directory.lock()
        assert directory.holder() == {"pid": "?"}
        process.kill()
        process.wait()
        directory.lock().release()


def test_a_lock_file_that_an_older_version_holds_counts(directory: StateDirectory) -> None:
    (directory.path / "lock").write_text('{"pid": 77}')
    with (directory.path / "lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert directory.holder() == {"pid": 77}
        with pytest.raises(BusyError, match="process 77 supervises"):
            directory.lock()
    directory.lock().release()


def test_a_directory_that_is_replaced_while_it_is_locked_does_not_count(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        real(descriptor, how)
        taken.append(descriptor)
        if len(taken) == 1:
            directory.path.rename(directory.path.with_name("old"))
            directory.create()

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = directory.lock()
    assert len(taken) == 3
    assert lock.holds()
    assert json.loads((directory.path / "lock").read_text()) == {"pid": os.getpid()}
    monkeypatch.undo()
    with pytest.raises(BusyError):
        directory.lock()
    lock.release()
    assert not lock.holds()


def test_what_became_of_a_locked_directory(directory: StateDirectory) -> None:
    lock = directory.lock()
    assert (lock.holds(), lock.removed()) == (True, False)
    directory.path.rename(directory.path.with_name("elsewhere"))
    assert (lock.holds(), lock.removed()) == (False, False)
    directory.create()
    assert (lock.holds(), lock.removed()) == (False, False)
    shutil.rmtree(directory.path.with_name("elsewhere"))
    assert (lock.holds(), lock.removed()) == (False, True)
    lock.release()
    assert not lock.removed()


def test_a_lock_file_without_sense_holds_all_the_same(directory: StateDirectory) -> None:
    assert directory.holder() is None
    with held_by_another(directory):
        for text in ("", "{", "[1]", '{"pid": "x"}', "\0" * 100):
            (directory.path / "lock").write_text(text)
            assert directory.holder() == {"pid": "?"}
            with pytest.raises(BusyError, match="another process supervises"):
                directory.lock()


def test_a_full_disk_does_not_keep_us_from_the_lock(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock = directory.lock()
    assert directory.holder() == {"pid": "?"}
    lock.release()


def test_a_place_that_cannot_be_locked(directory: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory.path / "lock").mkdir()
    with pytest.raises(StateDirectoryError, match="lock: Is a directory"):
        directory.lock()
    (directory.path / "lock").rmdir()

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(StateDirectoryError, match="No locks available"):
        directory.lock()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_only_its_owner_can_look_into_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = StateDirectory(tmp_path / "deep" / "state")
        directory.create()
        write_atomically(directory.path / "file", b"")
        lock = directory.lock()
        lock.release()
    finally:
        os.umask(before)
    for path in (directory.path, directory.inbox):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for name in ("lock", "file"):
        assert stat.S_IMODE((directory.path / name).stat().st_mode) == 0o600
    assert (directory.path / ".gitignore").read_text() == "*\n"
    directory.path.chmod(0o755)
    directory.create()
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700, "one that was there before is closed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(StateDirectoryError, match="belongs to another user; give --state-dir"):
        StateDirectory(tmp_path).create()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(
            StateDirectoryError, match=r"file.*give --state-dir a directory that can be written"
        ):
            StateDirectory(path).create()


def test_where_things_are(directory: StateDirectory) -> None:
    with pytest.raises(StateDirectoryError, match="nothing was run here yet"):
        directory.require()
    directory.journal.touch()
    directory.require()
    assert directory.attempt("run-1", "task", 2) == str(directory.run("run-1") / "task" / "2")
    assert not directory.stop_requested()
    directory.stop_file.symlink_to("nowhere")
    assert directory.stop_requested(), "whatever it is, it is there"


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_the_end_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_tail(path, 10) == b""
    path.write_bytes(b"0123456789abc")
    assert [read_tail(path, limit) for limit in (0, 3, 13, 100)] == [
        b"",
        b"abc",
        b"0123456789abc",
        b"0123456789abc",
    ]
    assert read_tail(tmp_path, 10) == b""


def git(target: Path, *what: str) -> str:
    environ = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    command = ["git", "-c", "user.name=n", "-c", "user.email=e", *what]
    return subprocess.run(command, cwd=target, env=environ, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "before", [b"", b"# mine", b"# caf\xe9\r\n*.o\r\n", b"# keep .daplug/ and .worktrees/ in mind\n"]
)
def test_git_does_not_see_us(tmp_path: Path, before: bytes) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("*.log\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    exclude = tmp_path / ".git" / "info" / "exclude"
    exclude.write_bytes(before)
    target = tmp_path / "sub"
    target.mkdir()
    for _ in range(2):
        StateDirectory(target / ".daplug").create()
    (target / ".worktrees").mkdir()
    (target / ".worktrees" / "file").touch()
    (target / ".daplug" / "journal.db").touch()
    assert git(tmp_path, "status", "--porcelain", "-uall") == ""
    added = b".daplug/\n.worktrees/\n"
    assert exclude.read_bytes() == before + (b"" if before[-1:] in (b"", b"\n") else b"\n") + added
    assert (tmp_path / ".gitignore").read_text() == "*.log\n"


def test_a_repository_without_the_file_or_with_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    StateDirectory(tmp_path / ".daplug").create()
    assert (tmp_path / ".git" / "info" / "exclude").read_text() == ".daplug/\n.worktrees/\n"
    (tmp_path / ".git" / "info" / "exclude").unlink()
    (tmp_path / ".git" / "info" / "exclude").mkdir()
    StateDirectory(tmp_path / ".daplug").create()


def test_names_are_a_file_format() -> None:
    assert (files.NAME, files.PROMPT, files.BUNDLE) == (".daplug", "prompt.md", "bundle.json")
    assert (files.STDOUT, files.STDERR) == ("stdout.log", "stderr.log")
