"""Worktrees of tasks, against real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from repositories import commit, git, new_repository

from daplug_supervisor.workspace.git import registry, running
from daplug_supervisor.workspace.git.worktrees import Worktree, worktree


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "a repo ")


def made(repository: Path, owner: str = "run/a", name: str = "run-a", **more: object) -> Worktree:
    return worktree(repository, owner=owner, name=name, **more)  # type: ignore[arg-type]


def test_a_task_gets_a_checkout_and_a_branch_of_its_own(repository: Path) -> None:
    found = made(repository)
    path = str(repository / ".worktrees" / "run-a")
    admin = str(repository / ".git" / "worktrees" / "run-a")
    head = git(repository, "rev-parse", "HEAD")
    assert found == Worktree(path, "daplug/run-a", admin, path, head)
    assert (Path(found.path) / "file").read_text() == "one\n"
    assert git(Path(found.path), "branch", "--show-current") == "daplug/run-a"


def test_the_same_task_finds_its_work_again(repository: Path) -> None:
    found = made(repository)
    (Path(found.path) / "unfinished").write_text("paid for\n")
    assert made(repository) == found
    assert (Path(found.path) / "unfinished").read_text() == "paid for\n"


def test_it_branches_from_the_base(repository: Path) -> None:
    git(repository, "branch", "old")
    commit(repository, "file", "two\n")
    found = made(repository, base="old")
    assert (Path(found.path) / "file").read_text() == "one\n"


@pytest.mark.parametrize(
    "base", ["no-such-branch", "-f", "--force", "", "^HEAD", "a\0b", "\udc80", "HEAD:file"]
)
def test_a_base_that_is_not_there_is_said(repository: Path, base: str) -> None:
    with pytest.raises(running.BaseError, match="no commit"):
        made(repository, base=base)
    assert not (repository / ".worktrees").exists()


def test_a_name_that_another_task_has_is_a_conflict(repository: Path) -> None:
    made(repository)
    with pytest.raises(running.ConflictError, match="belongs to something else"):
        made(repository, "other/a")


def test_reuse_takes_it_over_with_all_that_is_in_it(repository: Path) -> None:
    found = made(repository)
    (Path(found.path) / "unfinished").write_text("paid for\n")
    assert made(repository, "other/a", on_conflict="reuse") == found
    assert (Path(found.path) / "unfinished").exists()
    with pytest.raises(running.ConflictError):
        made(repository)  # it is the other's now


def test_reuse_does_not_take_what_is_not_a_worktree_of_ours(repository: Path) -> None:
    (repository / ".worktrees" / "run-a").mkdir(parents=True)
    with pytest.raises(running.ConflictError):
        made(repository, on_conflict="reuse")


def test_reuse_does_not_take_what_an_attempt_works_in(repository: Path) -> None:
    found = made(repository)
    words = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": found.path}
    for environ, refused in ({"DAPLUG_SUP_ATTEMPT": "t"}, True), ({}, False):
        with subprocess.Popen(["cat"], env=os.environ | environ, **words) as cat:  # type: ignore[call-overload]
            cat.stdin.write(b"x")
            cat.stdin.flush()
            assert cat.stdout.read(1) == b"x"
            if refused:
                with pytest.raises(running.ConflictError, match=f"process {cat.pid} of another attempt"):
                    made(repository, "other/a", on_conflict="reuse")
            else:
                assert made(repository, "other/a", on_conflict="reuse") == found
            cat.stdin.close()


def test_increment_makes_another_and_finds_it_again(repository: Path) -> None:
    git(repository, "branch", "daplug/run-a")
    found = made(repository, on_conflict="increment")
    assert found.branch == "daplug/run-a-2"
    assert made(repository, on_conflict="increment") == found
    git(repository, "branch", "-D", "daplug/run-a")
    assert made(repository, on_conflict="increment") == found, "also when the first name has become free"


def test_without_a_repository_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(running.NoRepositoryError, match="needs a git repository with a commit"):
        made(tmp_path)
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    with pytest.raises(running.NoRepositoryError, match="must be run in a work tree"):
        made(tmp_path / "bare.git")


def test_without_git_the_error_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(running.GitError, match="git is not installed"):
        made(repository)


def instead_of_git(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_git_that_hangs_is_given_up(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    instead_of_git(tmp_path / "bin", "exec /bin/sleep 60", monkeypatch)
    monkeypatch.setattr(running, "_PATIENCE", 0.2)
    with pytest.raises(running.GitError, match="did not end within"):
        made(repository)


def test_a_git_that_fails_silently_gives_its_exit_code(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    instead_of_git(tmp_path / "bin", "exit 7", monkeypatch)
    with pytest.raises(running.GitError, match="exit code 7"):
        made(repository)


def test_a_lock_of_somebody_else_is_waited_for(repository: Path, tmp_path: Path) -> None:
    lock = repository / ".git" / "refs" / "heads" / "daplug" / "run-a.lock"
    lock.parent.mkdir()
    lock.touch()
    with subprocess.Popen(["sh", "-c", 'sleep 0.3; rm "$0"', str(lock)]):
        assert made(repository).branch == "daplug/run-a"


def test_a_lock_that_stays_is_an_error_that_names_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_LONGEST_PAUSE", 0.001)
    lock = repository / ".git" / "refs" / "heads" / "daplug" / "run-a.lock"
    lock.parent.mkdir()
    lock.touch()
    with pytest.raises(running.GitError, match=r"File exists"):
        made(repository)
    lock.unlink()
    assert made(repository).branch == "daplug/run-a"


def test_a_branch_that_is_in_the_way_of_ours_is_named(repository: Path) -> None:
    git(repository, "branch", "daplug")
    with pytest.raises(running.ConflictError, match="rename it"):
        made(repository)


def test_what_is_in_the_environment_does_not_lead_git_elsewhere(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert Path(made(repository).path, "file").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_hooks_are_not_run(repository: Path, tmp_path: Path) -> None:
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        path = repository / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran-{hook}'\n")
        path.chmod(0o755)
    made(repository)
    assert list(tmp_path.glob("ran-*")) == []


@pytest.mark.parametrize("name", ["a..b", "fix.lock", "ends.", "-dash", "sp ace", "x" * 300, "ü", "a~b^c:d"])
def test_names_that_git_would_not_take(repository: Path, name: str) -> None:
    found = made(repository, name=name)
    assert git(Path(found.path), "branch", "--show-current") == found.branch
    assert made(repository, name=name) == found
    assert made(repository, "run/b", name=f"{name}!") != found
    assert registry.fitting("p-1-a.b_c") == "p-1-a.b_c"


def test_a_task_works_in_the_same_folder_below(repository: Path) -> None:
    commit(repository, "deep/er/file", "x\n")
    found = made(repository / "deep" / "er")
    assert found.path == str(repository / ".worktrees" / "run-a")
    assert found.cwd == f"{found.path}/deep/er"
    assert Path(found.cwd, "file").exists()


def test_a_git_directory_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    git(tmp_path / "main", "init", "-q", "--separate-git-dir", str(tmp_path / "store"))
    commit(tmp_path / "main", "file", "one\n")
    found = made(tmp_path / "main")
    assert Path(found.path, "file").exists()
    assert found.admin == str(tmp_path / "store" / "worktrees" / "run-a")
    inner = made(Path(found.path), "run/b", "run-b")  # from a worktree of the user's own
    assert inner.path == f"{found.path}/.worktrees/run-b"
    with pytest.raises(running.ConflictError):
        made(tmp_path / "main", "other", "run-b")


def test_the_folder_of_worktrees_may_be_a_link(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (repository / ".worktrees").symlink_to(tmp_path / "large disk")
    found = made(repository)
    assert found.admin
    assert made(repository) == found
    assert Path(tmp_path, "large disk", "run-a", "file").exists()


def test_submodules_do_no_harm(repository: Path, tmp_path: Path) -> None:
    inner = new_repository(tmp_path / "inner")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(inner), "sub")
    git(repository, "commit", "-qm", "a submodule")
    git(repository, "config", "submodule.recurse", "true")
    found = made(repository)
    assert list(Path(found.path, "sub").iterdir()) == []
    assert made(repository) == found


def test_what_is_never_committed_is_kept_out(repository: Path) -> None:
    found = made(repository)
    Path(found.path, "TASK.md").write_text("the task\n")
    Path(found.path, "work").write_text("the work\n")
    git(Path(found.path), "add", "-A")
    assert git(Path(found.path), "diff", "--cached", "--name-only") == "work"
    assert git(repository, "status", "--porcelain") == ""
    made(repository, "run/b", "run-b")
    lines = (repository / ".git" / "info" / "exclude").read_text().splitlines()
    assert [lines.count(line) for line in (".worktrees/", "/TASK.md")] == [1, 1]


def test_a_task_file_of_the_projects_own_stays_its_own(repository: Path) -> None:
    commit(repository, "TASK.md", "ours\n")
    made(repository)
    assert "TASK.md" not in (repository / ".git" / "info" / "exclude").read_text()
