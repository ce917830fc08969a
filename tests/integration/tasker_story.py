"""For tests of ``.tasker``: a session of eight tasks in a repository, and agents that do what a story says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli import STANDIN, Place
from repositories import git
from session_making import session, task
from todo_plan import Turns, tell

NAME = "tasker"
RUN = f"{NAME}-1"
WORDS = ("run", ".tasker", "--provider=codex", f"--executor={STANDIN}", "--quiet")


def work(name: str, title: str, files: str, *criteria: str, needs: str = "", **more: Any) -> dict[str, Any]:
    """A task; `files` and `needs` are names between spaces, a criterion is ``words: command``."""
    listed = [{"path": path, "action": "modify", "purpose": "what it says"} for path in files.split()]
    found = [one.split(": ", 1) for one in criteria]
    made = {
        "name": title,
        "behaviors": [],
        "files": listed,
        "acceptance_criteria": [{"criterion": words, "verification": line} for words, line in found],
    }
    return {**task(name, *needs.split()), **made, **more}


MACHINE = {"transitions_covered": ["TR1"], "guards_enforced": ["I1"], "states_reached": ["S2"]}
EIGHT = (
    work("T001", "Config", "config.txt", "TR1 leads in: test -f config.txt", "Guard I1 holds: grep -q @ config.txt",
         behaviors=["B1"], state_machine=MACHINE),
    work("T002", "Prices", "prices.txt", "they use the config: grep -q @ config.txt && grep -q right prices.txt",
         needs="T001", phase=2),
    work("T003", "Liar", "honest.txt", "it is there: test -f honest.txt", phase=2),
    work("T004", "Header", "app.txt", "a header: grep -q header app.txt"),
    work("T005", "Footer", "app.txt", "a footer: grep -q footer app.txt"),
    work("T006", "Manual", "manual.txt notes.txt", "it is good: grep -q good manual.txt", phase=2),
    work("T007", "Together", "all.txt", "all of it: cat prices.txt app.txt | tr '\\n' ' ' | diff - all.txt",
         needs="T002 T004 T005", phase=3),
    work("T008", "Release", "release.txt", "it can go out: test -f honest.txt && test -f release.txt",
         "without a manual: ! test -e manual.txt", needs="T003 T006", phase=3),
)  # fmt: skip
"""T002 and T007 use what others have made, T004 and T005 want the same file, T008 waits for two that fail."""

LIES = {
    "result": {
        "acceptance_criteria": [{"id": "it is there", "command": "test -f honest.txt", "status": "PASS"}],
        "files": {"created": [], "modified": [], "deleted": []},
    }
}
TAUGHT = {"task_id": "T004", "status": "success", "notes": "as I was taught"}
STORY: Turns = {
    "T001": [{"write": {"config.txt": "someone@example.org\n"}, "result": {"learnings": ["it has an @"]}}],
    "T002": [{"write": {"prices.txt": "wrong\n"}}, {"write": {"prices.txt": "right\n"}}],
    "T003": [LIES],
    "T004": [
        {
            "hold": "go-T004",
            "write": {"app.txt": "header\n", ".tasker/bundles/T004-result.json": json.dumps(TAUGHT)},
            "result": None,
        }
    ],
    "T005": [
        {"hold": "go-T005", "write": {"app.txt": "footer\n"}},
        {"write": {"app.txt": "header\nfooter\n"}},
    ],
    "T006": [
        {"write": {"manual.txt": f"bad {number}\n", "notes.txt": f"bad {number}\n"}} for number in range(9)
    ],
    "T007": [{"write": {"all.txt": "right header footer "}}],
    "T008": [{"write": {"release.txt": "out\n"}}],
}
SHARED: Turns = {**STORY, "T005": [{**STORY["T005"][0], **STORY["T005"][1]}]}
"""In a checkout that all share, the second of two sees what the first has written."""

HONEST: Turns = {"T003": [{"write": {"honest.txt": "now\n"}}]}


def prepare(place: Place, story: Turns = STORY, tasks: tuple[dict[str, Any], ...] = EIGHT) -> Path:
    """Make a repository with a session, tell the agents their story, and return its ``.tasker``."""
    (place.target / "app.txt").write_text("top\n")
    (place.target / "notes.txt").write_text("of a person\n")
    git(place.target, "init", "-q", "-b", "main")
    git(place.target, "config", "user.name", "A Person")
    git(place.target, "config", "user.email", "person@example.org")
    git(place.target, "add", "-A")
    git(place.target, "commit", "-qm", "begin")
    tell(place, story)
    return session(place.target, *tasks)


def read(home: Path, name: str) -> Any:
    """A document of the session."""
    return json.loads((home / name).read_text())


def words(home: Path) -> dict[str, str]:
    """What the session says of its tasks."""
    return {name: one["status"] for name, one in read(home, "state.json")["tasks"].items()}
