"""Where a command is typed: in an attempt, in the worktree of a task, or somewhere else."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from daplug_supervisor.cli import options, sending, within
from daplug_supervisor.cli.within import Within, inside
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.surgery.new_tasks import NewTask
from daplug_supervisor.workspace import outbox
from daplug_supervisor.workspace.files import StateDirectory
from daplug_supervisor.workspace.git.registry import Record

TOKEN = "0123456789abcdef"
MARKS = {"DAPLUG_RUN": "r-1", "DAPLUG_TASK": "a", "DAPLUG_SUP_ATTEMPT": TOKEN}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    found = tmp_path / "state"
    (found / "runs" / "r-1" / "a").mkdir(parents=True)
    return found


@pytest.fixture
def worktree(tmp_path: Path, state: Path) -> Path:
    """A worktree as git and we leave it."""
    common, top = tmp_path / "repository" / ".git", tmp_path / "repository" / ".worktrees" / "r-1-a"
    admin = common / "worktrees" / "r-1-a"
    for folder in (admin, top, common / "daplug"):
        folder.mkdir(parents=True)
    (top / ".git").write_text(f"gitdir: {admin}\n")
    (admin / "commondir").write_text("../..\n")
    record = Record(str(state / "runs" / "r-1" / "a"), str(top), "0" * 40)
    (common / "daplug" / "r-1-a.json").write_bytes(msgspec.json.encode(record))
    return top


def furnished(cwd: Path, state: Path, token: str = TOKEN) -> str:
    path = outbox.make(str(cwd), token, state)
    outbox.furnish(path, msgspec.json.encode({"run": "r-1", "task": "a", "state": str(state)}))
    return path


def test_elsewhere_there_is_nothing(tmp_path: Path) -> None:
    assert inside({}, tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert inside({}, tmp_path) is None
    (tmp_path / "below").mkdir()
    for text in ("", "gitdir: /nowhere", "gitdir: \0", "x" * 20_000):
        (tmp_path / "below" / ".git").write_text(text)
        assert inside({}, tmp_path / "below") is None


def test_an_attempt_knows_it_from_its_environment(tmp_path: Path, state: Path) -> None:
    path = furnished(tmp_path, state)
    environ = {**MARKS, "DAPLUG_OUTBOX": path}
    assert inside(environ, tmp_path) == Within("r-1", "a", path, str(state), sure=True)
    assert inside({**environ, "DAPLUG_TASK": "b"}, tmp_path) == Within("r-1", "b", path, "", sure=True)
    Path(path, "about.json").unlink()
    os.mkfifo(Path(path, "about.json"))
    assert inside(environ, tmp_path) == Within("r-1", "a", path, "", sure=True)
    (Path(path) / "commands").rmdir()
    assert inside(environ, tmp_path) == inside(MARKS, tmp_path) == Within("r-1", "a", sure=True)


@pytest.mark.parametrize("mark", ["", f"{TOKEN}-accept-1", "r-1-post_task"])
def test_criteria_and_hooks_are_no_attempts(tmp_path: Path, mark: str) -> None:
    assert inside({**MARKS, "DAPLUG_SUP_ATTEMPT": mark}, tmp_path) is None


def test_a_worktree_is_known_by_its_repository(worktree: Path, state: Path) -> None:
    deep = worktree / "x" / "y"
    deep.mkdir(parents=True)
    assert inside({}, deep) == Within("r-1", "a", "", str(state))
    path = furnished(worktree / "x", state)
    assert inside({}, deep) == Within("r-1", "a", path, str(state))
    furnished(worktree / "x", state, "other")
    assert inside({}, deep) == Within("r-1", "a", "", str(state)), "of two, nobody knows which"
    moved = worktree.rename(worktree.with_name("moved"))
    assert inside({}, moved) is None


def test_a_record_that_makes_no_sense_leads_nowhere(worktree: Path) -> None:
    [file] = (worktree.parents[1] / ".git" / "daplug").iterdir()
    file.write_bytes(msgspec.json.encode(Record("/a/b", str(worktree), "0" * 40)))
    assert inside({}, worktree) is None


def test_whoever_looks_from_a_worktree_sees_its_run(
    worktree: Path, state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*MARKS, "DAPLUG_OUTBOX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(worktree)
    assert options.directory(None).path == state
    assert options.directory(None, new=True).path == worktree / ".daplug"
    assert options.directory(Path("other")).path == worktree / "other"
    (worktree / ".daplug").mkdir()
    (worktree / ".daplug" / "journal.db").touch()
    assert options.directory(None).path == worktree / ".daplug", "it has runs of its own"
    monkeypatch.chdir(tmp_path)
    assert options.directory(None).path == tmp_path / ".daplug"
    assert within.state_directory() is None


NEW = NewTask("n", "text")


@pytest.mark.parametrize(
    ("where", "command", "expected"),
    [
        (Within("r-1", "a", "/o", "S", sure=True), Command("1", "approve", task="b"), True),
        (Within("r-1", "a", "/o", "S"), Command("1", "approve", task="b"), False),
        (Within("r-1", "a", "/o", "S"), Command("1", "create", new=(NEW,)), True),
        (Within("r-1", "a", "/o", "/elsewhere", sure=True), Command("1", "create", new=(NEW,)), False),
        (Within("r-1", "a", sure=True), Command("1", "halt"), False),
        (Within("r-1", "a", sure=True), Command("1", "approve", task="b"), True),
        (Within("r-2", "a", sure=True), Command("1", "approve", task="b"), False),
        (None, Command("1", "create", new=(NEW,)), False),
    ],
)
def test_on_whose_behalf_a_command_comes(
    state: Path, monkeypatch: pytest.MonkeyPatch, where: Within | None, command: Command, *, expected: bool
) -> None:
    if where is not None and where.state == "S":
        where = Within(where.run, where.task, where.outbox, str(state), where.sure)
    monkeypatch.setattr(sending, "inside", lambda: where)
    assert sending._attempt(StateDirectory(state), command) == (where if expected else None)


def test_what_is_meant_in_a_place_of_a_task() -> None:
    agent, person = Within("r-1", "a", sure=True), Within("r-1", "a")
    new = Command("1", "create", new=(NEW,))
    assert sending._on_behalf(agent, new) == Command("1", "create", "r-1", new=(NEW,), sender="a")
    assert sending._on_behalf(person, new).new[0].parent == "a"
    other = Command("1", "create", new=(NewTask("n", "text", parent="b"),))
    assert sending._on_behalf(person, other).new[0].parent == "b"
    assert sending._on_behalf(person, Command("1", "delegate")).task == "a"
    assert sending._on_behalf(person, Command("1", "delegate", "r-2", "c")).task == "c"
