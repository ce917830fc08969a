"""No work that somebody has not committed is ever lost: conflicts, crashes in the middle, and what agents do to git."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import commit, git, new_repository, reachable, snapshots

from daplug_supervisor.workspace.git import changes, registry, running
from daplug_supervisor.workspace.git.worktrees import Worktree, worktree


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "a repo")


def made(repository: Path, owner: str = "run/a", name: str = "run-a", **more: object) -> Worktree:
    return worktree(repository, owner=owner, name=name, **more)  # type: ignore[arg-type]


def anew(repository: Path) -> Worktree:
    return made(repository, "other/a", on_conflict="remove")


def write(folder: str | Path, name: str, text: str) -> None:
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_remove_saves_all_that_is_there_and_begins_anew(repository: Path) -> None:
    commit(repository, ".gitignore", "ignored\n")
    commit(repository, "gone", "was here\n")
    path = made(repository).path
    commit(Path(path), "committed", "committed\n")
    write(path, "staged", "staged only")
    git(Path(path), "add", "staged")
    write(path, "staged", "then changed")
    write(path, "deep/er/new file", "untracked")
    write(path, "file", "changed")
    write(path, "ignored", "ignored")
    write(path, "TASK.md", "the task")
    Path(path, "gone").unlink()
    index = Path(repository, ".git", "worktrees", "run-a", "index").read_bytes()
    found = anew(repository)
    assert found.path == path
    assert sorted(one.name for one in Path(path).iterdir()) == [".git", ".gitignore", "file", "gone"]
    assert git(Path(path), "rev-parse", "HEAD") == git(repository, "rev-parse", "HEAD")
    [ref] = snapshots(repository)
    assert ref == "refs/daplug/snapshots/run-a/1"
    names = git(repository, "ls-tree", "-r", "--name-only", "-z", ref).split("\0")
    assert sorted(filter(None, names)) == [".gitignore", "committed", "deep/er/new file", "file", "staged"]
    for content in ("committed", "staged only", "then changed", "untracked", "changed"):
        assert reachable(repository, content), content
    assert not reachable(repository, "the task")
    assert index
    assert git(repository, "fsck", "--no-dangling") == ""


def test_nothing_is_saved_where_there_is_nothing_to_lose(repository: Path) -> None:
    made(repository)
    anew(repository)
    assert snapshots(repository) == []
    commit(Path(made(repository, "other/a").path), "more", "more\n")
    git(repository, "merge", "-q", "daplug/run-a")
    made(repository, "third/a", on_conflict="remove")
    assert snapshots(repository) == []


def test_each_time_a_ref_of_its_own(repository: Path) -> None:
    for number in range(3):
        write(made(repository, f"run-{number}", on_conflict="remove").path, "new", f"work {number}")
    assert [ref.rpartition("/")[2] for ref in snapshots(repository)] == ["1", "2"]
    assert all(reachable(repository, f"work {number}") for number in range(3))


def test_what_an_agent_made_of_its_checkout_is_saved_too(repository: Path) -> None:
    path = Path(made(repository).path)
    commit(path, "on-the-branch", "on the branch\n")
    git(path, "checkout", "-q", "--detach", "HEAD~1")
    commit(path, "detached", "detached\n")
    git(path, "update-index", "--assume-unchanged", "file")
    write(path, "file", "hidden by a bit")
    (path / "closed").mkdir()
    write(path, "closed/inner", "behind a closed door")
    (path / "closed").chmod(0o500)
    (path / ".git").unlink()
    anew(repository)
    for content in ("on the branch", "detached", "hidden by a bit", "behind a closed door"):
        assert reachable(repository, content), content


def test_in_the_middle_of_a_merge(repository: Path) -> None:
    path = Path(made(repository).path)
    commit(path, "file", "theirs\n")
    commit(repository, "file", "ours\n")
    with pytest.raises(AssertionError):
        git(path, "merge", "-q", "main")
    write(path, "more", "resolving")
    anew(repository)
    assert reachable(repository, "resolving")
    assert reachable(repository, "theirs")


def test_what_cannot_be_saved_is_not_removed(repository: Path, tmp_path: Path) -> None:
    path = Path(made(repository).path)
    new_repository(path / "vendor")
    with pytest.raises(running.ConflictError, match="vendor is a repository of its own"):
        anew(repository)
    shutil.rmtree(path / "vendor")
    git(repository, "worktree", "lock", str(path))
    with pytest.raises(running.ConflictError, match="is locked"):
        anew(repository)
    git(repository, "worktree", "unlock", str(path))
    (path / ".git").unlink()
    git(path, "init", "-q")
    with pytest.raises(running.ConflictError, match="repository of its own"):
        anew(repository)
    path.rename(tmp_path / "away")
    path.symlink_to(tmp_path / "away")
    with pytest.raises(running.ConflictError, match="is no worktree"):
        anew(repository)
    assert (tmp_path / "away" / "file").exists()


def test_nothing_is_removed_under_somebody_who_works_there(repository: Path) -> None:
    path = made(repository).path
    with subprocess.Popen(["cat"], cwd=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"x")
        cat.stdin.flush()
        assert cat.stdout.read(1) == b"x"
        with pytest.raises(running.ConflictError, match=f"process {cat.pid} works in"):
            anew(repository)
        cat.stdin.close()
    anew(repository)


def test_a_folder_or_a_branch_of_somebody_else(repository: Path) -> None:
    write(repository, ".worktrees/run-a/notes", "mine")
    with pytest.raises(running.ConflictError, match="is no worktree"):
        anew(repository)
    shutil.rmtree(repository / ".worktrees")
    git(repository, "checkout", "-q", "-b", "daplug/run-a")
    commit(repository, "work", "on a branch\n")
    with pytest.raises(running.ConflictError, match="checked out elsewhere"):
        anew(repository)
    git(repository, "checkout", "-q", "main")
    anew(repository)
    assert reachable(repository, "on a branch")


# --- mending --------------------------------------------------------------------------------------------------


def test_a_folder_that_was_deleted_is_made_again_from_its_branch(repository: Path) -> None:
    path = Path(made(repository).path)
    commit(path, "work", "committed work\n")
    write(path, "staged", "staged work")
    git(path, "add", "staged")
    commit(repository, "later", "later\n")
    shutil.rmtree(path)
    assert made(repository).path == str(path)
    assert (path / "work").exists()
    assert not (path / "later").exists()
    assert reachable(repository, "staged work")
    shutil.rmtree(repository / ".worktrees")
    git(repository, "worktree", "prune")
    assert made(repository).path == str(path)
    assert (path / "work").exists()
    git(repository, "worktree", "remove", str(path))
    git(repository, "branch", "-D", "daplug/run-a")
    assert (Path(made(repository).path) / "file").exists()


def test_a_link_that_was_deleted_or_forgotten_is_put_back(repository: Path) -> None:
    path = Path(made(repository).path)
    commit(path, "work", "committed work\n")
    write(path, "new", "unfinished work")
    for spoil in (
        "rm .git",
        "mv .git .git2; git -C ../.. worktree prune; rm .git2",
        "echo gitdir: /tmp > .git",
    ):
        subprocess.run(["sh", "-c", spoil], cwd=path, check=True)
        assert made(repository).path == str(path), spoil
        assert git(path, "status", "--porcelain", "-uall") == "?? new", spoil
        assert git(path, "branch", "--show-current") == "daplug/run-a"
    (path / ".git").unlink()
    git(path, "init", "-q")
    with pytest.raises(running.ConflictError, match="repository of its own"):
        made(repository)
    assert reachable(repository, "unfinished work")


def test_a_folder_that_became_a_link_is_left_alone(repository: Path, tmp_path: Path) -> None:
    path = Path(made(repository).path)
    path.rename(tmp_path / "away")
    path.symlink_to(tmp_path / "away")
    with pytest.raises(running.ConflictError, match="become a link"):
        made(repository)


def test_a_branch_that_was_checked_out_elsewhere_after_its_folder_was_deleted(repository: Path) -> None:
    path = Path(made(repository).path)
    shutil.rmtree(path)
    git(repository, "worktree", "prune")
    git(repository, "checkout", "-q", "daplug/run-a")
    with pytest.raises(running.ConflictError, match="checked out elsewhere"):
        made(repository)


def test_a_record_that_cannot_be_read_makes_nothing_ours(repository: Path) -> None:
    made(repository)
    record = repository / ".git" / "daplug" / "run-a.json"
    for text in (b"", b"\xff", b"{}", b"[]", b'{"owner": 1}'):
        record.write_bytes(text)
        with pytest.raises(running.ConflictError):
            made(repository)
        assert registry.known(str(repository / ".git")) == []


HELD = """#!/bin/sh
# Works as git does, and is killed, with who started it, at a step of making a worktree.
TOLD
for word; do
  case "$word" in
    add) at=add;;
    update-ref) at=ref;;
  esac
done
if [ "$at" = "$KILLED_AT" ]; then
  [ "$KILLED_AT" = ref ] && { "$REAL_GIT" "$@"; kill -9 $PPID; exit 0; }
  "$REAL_GIT" "$@" &
  pid=$!
  i=0
  until [ -e "$KILLED_WHEN" ] || [ $i -gt 2000 ] || ! kill -0 $pid 2>/dev/null; do i=$((i+1)); done
  kill -9 $pid $PPID
  exit 0
fi
exec "$REAL_GIT" "$@"
"""
MAKE = (
    "import sys; from pathlib import Path; from daplug_supervisor.workspace.git.worktrees import worktree;"
    "worktree(Path(sys.argv[1]), owner='run/a', name='run-a')"
)


@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("ref", ""),
        ("add", ".git/worktrees/run-a"),
        ("add", ".worktrees/run-a/.git"),
        ("add", ".worktrees/run-a/50"),
    ],
)
def test_killed_in_the_middle_of_making_one_the_next_try_makes_it(
    repository: Path, tmp_path: Path, step: str, when: str
) -> None:
    for number in range(100):
        write(repository, f"{number}", f"content {number}")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "many")
    real = shutil.which("git")
    assert real
    (tmp_path / "bin").mkdir()
    told = f"REAL_GIT={shlex.quote(real)} KILLED_AT={step} KILLED_WHEN={shlex.quote(str(repository / when))}"
    (tmp_path / "bin" / "git").write_text(HELD.replace("TOLD", told))
    (tmp_path / "bin" / "git").chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", MAKE, str(repository)], env=environ, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    found = made(repository)
    assert git(Path(found.path), "status", "--porcelain") == ""
    assert len(list(Path(found.path).iterdir())) == 102
    assert made(repository) == found
    assert snapshots(repository) == []
    assert len(git(repository, "worktree", "list", "--porcelain").split("worktree ")) == 3
    assert [path.name for path in (repository / ".git" / "worktrees").iterdir()] == ["run-a"]


def test_what_git_has_forgotten_is_saved_before_it_is_removed(repository: Path) -> None:
    path = Path(made(repository).path)
    write(path, "notes", "of the first")
    (path / ".git").unlink()
    git(repository, "worktree", "prune")
    assert made(repository, "run/other", on_conflict="remove").path == str(path)
    assert not (path / "notes").exists()
    assert reachable(repository, "of the first")


def test_killed_at_any_moment_nothing_uncommitted_is_lost(repository: Path) -> None:
    """Owners take a worktree from each other by `remove`, are killed at it, and agents spoil what they can."""
    chosen = random.Random(4)
    kept: list[str] = []
    take = (
        "import sys; from pathlib import Path; from daplug_supervisor.workspace.git.worktrees import worktree;"
        "print(worktree(Path(sys.argv[1]), owner=sys.argv[2], name='run-a', on_conflict=sys.argv[3]).path)"
    )
    for number in range(6):
        policy = chosen.choice(["remove", "remove", "reuse", "increment"])
        words = [sys.executable, "-c", take, str(repository), f"run-{number}", policy]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            try:
                process.communicate(timeout=chosen.uniform(0.1, 0.35))
            except subprocess.TimeoutExpired:
                process.kill()
        path = Path(made(repository, f"run-{number}", on_conflict="remove").path)
        for content in kept:
            assert reachable(repository, content), (number, policy, content)
        content = f"work of {number}"
        write(path, f"{number}", content)
        kept.append(content)
        how = chosen.choice(["as it is", "staged", "committed", "unlinked", "forgotten"])
        if how in ("staged", "committed"):
            git(path, "add", "-A")
        if how == "committed":
            git(path, "commit", "-qm", "work")
        if how == "unlinked":
            (path / ".git").unlink()
        if how == "forgotten":
            (path / ".git").rename(path.parent / "link")
            git(repository, "worktree", "prune")
            (path.parent / "link").unlink()
    made(repository, "last", on_conflict="remove")
    assert [content for content in kept if not reachable(repository, content)] == []
    assert git(repository, "fsck", "--no-dangling") == ""


def test_what_an_agent_wrote_into_gits_own_files_is_not_run(repository: Path, tmp_path: Path) -> None:
    """An agent in a sandbox can write into its checkout, and where a commit writes; what we do there is outside."""
    found = made(repository)
    path, admin, trap = Path(found.path), Path(found.admin), tmp_path / "sprung"
    shutil.copytree(repository / ".git", path / "mine", ignore=shutil.ignore_patterns("worktrees", "daplug"))
    config = f"""
[core]
    fsmonitor = touch '{trap}'
    hooksPath = {path}/hooks
[filter "x"]
    clean = touch '{trap}'; cat
    required = true
[diff "x"]
    command = touch '{trap}'
[alias]
    status = !touch '{trap}'
"""
    with (path / "mine" / "config").open("a") as file:
        file.write(config)
    (path / ".gitattributes").write_text("* filter=x diff=x\n")
    for number, way in enumerate(("link", "commondir", "both")):
        if way in ("link", "both"):
            (path / ".git").write_text(f"gitdir: {path}/mine\n")
        if way in ("commondir", "both"):
            (admin / "commondir").write_text(f"{path}/mine\n")
        write(path, "new", f"work {number}")
        told = changes.work_of(str(repository), {"run/a": "a"}, 20.0)
        assert ("a" in told) == (way == "link")
        assert not trap.exists(), way
    assert worktree(repository, owner="run/a", name="run-a") == found
    assert changes.work_of(str(repository), {"run/a": "a"}, 20.0)["a"].uncommitted
    (admin / "commondir").write_text(f"{path}/mine\n")
    anew(repository)
    assert reachable(repository, "work 2")
    assert not trap.exists()
