"""Commits in a checkout that others use as well: only the files that are meant, and everything else stays as it is.

The repository's hooks are not run. An agent may have written them, and they would run outside its sandbox; and those of
a person often put away what is not staged while they look, which would take files from under agents at work. What
they check can be checked by criteria.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.workspace.git import messages, trees
from daplug_supervisor.workspace.git import running as git
from daplug_supervisor.workspace.git.pushing import push as send
from daplug_supervisor.workspace.git.registry import locked

CLEAN = "No uncommitted changes"
_NOTHING = "nothing to commit"
_MINE, _NEXT = "index.daplug", "index.daplug.next"
_POLITE, _TRIES = 3, 20
_PATIENCE = 30.0
_LOOK = 0.01
_MOST_FILES = 10_000
_BUSY = {
    "MERGE_HEAD": "a merge", "CHERRY_PICK_HEAD": "a cherry-pick", "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase", "rebase-apply": "a rebase",
}  # fmt: skip


class Committed(Struct, frozen=True):
    """What became of a commit: its id, '' if there was nothing to commit; the files in it; and what there is to say.

    Files are named as git does, from the repository's top; odd bytes of names are escapes.
    """

    commit: str = ""
    files: tuple[str, ...] = ()
    detail: str = ""


def commit(
    target: str | Path,
    *,
    message: str,
    files: Iterable[str] = (),
    names: Iterable[str] = (),
    trailers: Mapping[str, str],
    push: bool = False,
) -> Committed:
    """Commit some files as they are on the disk: created, modified and deleted ones. Done twice, it is done once.

    Args:
        target: a directory in the repository.
        message: its first line is the subject.
        files: paths and patterns of git, from the target.
        names: files by their exact names, as git or `Committed` names them; no pattern is seen in these.
        trailers: what the commit is known by again: its attempt, or else its task.
        push: send the branch to its upstream, too.

    Raises:
        ConflictError: a merge or rebase is going on.
        PushError: it is committed, but could not be pushed.
        GitError, OSError: it could not be done; it may be tried again.
    """
    return _made(target, message, [one for one in files if one], frozenset(names), trailers, push=push)


def rest(
    target: str | Path, message: str, *, trailers: Mapping[str, str] | None = None, push: bool = False
) -> Committed:
    """Commit everything in the repository that is not committed; raises as `commit` does."""
    made = _made(target, message, None, frozenset(), trailers or {}, push=push)
    return replace(made, detail=CLEAN) if made.detail == _NOTHING else made


def _made(
    target: str | Path,
    message: str,
    patterns: list[str] | None,
    names: frozenset[str],
    trailers: Mapping[str, str],
    *,
    push: bool,
) -> Committed:
    repository = git.checkout(target)
    with locked(repository.common):
        _finish(repository.own)
        made = _before(repository, trailers)
        if made is None:
            with trees.scratch(repository.common) as folder:
                one = _Commit(repository, str(target), f"{folder}/index")
                made = one.made(messages.message(message, trailers), patterns, names)
            if not made.commit:
                made = _earlier(repository, trailers) or made
    if push and made.commit:
        sent = send(repository, made.commit)
        made = replace(made, detail="; ".join(filter(None, (made.detail, sent))))
    return made


def _before(repository: git.Repository, trailers: Mapping[str, str]) -> Committed | None:
    """The commit that was made already."""
    key = messages.ATTEMPT if messages.ATTEMPT in trailers else messages.TASK
    return _known(repository, key, trailers[key]) if key in trailers else None


def _earlier(repository: git.Repository, trailers: Mapping[str, str]) -> Committed | None:
    """The commit of an earlier attempt, which could not be pushed, say: the work is there already."""
    name, _, number = trailers.get(messages.ATTEMPT, "").rpartition("#")
    numbers = range(int(number) - 1, 0, -1) if number.isdecimal() else ()
    found = (_known(repository, messages.ATTEMPT, f"{name}#{one}") for one in numbers)
    return next(filter(None, found), None)


def _known(repository: git.Repository, key: str, value: str) -> Committed | None:
    """The commit that has a trailer."""
    found = messages.find(repository.own, key, value, "HEAD") if git.commit(repository.own, "HEAD") else ""
    if not found:
        return None
    return Committed(found, _named(_changes(repository.own, found)), "it was committed before")


def _changes(own: str, found: str) -> list[trees.Change]:
    parent = git.commit(own, f"{found}^") or git.inside(own, "hash-object", "-t", "tree", "/dev/null")
    return trees.between(own, parent, found)


class _Commit:
    """One commit, under the repository's lock; people and agents may use git meanwhile."""

    def __init__(self, repository: git.Repository, target: str, index: str) -> None:
        self.own = repository.own
        self.top = repository.top
        self.target = target
        self.index = index
        self.words = git.within(repository.own, repository.top)

    def made(self, message: str, patterns: list[str] | None, names: frozenset[str]) -> Committed:
        """Make it; with the index in our hands from the beginning only if others are always faster."""
        for number in range(_TRIES):
            self._refuse_if_busy()
            found, notes = self._found(patterns, names)
            with ExitStack() as stack:
                if number >= _POLITE:
                    stack.enter_context(self._held())
                head = git.commit(self.own, "HEAD")
                changes, tree = self._changes(head, found) if found else ([], "")
                if not changes:
                    return Committed("", (), "; ".join((_NOTHING, *notes)))
                new = self._commit(tree, head, message)
                if number < _POLITE:
                    stack.enter_context(self._held())
                if self._moved(new, head, changes):
                    return Committed(new, _named(changes), "; ".join((*notes, *self._detached())))
        raise git.GitError(f"somebody else commits in {self.top} all the time: try again")

    def _refuse_if_busy(self) -> None:
        busy = next((what for name, what in _BUSY.items() if os.path.lexists(f"{self.own}/{name}")), "")
        if busy:
            raise git.ConflictError(f"{busy} is going on in {self.top}: finish or abort it there, then go on")

    def _found(self, patterns: list[str] | None, names: frozenset[str]) -> tuple[list[str], list[str]]:
        """The files that are not committed as they are, among those that are meant; and what to say of others."""
        found: set[str] = set()
        if patterns is None:
            found = self._dirty([])
        else:
            found |= self._dirty(patterns) if patterns else set()
            found |= {one for one in self._dirty([]) if messages.shown(one) in names} if names else set()
        tracked = bool(git.asked(self.own, "ls-tree", "HEAD", git.TASK_FILE))
        mine = {one for one in found if trees.is_ours(one) or (one == git.TASK_FILE and not tracked)}
        nested = sorted(one for one in found - mine if one.endswith("/"))
        notes = [f"{messages.shown(one)} is a repository of its own: left out" for one in nested]
        return sorted(found - mine - set(nested)), notes

    def _dirty(self, patterns: list[str]) -> set[str]:
        said = git.run(
            self.target, *self.words, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames",
            "--ignore-submodules=all", "--", *patterns,
        )  # fmt: skip
        entries = [entry for entry in said.split("\0") if entry]
        unmerged = [entry[3:] for entry in entries if "U" in entry[:2] or entry[:2] in ("AA", "DD")]
        if unmerged:
            raise git.ConflictError(
                f"{messages.shown(unmerged[0])} has conflicts: resolve them and git add it"
            )
        return {entry[3:] for entry in entries}

    def _git(self, *words: str, index: str, data: str = "") -> str:
        return git.run(self.top, *self.words, *words, index=index, data=data)

    def _changes(self, head: str, names: list[str]) -> tuple[list[trees.Change], str]:
        """What is different from the commit in these files as they are on the disk; and the tree with them."""
        self._git("read-tree", *([head] if head else ["--empty"]), index=self.index)
        lines = "".join(f"{name}\0" for name in names)
        words = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
        self._git(*git.DURABLE, *git.WHOLE, *words, index=self.index, data=lines)
        tree = self._git(*git.DURABLE, "write-tree", index=self.index)
        base = head or git.inside(self.own, "hash-object", "-t", "tree", "/dev/null")
        return trees.between(self.own, base, tree), tree

    def _commit(self, tree: str, head: str, message: str) -> str:
        words = ("-c", "i18n.commitEncoding=UTF-8", *git.DURABLE, "commit-tree", tree, "-m", message)
        parent = ("-p", head) if head else ()
        return git.inside(self.own, *words, *parent, environ=messages.identity(self.own))

    def _moved(self, new: str, head: str, changes: list[trees.Change]) -> bool:
        """Move the branch to a commit, and have its files in the index; False if somebody else was there first."""
        index, made, ready = (f"{self.own}/{name}" for name in ("index", "index.daplug.tmp", _NEXT))
        with suppress(FileNotFoundError):
            shutil.copy2(index, made)
        lines = "".join(one.line for one in changes)
        self._git("update-index", "--replace", "-z", "--index-info", index=made, data=lines)
        Path(made).replace(ready)
        words = (
            *git.DURABLE,
            "update-ref",
            "-m",
            "commit (daplug-supervisor)",
            "HEAD",
            new,
            head or "0" * len(new),
        )
        try:
            git.inside(self.own, *words, environ=messages.identity(self.own))
        except git.GitError:
            Path(ready).unlink()
            if git.commit(self.own, "HEAD") == head:
                raise
            return False
        Path(ready).replace(index)
        return True

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The index is ours, as git's own commands have it: nobody else commits or stages here meanwhile.

        The lock is a second name of a file of ours, so that it can be told for ours if we are killed.
        """
        mine, lock = f"{self.own}/{_MINE}", f"{self.own}/index.lock"
        end = time.monotonic() + _PATIENCE
        Path(mine).touch()
        while not _linked(mine, lock):
            if time.monotonic() > end:
                Path(mine).unlink()
                raise git.GitError(f"{lock} is there: another git works in {self.top}, or was killed there")
            time.sleep(_LOOK)
        try:
            yield
        finally:
            Path(lock).unlink(missing_ok=True)
            Path(mine).unlink(missing_ok=True)

    def _detached(self) -> list[str]:
        with suppress(git.GitError):
            git.inside(self.own, "symbolic-ref", "--quiet", "HEAD")
            return []
        return ["HEAD is on no branch here: make one of it, or the commit gets lost"]


def _linked(mine: str, lock: str) -> bool:
    """Give a file a second name; False if that is taken."""
    try:
        os.link(mine, lock)
    except FileExistsError:
        return False
    except OSError:  # no file has two names here
        try:
            Path(lock).touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def _finish(own: str) -> None:
    """Let go of the index where a supervisor was killed that held it, with what was to be in it."""
    mine, lock, ready = Path(own, _MINE), Path(own, "index.lock"), Path(own, _NEXT)
    with suppress(FileNotFoundError):
        if mine.samefile(lock):
            with suppress(FileNotFoundError):
                ready.replace(Path(own, "index"))
            lock.unlink()
    for one in (mine, ready):
        one.unlink(missing_ok=True)


def _named(changes: list[trees.Change]) -> tuple[str, ...]:
    return tuple(sorted(messages.shown(one.name) for one in changes)[:_MOST_FILES])
