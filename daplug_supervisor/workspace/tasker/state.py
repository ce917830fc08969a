"""What our journal says of a run, in the words of a ``.tasker`` directory: its ``state.json``, and lines of its log.

Pure: the document that was read goes in, the one to be written comes out, with every field that is not ours as it
was. The same run makes the same document, so that a restart changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from daplug_supervisor.core.fences import on_one_line
from daplug_supervisor.core.machine import SATISFIED
from daplug_supervisor.core.model import Run
from daplug_supervisor.core.tasker.records import OVER
from daplug_supervisor.workspace.tasker.result import GIVEN_UP, Ours, iso

_LAST: Final = ("executing", "complete")
_MOST_LINE: Final = 4000


def updated(
    document: dict[str, Any], run: Run, landing: Ours | None = None, commit: str = ""
) -> dict[str, Any]:
    """``state.json`` as the run makes it; `landing` is the task that is being brought home, with its `commit`."""
    home = landing.task.id if landing else ""
    found = {**document, "tasks": _by_id(document.get("tasks"))}
    events: list[Any] = [*found["events"]] if isinstance(found.get("events"), list) else []
    news = _Events(events)
    tasks = list(run.tasks.values())
    every = [landing if landing and task.id == home else Ours(run, task) for task in tasks]
    blocked = _blocked(run)
    for ours in every:
        name = ours.task.id
        known = _mapping(found["tasks"], name)
        found["tasks"][name] = _task(known, ours, blocked.get(name, ""), commit if name == home else "")
        news.of(ours)
        found["tasks"][name] |= {"attempts": _count(known.get("attempts")) + news.started}
    words = {name: one.get("status") for name, one in found["tasks"].items() if isinstance(one, dict)}
    execution = _mapping(document, "execution")
    found["execution"] = {
        **execution,
        "active_tasks": [ours.task.id for ours in every if ours.word == "running"],
        "completed_count": sum(word == "complete" for word in words.values()),
        "failed_count": sum(word == "failed" for word in words.values()),
        "total_tokens": _count(execution.get("total_tokens")) + news.tokens,
        "total_cost_usd": round(_number(execution.get("total_cost_usd")) + news.cost, 6),
    }
    over = all(word in OVER for word in words.values())
    found["phase"] = _phase(document.get("phase"), "complete" if over else "executing")
    halt = _halt(document.get("halt"), run)
    if halt is not None:
        found["halt"] = halt
    if events:
        found["events"] = events
    return found


def _task(known: dict[str, Any], ours: Ours, blocked_by: str, commit: str) -> dict[str, Any]:
    """What the session says of a task from now on."""
    word = "blocked" if blocked_by else ours.word
    entry = {**known, "id": ours.task.id, "status": word}
    entry.setdefault("name", ours.spec.title)
    entry.setdefault("phase", -ours.spec.priority or 1)
    for stale in ("error", "failure") if word != known.get("status") or word != "failed" else ():
        entry.pop(stale, None)
    if blocked_by:
        entry["error"] = f"Blocked by failed task {blocked_by}"
    if ours.task.attempt is None:
        return entry
    entry["started_at"] = iso(ours.began)
    if word not in {"complete", "failed"}:
        return {key: value for key, value in entry.items() if key not in {"completed_at", "duration_seconds"}}
    files, criteria, error = ours.files(), tuple(ours.criteria()), ours.error()
    entry |= {
        "completed_at": iso(ours.ended),
        "duration_seconds": round(ours.ended - ours.began, 3),
        "verification": {
            "verdict": "PASS" if word == "complete" else "FAIL",
            "criteria": [{"name": c.name, "score": c.status, "evidence": c.evidence} for c in criteria],
            "verified_at": iso(ours.ended),
        },
    }
    same = known.get("commit_sha") == ours.task.commit != "" and not commit
    if word == "complete" and not same:  # else git has been asked about it before
        entry |= {"files_created": list(files.created), "files_modified": list(files.modified)}
    if commit or ours.task.commit:
        entry["commit_sha"] = commit or ours.task.commit
    if error is not None:
        entry |= {
            "error": error.message,
            "failure": {"category": error.category, "retryable": error.retryable},
        }
    return entry


class _Events:
    """Adds to the events of a session what has happened in the run, each thing once; counts what is new.

    An attempt is counted when its event is added: so the totals stay right over restarts, and beside other programs
    that add to them.
    """

    def __init__(self, events: list[Any]) -> None:
        self._events = events
        self._known = {
            (one.get("type"), details.get("attempt"))
            for one in events
            if isinstance(one, dict) and isinstance(details := one.get("details"), dict)
            and isinstance(details.get("attempt"), str) and isinstance(one.get("type"), str)
        }  # fmt: skip
        self.tokens, self.cost, self.started = 0, 0.0, 0

    def of(self, ours: Ours) -> None:
        """What has happened to one task."""
        self.started = 0
        task = ours.task
        for past in task.past:
            name = f"{ours.run.id}/{task.id}#{past.number}"
            self.started += self._add("task_started", task.id, past.at, name, {"provider": past.provider})
            usage = past.result.outcome.usage
            if usage is not None and (usage.tokens is not None or usage.cost is not None):
                tokens, cost = max(0, usage.tokens or 0), max(0.0, usage.cost or 0.0)
                told = {"input_tokens": usage.input, "output_tokens": usage.output, "cost_usd": usage.cost}
                if self._add("tokens_logged", task.id, past.ended_at, name, told):
                    self.tokens, self.cost = self.tokens + tokens, self.cost + cost
        if task.attempt is not None:
            provider = {"provider": task.attempt.provider}
            self.started += self._add("task_started", task.id, ours.began, ours.attempt, provider)
        error = ours.error()
        if ours.word == "complete":
            self._add("task_completed", task.id, ours.ended, ours.attempt, {})
        elif error is not None:
            why = {"error": error.message, "category": error.category}
            self._add("task_failed", task.id, ours.ended, ours.attempt, why)

    def _add(self, kind: str, task: str, at: float, attempt: str, more: dict[str, Any]) -> bool:
        if (kind, attempt) in self._known:
            return False
        self._known.add((kind, attempt))
        details = {"attempt": attempt, **{key: value for key, value in more.items() if value is not None}}
        self._events.append({"timestamp": iso(at), "type": kind, "task_id": task, "details": details})
        return True


def _blocked(run: Run) -> dict[str, str]:
    """The tasks that cannot start because one before them was given up, each with the first of those."""
    found = {task.id: task.id for task in run.tasks.values() if task.status in GIVEN_UP}
    given_up = set(found)
    left = list(found)
    while left:
        name = left.pop()
        for other in run.after.get(name, ()):
            if other not in found and run.tasks[other].status not in SATISFIED:
                found[other] = found[name]
                left.append(other)
    return {name: by for name, by in found.items() if name not in given_up}


def _phase(known: Any, word: str) -> Any:
    """How far the session has got, in the shape in which it says so."""
    if isinstance(known, str):
        return word
    given = known if isinstance(known, dict) else {}
    before = given.get("completed")
    passed = [one for one in before if one not in _LAST] if isinstance(before, list) else []
    if "ready" not in passed:
        passed.append("ready")
    if word == "complete":
        passed.append("executing")
    return {**given, "current": word, "completed": passed}


def _halt(known: Any, run: Run) -> dict[str, Any] | None:
    """What is said of a halt; None if nothing is to be."""
    given = known if isinstance(known, dict) else {}
    if run.halt is None:
        return {**given, "requested": False} if given.get("requested") else None
    found = {
        **given,
        "requested": True,
        "reason": on_one_line(run.halt.reason),
        "requested_at": iso(run.halt.requested_at),
        "requested_by": run.halt.by,
        "running_tasks": list(run.halt.running),
    }
    found.pop("halted_at", None)
    at = run.halt.halted_at
    if at is None and not run.active:  # nothing is at work any more: what is left is to say so
        at = max(run.idle_since, run.halt.requested_at)
    return found | ({"halted_at": iso(at)} if at is not None else {})


def _by_id(tasks: Any) -> dict[str, Any]:
    """The tasks of a session; an older one has a list of them."""
    if isinstance(tasks, list):
        return {one["id"]: one for one in tasks if isinstance(one, dict) and isinstance(one.get("id"), str)}
    return {**tasks} if isinstance(tasks, dict) else {}


def _mapping(given: dict[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key)
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _number(value: Any) -> float:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else 0.0
    )


def log_line(at: float, level: str, event: str, message: str) -> str:
    """A line of the activity log, in which nothing is more than text."""
    return f"[{iso(at)}] [{level}] [orchestrator] {event}: {on_one_line(message)[:_MOST_LINE]}\n"
