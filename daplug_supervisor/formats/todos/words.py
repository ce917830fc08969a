"""What a TODO tells its worker: its own words, under the headings of its prompt (`core.instructions.sections`).

What every worker is told, and what earlier TODOs hand on and have learnt, is put beside this where the prompt is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daplug_supervisor.formats.findings import escaped
from daplug_supervisor.formats.todos.fields import KNOWN, TEXT
from daplug_supervisor.formats.todos.sections import Todo, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_FILES = 50
_LOOK = "- Only look, and say what you found: change no file, and mend nothing"


def instructions(todo: Todo, files: Sequence[str] = ()) -> str:
    """The words of a TODO; `files` are those that its commit takes."""
    sections = {
        "TASK": _task(todo),
        "EXPECTED OUTCOME": _outcome(todo),
        "REQUIRED TOOLS": _said(todo.text("required tools")),
        "MUST DO": _LOOK if todo.kind == "verification" else "",
        "MUST NOT DO": _must_not(todo, files),
        "CONTEXT": _below("References", todo.text("references")) + _below("Inputs", todo.text("inputs")),
    }
    return (
        plain("\n\n".join(f"## {head}\n\n{text.strip()}" for head, text in sections.items() if text)) + "\n"
    )


def _said(text: str) -> str:
    """What a field says; '' if that is ``(none)``."""
    return "" if text.strip().lower().startswith(("(none", "- (none")) else text.strip("\n")


def _below(head: str, text: str) -> str:
    """A field below a heading of its own."""
    said = _said(text)
    return f"### {head}\n\n{said}\n\n" if said else ""


def _task(todo: Todo) -> str:
    """The title, the words before the first field, the steps, and the fields that are of no kind that we know."""
    steps = _said(todo.text("steps"))
    others = (
        f"**{name.capitalize()}**: {one.text}"
        for name, one in todo.fields.items()
        if name not in {*KNOWN, TEXT}
    )
    return "\n\n".join(
        filter(None, (todo.name, _said(todo.text(TEXT)), steps and f"Steps:\n\n{steps}", *others))
    )


def _outcome(todo: Todo) -> str:
    """What it hands on, and the criteria that nobody can look at by running a command."""
    not_run = "\n".join(f"- {item.name}" for item in todo.criteria if item.run is None)
    return _below("Outputs", todo.text("outputs")) + (
        f"### What has to hold as well\n\n{not_run}" if not_run else ""
    )


def _must_not(todo: Todo, files: Sequence[str]) -> str:
    named = ", ".join(f"`{escaped(one)}`" for one in files[:_MOST_FILES])
    lines = [
        _said(todo.text("must not do")),
        f"- Do not change files other than {named}, and what these cannot do without" if named else "",
        "- Do not edit PLAN.md or its context folder: they are kept for you",
    ]
    return "\n".join(filter(None, lines))
