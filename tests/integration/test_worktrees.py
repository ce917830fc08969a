"""Worktrees of tasks, against real git."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daplug_supervisor.workspace import git


def run(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    run(folder, "init", "-q", "-b", "main")
    (folder / "file").write_text("one\n")
    run(folder, "add", "file")
    run(folder, "commit", "-qm", "first")
    return folder


def test_a_task_gets_a_checkout_and_a_branch_of_its_own(repository: Path) -> None:
    made = git.worktree(repository, owner="run/a", name="run-a")
    assert made == git.Worktree(str(repository / ".worktrees" / "run-a"), "daplug/run-a")
    assert (Path(made.path) / "file").read_text() == "one\n"
    assert run(Path(made.path), "branch", "--show-current") == "daplug/run-a"


def test_the_same_task_finds_its_work_again(repository: Path) -> None:
    made = git.worktree(repository, owner="run/a", name="run-a")
    (Path(made.path) / "unfinished").write_text("paid for\n")
    assert git.worktree(repository, owner="run/a", name="run-a") == made
    assert (Path(made.path) / "unfinished").read_text() == "paid for\n"


def test_it_branches_from_the_base(repository: Path) -> None:
    run(repository, "branch", "old")
    (repository / "file").write_text("two\n")
    run(repository, "commit", "-qam", "second")
    made = git.worktree(repository, owner="run/a", name="run-a", base="old")
    assert (Path(made.path) / "file").read_text() == "one\n"


def test_a_name_that_another_task_has_is_a_conflict(repository: Path) -> None:
    git.worktree(repository, owner="run/a", name="run-a")
    with pytest.raises(git.ConflictError, match="belongs to something else"):
        git.worktree(repository, owner="other/a", name="run-a")


def test_reuse_takes_it_over_with_all_that_is_in_it(repository: Path) -> None:
    made = git.worktree(repository, owner="run/a", name="run-a")
    (Path(made.path) / "unfinished").write_text("paid for\n")
    assert git.worktree(repository, owner="other/a", name="run-a", on_conflict="reuse") == made
    assert (Path(made.path) / "unfinished").exists()


def test_reuse_does_not_take_what_is_not_a_worktree_of_ours(repository: Path) -> None:
    (repository / ".worktrees" / "run-a").mkdir(parents=True)
    with pytest.raises(git.ConflictError):
        git.worktree(repository, owner="run/a", name="run-a", on_conflict="reuse")


def test_increment_makes_another_and_finds_it_again(repository: Path) -> None:
    run(repository, "branch", "daplug/run-a")
    made = git.worktree(repository, owner="run/a", name="run-a", on_conflict="increment")
    assert made.branch == "daplug/run-a-2"
    assert git.worktree(repository, owner="run/a", name="run-a", on_conflict="increment") == made


def test_without_a_repository_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(git.NoRepositoryError, match="needs a git repository with a commit"):
        git.worktree(tmp_path, owner="run/a", name="run-a")


def test_an_unknown_base_is_an_error_of_git(repository: Path) -> None:
    with pytest.raises(git.GitError, match="git worktree"):
        git.worktree(repository, owner="run/a", name="run-a", base="no-such-branch")


def test_without_git_the_error_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(git.GitError, match="git is not installed"):
        git.worktree(repository, owner="run/a", name="run-a")


def test_a_git_that_hangs_is_given_up(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "git"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent))
    monkeypatch.setattr(git, "_PATIENCE", 0.2)
    with pytest.raises(git.GitError, match="did not end within"):
        git.worktree(repository, owner="run/a", name="run-a")


def test_a_git_that_fails_silently_gives_its_exit_code(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    mute = tmp_path / "bin" / "git"
    mute.write_text("#!/bin/sh\nexit 7\n")
    mute.chmod(0o755)
    monkeypatch.setenv("PATH", str(mute.parent))
    with pytest.raises(git.GitError, match="exit code 7"):
        git.worktree(repository, owner="run/a", name="run-a")


def test_many_at_once_do_not_disturb_each_other(repository: Path) -> None:
    names = [f"run-{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda name: git.worktree(repository, owner=name, name=name), names))
    assert len({one.path for one in made}) == len(names)
    assert run(repository, "worktree", "list").count("daplug/") == len(names)
