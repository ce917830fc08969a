"""What was typed after ``run``: a file, the name of a plan in ``.dev/specs``, a pull request, or nothing at all."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import click
from msgspec import Struct

from daplug_supervisor.core import pulls
from daplug_supervisor.core.plan import ID_PATTERN
from daplug_supervisor.core.pulls import Pull
from daplug_supervisor.core.tasker.records import DIRECTORY as SESSION
from daplug_supervisor.errors import UsageError
from daplug_supervisor.views.text import clean
from daplug_supervisor.workspace import gh, github
from daplug_supervisor.workspace.git import running as git

SPECS = Path(".dev", "specs")
PLAN = "PLAN.md"
_NAME = re.compile(ID_PATTERN)
_MOST_LISTED = 20
_REMOTE = re.compile(r"([A-Za-z0-9_.-]+)/([A-Za-z0-9_.-]+?)(?:\.git)?/?")

Ask = Callable[[list[str]], str]
"""Asks which of some plans is meant, the newest first."""


class Chosen(Struct, frozen=True):
    """A file, whether it is known to be a PLAN.md, and the pull request that names it, if one does."""

    path: Path
    is_spec: bool = False
    pull: Pull | None = None
    notes: tuple[str, ...] = ()


class _Checkout(Struct, frozen=True):
    """Where a directory is. `branch` is '' if none is checked out; `remotes` are owners and names of its origins."""

    top: Path
    branch: str
    remotes: frozenset[tuple[str, str]]


def is_spec_word(word: str) -> bool:
    """Whether a first word can only mean a plan, although no file has that name."""
    if github.NUMBER.fullmatch(word) or github.URL.fullmatch(word):
        return True
    return _NAME.fullmatch(word) is not None and os.path.exists(SPECS / word / PLAN)  # noqa: PTH110 (never raises)


def choose(word: str | None, here: Path, ask: Ask | None = None) -> Chosen:
    """What is meant by a word, or by none. An existing file always wins.

    Raises:
        UsageError: that cannot be told, or leads nowhere.
        GithubError: it is about a pull request, and that cannot be looked at.
    """
    if word is None:
        return _guess(here, ask)
    if os.path.isfile(word):  # noqa: PTH113 (never raises, whatever the name)
        return Chosen(Path(word))
    if github.NUMBER.fullmatch(word) or github.URL.fullmatch(word):
        return _of_pull(word, here, _checkout(here))
    if _NAME.fullmatch(word) and os.path.isfile(here / SPECS / word / PLAN):  # noqa: PTH113
        return _of_name(word, here)
    return _of_path(word, here)


def _of_path(word: str, here: Path) -> Chosen:
    """A path that is no file: a directory with a PLAN.md or a .tasker in it, or nothing that can be read."""
    path = Path(word)
    if os.path.isdir(word):  # noqa: PTH112 (never raises, whatever the name)
        return Chosen(path / PLAN, is_spec=True) if (path / PLAN).is_file() else Chosen(path)
    if word.startswith("https://"):
        raise UsageError(
            f"{clean(word)[:300]} is no pull request: write https://github.com/OWNER/REPO/pull/NUMBER"
        )
    if _NAME.fullmatch(word) and "." not in word:
        raise UsageError(f"there is no plan {word!r}: {_listed(here)}")
    return Chosen(path)


def ask_at_terminal() -> Ask | None:
    """A question at the terminal; None if there is nobody to ask."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(names: list[str]) -> str:
        for at, name in enumerate(names, 1):
            click.echo(f"  {at}  {clean(name)}", err=True)
        number: int = click.prompt(
            "Which plan, by number", type=click.IntRange(1, len(names)), default=1, err=True
        )
        return names[number - 1]

    return ask


# --- names --------------------------------------------------------------------------------------------------


def known(here: Path) -> list[str]:
    """The names of all plans below a directory, the newest first."""
    found: list[tuple[float, str]] = []
    try:
        folders = list(os.scandir(here / SPECS))
    except OSError:
        return []
    for folder in folders:
        plan = Path(folder.path) / PLAN
        try:
            if _NAME.fullmatch(folder.name) and plan.is_file():
                found.append((-plan.stat().st_mtime, folder.name))
        except OSError:
            continue
    return [name for _, name in sorted(found)]


def _listed(here: Path) -> str:
    names = known(here)
    shown = ", ".join(names[:_MOST_LISTED])
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"known in {SPECS} are {shown}{more}" if names else f"there is none in {here / SPECS}"


def _of_name(name: str, here: Path, notes: tuple[str, ...] = ()) -> Chosen:
    """The PLAN.md of a name; links may not lead it out of ``.dev/specs``.

    Raises:
        UsageError: one does.
    """
    path = SPECS / name / PLAN
    if not _within(here / path, here / SPECS):
        raise UsageError(f"{path} leads out of {SPECS}: give the path of the file that is meant")
    return Chosen(path, is_spec=True, notes=notes)


def _within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def _guess(here: Path, ask: Ask | None) -> Chosen:
    """What is meant if nothing was typed: by the branch's draft, its name, or because there is only one plan."""
    try:
        checkout = _checkout(here)
    except UsageError:
        checkout = None
    notes: tuple[str, ...] = ()
    if checkout is not None and checkout.branch and checkout.remotes:
        try:
            urls = _drafts(checkout, here)
        except gh.GithubError as error:
            urls, notes = [], (f"pull requests were not looked at: {error}",)
        if len(urls) > 1:
            raise UsageError(f"branch {checkout.branch} has several drafts, say which one: {', '.join(urls)}")
        if urls:
            return _of_pull(urls[0], here, checkout)
    names = known(here)
    if not names and (here / SESSION).is_dir():
        return Chosen(Path(SESSION), notes=notes)
    meant = next((name for name in _by_branch(checkout.branch if checkout else "") if name in names), None)
    if meant is None and len(names) > 1:
        if ask is None:
            raise UsageError(f"say which plan is to be run: {_listed(here)}")
        meant = ask(names)
    if meant is None and not names:
        raise UsageError(f"say what is to be run: {_listed(here)}, and the branch has no draft pull request")
    return _of_name(meant or names[0], here, notes)


def _by_branch(branch: str) -> list[str]:
    """The names that a branch may have its plan under: ``feature/login`` is for ``login`` or ``feature-login``."""
    return [branch, branch.rpartition("/")[2], branch.replace("/", "-")] if branch else []


# --- pull requests ------------------------------------------------------------------------------------------


def _checkout(here: Path) -> _Checkout:
    """The checkout that a directory is in.

    Raises:
        UsageError: it is in none.
    """
    try:
        top = Path(git.run(here, "rev-parse", "--show-toplevel"))
        listed = git.run(here, "config", "--get-regexp", r"^remote\..*\.url$") if _has_remotes(here) else ""
    except git.GitError as error:
        raise UsageError(
            f"pull requests need the checkout that they are of: go there first ({error})"
        ) from error
    try:
        branch = git.run(here, "symbolic-ref", "--quiet", "--short", "HEAD")
    except git.GitError:  # none is checked out
        branch = ""
    found = [_REMOTE.fullmatch("/".join(re.split("[/:]", line)[-2:])) for line in listed.splitlines()]
    return _Checkout(top, branch, frozenset((one[1].lower(), one[2].lower()) for one in found if one))


def _has_remotes(here: Path) -> bool:
    return bool(git.run(here, "remote"))


def _drafts(checkout: _Checkout, here: Path) -> list[str]:
    if not gh.is_here():
        return []
    return github.drafts(checkout.branch, here, frozenset(owner for owner, _ in checkout.remotes))


def _of_pull(reference: str, here: Path, checkout: _Checkout) -> Chosen:
    """The PLAN.md that the text of a pull request names; whoever opened it wrote that text.

    Raises:
        UsageError: it names none, or another branch is checked out.
        GithubError: it cannot be looked at.
    """
    url = github.URL.fullmatch(reference)
    if url is not None and (url["owner"].lower(), url["name"].lower()) not in checkout.remotes:
        raise UsageError(
            f"{reference} is of another repository than this checkout: go to a checkout of that one"
        )
    pull = github.view(reference, here)
    if pull.branch != checkout.branch:
        at = f"branch {checkout.branch}" if checkout.branch else "no branch"
        raise UsageError(
            f"PR #{pull.number} is of branch {pull.branch}, and {at} is checked out: 'gh pr checkout {pull.number}'"
        )
    try:
        path = checkout.top / pulls.spec_path(pull.body)
    except UsageError as error:
        raise UsageError(f"PR #{pull.number}: {error}") from None
    if not path.is_file() or not _within(path, checkout.top):
        raise UsageError(
            f"PR #{pull.number} names {path.relative_to(checkout.top)}, and there is no such file here"
        )
    return Chosen(_shown(path, here), is_spec=True, pull=pull)


def _shown(path: Path, here: Path) -> Path:
    """From here, if it is below: that is how a person would type it."""
    return path.relative_to(here) if path.is_relative_to(here) else path
