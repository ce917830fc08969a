"""For tests of PLAN.md: a repository with one, and agents that do what a story says (`standin/workman.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cli import STANDIN, Place
from repositories import git

NAME = "shop"
FOLDER = f".dev/specs/{NAME}"
WORDS = ("--provider", "codex", "--executor", str(STANDIN))
Turns = Mapping[str, list[dict[str, Any]]]


def todo(number: int, title: str, criterion: str, *, kind: str = "work", **fields: tuple[str, ...]) -> str:
    """The section of a TODO; `criterion` is ``words: command``."""
    words, _, command = criterion.partition(": ")
    lines = [f"### [ ] TODO {number}: {title}", "", f"**Type**: {kind}", ""]
    for name, items in fields.items():
        lines += [f"**{name.title()}**:", *(f"- `{item[0]}` (text): {item[1]}" for item in _pairs(items)), ""]
    lines += ["**Steps**:", f"- [ ] {words}", "", "**Acceptance Criteria**:", "", "*Functional:*"]
    return "\n".join([*lines, f"- [ ] {words}: `{command}`", ""])


def _pairs(items: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, text or "a value") for name, _, text in (item.partition("=") for item in items)]


def plan(*todos: str, needs: Mapping[int, str], commits: Mapping[int, tuple[str, str]]) -> str:
    """A PLAN.md. `needs`: what a TODO requires; `commits`: message and files."""
    graph = [f"| {number} | {need} | - | work |" for number, need in needs.items()]
    rows = [f"| {number} | `{said}` | `{files}` | always |" for number, (said, files) in commits.items()]
    head = "# A shop\n\n## TODOs\n"
    tables = [
        "## Dependency Graph\n\n| TODO | Requires | Produces | Type |\n|---|---|---|---|\n"
        + "\n".join(graph),
        "## Commit Strategy\n\n| After TODO | Message | Files | Condition |\n|---|---|---|---|\n"
        + "\n".join(rows),
    ]
    return "\n".join([head, *todos, "\n\n".join(tables), ""])


def prepare(place: Place, text: str, story: Turns) -> None:
    """Make a repository with a PLAN.md, and tell the agents their story."""
    folder = place.target / FOLDER
    folder.mkdir(parents=True)
    (folder / "PLAN.md").write_text(text)
    (place.target / "app.txt").write_text("top\n")
    git(place.target, "init", "-q", "-b", "main")
    git(place.target, "config", "user.name", "A Person")
    git(place.target, "config", "user.email", "person@example.org")
    git(place.target, "add", "-A")
    git(place.target, "commit", "-qm", "begin")
    tell(place, story)


def tell(place: Place, story: Turns) -> None:
    """Say what agents do."""
    folder = place.home / "story"
    folder.mkdir(exist_ok=True)
    (folder / "story.json").write_text(json.dumps(story))
    place.environ["DAPLUG_TEST_STORY"] = str(folder)


def starts(place: Place) -> list[str]:
    """The tasks of all agents that ever began, in that order."""
    path = place.home / "story" / "starts"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def text_of(place: Place, name: str = "PLAN.md") -> str:
    return (place.target / FOLDER / name).read_text()


def subjects(place: Place, branch: str) -> list[str]:
    """The subjects of a branch's commits, oldest first, but for the first."""
    return git(place.target, "log", "--reverse", "--format=%s", branch).splitlines()[1:]
