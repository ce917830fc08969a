"""Saving what is in a worktree, all that git would commit of it, under a ref of its own.

The agent's index is only read. The commit has the files as they are; its parents are what was checked out, the
worktree's branch, and what was staged where that is something else. Nothing else refers to it, so nothing pushes it,
and git keeps it for as long as the ref is there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress

from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.survey import has_files

REFS = "refs/daplug/snapshots/"


class NestedError(git.GitError):
    """There is a repository of its own in the worktree, whose history no snapshot can hold."""


def save(common: str, name: str, *, path: str, admin: str, branch: str, goes: bool = True) -> str:
    """Save what is in a worktree; returns the ref, or '' if all of it is elsewhere already.

    Args:
        common: what all worktrees of the repository share.
        name: for the ref.
        path: the worktree's directory; it may be gone.
        admin: its own directory in `common`; '' if that is gone, and then only the branch can be saved.
        branch: its branch in full; it may be gone.
        goes: whether the branch is to be removed as well.

    Raises:
        NestedError: it holds more than can be saved.
        GitError, OSError: it could not be saved.
    """
    heads = [git.commit(admin, "HEAD")] if admin else []
    heads = list(dict.fromkeys(filter(None, [*heads, git.commit(common, branch)])))
    commits = heads
    if admin:
        staged, files = _trees(path, admin, heads[0] if heads else "")
        if staged:
            commits = [*heads, keep(common, staged, heads[:1], f"{name}: what was staged")]
        if files or staged or (len(heads) > 1 and any(lonely(common, one, branch) for one in heads)):
            tree = files or git.inside(common, "rev-parse", f"{commits[0]}^{{tree}}")
            commits = [keep(common, tree, commits, f"{name}: as it was found")]
    if commits == heads and not any(lonely(common, one, branch if goes else "") for one in heads):
        return ""
    return named(common, name, commits[0])


def lonely(common: str, commit: str, branch: str) -> int:
    """How many commits would be lost with a branch: reachable from `commit`, and from nothing that stays.

    What stays are branches that are not ours, tags, snapshots, and what was fetched of them.
    """
    passed = (
        f"--exclude={pattern}" for pattern in (branch, "refs/heads/daplug/*", "refs/remotes/*/daplug/*")
    )
    kept = "refs/stash", "refs/original/*"
    words = [*passed, *(f"--exclude={pattern}" for pattern in kept), "--all"]
    return int(git.inside(common, "rev-list", "--single-worktree", "--count", commit, "--not", *words))


def nested(path: str) -> str:
    """A repository of its own below a directory (a clone, or a submodule that was fetched); '' if there is none."""
    for folder, folders, files in os.walk(path):
        if folder != path and (".git" in folders or ".git" in files):
            return folder
        if folder == path and ".git" in folders:
            return folder
    return ""


def _trees(path: str, admin: str, head: str) -> tuple[str, str]:
    """What is staged, and the files, as trees; '' where that is nothing of its own."""
    there = has_files(path)
    inner = nested(path) if there else ""
    if inner:
        raise NestedError(f"{inner} is a repository of its own, which cannot be saved with the rest")
    base = git.inside(admin, "rev-parse", f"{head}^{{tree}}") if head else ""
    with tempfile.TemporaryDirectory(prefix="daplug-index-", dir=admin) as folder:
        copied, made = f"{folder}/staged", f"{folder}/files"
        staged = ""
        with suppress(FileNotFoundError, git.GitError):  # no index, or one in the middle of a merge
            shutil.copyfile(f"{admin}/index", copied)
            staged = _tree(admin, path if there else folder, copied, base)
        if not there:
            return "" if staged == base else staged, ""
        words = git.within(admin, path)
        git.run(path, *words, "read-tree", *([head] if head else ["--empty"]), index=made)
        git.run(path, *words, *git.DURABLE, *git.WHOLE, "add", "--all", "--", ".", index=made)
        files = _tree(admin, path, made, base)
    return "" if staged in (base, files) else staged, "" if files == base else files


def _tree(admin: str, path: str, index: str, base: str) -> str:
    """The tree of an index, without the file that tells an agent its task."""
    words = git.within(admin, path)
    if not (base and git.asked(admin, "ls-tree", base, git.TASK_FILE)):
        git.run(path, *words, "update-index", "--force-remove", git.TASK_FILE, index=index)
    return git.run(path, *words, *git.DURABLE, "write-tree", index=index)


def keep(common: str, tree: str, parents: list[str], message: str) -> str:
    """A commit of a tree, for a ref of ours only."""
    words = [word for parent in parents for word in ("-p", parent)]
    return git.inside(
        common, *git.DURABLE, "commit-tree", tree, *words, "-m", f"daplug-supervisor: {message}"
    )


def named(common: str, name: str, commit: str) -> str:
    """Give a commit a ref that was not there before."""
    taken = git.inside(common, "for-each-ref", "--format=%(refname)", f"{REFS}{name}/").split()
    numbers = [int(ref.rpartition("/")[2]) for ref in taken if ref.rpartition("/")[2].isdecimal()]
    ref = f"{REFS}{name}/{max(numbers, default=0) + 1}"
    git.inside(common, *git.DURABLE, "update-ref", "--create-reflog", ref, commit, "0" * len(commit))
    return ref
