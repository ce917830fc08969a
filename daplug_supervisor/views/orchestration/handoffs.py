"""How a task is handed to whoever does it: what it is a part of, what is done already, what waits for it."""

from __future__ import annotations

from msgspec import Struct

from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.views.derived import label
from daplug_supervisor.views.orchestration.course import Course
from daplug_supervisor.views.text import stamp

_LONGEST = 2000
_MOST_NAMED = 20


class Context(Struct, frozen=True):
    """What a task is a part of, and what goes on around it."""

    orchestration_context: str
    dependencies_completed: tuple[str, ...]
    next_subtasks: tuple[str, ...]
    related_subtasks: tuple[str, ...]


class Handoff(Struct, frozen=True, rename={"sender": "from", "receiver": "to"}):
    """A task is handed to its owner, or to its provider if it has none. There is one of each task."""

    handoff_id: str
    sender: str
    receiver: str
    run: str
    subtask_id: str
    parent_orchestration: str
    priority: str
    context: Context
    created_at: str


def handoff(course: Course, name: str, now: float) -> Handoff:
    """How a task is handed over that begins now."""
    spec, group = course.tasks[name], course.group_of(name)
    to = spec.owner or spec.provider or ""
    whole = course.tasks[group.parent] if group.parent else None
    beside = [one for one in group.stages[group.stage[name]] if one != name]
    following = [f"{one} (waits for this)" for one, other in group.specs.items() if name in other.needs]
    return Handoff(
        handoff_id=f"to-{to}-{name}",
        sender="supervisor",
        receiver=to,
        run=course.run,
        subtask_id=name,
        parent_orchestration=course.orchestration_id(group.parent),
        priority="high" if spec.priority > 0 else "low" if spec.priority < 0 else "normal",
        context=Context(
            f"Part of {label(whole) if whole else course.plan.name}"[:_LONGEST],
            tuple(one for one in spec.needs if course.statuses[one] in SATISFIED),
            tuple(following[:_MOST_NAMED]),
            tuple(f"{one} (parallel)" for one in beside[:_MOST_NAMED]),
        ),
        created_at=stamp(now),
    )
