"""Everything about one task."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from daplug_supervisor.core.environment import held_back
from daplug_supervisor.core.health import Suspect
from daplug_supervisor.core.lookup import find_task
from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Past, Run, TaskState
from daplug_supervisor.core.plan import assignment, pass_env
from daplug_supervisor.views.derived import label
from daplug_supervisor.views.family import (
    Progress,
    parts_used,
    progress_of,
    waiting_for,
)
from daplug_supervisor.views.orchestration.state import SubtaskHealth
from daplug_supervisor.views.proven import (
    CriterionRow,
    criteria_lines,
    criteria_word,
    criterion_rows,
    landed_word,
    rounds_word,
)
from daplug_supervisor.views.review import Remarked, Seen, question_lines, said_lines, said_of
from daplug_supervisor.views.text import at_clock, clean, duration, facts, listing, table, wrap
from daplug_supervisor.views.usage import (
    BudgetRow,
    Used,
    budget_row,
    budget_words,
    cost_word,
    known,
    tokens_word,
    used_by,
    used_of,
    used_words,
    uses,
)
from daplug_supervisor.views.why import why
from daplug_supervisor.views.work import (
    MOST_FILES,
    WorkLike,
    WorktreeRow,
    files_words,
    uncommitted_words,
    worktree_row,
    worktree_words,
)

_UNDER_WAY = ACTIVE | {Status.DELEGATED}
_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


class AttemptRow(Struct, frozen=True):
    """An attempt. `kind` is its outcome, null as long as there is none; `max_rss` is bytes.

    `seconds` and `cpu` are those of its process tree; `at` and `ended_at` are UTC seconds. `used`: what its CLI
    reports of its cost (null: no agent has ended).
    """

    number: int
    provider: str
    kind: str | None
    detail: str
    exit_code: int | None
    seconds: float
    cpu: float
    max_rss: int
    at: float
    ended_at: float | None
    used: Used | None = None


class TaskDetail(Struct, frozen=True):
    """Everything about a task. `needs` and `dependents` are direct; `next` holds commands to type.

    `blocked_by` is the same as `needs`, `unmet` those that are not done or, if it is delegated, its open parts.
    `parent`: the task of which it is a part; `children`: its own parts, `progress`: how many are done (null: it has
    none), `parts_used`: what they and theirs used. `question`: what its agent asks a person; `remarks`: what people
    said of it; `kept`: the ref of what it had done when it was delegated; `review`: who looks at its work, null for
    nobody. `health`: whether its running attempt shows that it works (null: none runs).

    `pass_env`: what the plan hands on to it; `held_back`: variables of the environment in which this is asked that
    it would not get. `used`: what all its attempts cost (null: no agent has ended); `budget`: its own.
    `worktree`: what is in it now (null: it has none). `criteria`: what was found of them last; `rounds`: how often its
    work went back with that, of `max_rounds`; `flags`: what a person should know; `steps` of bringing it home that are
    done, with the `commit` and the first of its `file_count` changed `files`.
    """

    task: str
    title: str
    status: str
    state: str
    sentence: str
    next: tuple[str, ...]
    provider: str
    worker: str
    model: str
    since: float
    needs: tuple[str, ...]
    unmet: tuple[str, ...]
    dependents: tuple[str, ...]
    tries: int
    max_tries: int
    timeout: float | None
    not_before: float | None
    owner: str
    labels: tuple[str, ...]
    attempts: tuple[AttemptRow, ...]
    pass_env: tuple[str, ...] = ()
    held_back: tuple[str, ...] = ()
    used: Used | None = None
    budget: BudgetRow | None = None
    setup: tuple[str, ...] = ()
    worktree: WorktreeRow | None = None
    criteria: tuple[CriterionRow, ...] = ()
    rounds: int = 0
    max_rounds: int = 0
    flags: tuple[str, ...] = ()
    steps: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    file_count: int = 0
    files: tuple[str, ...] = ()
    parent: str | None = None
    children: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
    progress: Progress | None = None
    parts_used: Used | None = None
    question: str = ""
    remarks: tuple[Remarked, ...] = ()
    kept: str = ""
    review: str | None = None
    health: SubtaskHealth | None = None


def task_detail(
    run: Run,
    name: str,
    now: float,
    live: bool,  # noqa: FBT001  as in `status`
    environ: Iterable[str] = (),
    suspects: Sequence[Suspect] = (),
    work: WorkLike | None = None,
    seen: Seen | None = None,
) -> TaskDetail:
    """Everything about one task. `environ`: the names of the variables that there are; `suspects` as in `why`.

    `work`: what is in its worktree.

    Raises:
        NotPossibleError: the run has no such task.
    """
    task, found = find_task(run, name), why(run, name, now, live=live, suspects=suspects, seen=work or seen)
    spec = run.spec(name)
    who, passed = assignment(run.plan, spec, task.provider), pass_env(run.plan, task.provider)
    return TaskDetail(
        task=name,
        title=label(spec),
        status=task.status.value,
        state=found.state,
        sentence=found.sentence,
        next=found.next,
        provider=task.provider,
        worker=who.worker,
        model=who.model,
        since=task.changed_at,
        needs=spec.needs,
        unmet=waiting_for(run, task),
        dependents=tuple(run.after[name]),
        tries=task.tries,
        max_tries=spec.retry.attempts,
        timeout=spec.timeout,
        not_before=task.not_before or None,
        owner=spec.owner,
        labels=spec.labels,
        attempts=(*(_attempt(run, past) for past in task.past), *_current(task)),
        pass_env=passed,
        held_back=held_back(environ, passed),
        used=used_by(run, task),
        budget=budget_row(spec.budget, task.spent, used_by(run, task)),
        setup=spec.setup or (),
        worktree=None if work is None else worktree_row(run, name, work),
        criteria=criterion_rows(run, task),
        rounds=task.fixes,
        max_rounds=spec.fix_rounds,
        flags=task.flags,
        steps=dict(task.steps),
        commit=task.commit,
        file_count=len(task.files),
        files=task.files[:MOST_FILES],
        parent=spec.parent,
        children=tuple(task.children),
        blocked_by=spec.needs,
        progress=progress_of(task),
        parts_used=parts_used(run, uses(run).tasks).get(name) if task.children else None,
        question=found.question,
        remarks=said_of(task),
        kept=task.kept,
        review=spec.review,
    )


def _attempt(run: Run, past: Past) -> AttemptRow:
    outcome, exit_ = past.result.outcome, past.result.exit
    return AttemptRow(
        number=past.number,
        provider=past.provider,
        kind=outcome.kind.value,
        detail=outcome.detail,
        exit_code=exit_.code,
        seconds=exit_.seconds,
        cpu=exit_.cpu,
        max_rss=exit_.max_rss,
        at=past.at,
        ended_at=past.ended_at,
        used=used_of(run, past),
    )


def _current(task: TaskState) -> list[AttemptRow]:
    """The attempt that has left no result: it is under way, or it was cancelled."""
    attempt = task.attempt
    if attempt is None or any(past.number == attempt.number for past in task.past):
        return []
    ended = None if task.status in _UNDER_WAY else task.changed_at
    return [AttemptRow(attempt.number, attempt.provider, None, "", None, 0.0, 0.0, 0, attempt.at, ended)]


def task_text(detail: TaskDetail, now: float, width: int = 80) -> str:
    """Everything about one task, for people."""
    named = {
        "provider": f"{detail.provider} (worker {detail.worker}, model {detail.model})",
        "part of": detail.parent or "",
        "parts": _parts(detail),
        "needs": _named(detail.needs),
        "needed by": _named(detail.dependents),
        "timeout": "" if detail.timeout is None else duration(detail.timeout),
        "used": used_words(detail.used, parts=True) if detail.used else "",
        "used by parts": used_words(detail.parts_used) if detail.parts_used else "",
        "budget": budget_words(detail.budget) if detail.budget else "",
        "set-up": shlex.join(detail.setup),
        "worktree": worktree_words(detail.worktree) if detail.worktree else "",
        "uncommitted": uncommitted_words(detail.worktree)
        if detail.worktree and detail.worktree.uncommitted
        else "",
        "work kept": detail.kept,
        "reviewed by": "a person" if detail.review else "",
        "sent back": rounds_word(detail.rounds, detail.max_rounds),
        "landed": landed_word(detail.steps, detail.commit),
        "files": files_words(detail.files, detail.file_count) if detail.files else "",
        "flags": "; ".join(detail.flags),
        "criteria": criteria_word(detail.criteria),
        "owner": detail.owner,
        "labels": ", ".join(detail.labels),
        "pass_env": ", ".join(detail.pass_env),
        "held back": ", ".join(detail.held_back),
    }
    lines = [clean(f"{detail.task}: {detail.title}", width), *wrap(detail.sentence, width)]
    lines += [*question_lines(detail.question, width, "  | "), ""]
    lines += facts(named, width, "  ")
    if detail.criteria:
        lines += ["", "Criteria", *criteria_lines(detail.criteria, width)]
    if detail.attempts:
        lines += ["", _attempts(detail, now, width)]
    if detail.remarks:
        lines += ["", "Said by people", *said_lines(detail.remarks, width, named=False)]
    if detail.next:
        lines += ["", "Next", *(f"  {clean(line)}" for line in detail.next)]
    return "\n".join(lines)


def _attempts(detail: TaskDetail, now: float, width: int) -> str:
    columns = {
        "attempt": [f"#{row.number}" for row in detail.attempts],
        "provider": [row.provider for row in detail.attempts],
        "started": [at_clock(row.at, now) for row in detail.attempts],
        "took": [duration(row.seconds) if row.kind else "" for row in detail.attempts],
        "cpu": [duration(row.cpu) if row.kind else "" for row in detail.attempts],
        "memory": [_size(row.max_rss) for row in detail.attempts],
    }
    if known(detail.used):
        columns["tokens"] = [tokens_word(row.used) for row in detail.attempts]
        columns["cost"] = [cost_word(row.used) for row in detail.attempts]
    columns["outcome"] = [_outcome(row) for row in detail.attempts]
    return table(
        zip(*columns.values(), strict=True), tuple(columns), width, indent="  ", keep=len(columns) - 1
    )


def _outcome(row: AttemptRow) -> str:
    if row.kind is None:
        return "no result yet" if row.ended_at is None else "cancelled"
    return f"{row.kind.replace('_', ' ')}: {row.detail}" if row.detail else row.kind.replace("_", " ")


def _parts(detail: TaskDetail) -> str:
    done = detail.progress
    return f"{done.done} of {done.total} done: {_named(detail.children)}" if done and detail.children else ""


def _named(names: tuple[str, ...]) -> str:
    return listing(names, 8) if names else ""


def _size(size: int) -> str:
    if size >= _GIB:
        return f"{size / _GIB:.1f} GiB"
    if size >= _MIB:
        return f"{size / _MIB:.0f} MiB"
    return f"{size / _KIB:.0f} KiB" if size else ""
