"""Reads what daplug's executor.py left behind: exit code, JSON document, error texts.

The exit code alone is no verdict: the executor exits with 0 for everything but errors of its own. Nothing
that it prints is trusted: the document has to have the documented types, texts become one printable line, and
a shape that is not known is no result.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from daplug_supervisor.core.results import Outcome, OutcomeKind
from daplug_supervisor.workers import iteration_logs
from daplug_supervisor.workers.signatures import EXECUTOR, classify
from daplug_supervisor.workers.text import ending, how, last_line, one_line

if TYPE_CHECKING:
    from datetime import tzinfo

    from daplug_supervisor.core.bundle import Evidence

EXIT_USAGE = 2
MOST_DOCUMENTS = 8
"""Places in the output where a document might begin that are tried, from the end."""

MOST_KEPT = 20
"""Entries of each list that a claim keeps, the last ones."""

MOST_LOGS = 8
"""Iterations whose logs are looked at, the last ones."""

FINAL: dict[str, tuple[OutcomeKind, str]] = {
    "completed_unverified": (OutcomeKind.UNVERIFIED, "the agent says it is done, and no file was changed"),
    "stalled": (OutcomeKind.STALLED, "the agent gave the same reason twice"),
    "blocked": (OutcomeKind.BLOCKED, "the agent met something that no retry can change"),
    "failed": (OutcomeKind.FAILED, "the loop failed"),
    "executor_missing": (OutcomeKind.CRASHED, "the executor vanished"),
}
"""Final statuses that mean one thing, with the detail if the executor gives no reason."""

_EXECUTION = '\n      "execution": {'
"""How the executor's last key begins, at the depth to which it indents."""

_DECODER = json.JSONDecoder()

Code = Annotated[int, Meta(ge=-(2**31), le=2**31)]


class _Iteration(Struct, frozen=True):
    exit_code: Code | None = None
    retry_reason: str | None = None
    log_file: str = ""


class _Execution(Struct, frozen=True):
    """What the foreground loop reports. Fields that only people read have any type: they decide nothing."""

    status: str = ""
    final_status: str | None = None
    failure_reason: str | None = None
    iterations: list[_Iteration] = field(default_factory=list)
    state_file: Any = ""
    loop_log: Any = ""
    suggested_next_steps: Any = None
    original_checkout_warnings: Any = None


class _Worktree(Struct, frozen=True):
    conflict: bool = False
    existing_worktree: Any = ""


class _Prompt(Struct, frozen=True):
    execution: _Execution | None = None
    worktree: _Worktree | None = None


class _Document(Struct, frozen=True):
    error: str | None = None
    selected_cli: str | None = None
    prompts: list[_Prompt] = field(default_factory=list)


def read(evidence: Evidence, zone: tzinfo = UTC) -> Outcome:
    """How an attempt ended that was run by executor.py; `zone` is that of the machine."""
    code = evidence.exit.code
    if evidence.exit.error:
        return _outcome(
            OutcomeKind.CONFIGURATION, f"the executor could not be started: {evidence.exit.error}"
        )
    if code is None:
        return _outcome(OutcomeKind.LOST, "there is no exit record")
    if code < 0:
        return _outcome(OutcomeKind.CRASHED, f"the executor was {how(evidence.exit)}")
    return _from_output(code, evidence, zone)


def logs(evidence: Evidence) -> list[str]:
    """The logs of the last iterations, as the executor names them; none if one of the names is no path."""
    raw = find_document(evidence.stdout)
    try:
        document = msgspec.convert(raw, _Document)
    except msgspec.ValidationError:
        return []
    execution = document.prompts[0].execution if document.prompts else None
    named = [each.log_file for each in execution.iterations[-MOST_LOGS:]] if execution else []
    return named if all(name.startswith("/") and name.isprintable() for name in named) else []


def _from_output(code: int, evidence: Evidence, zone: tzinfo) -> Outcome:
    raw = find_document(evidence.stdout)
    if raw is None:
        return _no_document(code, evidence)
    try:
        document = msgspec.convert(raw, _Document)
    except msgspec.ValidationError as error:
        return _outcome(
            OutcomeKind.NO_RESULT, f"exit code {code}, and a document that is not as known: {error}"
        )
    if document.error is not None:
        return _from_text(document.error)
    return _from_document(document, code, evidence, zone)


def find_document(stdout: bytes) -> dict[str, Any] | None:
    """The last JSON document in the output that the executor could have written, or None.

    If its beginning was lost to the limit on output, what it says of the execution is taken alone: that comes
    last, and no text within a JSON string can look like it, because quotes are escaped there.
    """
    text = "\n" + stdout.decode("utf-8", "replace")
    start = len(text)
    for _ in range(MOST_DOCUMENTS):
        start = text.rfind("\n{", 0, start)
        if start < 0:
            break
        value = _value_at(text, start + 1)
        if value is not None and ("prompts" in value or "error" in value):
            return value
    place = text.rfind(_EXECUTION)
    execution = _value_at(text, place + len(_EXECUTION) - 1) if place >= 0 else None
    return {"prompts": [{"execution": execution}]} if execution is not None else None


def _value_at(text: str, start: int) -> dict[str, Any] | None:
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _outcome(kind: OutcomeKind, detail: str, claim: dict[str, object] | None = None) -> Outcome:
    return Outcome(kind, one_line(detail), claim=claim)


def _no_document(code: int, evidence: Evidence) -> Outcome:
    said = last_line(evidence.stderr) or last_line(evidence.stdout)
    # The interpreter exits with the same code when it cannot open executor.py.
    if code == EXIT_USAGE and "can't open file" not in said:
        return _outcome(OutcomeKind.PLAN_ERROR, f"the executor refused its arguments: {said}")
    known = classify(EXECUTOR, (said,)) if code else None
    if known is not None:
        return _outcome(known.kind, f"{known.meaning}: {said}")
    return _outcome(OutcomeKind.NO_RESULT, f"{ending(code)} without a JSON document: {said or 'no output'}")


def _from_text(error: str) -> Outcome:
    known = classify(EXECUTOR, (error,))
    if known is None:
        return _outcome(OutcomeKind.CRASHED, f"the executor gave up: {error}")
    return _outcome(known.kind, f"{known.meaning}: {error}")


def _from_document(document: _Document, code: int, evidence: Evidence, zone: tzinfo) -> Outcome:
    prompt = document.prompts[0] if document.prompts else _Prompt()
    if prompt.execution is not None:
        said = iteration_logs.Said(
            document.selected_cli or evidence.bundle.assignment.cli or "", evidence.logs, evidence.now, zone
        )
        outcome = _from_execution(prompt.execution, document, code, evidence, said)
        whole = len(prompt.execution.iterations) == len(evidence.logs)
        return replace(outcome, usage=said.usage() if whole else None)
    if prompt.worktree is not None and prompt.worktree.conflict:
        return _outcome(
            OutcomeKind.CONFLICT, f"a worktree is in the way: {prompt.worktree.existing_worktree}"
        )
    return _outcome(OutcomeKind.NO_RESULT, f"{ending(code)}, and the executor ran nothing")


def _from_execution(
    execution: _Execution, document: _Document, code: int, evidence: Evidence, said: iteration_logs.Said
) -> Outcome:
    claim = _claim(execution)
    model, cli = evidence.bundle.assignment.model, evidence.bundle.assignment.cli
    # In a loop the executor does not say so: it counts iterations in which nothing is run.
    if execution.status == "subagent_required" or (model == "claude" and not cli):
        return _outcome(
            OutcomeKind.PLAN_ERROR, f"the model {model} needs a Claude session; name a cli", claim
        )
    if execution.final_status in FINAL:
        kind, default = FINAL[execution.final_status]
        return _outcome(kind, execution.failure_reason or default, claim)
    if execution.final_status == "completed":
        return _completed(execution, code, claim)
    if execution.final_status == "max_iterations_reached":
        return _exhausted(execution, f"the {document.selected_cli or cli or model} CLI", claim, said)
    state = execution.final_status or execution.status or "no status"
    return _outcome(
        OutcomeKind.NO_RESULT, f"{ending(code)}, and the executor's last word is {state!r}", claim
    )


def _completed(execution: _Execution, code: int, claim: dict[str, object]) -> Outcome:
    """Done only if the program that said so also ended well: a marker is easily printed by accident."""
    if not execution.iterations:
        return _outcome(OutcomeKind.UNVERIFIED, "completed, and no iteration is recorded", claim)
    last = execution.iterations[-1].exit_code
    if last != 0:
        how = "no exit code" if last is None else ending(last)
        return _outcome(OutcomeKind.UNVERIFIED, f"completed, but the CLI failed: {how}", claim)
    if code != 0:
        return _outcome(OutcomeKind.UNVERIFIED, f"completed, but the executor failed: {ending(code)}", claim)
    return _outcome(OutcomeKind.COMPLETED, "", claim)


def _exhausted(
    execution: _Execution, cli: str, claim: dict[str, object], said: iteration_logs.Said
) -> Outcome:
    """All iterations used: the task is too hard, the CLI does not work, or the marker was forgotten."""
    count = f"iterations used: {len(execution.iterations)}"
    last = execution.iterations[-1] if execution.iterations else _Iteration()
    failure = said.failure() if last.exit_code else None
    if failure is not None:
        return replace(failure, claim=claim)
    reasons = [each.retry_reason for each in execution.iterations if each.retry_reason]
    if reasons:
        return _outcome(OutcomeKind.MAX_ITERATIONS, f"not done ({count}): {reasons[-1]}", claim)
    if last.exit_code:
        why = said.last() or "a rate limit, a login, or a crash"
        where = f"see {last.log_file or 'its log'}"
        return _outcome(
            OutcomeKind.CRASHED, f"{cli} failed: {ending(last.exit_code)} ({why}; {where})", claim
        )
    return _outcome(OutcomeKind.NO_RESULT, f"{cli} ended without the completion marker ({count})", claim)


def _claim(execution: _Execution) -> dict[str, object]:
    """What the executor says of the attempt, in a size and shape that a journal can keep."""
    last = execution.iterations[-MOST_KEPT:]
    return {
        "final_status": one_line(execution.final_status or ""),
        "iterations": len(execution.iterations),
        "exit_codes": [each.exit_code for each in last],
        "state_file": _path(execution.state_file),
        "loop_log": _path(execution.loop_log),
        "log_files": [_path(each.log_file) for each in last],
        "suggested_next_steps": _texts(execution.suggested_next_steps, "text"),
        "original_checkout_warnings": _texts(
            execution.original_checkout_warnings, "modified", "new_untracked", "removed_untracked"
        ),
    }


def _path(value: object) -> str:
    return one_line(value, 4096) if isinstance(value, str) else ""


def _texts(value: object, *keys: str) -> list[str]:
    """The texts in a list of texts or of objects that hold a text, or texts, under one of `keys`."""
    found: list[str] = []
    for entry in value[-MOST_KEPT:] if isinstance(value, list) else []:
        parts = [entry.get(key) for key in keys] if isinstance(entry, dict) else [entry]
        flat = [text for part in parts for text in (part if isinstance(part, list) else [part])]
        found += [one_line(text) for text in flat[:MOST_KEPT] if isinstance(text, str)]
    return found[:MOST_KEPT]
