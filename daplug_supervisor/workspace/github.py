"""Pull requests, through the command `gh`. What it prints comes from strangers: it is bounded, and read strictly.

Labels are changed through the API: ``gh pr edit`` fails in many released versions, because it asks GitHub for projects
of a kind that is no longer there (cli/cli#11983).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from daplug_supervisor.core import pulls
from daplug_supervisor.core.pulls import Comment, Pull, Step, Who
from daplug_supervisor.workspace.gh import LONGEST_LINE, GithubError, MissingError, ThereError, line, run

CREDENTIALS: Final = (
    "GH_*", "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY",
)  # fmt: skip
"""The variables that `gh` logs in with, or finds the desktop's keyring by."""

URL = re.compile(
    r"https://(?P<host>[A-Za-z0-9][A-Za-z0-9.-]{0,200})/(?P<owner>[A-Za-z0-9_-][A-Za-z0-9._-]{0,99})"
    r"/(?P<name>[A-Za-z0-9_.-]{1,100})/pull/(?P<number>[1-9][0-9]{0,9})"
)
NUMBER = re.compile(r"[1-9][0-9]{0,9}")

_COLOURS = {pulls.EXECUTING: "1d76db", pulls.BLOCKED: "d93f0b"}
_TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
_FIELDS = "number,url,state,isDraft,headRefName,body,labels,comments"
_ONLY_OURS = '.comments |= map(select(.body | startswith("<!-- daplug-supervisor ")))'
"""A busy pull request has more comments than anybody wants to read."""

T = TypeVar("T")


class _Named(Struct, frozen=True):
    name: str


class _Comment(Struct, frozen=True, rename="camel"):
    body: str
    author_association: str = ""
    viewer_did_author: bool = False


class _View(Struct, frozen=True, rename="camel"):
    number: int
    url: str
    state: str = "OPEN"
    is_draft: bool = False
    head_ref_name: str = ""
    body: str = ""
    labels: tuple[_Named, ...] = ()
    comments: tuple[_Comment, ...] = ()


class _Login(Struct, frozen=True):
    login: str = ""


class _Listed(Struct, frozen=True, rename="camel"):
    number: int
    url: str
    is_cross_repository: bool = False
    head_repository_owner: _Login | None = None


def view(reference: str, folder: Path) -> Pull:
    """A pull request, by its number or URL, as seen from a checkout.

    Raises:
        GithubError: there is no such one, or it cannot be looked at.
    """
    said = run(folder, "pr", "view", _checked(reference), f"--json={_FIELDS}", f"--jq={_ONLY_OURS}")
    found = _read(said, _View, "a pull request")
    _parts(found.url)
    return Pull(
        number=found.number,
        url=found.url,
        branch=found.head_ref_name,
        state=found.state,
        draft=found.is_draft,
        body=found.body,
        labels=frozenset(label.name for label in found.labels),
        comments=tuple(
            Comment(one.body, one.viewer_did_author or one.author_association in _TRUSTED)
            for one in found.comments
        ),
    )


def drafts(branch: str, folder: Path, owners: frozenset[str]) -> list[str]:
    """The URLs of the open draft pull requests of a branch.

    One from a fork counts only if its owner is one of `owners`: anybody's fork may have a branch of that name.

    Raises:
        GithubError: that cannot be told.
    """
    fields = "number,url,isCrossRepository,headRepositoryOwner"
    said = run(
        folder, "pr", "list", f"--head={branch}", "--draft", "--state=open", "--limit=100", f"--json={fields}"
    )
    found = _read(said, tuple[_Listed, ...], "a list of pull requests")
    mine = [one for one in found if not one.is_cross_repository or _owner(one) in owners]
    for one in mine:
        _parts(one.url)
    return [one.url for one in mine]


def _owner(one: _Listed) -> str:
    return one.head_repository_owner.login.lower() if one.head_repository_owner else ""


# --- changing -----------------------------------------------------------------------------------------------


def begin(reference: str, who: Who, place: str, folder: Path) -> tuple[Pull, tuple[Step, ...]]:
    """Have a run begin to work for a pull request: what it was, and what was changed. See `core.pulls.begin`.

    Raises:
        PullRequestError: it is not to be worked on now.
        GithubError: `gh` failed.
    """
    before = view(reference, folder)
    steps = pulls.begin(before, who, place)
    for step in steps:
        carry_out(before, step, folder)
        pulls.check_claim(view(before.url, folder), who, labelled=step.kind == "add")
    return before, steps


def change(
    reference: str, wanted: Callable[[Pull], tuple[Step, ...]], folder: Path
) -> tuple[Pull, tuple[Step, ...]]:
    """Carry out what is wanted of a pull request: what it was, and what was changed.

    Raises:
        PullRequestError: it is not to be done now.
        GithubError: `gh` failed; what was done is not done again the next time.
    """
    before = view(reference, folder)
    steps = wanted(before)
    for step in steps:
        carry_out(before, step, folder)
    return before, steps


def carry_out(pull: Pull, step: Step, folder: Path) -> None:
    """One change.

    Raises:
        GithubError: `gh` failed.
    """
    if step.kind == "comment":
        run(folder, "pr", "comment", pull.url, "--body-file=-", stdin=step.text)
    elif step.kind == "ready":
        run(folder, "pr", "ready", pull.url)
    elif step.kind == "add":
        _make_label(pull, step.text, folder)
        _api(pull, "POST", f"issues/{pull.number}/labels", folder, {"labels": [step.text]})
    else:
        with suppress(MissingError):  # somebody else has removed it
            _api(pull, "DELETE", f"issues/{pull.number}/labels/{quote(step.text, safe='')}", folder)


def _make_label(pull: Pull, label: str, folder: Path) -> None:
    try:
        _api(pull, "GET", f"labels/{quote(label, safe='')}", folder)
    except MissingError:
        wanted = {"name": label, "color": _COLOURS[label], "description": pulls.LABELS[label]}
        with suppress(ThereError):
            _api(pull, "POST", "labels", folder, wanted)


def _api(pull: Pull, method: str, path: str, folder: Path, document: object = None) -> None:
    place = _parts(pull.url)
    words = [
        f"--hostname={place['host']}",
        f"--method={method}",
        f"repos/{place['owner']}/{place['name']}/{path}",
    ]
    if document is None:
        run(folder, "api", *words)
    else:
        run(folder, "api", "--input=-", *words, stdin=msgspec.json.encode(document).decode())


# --- what is read ----------------------------------------------------------------------------------------------


def _checked(reference: str) -> str:
    if NUMBER.fullmatch(reference) or URL.fullmatch(reference):
        return reference
    raise GithubError(f"{reference[:LONGEST_LINE]!a} is neither the number of a pull request nor its URL")


def _parts(url: str) -> dict[str, str]:
    found = URL.fullmatch(url)
    if found is None or set(found["name"]) == {"."}:
        raise GithubError(f"gh names a pull request in a way that is not known: {url[:LONGEST_LINE]!a}")
    return found.groupdict()


def _read(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise GithubError(
            f"gh was asked for {what}, and what it says is no such thing: {line(str(error))}"
        ) from error
