"""The tables that the documents are made from."""

from __future__ import annotations

from daplug_supervisor.core.events import KINDS
from daplug_supervisor.core.machine import TRANSITIONS
from daplug_supervisor.core.results import RULES
from daplug_supervisor.views.machine import (
    _markdown,
    events_table,
    rules_table,
    transitions_mermaid,
    transitions_table,
)


def test_every_status_has_a_row() -> None:
    lines = transitions_table().splitlines()
    assert lines[0] == "| status | event → next status | after a crash |"
    assert [line.split("**")[1] for line in lines[2:]] == list(TRANSITIONS)
    assert "| **reviewing** | `approved` → landing; `rejected` → pending; `task_cancelled` → cancelled |" in (
        transitions_table()
    )
    assert "| **done** | (none) | nothing to do |" in lines


def test_the_diagram_has_every_transition() -> None:
    lines = [line.strip() for line in transitions_mermaid().splitlines()]
    assert lines[:2] == ["stateDiagram-v2", "[*] --> pending"]
    assert "running --> running: attempt_spawned, cancel_requested, delegation_requested" in lines
    assert "done --> [*]" in lines
    drawn = sum(line.count(",") + 1 for line in lines[2:] if ": " in line)
    assert drawn == sum(map(len, TRANSITIONS.values()))


def test_every_kind_of_outcome_has_a_row() -> None:
    lines = rules_table().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == list(RULES)
    assert "| `auth` | no | stop | log in to the provider, then resume |" in lines


def test_every_event_has_a_row() -> None:
    lines = events_table().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == list(KINDS)
    assert (
        "| `attempt_started` | 1 | task | `task`, `number`, `token`, `provider` | A try was decided on. "
        "`token` is unique in the world: it names the attempt where others share a namespace. |"
    ) in lines
    assert "| `halted` | 1 | run or state directory |  |" in events_table()


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert _markdown(("a",), [("x|y",)]) == "| a |\n| --- |\n| x\\|y |"
