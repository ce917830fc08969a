"""Which transitions and invariants of a specification's state machines an execution has proven, and by what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import Task
from daplug_supervisor.core.results import Finding
from daplug_supervisor.core.tasker.records import Covered, Machine, Transition
from daplug_supervisor.views.text import clean, listing, table

EvidenceType = Literal["test", "runtime_assertion", "manual"]
"""A command that looks at the work, one that looks at it running, a person's word."""

_MOST_SHOWN: Final = 40
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Evidence(Struct, frozen=True):
    """What proves it: the task, and its criterion with the command that we ran and its exit code.

    `direct`: the criterion names it; else it is one of those of a task that says that it brings it about.
    """

    task_id: str
    evidence_type: EvidenceType
    evidence: str
    criterion: int | None = None
    command: str = ""
    exit_code: int | None = None
    direct: bool = False


class CoveredTransition(Struct, frozen=True):
    """A transition: which tasks say that they bring it about, and what proves it. `why`: why nothing does."""

    id: str
    from_state: str
    to_state: str
    trigger: str
    verified: bool
    covering_tasks: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    why: str = ""


class Share(Struct, frozen=True):
    """The transitions of a machine, and how many of them are proven, also in percent."""

    total: int
    verified: int
    verification_pct: float
    details: tuple[CoveredTransition, ...]


class CoveredMachine(Struct, frozen=True):
    """A state machine."""

    machine_id: str
    name: str
    level: str
    transitions: Share


class Rule(Struct, frozen=True):
    """An invariant of the specification."""

    id: str
    rule: str = ""


class CoveredRule(Struct, frozen=True):
    """An invariant: which tasks say that they enforce it, and what proves it."""

    id: str
    rule: str
    verified: bool
    enforcing_tasks: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    why: str = ""


class Rules(Struct, frozen=True):
    """The invariants, and how many of them are proven."""

    total: int
    verified: int
    details: tuple[CoveredRule, ...]


class Summary(Struct, frozen=True):
    """The numbers."""

    total_transitions: int
    verified_transitions: int
    total_invariants: int
    verified_invariants: int


class FsmCoverage(Struct, frozen=True, kw_only=True):
    """``fsm-coverage.execute.json``. `uncovered`: transitions and invariants that nothing proves."""

    version: Literal["1.0"] = "1.0"
    phase: Literal["execute"] = "execute"
    spec_slug: str
    run: str
    machines: tuple[CoveredMachine, ...]
    invariants: Rules
    summary: Summary
    uncovered: tuple[str, ...]


def coverage(
    run: Run,
    machines: Sequence[Machine],
    rules: Sequence[Rule],
    covered: Mapping[str, Covered],
    spec_slug: str = "",
    before: Mapping[str, str] = _NOTHING,
) -> FsmCoverage:
    """What a run has proven. `covered`: what each task says of itself; `before`: tasks that were over already, and how.

    Only what we ran ourselves and what holds is evidence, and only of tasks that are done.
    """
    proofs = _Proofs(run, before)
    by_transition, by_rule = dict[str, list[str]](), dict[str, list[str]]()
    for task, said in covered.items():
        for name in said.transitions_covered:
            by_transition.setdefault(name, []).append(task)
        for name in said.guards_enforced:
            by_rule.setdefault(name, []).append(task)
    rows = tuple(_machine(one, by_transition, proofs) for one in machines)
    kept = tuple(_rule(one, by_rule.get(one.id, ()), proofs) for one in _all_rules(machines, rules))
    details = [one for row in rows for one in row.transitions.details]
    held = sum(one.verified for one in kept)
    return FsmCoverage(
        spec_slug=spec_slug,
        run=run.id,
        machines=rows,
        invariants=Rules(len(kept), held, kept),
        summary=Summary(len(details), sum(one.verified for one in details), len(kept), held),
        uncovered=(
            *(one.id for one in details if not one.verified),
            *(one.id for one in kept if not one.verified),
        ),
    )


def _all_rules(machines: Sequence[Machine], rules: Sequence[Rule]) -> list[Rule]:
    """Those that are listed, and those that guards name beside them."""
    found = {one.id: one for one in rules}
    for machine in machines:
        for transition in machine.transitions:
            for guard in transition.guards:
                if guard.invariant_id:
                    found.setdefault(guard.invariant_id, Rule(guard.invariant_id, guard.condition))
    return list(found.values())


def _machine(machine: Machine, tasks: Mapping[str, Sequence[str]], proofs: _Proofs) -> CoveredMachine:
    details = tuple(_transition(one, tasks.get(one.id, ()), proofs) for one in machine.transitions)
    held = sum(one.verified for one in details)
    share = round(100 * held / len(details), 1) if details else 100.0
    return CoveredMachine(machine.id, machine.name, machine.level, Share(len(details), held, share, details))


def _transition(one: Transition, tasks: Sequence[str], proofs: _Proofs) -> CoveredTransition:
    evidence, why = proofs.of(one.id, tasks)
    return CoveredTransition(
        one.id, one.from_state, one.to_state, one.trigger, bool(evidence), tuple(tasks), evidence, why
    )


def _rule(one: Rule, tasks: Sequence[str], proofs: _Proofs) -> CoveredRule:
    evidence, why = proofs.of(one.id, tasks)
    return CoveredRule(one.id, one.rule, bool(evidence), tuple(tasks), evidence, why)


class _Proofs:
    """Finds what proves something.

    Args:
        run: whose tasks.
        before: tasks that were over before it, and how that is known.
    """

    def __init__(self, run: Run, before: Mapping[str, str]) -> None:
        self._run, self._before = run, before

    def of(self, name: str, tasks: Sequence[str]) -> tuple[tuple[Evidence, ...], str]:
        """The evidence for a transition or an invariant that these tasks bring about; else why there is none."""
        if not tasks:
            return (), "no task says that it brings it about"
        found = [one for task in tasks for one in self._in(name, task)]
        direct = [one for one in found if one.direct]
        reasons = "; ".join(filter(None, (self._lack(name, task) for task in tasks)))
        return tuple(direct or found), "" if found else reasons

    def _in(self, name: str, task: str) -> list[Evidence]:
        state = self._run.tasks.get(task)
        if state is None:
            how = self._before.get(task)
            return [Evidence(task, "manual", how)] if how else []
        if state.status is not Status.DONE:
            return []
        if state.attempt is None:
            return [Evidence(task, "manual", f"it was there already: {state.reason or 'a person says so'}")]
        spec = self._run.spec(task)
        naming = self._naming(name, state, spec)
        if naming:  # a criterion about it speaks for it alone, and against it if it fails
            return [_evidence(task, spec, one, direct=True) for one in naming if one.holds]
        return [
            _evidence(task, spec, one, direct=False)
            for one in state.findings
            if one.holds and one.criterion >= 0
        ]

    def _naming(self, name: str, state: TaskState, spec: Task) -> list[Finding]:
        word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)
        return [
            one
            for one in state.findings
            if one.criterion >= 0 and (word.search(one.label) or word.search(_line(spec, one)))
        ]

    def _lack(self, name: str, task: str) -> str:
        """Why a task proves nothing."""
        state = self._run.tasks.get(task)
        if state is None:
            return f"{task} is not in this run"
        if state.status is not Status.DONE:
            return f"{task} is {state.status.value}"
        if self._naming(name, state, self._run.spec(task)):
            return f"what {task} says of it does not hold"
        return f"{task} has no criterion that we ran"


def _line(spec: Task, finding: Finding) -> str:
    """The command of a finding, as the plan has it now."""
    return spec.accept[finding.criterion].line if finding.criterion < len(spec.accept) else ""


def _evidence(task: str, spec: Task, one: Finding, *, direct: bool) -> Evidence:
    kind: EvidenceType = "runtime_assertion" if one.category == "runtime" else "test"
    return Evidence(task, kind, one.label, one.criterion, _line(spec, one), one.code, direct)


# --- text ---------------------------------------------------------------------------------------------------


def coverage_text(found: FsmCoverage, width: int = 80) -> str:
    """The coverage for people."""
    numbers = found.summary
    head = (
        f"{numbers.verified_transitions} of {numbers.total_transitions} transitions and "
        f"{numbers.verified_invariants} of {numbers.total_invariants} invariants are proven by run {found.run}"
    )
    lines = [clean(head, width)]
    for machine in found.machines:
        share = machine.transitions
        name = f"{machine.machine_id} {machine.name}{f' ({machine.level})' if machine.level else ''}"
        lines += ["", clean(f"{name}: {share.verified} of {share.total}", width)]
        rows = [
            (one.id, _state(one), f"{one.from_state} -> {one.to_state}", _told(one)) for one in share.details
        ]
        lines += _table(rows, ("ID", "PROVEN", "STATES", "BY"), width)
    if found.invariants.details:
        lines += ["", "Invariants"]
        rows = [(one.id, _state(one), one.rule, _told(one)) for one in found.invariants.details]
        lines += _table(rows, ("ID", "PROVEN", "RULE", "BY"), width)
    return "\n".join(lines)


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str], width: int) -> list[str]:
    more = len(rows) - _MOST_SHOWN
    lines = table(rows[:_MOST_SHOWN], headers, width, indent="  ", keep=2).splitlines()
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _state(one: CoveredTransition | CoveredRule) -> str:
    return "yes" if one.verified else "NO"


def _told(one: CoveredTransition | CoveredRule) -> str:
    if not one.evidence:
        return one.why
    kinds = listing(sorted({row.evidence_type.replace("_", " ") for row in one.evidence}))
    return f"{kinds}, {listing(list(dict.fromkeys(row.task_id for row in one.evidence)))}: {one.evidence[0].evidence}"
