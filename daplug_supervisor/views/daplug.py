"""A run of daplug prompts in the shape of executor.py's own document, for commands that read that one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from daplug_supervisor.core.machine import ACTIVE, Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import assignment
from daplug_supervisor.views.report import claims

_DIGITS = 3
_STATUS = {
    Status.DONE: "completed",
    Status.PENDING: "pending",
    Status.SKIPPED: "skipped",
    Status.CANCELLED: "cancelled",
}


class Place(Struct, frozen=True):
    """Where an attempt worked, and where its output went; empty texts for what it did not have."""

    worktree: str = ""
    branch: str = ""
    output: str = ""


class Iteration(Struct, frozen=True):
    """A turn of the verification loop."""

    iteration: int
    log_file: str
    exit_code: int | None


class Execution(Struct, frozen=True):
    """How a prompt stands. `status` and `final_status` are daplug's words; `outcome` and `detail` are ours.

    `final_status` is null until it has ended; `pid` is that of its process as long as one runs; `state_file` and
    `loop_log` are the executor's own, which are named by attempt here, not by prompt.
    """

    status: str
    final_status: str | None
    outcome: str
    detail: str
    pid: int | None
    attempts: int
    state_file: str
    loop_log: str
    log: str
    max_iterations: int
    iterations: tuple[Iteration, ...]
    original_checkout_warnings: tuple[str, ...]
    suggested_next_steps: tuple[str, ...]


class Worktree(Struct, frozen=True):
    """The worktree of a prompt and its branch."""

    worktree_path: str
    branch_name: str
    base_branch: str | None


class MixtureRun(Struct, frozen=True):
    """What one model made of a prompt."""

    model: str
    cli: str | None
    label: str
    task: str
    status: str
    worktree_path: str
    branch_name: str
    log: str
    state_file: str
    variant: str | None
    execution: Execution


class Mixture(Struct, frozen=True):
    """What several models made of a prompt."""

    runs: tuple[MixtureRun, ...]


class PromptRun(Struct, frozen=True):
    """A prompt. `number` is text; `status` says where its file is: active or completed; `moa` is there with --moa."""

    file: str
    path: str
    name: str
    number: str
    folder: str
    status: str
    title: str
    log: str
    task: str
    model: str
    cli: str | None
    variant: str | None
    execution: Execution
    worktree: Worktree | UnsetType = UNSET
    moa: Mixture | UnsetType = UNSET


class PromptsRun(Struct, frozen=True):
    """A run of prompts. `report` is the file with the whole report, as JSON; `halt` says why it stands, or ''."""

    repo: str
    model: str
    run: str
    state: str
    halt: str
    report: str
    loop_mode: bool
    prompts: tuple[PromptRun, ...]
    moa_models: tuple[str, ...] | UnsetType = UNSET


def document(run: Run, state: str, report: str, places: Mapping[str, Place]) -> PromptsRun:
    """The document of a run. `places`: by task, where its last attempt worked."""
    of: dict[str, list[PromptRun]] = {}
    for task in run.tasks.values():
        row = _prompt(run, task, places.get(task.id, Place()))
        of.setdefault(row.file, []).append(row)
    several = any(len(rows) > 1 for rows in of.values())
    models = tuple(
        dict.fromkeys(run.plan.providers[run.spec(name).provider or ""].model or "" for name in run.tasks)
    )
    return PromptsRun(
        repo=PurePosixPath(run.target).name,
        model="moa" if several else ", ".join(models),
        run=run.id,
        state=state,
        halt=run.halt.reason if run.halt else "",
        report=report,
        loop_mode=True,
        prompts=tuple(_mixed(rows) if several else rows[0] for rows in of.values()),
        moa_models=models if several else UNSET,
    )


def _prompt(run: Run, task: TaskState, place: Place) -> PromptRun:
    spec = run.spec(task.id)
    file = PurePosixPath(spec.prompt or "")
    home = PurePosixPath(run.target) / "prompts"
    folder = file.parent.relative_to(home).as_posix() if file.is_relative_to(home) else ""
    number = file.name.partition("-")[0]
    provider = task.attempt.provider if task.attempt else task.provider
    who = assignment(run.plan, spec, provider)
    execution = _execution(run, task, place)
    return PromptRun(
        file=str(file),
        path=str(file.relative_to(run.target)) if file.is_relative_to(run.target) else str(file),
        name=file.name,
        number=number if number.isdigit() and len(number) >= _DIGITS else "",
        folder="" if folder == "." else folder,
        status="completed" if folder.partition("/")[0] == "completed" else "active",
        title=spec.title,
        log=execution.log,
        task=task.id,
        model=who.model,
        cli=who.cli,
        variant=who.variant,
        execution=execution,
        worktree=Worktree(place.worktree, place.branch, spec.base) if place.branch else UNSET,
    )


def _execution(run: Run, task: TaskState, place: Place) -> Execution:
    claimed = claims.claim(task)
    final = claims.text(claimed, "final_status") or None
    running = task.status in ACTIVE
    logs, codes = claims.texts(claimed, "log_files"), claimed.get("exit_codes")
    known = [one if isinstance(one, int) else None for one in codes] if isinstance(codes, list) else []
    known += [None] * (len(logs) - len(known))
    if task.status is Status.DONE:
        final = "completed"
    status = "loop_running" if running else _STATUS.get(task.status) or final or "failed"
    if status == "completed" and task.status is not Status.DONE:
        status = final = "completed_unverified"  # the agent's word was not accepted
    outcome = task.last.outcome if task.last else None
    return Execution(
        status=status,
        final_status=None if running or task.status is Status.PENDING else final or status,
        outcome=outcome.kind.value if outcome else "",
        detail=outcome.detail if outcome else task.reason,
        pid=task.attempt.pid or None if running and task.attempt else None,
        attempts=task.attempt.number if task.attempt else 0,
        state_file=claims.text(claimed, "state_file"),
        loop_log=claims.text(claimed, "loop_log"),
        log=logs[-1] if logs else place.output,
        max_iterations=run.spec(task.id).loop.max_iterations,
        iterations=tuple(
            Iteration(number, log, code)
            for number, (log, code) in enumerate(zip(logs, known, strict=False), 1)
        ),
        original_checkout_warnings=claims.texts(claimed, claims.WARNINGS),
        suggested_next_steps=claims.texts(claimed, claims.NEXT_STEPS),
    )


def _mixed(rows: list[PromptRun]) -> PromptRun:
    """A prompt that several models worked on."""
    return replace(rows[0], moa=Mixture(tuple(map(_mixture_run, rows))), worktree=UNSET)


def _mixture_run(row: PromptRun) -> MixtureRun:
    worktree = row.worktree if isinstance(row.worktree, Worktree) else Worktree("", "", None)
    return MixtureRun(
        model=row.model,
        cli=row.cli,
        label=f"{row.model}-{row.cli}" if row.cli else row.model,
        task=row.task,
        status=row.execution.status,
        worktree_path=worktree.worktree_path,
        branch_name=worktree.branch_name,
        log=row.log,
        state_file=row.execution.state_file,
        variant=row.variant,
        execution=row.execution,
    )
