"""Other users of the machine can read nothing of ours, and nothing that they leave in our way is used or waited for."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import HOLD, MARKING, STANDIN, Place, finish, opened, plan_of, sh, until
from promises import Proof

from daplug_supervisor import Loop, Provider, Retry, StateDirectoryError, Task
from daplug_supervisor.core import events as ev
from daplug_supervisor.workspace.files import StateDirectory

place = pytest.fixture(opened)

OTHER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def ours(place: Place) -> Iterator[Path]:
    """All that we make: the state directory, and what we leave in the repository."""
    yield place.state
    yield from place.state.rglob("*")
    yield from (place.target / ".git").glob("daplug*")
    yield from (place.target / ".git" / "daplug").rglob("*")
    yield from (place.target / ".git").glob("worktrees/*/daplug*")


def check_private(place: Place) -> int:
    count = 0
    for path in ours(place):
        try:
            found = path.lstat()
        except FileNotFoundError:  # it was on its way into its place
            continue
        assert found.st_mode & 0o077 == 0, (path, oct(found.st_mode))
        assert stat.S_IMODE(found.st_mode) == (0o700 if path.is_dir() else 0o600), (path, oct(found.st_mode))
        assert found.st_uid == os.geteuid()
        count += 1
    return count


def git(place: Place) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=place.target, check=True, env=place.environ)


@pytest.mark.promise("P28")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_all_we_make_is_for_its_owner_alone(place: Place, umask: int, proof: Proof) -> None:
    if umask and not proof.full:
        pytest.skip("in the full form: the widest one must do")
    git(place)
    once: dict[str, Any] = {"retry": Retry(attempts=1)}
    tasks = {
        "good": sh("echo secret; umask 000; echo x > made"),
        "bad": sh("echo secret >&2; exit 1", **once),
        "tree": sh("true", worktree=True, setup=("echo", "secret")),
        "agent": Task(instructions="STUB: ok", provider="codex", loop=Loop(1), **once),
        "flood": sh("head -c 70000000 /dev/zero", **once),
        "held": sh(MARKING + HOLD),
    }
    pools = {"p": Provider(worker="command", parallel=6), "codex": Provider()}
    before = os.umask(umask)
    try:
        process = place.start(place.write(plan_of(tasks, pools)), "--executor", str(STANDIN))
        place.started("held")
        until(lambda: place.events(ev.TaskFailed), "bad's end")
        (place.state / "inbox" / "odd.json").write_bytes(b"{")
        (place.state / "inbox" / "odd.json").chmod(0o600)
        assert place.run("task", "cancel", "held").code == 0
        assert check_private(place) > 20
        assert finish(process).code == 1
        assert place.run("task", "retry", "bad").code == 0
        assert place.run("report").code == 0
        count = check_private(place)
    finally:
        os.umask(before)
    names = {path.name for path in ours(place)}
    assert {
        "journal.db",
        "lock",
        "report.json",
        "bundle.json",
        "p-1-tree.json",
        "daplug-setup",
        "supervisor.log",
        "inbox",
    } <= names
    assert (place.target / "made").stat().st_mode & 0o777 == 0o666, "what agents make is their own affair"
    proof.count("injected faults")
    assert count > 30
    place.nothing_left()


@as_root
@pytest.mark.promise("P28")
def test_another_user_can_read_nothing(place: Place) -> None:
    assert place.run(place.write(plan_of({"a": sh("echo secret")}))).code == 0
    for path in (place.target, *place.target.parents):
        if path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o001)  # the way to it is open, and it holds all the same
        if path.name.startswith("pytest-of"):
            break
    for path in ours(place):
        command = ["ls", str(path)] if path.is_dir() else ["cat", str(path)]
        done = subprocess.run(
            command, user=OTHER, group=OTHER, extra_groups=[], capture_output=True, check=False
        )
        assert done.returncode != 0, path
        assert b"ermission denied" in done.stderr


def give(path: Path) -> None:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)


def foreign(state: Path) -> None:
    give(state)


def foreign_link(state: Path) -> None:
    real = state.with_name("real")
    state.rename(real)
    state.symlink_to(real)
    give(state)


def foreign_file(state: Path) -> None:
    (state / "journal.db").touch()
    give(state / "journal.db")


def planted_link(state: Path) -> None:
    (state / "supervisor.log").symlink_to(state.with_name("precious"))
    give(state / "supervisor.log")


def planted_deep(state: Path) -> None:
    state.chmod(0o777)
    (state / "runs" / "p-1").mkdir(parents=True)
    (state / "runs" / "p-1" / "a").symlink_to(state.with_name("precious"))
    give(state / "runs" / "p-1" / "a")


def planted_hard_link(state: Path) -> None:
    state.chmod(0o777)
    (state / "supervisor.log").hardlink_to(state.with_name("precious"))


def planted_pipe(state: Path) -> None:
    os.mkfifo(state / "lock")
    give(state / "lock")


LEFT = (foreign, foreign_link, foreign_file, planted_link, planted_deep, planted_hard_link, planted_pipe)


@as_root
@pytest.mark.promise("P28")
@pytest.mark.parametrize("leave", LEFT)
def test_what_another_user_left_in_our_way_is_refused(
    place: Place, leave: Callable[[Path], None], proof: Proof
) -> None:
    precious = place.target / "precious"
    precious.write_text("precious")
    place.state.mkdir(mode=0o700)
    leave(place.state)
    before = sorted(path.name for path in place.target.rglob("*"))
    plan = place.write(plan_of({"a": sh("touch canary")}))
    ran = place.run(plan)
    assert ran.code == 2, ran
    assert "another user" in ran.err
    assert "Traceback" not in ran.err
    assert precious.read_text() == "precious"
    assert sorted(path.name for path in place.target.rglob("*")) == sorted([*before, plan])
    proof.count("injected faults")
    place.nothing_left()


def test_a_link_of_ones_own_is_as_good_as_a_directory(place: Place) -> None:
    (place.home / "large-disk").mkdir()
    place.state.symlink_to(place.home / "large-disk")
    assert place.run(place.write(plan_of({"a": sh("true")}))).code == 0
    assert stat.S_IMODE((place.home / "large-disk").stat().st_mode) == 0o700


def test_a_directory_that_was_open_is_closed(place: Place) -> None:
    place.state.mkdir()
    place.state.chmod(0o777)
    (place.state / "notes").mkdir()
    (place.state / "notes" / "mine").touch()
    assert place.run(place.write(plan_of({"a": sh("true")}))).code == 0
    assert stat.S_IMODE(place.state.stat().st_mode) == 0o700


@pytest.mark.promise("P28")
def test_what_is_left_in_the_inbox_is_refused_without_waiting(place: Place, proof: Proof) -> None:
    process = place.start(place.write(plan_of({"a": sh(MARKING + HOLD)})))
    place.started("a")
    inbox = place.state / "inbox"
    (place.target / "command").write_text('{"id": "linked", "verb": "halt"}')
    os.mkfifo(inbox / "pipe.json")
    (inbox / "link.json").symlink_to(place.target / "command")
    (inbox / "zero.json").symlink_to("/dev/zero")
    with (inbox / "huge.json").open("wb") as file:
        file.truncate(1 << 40)
    expected = {"pipe", "link", "zero", "huge"}
    if os.geteuid() == 0:
        given = inbox / ".given"
        given.write_text('{"id": "given", "verb": "halt"}')
        give(given)
        given.rename(inbox / "given.json")
        expected.add("given")
    until(lambda: len(place.events(ev.CommandAnswered)) == len(expected), "an answer to each")
    answers = place.events(ev.CommandAnswered)
    assert {answer.id for answer in answers} == expected
    assert not any(answer.applied for answer in answers)
    until(lambda: not list(inbox.iterdir()), "an empty inbox")
    assert (place.target / "command").exists()
    place.go()
    assert finish(process).code == 0
    proof.count("injected faults", len(expected))
    place.nothing_left()


RACE = """
while true; do
  mkdir "$1/.daplug" && rmdir "$1/.daplug"
  ln -s "$2" "$1/.daplug" && rm "$1/.daplug"
  mkfifo "$1/.daplug" && rm "$1/.daplug"
done 2>/dev/null
"""


@as_root
@pytest.mark.promise("P28")
def test_a_race_for_the_name_is_never_lost(tmp_path: Path, proof: Proof) -> None:
    """In a place where all may write, somebody makes and takes away what has the directory's name."""
    for path in (tmp_path, *tmp_path.parents):
        if path.name.startswith("pytest-of") or path == path.parent:
            path.chmod(path.stat().st_mode | 0o001)
            break
        path.chmod(path.stat().st_mode | 0o001)
    common, victim = tmp_path / "common", tmp_path / "victim"
    common.mkdir()
    common.chmod(0o1777)
    victim.mkdir(mode=0o755)
    who: dict[str, Any] = {"user": OTHER, "group": OTHER, "extra_groups": []}
    with subprocess.Popen(["sh", "-c", RACE, "sh", str(common), str(victim)], **who) as other:
        try:
            won = 0
            for _ in range(proof.pick(200, 5000)):
                directory = StateDirectory(common / ".daplug")
                try:
                    directory.create()
                except StateDirectoryError:
                    continue
                finally:
                    proof.count("races")
                found = directory.path.lstat()
                assert (stat.S_ISDIR(found.st_mode), found.st_uid, stat.S_IMODE(found.st_mode)) == (
                    True,
                    0,
                    0o700,
                )
                shutil.rmtree(directory.path)
                won += 1
        finally:
            other.kill()
    assert list(victim.iterdir()) == [], "nothing was written through a link of theirs"
    assert won, "now and then it is ours"
