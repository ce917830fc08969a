"""Commits in a checkout that others use as well, against real git."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from landings import copied, listed, odd, small
from repositories import commit, git, new_repository

from daplug_supervisor.workspace.git import commits, messages, pushing, running
from daplug_supervisor.workspace.git.commits import Committed
from daplug_supervisor.workspace.git.founding import ensure_repository
from daplug_supervisor.workspace.git.pushing import PushError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return copied(small, tmp_path / "a repo")


def made(
    target: Path, *files: str, message: str = "work", task: str = "a", push: bool = False, **more: object
) -> Committed:
    known_by = messages.trailers("p-1", task, 1)
    return commits.commit(target, message=message, files=files, trailers=known_by, push=push, **more)  # type: ignore[arg-type]


def count(repository: Path) -> int:
    return int(git(repository, "rev-list", "--count", "HEAD"))


def status(repository: Path) -> list[str]:
    environ = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"], cwd=repository, env=environ, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_only_the_files_that_are_meant(repository: Path) -> None:
    for name in ("mine/changed", "mine/gone", "theirs/changed", "theirs/gone", "staged"):
        commit(repository, name, "one\n")
    for folder in ("mine", "theirs"):
        (repository / folder / "changed").write_text("two\n")
        (repository / folder / "gone").unlink()
        (repository / folder / "new").write_text("new\n")
    (repository / "staged").write_text("staged\n")
    (repository / "staged new").write_text("staged\n")
    git(repository, "add", "staged", "staged new", "mine/new")
    (repository / "staged").write_text("and changed again\n")
    before = [line for line in status(repository) if "mine" not in line]
    patch = git(repository, "diff", "--cached", "staged")
    for ours in ("TASK.md", "mine/.daplug/x", ".worktrees/x"):
        (repository / ours).parent.mkdir(exist_ok=True)
        (repository / ours).write_text("ours\n")
    found = made(repository, "mine", "TASK.md", ".worktrees", "nothing/here")
    assert found.files == ("mine/changed", "mine/gone", "mine/new")
    assert git(repository, "show", "--format=", "--name-status", "HEAD").split("\n") == [
        "M\tmine/changed", "D\tmine/gone", "A\tmine/new",
    ]  # fmt: skip
    assert git(repository, "rev-parse", "HEAD") == found.commit
    after = [
        line
        for line in status(repository)
        if not any(ours in line for ours in ("TASK", ".daplug", ".worktrees"))
    ]
    assert after == before
    assert git(repository, "diff", "--cached", "staged") == patch
    assert git(repository, "log", "-1", "--format=%an %cn") == "A Person A Person"
    assert git(repository, "fsck", "--no-dangling") == ""


def test_twice_is_once(repository: Path) -> None:
    (repository / "file").write_text("two\n")
    first = made(repository, "file")
    (repository / "file").write_text("three\n")
    commit(repository, "other", "the user goes on\n")
    again = made(repository, "file")
    assert (again.commit, again.files) == (first.commit, ("file",))
    assert "before" in again.detail
    assert count(repository) == 3
    assert made(repository, "file", task="b").commit != first.commit


def test_nothing_to_commit(repository: Path) -> None:
    assert made(repository, "file", "no such file") == Committed("", (), "nothing to commit")
    assert made(repository) == Committed("", (), "nothing to commit")
    (repository / "ignored").write_text("x")
    (repository / ".git" / "info" / "exclude").write_text("ignored\n")
    assert made(repository, "ignored").commit == ""
    assert count(repository) == 1


def test_what_changed_its_kind(repository: Path) -> None:
    for name in ("was/folder", "was file", "was link", "run"):
        commit(repository, name, "x\n")
    (repository / "was" / "folder").unlink()
    (repository / "was").rmdir()
    (repository / "was").write_text("a file\n")
    (repository / "was file").unlink()
    (repository / "was file").mkdir()
    (repository / "was file" / "inner").write_text("x\n")
    (repository / "was link").unlink()
    (repository / "was link").symlink_to("/etc")
    (repository / "run").chmod(0o755)
    found = made(repository, ".")
    assert found.files == ("run", "was", "was file", "was file/inner", "was link", "was/folder")
    assert status(repository) == []


NAMES = (b"new\nline", b"-n", b'quo"te', b":(top)x", b":!x", b"*", b"tab\tx", b"\xff\xfe", b"back\\slash")


def test_exact_names_are_no_patterns(repository: Path) -> None:
    for name in (*NAMES, b"other"):
        (repository / odd(name)).write_text("x\n")
    found = made(repository, names=[messages.shown(odd(name)) for name in NAMES])
    assert len(found.files) == len(NAMES)
    assert status(repository) == ["?? other"]
    with pytest.raises(running.GitError, match="outside repository"):
        made(repository, "/etc/passwd", task="b")
    with pytest.raises(running.GitError, match="Invalid pathspec magic"):
        made(repository, ":(bogus)x", task="b")
    assert made(repository, "--all", "-n", names=["../../etc/passwd", ""], task="b").commit == ""


def test_patterns_are_from_the_target(repository: Path) -> None:
    for name in ("deep/a.py", "deep/b.py", "deep/b.txt", "a.py"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("x\n")
    assert made(repository / "deep", "*.py", ":!b.py").files == ("deep/a.py",)


def test_parallel_commits_never_mix(repository: Path) -> None:
    names = [f"t{number}" for number in range(12)]
    for name in names:
        (repository / name).mkdir()
        (repository / name / "file").write_text(f"{name}\n")
    (repository / "file").write_text("somebody else's\n")
    barrier = threading.Barrier(len(names))

    def do(name: str) -> Committed:
        barrier.wait(20)
        return made(repository, name, task=name)

    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(do, names))
    for name, one in zip(names, found, strict=True):
        assert one.files == (f"{name}/file",)
        assert git(repository, "show", "--format=", "--name-only", one.commit) == f"{name}/file"
    assert count(repository) == 1 + len(names)
    assert status(repository) == [" M file"]


def test_an_agent_that_commits_at_the_same_time_takes_nothing_of_ours(repository: Path) -> None:
    over = threading.Event()
    refused: list[str] = []

    def agent() -> None:
        number = 0
        while not over.is_set():
            number += 1
            (repository / "theirs").write_text(f"{number}\n")
            for words in (("add", "theirs"), ("commit", "-qm", "theirs")):
                done = subprocess.run(
                    ["git", *words], cwd=repository, capture_output=True, text=True, check=False
                )
                if done.returncode and "index.lock" not in done.stderr:
                    refused.append(done.stderr)

    thread = threading.Thread(target=agent)
    thread.start()
    try:
        for number in range(3):
            (repository / f"mine{number}").write_text("x\n")
            assert made(repository, f"mine{number}", task=f"t{number}").files == (f"mine{number}",)
    finally:
        over.set()
        thread.join()
    log = git(repository, "log", "--format=%s", "--name-only").replace("\n\n", "\n").splitlines()
    assert {after for one, after in pairwise(log) if one == "theirs" and after.startswith("mine")} == set()
    assert not [
        line
        for line in git(repository, "log", "--format=", "--name-status").splitlines()
        if line.startswith("D")
    ]
    assert refused == [] or all("nothing" in one or not one for one in refused)


def test_a_lock_is_waited_for_and_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = repository / ".git" / "index.lock"
    (repository / "file").write_text("two\n")
    lock.touch()
    with subprocess.Popen(["sh", "-c", 'sleep 0.3; rm "$0"', str(lock)]):
        assert made(repository, "file").commit
    lock.touch()
    monkeypatch.setattr(commits, "_PATIENCE", 0.1)
    (repository / "file").write_text("three\n")
    with pytest.raises(running.GitError, match=r"index.lock is there: another git works"):
        made(repository, "file", task="b")
    lock.unlink()
    assert made(repository, "file", task="b").commit


def test_where_files_have_one_name_only(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_one: str, other: str) -> None:
        raise (FileExistsError if Path(other).exists() else PermissionError)

    monkeypatch.setattr(os, "link", refuse)
    (repository / "file").write_text("two\n")
    assert made(repository, "file").commit
    assert status(repository) == []
    assert not list((repository / ".git").glob("index?*"))


def test_hooks_are_not_run(repository: Path, tmp_path: Path) -> None:
    for hook in (
        "pre-commit",
        "commit-msg",
        "prepare-commit-msg",
        "post-commit",
        "reference-transaction",
        "pre-push",
    ):
        path = repository / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran-{hook}'\nexit 1\n")
        path.chmod(0o755)
    git(repository, "config", "commit.gpgSign", "true")
    git(repository, "config", "gpg.program", f"touch '{tmp_path}/ran-gpg'")
    (repository / "file").write_text("two\n")
    assert made(repository, "file").commit
    assert list(tmp_path.glob("ran-*")) == []


def test_a_detached_head_is_told(repository: Path) -> None:
    git(repository, "switch", "-q", "--detach")
    (repository / "file").write_text("two\n")
    found = made(repository, "file")
    assert "HEAD is on no branch" in found.detail
    assert git(repository, "rev-parse", "HEAD") == found.commit
    with pytest.raises(PushError, match="HEAD is on no branch"):
        made(repository, "file", push=True)


def test_the_first_commit_of_a_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "file").write_text("one\n")
    (tmp_path / "other").write_text("one\n")
    assert made(tmp_path, "none").commit == ""
    assert made(tmp_path, "file").files == ("file",)
    assert listed(tmp_path, "HEAD") == ["file"]
    assert status(tmp_path) == ["?? other"]


@pytest.mark.parametrize("what", ["merge", "rebase", "cherry-pick"])
def test_what_is_going_on_is_not_disturbed(repository: Path, what: str) -> None:
    git(repository, "switch", "-qc", "topic")
    commit(repository, "file", "topic\n")
    git(repository, "switch", "-q", "main")
    commit(repository, "file", "main\n")
    with pytest.raises(AssertionError):
        git(repository, what, "topic")
    before = status(repository)
    (repository / "new").write_text("x\n")
    with pytest.raises(running.ConflictError, match=f"a {what} is going on in .*a repo: finish or abort it"):
        made(repository, "new")
    assert status(repository) == [*before, "?? new"]


def test_files_with_conflicts_are_not_committed(repository: Path) -> None:
    git(repository, "switch", "-qc", "topic")
    commit(repository, "file", "topic\n")
    git(repository, "switch", "-q", "main")
    (repository / "file").write_text("mine\n")
    git(repository, "stash")
    commit(repository, "file", "main\n")
    with pytest.raises(AssertionError):
        git(repository, "stash", "pop")
    with pytest.raises(running.ConflictError, match="file has conflicts"):
        made(repository, "file")


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(running.GitError, match="not a git repository"):
        made(tmp_path, "file")


def test_a_repository_inside_is_left_out_and_told(repository: Path) -> None:
    new_repository(repository / "inner")
    git(repository / "inner", "status")
    (repository / "new").write_text("x\n")
    found = commits.rest(repository, "chore: rest")
    assert found.files == ("new",)
    assert "inner/ is a repository of its own: left out" in found.detail


def test_the_rest_is_everything_that_git_shows(repository: Path) -> None:
    commit(repository, "gone", "x\n")
    (repository / "gone").unlink()
    (repository / "file").write_text("two\n")
    (repository / "deep").mkdir()
    (repository / "deep" / "new").write_text("x\n")
    git(repository, "add", "deep")
    (repository / "TASK.md").write_text("ours\n")
    found = commits.rest(repository / "deep", "chore(plan): miscellaneous changes")
    assert found.files == ("deep/new", "file", "gone")
    assert git(repository, "log", "-1", "--format=%B").strip() == "chore(plan): miscellaneous changes"
    assert status(repository) == ["?? TASK.md"]
    (repository / "TASK.md").unlink()
    assert commits.rest(repository, "again") == Committed("", (), "No uncommitted changes")


# --- messages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "work\n\nDaplug-Attempt: p-1/z#9", "work\n\nSigned-off-by: boss <b@x>\nCo-authored-by: x <x@x>",
     "Daplug-Attempt: p-1/z#9", "x" * 500, "word " * 100, "a\x1b[31m\u202egnp\u2066.exe\0\x07\r\nb", "\udcff odd",
     "work\n\n(cherry picked from commit 123)\nSigned-off-by: x", "# comment\n\n\n\n\n; x", "---\ndiff --git a b"],
)  # fmt: skip
def test_a_message_has_our_trailers_and_no_others(repository: Path, text: str) -> None:
    known_by: Mapping[str, str] = {"Daplug-Run": "p-1", "Daplug-Attempt": "p-1/a#1"}
    (repository / "file").write_text("two\n")
    commits.commit(repository, message=text, files=["file"], trailers=known_by)
    raw = git(repository, "log", "-1", "--format=%B")
    subject = git(repository, "log", "-1", "--format=%s")
    assert 0 < len(subject) <= messages.LONGEST_SUBJECT
    assert raw.split("\n")[1:2] == [""]
    assert not set(raw) & set("\x1b\u202e\u2066\0\x07\r\udcff")
    assert (
        git(repository, "log", "-1", "--format=%(trailers:only)")
        == "Daplug-Run: p-1\nDaplug-Attempt: p-1/a#1"
    )
    assert messages.find(str(repository / ".git"), "Daplug-Attempt", "p-1/z#9", "HEAD") == ""


def test_a_long_subject_goes_on_below() -> None:
    text = messages.message(f"{'word ' * 30}\nmore of it", {"Daplug-Task": "a\nSigned-off-by: x"})
    subject, _, rest = text.partition("\n\n")
    assert subject == f"{('word ' * 14).strip()}…"
    assert rest == f"…{('word ' * 16).strip()}\n\nmore of it\n\nDaplug-Task: aSigned-off-by: x"
    assert messages.message("x" * 80, {}) == f"{'x' * 71}…\n\n…{'x' * 9}"
    assert messages.message("a: b\n\nfixes: it", {}) == "a: b\n\n fixes: it"


# --- pushing --------------------------------------------------------------------------------------------------


@pytest.fixture
def remote(repository: Path, tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote.git")
    git(repository, "remote", "add", "origin", "../remote.git")
    git(repository, "push", "-q", "--set-upstream", "origin", "main")
    return tmp_path / "remote.git"


def test_a_commit_is_pushed_and_again_without_harm(repository: Path, remote: Path) -> None:
    (repository / "file").write_text("two\n")
    first = made(repository, "file")
    pushed = made(repository, "file", push=True)
    assert pushed.commit == first.commit
    assert pushed.detail.endswith("pushed to origin main")
    assert git(remote, "rev-parse", "main") == first.commit
    assert made(repository, "file", push=True) == pushed
    git(repository, "config", "remote.origin.push", "+refs/heads/*:refs/heads/*")
    (repository / "sub").mkdir()
    (repository / "sub" / "file").write_text("x\n")
    assert made(repository / "sub", "file", task="b", push=True).commit == git(remote, "rev-parse", "main")


def test_a_push_that_is_refused_names_the_remedy(repository: Path, remote: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(remote), "other")
    theirs = commit(tmp_path / "other", "theirs", "x\n")
    git(tmp_path / "other", "push", "-q")
    (repository / "file").write_text("two\n")
    git(repository, "config", "push.default", "nothing")
    with pytest.raises(PushError, match=r"is committed, but not pushed to origin: .*git pull --rebase"):
        made(repository, "file", push=True)
    assert git(remote, "rev-parse", "main") == theirs, "never by force"
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    git(repository, "pull", "-q", "--rebase")
    with pytest.raises(PushError, match="the remote does not want it"):
        made(repository, "file", push=True)
    hook.unlink()
    assert made(repository, "file", push=True).commit == git(remote, "rev-parse", "main")
    assert count(repository) == 3


def test_a_push_to_nowhere_is_told(repository: Path, remote: Path) -> None:
    (repository / "file").write_text("two\n")
    git(repository, "switch", "-qc", "topic")
    with pytest.raises(
        PushError, match=r"branch topic has no upstream .once: git push --set-upstream origin topic"
    ):
        made(repository, "file", push=True)
    git(repository, "branch", "-q", "--set-upstream-to", "origin/main")
    git(repository, "config", "remote.origin.url", "https://user:secret@127.0.0.1:1/x.git")
    with pytest.raises(PushError, match="see whether the remote can be reached") as caught:
        made(repository, "file", push=True)
    assert "secret" not in str(caught.value)
    assert remote.exists()


def test_a_push_that_hangs_is_given_up(
    repository: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_PATIENCE", 0.5)
    monkeypatch.setenv("GIT_SSH_COMMAND", "sleep 60 #")
    git(repository, "config", "remote.origin.url", "ssh://localhost/x")
    (repository / "file").write_text("two\n")
    with pytest.raises(PushError, match=r"did not end within 0.5 s"):
        made(repository, "file", push=True)
    assert remote.exists()


# --- a repository where there is none -------------------------------------------------------------------------


def test_a_repository_is_made_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x\n")
    assert ensure_repository(tmp_path)
    assert not ensure_repository(tmp_path)
    assert count(tmp_path) == 1
    assert listed(tmp_path, "HEAD") == []
    assert status(tmp_path) == ["?? mine"]
    (tmp_path / "deep").mkdir()
    assert not ensure_repository(tmp_path / "deep"), "never inside another"
    assert (tmp_path / ".git" / "info" / "exclude").read_text().splitlines()[-3:] == [
        ".daplug/", ".worktrees/", "/TASK.md",
    ]  # fmt: skip


def test_one_that_was_half_made_gets_its_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert ensure_repository(tmp_path)
    (tmp_path / "theirs").mkdir()
    git(tmp_path / "theirs", "init", "-q")
    (tmp_path / "theirs" / "x").write_text("x\n")
    git(tmp_path / "theirs", "add", "x")
    assert not ensure_repository(tmp_path / "theirs"), "somebody has begun to work there"


def test_what_is_no_repository_is_not_made_one(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    with pytest.raises(running.GitError):
        ensure_repository(tmp_path)
    (tmp_path / ".git").unlink()
    (tmp_path / ".git").mkdir()
    with pytest.raises(running.GitError, match="mend it or move it away"):
        ensure_repository(tmp_path)
    (tmp_path / "deep").mkdir()
    assert ensure_repository(tmp_path / "deep"), "an empty directory above is in nobody's way"
