"""The report of a run when it finishes or halts: what it came to, what went wrong, what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Past, Run, TaskState
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.views import claims
from daplug_supervisor.views import work as works
from daplug_supervisor.views.derived import blocked_by, blocks, label, run_state, tasks_word
from daplug_supervisor.views.rows import HaltRow, halt_row
from daplug_supervisor.views.text import clean, clock, command, duration, facts, listing, number, wrap
from daplug_supervisor.views.usage import (
    BudgetRow,
    Used,
    budget_row,
    budget_words,
    known,
    most_used,
    used_words,
    uses,
)
from daplug_supervisor.views.why import go_on, repairs, why

_UNDER_WAY = ACTIVE | {Status.REVIEWING, Status.DELEGATED}
_BUDGET = 1_000_000
_LONGEST = 5
_TASKS_IN_NEXT = 3
_MOST_FAILURES = 20
_SENTENCE = 400
_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})
_NONE_LEFT = works.WorkLeft()


class Attempts(Struct, frozen=True):
    """All attempts. `wasted`: ended without success; `by_outcome` counts the ended ones by kind."""

    total: int
    running: int
    wasted: int
    by_outcome: dict[str, int]


class LongTask(Struct, frozen=True):
    """A task and the seconds that all its attempts took together."""

    task: str
    seconds: float
    attempts: int


class ProviderUse(Struct, frozen=True):
    """What a provider did: ended attempts, how many of them succeeded, their seconds, and what they cost.

    `used` is null if no agent has ended.
    """

    name: str
    attempts: int
    completed: int
    seconds: float
    used: Used | None = None


class Durations(Struct, frozen=True):
    """Seconds: `wall` from submission to the end, `attempts` and `cpu` the sums over all ended attempts."""

    wall: float
    attempts: float
    cpu: float
    longest: tuple[LongTask, ...]


class Failure(Struct, frozen=True):
    """A failed or stuck task. `kind` is its last outcome.

    `blocks` says how many tasks wait behind it (null: not counted); `tail` is the end of its output, `next`
    what to type.
    """

    task: str
    title: str
    status: str
    kind: str
    detail: str
    sentence: str
    attempts: int
    blocks: int | None
    tail: tuple[str, ...]
    next: tuple[str, ...]


class Metrics(Struct, frozen=True, kw_only=True):
    """The numbers of a run. Times are UTC seconds; `ended_at` is null as long as the run goes on.

    `counts`: total, done, failed, stuck, cancelled, skipped, blocked (behind a failed, stuck or cancelled
    task), in_progress, not_started. `first_attempt_success_rate`: of the done tasks that had attempts, the
    share that needed only one; null if there are none. `used`: what agents cost (null: none has ended), and
    `tasks_used` the same by task; `budget`: the run's, null if it has none.
    """

    run: str
    plan: str
    state: str
    started_at: float
    ended_at: float | None
    counts: dict[str, int]
    first_attempt_success_rate: float | None
    attempts: Attempts
    durations: Durations
    providers: tuple[ProviderUse, ...]
    used: Used | None = None
    tasks_used: dict[str, Used] = field(default_factory=dict)
    budget: BudgetRow | None = None


class Report(Metrics, frozen=True, kw_only=True):
    """What a run came to: its numbers, what went wrong, what agents said beside it, and commands to type next."""

    target: str
    failures: tuple[Failure, ...]
    said: tuple[claims.Said, ...] = ()
    worktrees: tuple[works.WorktreeRow, ...] = ()
    overlaps: tuple[works.Overlap, ...] = ()
    halt: HaltRow | None
    next: tuple[str, ...]


def report(
    run: Run,
    now: float,
    *,
    tails: Mapping[str, Sequence[str]] = _NOTHING,
    left: works.WorkLeft = _NONE_LEFT,
    live: bool = True,
) -> Report:
    """What `run` came to so far. `tails`: for each failed task the last lines of its output; `left`: in worktrees."""
    ended = run.finished_at or (run.halt.halted_at if run.halt else None)
    failures = _failures(run, now, tails, live=live)
    used = uses(run)
    return Report(
        run=run.id,
        plan=run.plan.name,
        target=run.target,
        state=run_state(run, live=live),
        started_at=run.submitted_at,
        ended_at=ended,
        counts=_counts(run),
        first_attempt_success_rate=_first_attempt(run),
        attempts=_attempts(run),
        durations=_durations(run, (now if ended is None else ended) - run.submitted_at),
        providers=_providers(run, used.providers),
        used=used.all,
        tasks_used=used.tasks,
        budget=budget_row(run.plan.budget, run.spent, used.all),
        failures=failures,
        said=claims.said(run),
        worktrees=left.worktrees,
        overlaps=left.overlaps,
        halt=halt_row(run),
        next=_next(run, failures, live=live),
    )


def metrics_only(full: Report) -> Metrics:
    """The numbers of a report, without what was said."""
    return Metrics(**{name: getattr(full, name) for name in Metrics.__struct_fields__})


def _counts(run: Run) -> dict[str, int]:
    blocked = len(blocked_by(run))
    by = {status.value: count for status, count in run.counts.items()}
    under_way = sum(run.counts[status] for status in _UNDER_WAY)
    kept = {word: by[word] for word in ("done", "failed", "stuck", "cancelled", "skipped")}
    rest = {"blocked": blocked, "in_progress": under_way, "not_started": by["pending"] - blocked}
    return {"total": len(run.tasks), **kept, **rest}


def _first_attempt(run: Run) -> float | None:
    tried = [task for task in run.tasks.values() if task.status is Status.DONE and task.attempt is not None]
    first = sum(task.attempt is not None and task.attempt.number == 1 for task in tried)
    return first / len(tried) if tried else None


def _settled(run: Run) -> Iterator[tuple[TaskState, Past]]:
    """All attempts whose end is settled: not those whose claim of success is still being looked at."""
    for task in run.tasks.values():
        current = task.attempt.number if task.attempt and task.status in _UNDER_WAY else 0
        for past in task.past:
            if past.number != current:
                yield task, past


def _attempts(run: Run) -> Attempts:
    by_outcome = dict.fromkeys(OutcomeKind, 0)
    for _, past in _settled(run):
        by_outcome[past.result.outcome.kind] += 1
    total = sum(task.attempt.number for task in run.tasks.values() if task.attempt)
    running = sum(task.status in _UNDER_WAY for task in run.tasks.values())
    wasted = total - running - by_outcome[OutcomeKind.COMPLETED]
    return Attempts(
        total, running, wasted, {kind.value: count for kind, count in by_outcome.items() if count}
    )


def _durations(run: Run, wall: float) -> Durations:
    seconds: dict[str, float] = {}
    cpu = 0.0
    for task, past in _settled(run):
        seconds[task.id] = seconds.get(task.id, 0.0) + past.result.exit.seconds
        cpu += past.result.exit.cpu
    longest = sorted(seconds, key=lambda name: (-seconds[name], run.tasks[name].order))[:_LONGEST]
    rows = tuple(LongTask(name, seconds[name], len(run.tasks[name].past)) for name in longest)
    return Durations(max(0.0, wall), sum(seconds.values()), cpu, rows)


def _providers(run: Run, used: Mapping[str, Used]) -> tuple[ProviderUse, ...]:
    found = {name: ProviderUse(name, 0, 0, 0.0, used.get(name)) for name in run.pools}
    for _, past in _settled(run):
        use = found.get(past.provider) or ProviderUse(past.provider, 0, 0, 0.0, used.get(past.provider))
        found[past.provider] = replace(
            use,
            attempts=use.attempts + 1,
            completed=use.completed + (past.result.outcome.kind is OutcomeKind.COMPLETED),
            seconds=use.seconds + past.result.exit.seconds,
        )
    return tuple(found.values())


def _failures(run: Run, now: float, tails: Mapping[str, Sequence[str]], *, live: bool) -> tuple[Failure, ...]:
    found = [task for task in run.tasks.values() if task.status in (Status.FAILED, Status.STUCK)]
    blocking = blocks(run, (task.id for task in found), _BUDGET)

    def row(task: TaskState) -> Failure:
        last = task.last
        return Failure(
            task=task.id,
            title=label(run.spec(task.id)),
            status=task.status.value,
            kind=last.outcome.kind.value if last else "",
            detail=last.outcome.detail if last else task.reason,
            sentence=why(run, task.id, now, live=live).sentence,
            attempts=task.attempt.number if task.attempt else 0,
            blocks=blocking.get(task.id),
            tail=tuple(tails.get(task.id, ())),
            next=repairs(task),
        )

    return tuple(row(task) for task in found)


def _next(run: Run, failures: tuple[Failure, ...], *, live: bool) -> tuple[str, ...]:
    lines: list[str] = []
    for failure in failures[:_TASKS_IN_NEXT]:
        lines += failure.next[:2]
    if len(failures) > _TASKS_IN_NEXT:
        lines.append(command("task", "list", "--status", failures[-1].status))
    stands = run.halt is not None or (run.finished_at is None and not live)
    return (*lines, *((go_on(run),) if stands or failures else ()))


# --- text ---------------------------------------------------------------------------------------------------


def report_text(full: Report, width: int = 80) -> str:
    """The report for people."""
    counts = full.counts
    words = [
        f"{count} {word.replace('_', ' ')}" for word, count in counts.items() if count and word != "total"
    ]
    head = [f"Run {clean(full.run)} of plan {clean(full.plan)}: {full.state.upper()}"]
    head += wrap(f"{tasks_word(counts['total'])}: {', '.join(words) or 'nothing to do'}", width)
    head += [clean(f"in {full.target}", width), _span(full)]
    sections = {
        "Halt": _halt_lines(full.halt, width),
        "Failures": _failure_lines(full, width),
        **works.sections(works.WorkLeft(full.worktrees, full.overlaps), width, full.target),
        **claims.sections(full.said, width),
        "Numbers": _number_lines(full, width),
        "Next": [f"  {clean(line)}" for line in full.next],
    }
    return "\n".join(
        head + [line for name, lines in sections.items() if lines for line in ("", name, *lines)]
    )


def metrics_text(numbers: Metrics, width: int = 80) -> str:
    """The numbers for people."""
    return "\n".join(_number_lines(numbers, width))


def _span(full: Report) -> str:
    end = "not ended" if full.ended_at is None else f"ended {clock(full.ended_at)}"
    return f"submitted {clock(full.started_at)}, {end}, {duration(full.durations.wall)} in all"


def _halt_lines(halt: HaltRow | None, width: int) -> list[str]:
    if halt is None:
        return []
    done = "not yet halted" if halt.halted_at is None else f"halted {clock(halt.halted_at)}"
    by = halt.requested_by.replace("_", " ")
    text = f"requested {clock(halt.requested_at)} by {by}, {done}: {halt.reason}"
    running = f"at work then: {listing(halt.running, 8)}" if halt.running else "nothing was at work then"
    return [*wrap(text, width, "  "), *wrap(running, width, "  ")]


def _failure_lines(full: Report, width: int) -> list[str]:
    lines: list[str] = []
    for failure in full.failures[:_MOST_FAILURES]:
        behind = f" Blocks {tasks_word(failure.blocks)}." if failure.blocks else ""
        lines.append(clean(f"  {failure.task}: {failure.title}", width))
        lines += wrap(clean(failure.sentence, _SENTENCE) + behind, width, "    ")
        lines += [f"    | {clean(line, max(20, width - 6))}" for line in failure.tail]
    more = len(full.failures) - _MOST_FAILURES
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _number_lines(numbers: Metrics, width: int) -> list[str]:
    attempts, times, rate = numbers.attempts, numbers.durations, numbers.first_attempt_success_rate
    outcomes = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in attempts.by_outcome.items())
    first = "no task was done by an attempt" if rate is None else f"{rate * 100:.0f}% of the done tasks"
    sums = f"{duration(times.attempts)} of attempts, {duration(times.cpu)} cpu"
    lines = {
        "done at first attempt": first,
        "attempts": f"{attempts.total}, {attempts.wasted} wasted{f' ({outcomes})' if outcomes else ''}",
        "time": f"{duration(times.wall)} in all, {sums}",
        "longest": ", ".join(f"{row.task} {duration(row.seconds)}" for row in times.longest),
        "used": used_words(numbers.used, parts=True) if numbers.used else "",
        "used most by": ", ".join(f"{name} {words}" for name, words in most_used(numbers.tasks_used)),
        "budget": budget_words(numbers.budget) if numbers.budget else "",
    }
    for use in numbers.providers:
        cost = f"; used: {used_words(use.used)}" if use.used and known(numbers.used) else ""
        done = f"{number(use.attempts, 'attempt')}, {use.completed} ok, {duration(use.seconds)}{cost}"
        lines[f"provider {use.name}"] = done if use.attempts else "not used"
    return facts(lines, width, "  ")
