"""The branch on which the work of a run is collected, against real git."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from landings import BRANCH, LINES, RUN, Task, begun, identified, landed, listed, odd, subjects
from msgspec.structs import replace
from repositories import commit, git, new_repository, reachable, snapshots

from daplug_supervisor.workspace.git import run_branch, running
from daplug_supervisor.workspace.git.snapshots import NestedError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return begun(tmp_path / "a repo")


def test_the_branch_begins_where_the_user_is_and_stays_there(repository: Path) -> None:
    first = run_branch.tip(repository, RUN)
    assert first == git(repository, "rev-parse", BRANCH) == git(repository, "rev-parse", "main")
    commit(repository, "file", "the user goes on\n")
    assert run_branch.begin(repository, RUN) == first
    git(repository, "branch", "-D", BRANCH)
    assert run_branch.tip(repository, RUN) == ""
    assert run_branch.begin(repository, RUN) == first, "deleted by mistake"


def test_a_deleted_branch_comes_back_with_what_has_landed(repository: Path) -> None:
    task = Task(repository, "a")
    task.write("new", "work\n")
    joined = task.land()
    git(repository, "branch", "-D", BRANCH)
    assert run_branch.begin(repository, RUN) == joined.commit
    git(repository, "branch", "-D", BRANCH)
    task.write("more", "work\n")
    task.number = 2
    assert task.land().tip == joined.commit


def test_without_a_commit_there_is_no_branch(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(running.NoRepositoryError):
        run_branch.begin(tmp_path, RUN)


@pytest.mark.parametrize("name", ["daplug", "daplug/run"])
def test_a_branch_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    repository = new_repository(tmp_path / "r")
    git(repository, "branch", name)
    with pytest.raises(running.ConflictError, match=f"branch {name} is in the way of {BRANCH}: rename it"):
        run_branch.begin(repository, RUN)


def test_one_commit_with_what_is_on_the_disk_and_nothing_of_ours(repository: Path) -> None:
    task = Task(repository, "a")
    task.write("committed", "by the agent\n")
    git(task.path, "add", "committed")
    git(task.path, "commit", "-qm", "the agent's own\n\nDaplug-Attempt: p-1/b#1")
    task.write("ignored", "forced\n")
    git(task.path, "add", "-f", "ignored")
    task.write("staged", "staged only\n")
    git(task.path, "add", "staged")
    task.write("staged", "then changed\n")
    task.write("deep/er/new", "new\n")
    task.write("node_modules/x", "not work\n")
    (task.path / "file").unlink()
    for ours in ("TASK.md", ".daplug/outbox/t/result.json", "deep/.daplug/x", ".worktrees/x/y"):
        task.write(ours, "ours\n")
    git(task.path, "add", "-f", "TASK.md", "deep/.daplug/x")
    joined = task.land()
    assert joined.files == ("committed", "deep/er/new", "file", "ignored", "staged")
    assert not joined.moved
    assert joined.tip == git(repository, "rev-parse", "main")
    assert subjects(repository) == ["a: some work"]
    names = [".gitignore", "committed", "deep/er/new", "ignored", "lines", "staged"]
    assert listed(repository) == names
    assert landed(repository, "staged") == "then changed"
    assert git(repository, "log", "-1", "--format=%an <%ae> %cn", BRANCH) == (
        "A Person <person@example.org> A Person"
    )
    trailers = "Daplug-Run: p-1\nDaplug-Task: a\nDaplug-Attempt: p-1/a#1"
    assert git(repository, "log", "-1", "--format=%(trailers)", BRANCH) == trailers
    assert task.status() == ""
    assert git(task.path, "rev-parse", "HEAD") == joined.commit
    assert (task.path / "node_modules" / "x").exists()
    assert reachable(repository, "staged only"), "nothing is ever lost"
    log = git(repository, "log", "--format=%s", "refs/daplug/work/p-1/a/1")
    assert "the agent's own" in log
    assert git(repository, "status", "--porcelain") == ""


def test_a_task_file_of_the_projects_own_is_work(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "r")
    commit(repository, "TASK.md", "ours\n")
    run_branch.begin(repository, RUN)
    task = Task(repository, "a")
    task.write("TASK.md", "changed\n")
    assert task.land().files == ("TASK.md",)


def test_without_an_identity_the_supervisor_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    repository = new_repository(tmp_path / "r")
    run_branch.begin(repository, RUN)
    task = Task(repository, "a")
    task.write("new", "x\n")
    joined = task.land()
    assert git(repository, "log", "-1", "--format=%an %cn", joined.commit) == (
        "daplug-supervisor daplug-supervisor"
    )


def test_nothing_changed_is_nothing_to_land(repository: Path) -> None:
    task = Task(repository, "a")
    task.write("ignored", "x\n")
    joined = task.join()
    assert (joined.commit, joined.files, joined.conflicts, joined.moved) == ("", (), (), False)
    assert run_branch.settle(repository, RUN, joined)
    assert subjects(repository) == []


def test_what_has_landed_meanwhile_is_below_the_work(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    one.write("of a", "a\n")
    two.line(20, "by b")
    two.write("node_modules/x", "stays\n")
    git(two.path, "checkout", "-q", "-b", "the-agents-own-branch")
    first = one.land()
    joined = two.join()
    assert joined.moved
    assert (joined.tip, joined.files) == (first.commit, ("lines",))
    assert (two.path / "of a").read_text() == "a\n", "criteria run on exactly what will land"
    assert two.status() == ""
    assert git(two.path, "branch", "--show-current") == "daplug/p-1-b"
    assert (two.path / "node_modules" / "x").exists()
    assert run_branch.tip(repository, RUN) == first.commit, "not before it is verified"
    assert run_branch.settle(repository, RUN, joined)
    text = landed(repository, "lines")
    assert "by a" in text
    assert "by b" in text
    assert subjects(repository) == ["b: some work", "a: some work"]


def test_done_again_it_is_the_same(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    two.line(20, "by b")
    one.land()
    joined = two.join()
    assert two.join() == joined
    assert run_branch.settle(repository, RUN, joined)
    assert run_branch.settle(repository, RUN, joined)
    again = two.join()
    assert again == replace(joined, moved=False, tree=""), "it has landed: nobody has to verify it again"
    assert run_branch.settle(repository, RUN, again)
    assert subjects(repository) == ["b: some work", "a: some work"]
    assert snapshots(repository) == []


def test_the_branch_moves_only_from_where_it_was(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    two.line(20, "by b")
    early = two.join()
    one.land()
    assert not run_branch.settle(repository, RUN, early)
    joined = two.join()
    assert joined.moved
    assert run_branch.settle(repository, RUN, joined)
    assert snapshots(repository) == []


def test_what_criteria_leave_behind_does_not_land_and_is_not_lost(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    two.line(20, "by b")
    early = two.join()
    two.write("coverage", "left by a criterion\n")
    one.land()
    assert not run_branch.settle(repository, RUN, early)
    joined = two.join()
    assert joined.files == ("lines",)
    assert not (two.path / "coverage").exists()
    assert reachable(repository, "left by a criterion")


def test_a_branch_that_is_checked_out_is_not_moved_under_its_reader(repository: Path, tmp_path: Path) -> None:
    task = Task(repository, "a")
    task.write("new", "x\n")
    joined = task.join()
    git(repository, "switch", "-q", BRANCH)
    with pytest.raises(running.ConflictError, match=r"daplug/run/p-1 is checked out in .*a repo.*switch"):
        run_branch.settle(repository, RUN, joined)
    git(repository, "switch", "-q", "main")
    git(repository, "worktree", "add", "-q", str(tmp_path / "look"), BRANCH)
    for link in (None, os.path.relpath(tmp_path / "look" / ".git", repository / ".git/worktrees/look")):
        if link:  # as git writes it where worktree.useRelativePaths is set
            (repository / ".git/worktrees/look/gitdir").write_text(f"{link}\n")
        with pytest.raises(
            running.ConflictError, match=f"checked out in {re.escape(str(tmp_path / 'look'))}"
        ):
            run_branch.settle(repository, RUN, joined)
    shutil.rmtree(tmp_path / "look")
    git(repository, "worktree", "prune")
    assert run_branch.settle(repository, RUN, joined)


def test_the_same_work_twice_lands_once(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "the same")
    two.line(3, "the same")
    one.land()
    joined = two.land()
    assert (joined.commit, joined.moved) == ("", True)
    assert two.status() == ""
    assert subjects(repository) == ["a: some work"]


def test_children_land_on_the_branch_of_their_parent(repository: Path) -> None:
    parent = "daplug/run/p-1--parent"
    first = run_branch.begin(repository, RUN, onto=parent)
    task = Task(repository, "a")
    task.write("new", "x\n")
    joined = run_branch.join(replace(task.found, onto=parent))
    assert run_branch.settle(repository, RUN, joined)
    assert run_branch.tip(repository, RUN, onto=parent) == joined.commit
    assert run_branch.tip(repository, RUN) == first
    git(repository, "branch", "-D", parent)
    assert run_branch.begin(repository, RUN, onto=parent) == joined.commit


def test_a_fix_lands_on_top_of_what_it_was_joined_to(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    two.line(20, "by b")
    one.land()
    assert two.join().moved
    two.line(21, "a fix, after the criteria had failed on both")
    two.number = 2
    joined = two.join()
    assert (joined.moved, joined.files) == (False, ("lines",))
    assert run_branch.settle(repository, RUN, joined)
    text = landed(repository, "lines")
    assert all(part in text for part in ("by a", "by b", "a fix"))
    assert subjects(repository) == ["b: some work", "a: some work"]


# --- conflicts ------------------------------------------------------------------------------------------------


def test_a_conflict_is_left_where_an_agent_can_mend_it(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    two.line(3, "by b")
    two.write("also", "this fits\n")
    first = one.land()
    joined = two.join()
    assert (joined.commit, joined.moved, joined.conflicts) == ("", True, ("lines",))
    assert git(two.path, "rev-parse", "HEAD") == git(two.path, "rev-parse", "daplug/p-1-b") == first.commit
    assert git(two.path, "diff", "--cached") == ""
    text = (two.path / "lines").read_text()
    assert "<<<<<<< landed\nby a\n=======\nby b\n>>>>>>> yours\n" in text
    assert run_branch.left_markers(two.path, joined.conflicts) == ("lines",)
    assert two.join().conflicts == ("lines",), "done again"
    two.number = 2
    assert two.join().conflicts == ("lines",), "nobody has mended it"
    two.write("lines", LINES.replace("line 3\n", "by both\n"))
    assert run_branch.left_markers(two.path, joined.conflicts) == ()
    two.number = 3
    joined = two.land()
    assert joined.files == ("also", "lines")
    assert "by both" in landed(repository, "lines")
    assert subjects(repository) == ["b: some work", "a: some work"]
    assert reachable(repository, LINES.replace("line 3\n", "by b\n").removesuffix("\n"))


def changed_by_both(repository: Path, kind: str) -> tuple[Task, Task]:
    one, two = Task(repository, "a"), Task(repository, "b")
    if kind == "modified and deleted":
        (one.path / "lines").unlink()
        two.line(3, "by b")
    elif kind == "deleted and modified":
        one.line(3, "by a")
        (two.path / "lines").unlink()
    elif kind == "added by both":
        one.write("new", "by a\n")
        two.write("new", "by b\n")
    elif kind == "binary":
        for task, data in ((one, b"\0a"), (two, b"\0b")):
            (task.path / "file").write_bytes(data)
    elif kind == "link":
        for task, aim in ((one, "lines"), (two, "/etc/passwd")):
            (task.path / "file").unlink()
            (task.path / "file").symlink_to(aim)
    elif kind == "mode":
        (one.path / "file").chmod(0o755)
        one.write("file", "by a\n")
        (two.path / "file").unlink()
        (two.path / "file").symlink_to("lines")
    elif kind == "renamed by both":
        (one.path / "lines").rename(one.path / "of a")
        (two.path / "lines").rename(two.path / "of b")
    else:
        assert kind == "directory and file"
        one.write("thing/inside", "by a\n")
        two.write("thing", "by b\n")
    return one, two


@pytest.mark.parametrize(
    "kind",
    ["modified and deleted", "deleted and modified", "added by both", "binary", "link", "mode", "renamed by both",
     "directory and file"],
)  # fmt: skip
def test_every_kind_of_conflict_is_found_and_can_be_mended(repository: Path, kind: str) -> None:
    one, two = changed_by_both(repository, kind)
    first = one.land()
    joined = two.join()
    assert joined.conflicts, kind
    assert joined.commit == ""
    assert git(two.path, "rev-parse", "HEAD") == first.commit
    for name in joined.conflicts:  # the agent takes what has landed, and adds a file
        where = two.path / name
        if os.path.lexists(where) and not where.is_dir():
            where.unlink()
    git(two.path, "checkout-index", "--all", "--force")
    two.write("mended", "yes\n")
    two.number = 2
    joined = two.land()
    assert joined.files == ("mended",)
    assert two.status() == ""
    assert git(repository, "fsck", "--no-dangling") == ""


def test_a_renamed_file_takes_the_changes_of_others_along(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.line(3, "by a")
    (two.path / "moved").mkdir()
    (two.path / "lines").rename(two.path / "moved" / "lines")
    one.land()
    assert two.land().files == ("lines", "moved/lines")
    assert "by a" in landed(repository, "moved/lines")


def test_the_mode_of_a_file_lands(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    one.write("other", "x\n")
    (two.path / "file").chmod(0o755)
    one.land()
    assert two.land().files == ("file",)
    assert git(repository, "ls-tree", BRANCH, "file").startswith("100755")


def test_files_about_conflicts_are_no_conflicts(repository: Path) -> None:
    task = Task(repository, "a")
    task.write("how git marks them", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> topic\n")
    assert task.land().conflicts == ()
    (task.path / "fifo~x").write_text("fine\n")
    os.mkfifo(task.path / "fifo")
    assert run_branch.left_markers(task.path, ("fifo", "fifo~x", "gone", "a~landed")) == ("a~landed",)


# --- hostile --------------------------------------------------------------------------------------------------

NAMES = (
    b"new\nline", b"-n", b"--all", b'quo"te', b"it's", b":(top)x", b":!x", b"*", b"a b", b"tab\tx", b"\xff\xfe",
    b"back\\slash", "ü".encode(), b"\x1b[31mred", b"x;touch y", b"$(touch y)", b"deep/-er/:(glob)**",
)  # fmt: skip


def test_names_of_any_kind_land(repository: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    for name in NAMES:
        two.write(odd(name), "x\n")
    one.write("other", "x\n")
    one.land()
    joined = two.land()
    assert len(joined.files) == len(NAMES)
    assert "\\xff\\xfe" in joined.files
    assert all(shown.encode() for shown in joined.files), "it is text, for the journal"
    data = subprocess.run(
        ["git", "ls-tree", "-rz", "--name-only", BRANCH], cwd=repository, capture_output=True, check=True
    ).stdout
    assert set(NAMES) <= set(data.split(b"\0"))
    assert two.status() == ""


def test_what_an_agent_left_for_git_to_run_is_not_run(repository: Path, tmp_path: Path) -> None:
    one, two = Task(repository, "a"), Task(repository, "b")
    hooks = repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in (
        "pre-commit",
        "commit-msg",
        "post-commit",
        "post-checkout",
        "reference-transaction",
        "post-merge",
    ):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran-{hook}'\n")
        (hooks / hook).chmod(0o755)
    git(repository, "config", "core.fsmonitor", f"touch '{tmp_path}/ran-monitor'")
    git(repository, "config", "log.showSignature", "true")
    for number, task in enumerate((one, two)):
        task.line(10 * number, "changed")
    one.land()
    two.land()
    assert list(tmp_path.glob("ran-*")) == []


def test_flags_in_the_index_do_not_hide_what_is_on_the_disk(repository: Path) -> None:
    task = Task(repository, "a")
    git(task.path, "update-index", "--assume-unchanged", "file")
    git(task.path, "update-index", "--skip-worktree", "lines")
    task.write("file", "changed\n")
    task.write("lines", "changed\n")
    assert task.land().files == ("file", "lines")


def test_a_damaged_index_is_made_anew(repository: Path) -> None:
    task = Task(repository, "a")
    task.write("new", "x\n")
    Path(task.found.admin, "index").write_bytes(b"nonsense")
    Path(task.found.admin, "index.lock").touch()
    assert task.land().files == ("new",)
    assert task.status() == ""


@pytest.mark.parametrize("how", ["commits", "none"])
def test_a_repository_in_the_worktree_is_refused_with_the_reason(repository: Path, how: str) -> None:
    task = Task(repository, "a")
    task.write("new", "x\n")
    inner = task.path / "vendor"
    if how == "commits":
        new_repository(inner)
    else:
        inner.mkdir()
        git(inner, "init", "-q")
    with pytest.raises(running.GitError, match=r"vendor|commit checked out"):
        task.join()
    assert run_branch.tip(repository, RUN) == git(repository, "rev-parse", "main")
    git(task.path, "config", "core.excludesFile", str(task.path / "excluded"))
    (task.path / "excluded").write_text("vendor/\nexcluded\n")
    assert task.land().files == ("new",), "what is ignored is in nobody's way"


def with_submodule(tmp_path: Path) -> Path:
    inner = new_repository(tmp_path / "inner")
    repository = new_repository(tmp_path / "outer")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(inner), "sub")
    git(repository, "commit", "-qm", "a submodule")
    run_branch.begin(repository, RUN)
    return repository


def test_submodules_stay_as_they_are(tmp_path: Path) -> None:
    repository = with_submodule(tmp_path)
    bare, fetched = Task(repository, "a"), Task(repository, "b")
    bare.write("new", "x\n")
    git(fetched.path, "-c", "protocol.file.allow=always", "submodule", "-q", "update", "--init")
    fetched.write("other", "x\n")
    assert bare.land().files == ("new",)
    assert fetched.land().files == ("other",)
    assert (fetched.path / "sub" / "file").exists()
    changed = Task(repository, "c")
    git(changed.path, "-c", "protocol.file.allow=always", "submodule", "-q", "update", "--init")
    changed.write("sub/file", "changed\n")
    with pytest.raises(NestedError, match="sub is a repository of its own, or a submodule with changes"):
        changed.join()


def test_a_repository_planted_in_place_of_a_submodule_is_not_asked(tmp_path: Path) -> None:
    repository = with_submodule(tmp_path)
    task = Task(repository, "a")
    inner = task.path / "sub"
    git(task.path, "init", "-q", "sub")
    commit(inner, "file", "x\n")
    git(inner, "config", "filter.evil.clean", f"touch '{tmp_path}/ran'; cat")
    git(inner, "config", "core.fsmonitor", f"touch '{tmp_path}/ran'")
    (inner / ".gitattributes").write_text("* filter=evil\n")
    (inner / "file").write_text("changed\n")
    with pytest.raises(NestedError, match="sub"):
        task.join()
    assert not (tmp_path / "ran").exists()


# --- settings -------------------------------------------------------------------------------------------------


def test_what_a_sparse_checkout_leaves_out_is_not_deleted(tmp_path: Path) -> None:
    repository = identified(new_repository(tmp_path / "r"))
    for name in ("in/x", "out/y", "out/z"):
        commit(repository, name, LINES)
    run_branch.begin(repository, RUN)
    one, two, three = (Task(repository, name) for name in "abc")
    for task in (two, three):
        git(task.path, "sparse-checkout", "set", "in")
        assert not (task.path / "out").exists()
    one.write("out/y", "by a\n")
    two.write("in/x", "by b\n")
    three.write("in/x", "by c\n")
    one.land()
    assert two.land().files == ("in/x",)
    assert two.status() == ""
    assert not (two.path / "out").exists()
    assert three.join().conflicts == ("in/x",)
    three.write("in/x", "by both\n")
    three.number = 2
    assert three.land().files == ("in/x",)
    assert landed(repository, "out/y") == "by a"
    assert listed(repository) == ["file", "in/x", "out/y", "out/z"]


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.eol=crlf", "core.safecrlf=true"])
def test_line_ends_are_the_users(tmp_path: Path, setting: str) -> None:
    repository = identified(new_repository(tmp_path / "r"))
    commit(repository, ".gitattributes", "* text=auto\n")
    commit(repository, "lines", LINES)
    git(repository, "config", *setting.split("="))
    run_branch.begin(repository, RUN)
    one, two = Task(repository, "a"), Task(repository, "b")
    for task, number in ((one, 3), (two, 20)):
        text = (task.path / "lines").read_bytes()
        (task.path / "lines").write_bytes(text.replace(b"line %d" % number, b"changed %d" % number))
        (task.path / task.name).write_bytes(b"mixed\r\nends\n")
        assert task.land().files == (task.name, "lines")
        assert task.status() == ""
    assert (
        landed(repository, "lines")
        == LINES.replace("line 3\n", "changed 3\n").replace("line 20", "changed 20").strip()
    )


def test_a_target_below_the_top(repository: Path) -> None:
    commit(repository, "deep/file", "x\n")
    git(repository, "branch", "-f", BRANCH, "main")
    task = Task(repository / "deep", "a")
    task.write("deep/file", "changed\n")
    task.write("beside", "x\n")
    assert task.land().files == ("beside", "deep/file")


def test_two_processes_join_at_the_same_time(repository: Path) -> None:
    tasks = [Task(repository, name) for name in "abcd"]
    for number, task in enumerate(tasks):
        task.line(7 * number, f"by {task.name}")
    script = (
        "import sys; from landings import Task; from pathlib import Path\n"
        "from daplug_supervisor.workspace.git import run_branch\n"
        "task = Task(Path(sys.argv[1]), sys.argv[2])\n"
        "while not run_branch.settle(task.repository, 'p-1', task.join()): pass\n"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(repository), task.name], env=environ)
        for task in tasks
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert sorted(subjects(repository)) == [f"{name}: some work" for name in "abcd"]
    text = landed(repository, "lines")
    assert all(f"by {name}" in text for name in "abcd")
