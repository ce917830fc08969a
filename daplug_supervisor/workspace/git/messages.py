"""What commits of ours say: one line, the rest below it, and trailers by which they are known again.

The text may come from an agent: nothing in it may become a trailer, or do something to the terminal of who reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final
from unicodedata import category

from daplug_supervisor.workspace.git import running as git

RUN: Final = "Daplug-Run"
TASK: Final = "Daplug-Task"
ATTEMPT: Final = "Daplug-Attempt"
LONGEST_SUBJECT: Final = 72

_LONGEST = 10_000
_LONGEST_VALUE = 300
_LOOKED_AT = 5_000
_JOINER = "\u200d"  # of emoji
_LIKE_A_TRAILER = re.compile(r"[A-Za-z0-9-]+[ \t]*:|\(cherry picked from ")
_BLANK = re.compile(r"\n{3,}")
_END = "\x02"


def trailers(run: str, task: str, number: int) -> dict[str, str]:
    """What a commit of an attempt is known by."""
    return {RUN: run, TASK: task, ATTEMPT: f"{run}/{task}#{number}"}


def message(text: str, known_by: Mapping[str, str]) -> str:
    """What a commit says: a subject of at most 72 characters, the rest of the text, and the trailers."""
    lines = [_plain(line).rstrip() for line in re.split(r"\r\n|[\n\r\v\f\x85\u2028\u2029]", text[:_LONGEST])]
    body = "\n".join(lines).strip("\n")
    first, _, rest = body.partition("\n")
    subject, more = _cut(" ".join(first.split()) or "changes")
    rest = _BLANK.sub("\n\n", f"{more}\n\n{rest}" if more else rest).strip("\n")
    said = "\n".join(f" {line}" if _LIKE_A_TRAILER.match(line) else line for line in rest.split("\n"))
    ours = "\n".join(f"{key}: {_plain(value)[:_LONGEST_VALUE].strip()}" for key, value in known_by.items())
    return "\n\n".join(filter(None, (subject, said, ours)))


def find(folder: str, key: str, value: str, *where: str) -> str:
    """The latest commit that has a trailer, among those that `where` names (as `git rev-list` takes them); or ''."""
    said = git.inside(
        folder, "rev-list", f"--max-count={_LOOKED_AT}", f"--format=%H\x01%(trailers:key={key},valueonly){_END}",
        *where, "--",
    )  # fmt: skip
    for entry in said.split(_END):
        commit, _, values = entry.partition("\x01")
        if value in values.splitlines():
            return commit.rpartition("\n")[2]
    return ""


def identity(folder: str) -> dict[str, str]:
    """The variables that say who commits: whom git is told here, or else the supervisor."""
    said = git.asked(folder, "config", "-z", "--get-regexp", r"^(user|author|committer)\.(name|email)$")
    told = dict(entry.partition("\n")[::2] for entry in said.split("\0") if entry)
    found: dict[str, str] = {}
    for who in ("author", "committer"):
        parts = {
            f"GIT_{who}_{what}".upper(): os.environ.get(f"GIT_{who}_{what}".upper())
            or told.get(f"{who}.{what}")
            or told.get(f"user.{what}", "")
            for what in ("name", "email")
        }
        if all(parts.values()):
            found |= parts
    return found


def shown(name: str) -> str:
    """A file's name as text: odd bytes are escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _plain(text: str) -> str:
    """Text without what a terminal obeys, or nobody sees."""
    kept = (" " if one == "\t" else one for one in text)
    return "".join(
        one for one in kept if category(one) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} or one == _JOINER
    )


def _cut(subject: str) -> tuple[str, str]:
    """A subject that is short enough, and what did not fit."""
    if len(subject) <= LONGEST_SUBJECT:
        return subject, ""
    at = subject.rfind(" ", LONGEST_SUBJECT // 2, LONGEST_SUBJECT - 1)
    at = at if at > 0 else LONGEST_SUBJECT - 1
    return f"{subject[:at].rstrip()}…", f"…{subject[at:].lstrip()}"
