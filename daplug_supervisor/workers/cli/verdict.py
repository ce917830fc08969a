"""How an attempt ended that a provider's CLI ran: from its events, its errors and its exit code.

Neither is enough alone. A CLI that was told to end may exit with 0, and one that exits with 0 may have been denied
every tool; so COMPLETED needs both, and a last event that says so.
"""

from __future__ import annotations

from datetime import tzinfo

from msgspec.structs import replace

from daplug_supervisor.core.bundle import Evidence
from daplug_supervisor.core.results import RULES, Outcome, OutcomeKind
from daplug_supervisor.workers.cli.events import events, lines, other_lines
from daplug_supervisor.workers.cli.kinds import Cli, Reading
from daplug_supervisor.workers.recognised import recognised
from daplug_supervisor.workers.signatures import classify, spoken
from daplug_supervisor.workers.text import ending, how, last_line, one_line

LONGEST_CLAIM = 2000
"""Characters of the agent's last words that are kept."""


def read(cli: Cli | None, evidence: Evidence, zone: tzinfo) -> Outcome:
    """How the attempt ended."""
    found = evidence.exit
    if cli is None:
        return _outcome(OutcomeKind.PLAN_ERROR, "its CLI is not known")
    if found.error:
        return _outcome(OutcomeKind.CONFIGURATION, f"the CLI {cli.name} could not be started: {found.error}")
    if found.code is None:
        return _outcome(OutcomeKind.LOST, "there is no exit record")
    reading = cli.read(events(evidence.stdout))
    outcome = _judged(cli, reading, found.code, evidence, zone)
    claim: dict[str, object] | None = (
        {"text": _printable(reading.text[-LONGEST_CLAIM:])} if reading.text else None
    )
    return replace(outcome, claim=claim, usage=reading.usage)


def _judged(cli: Cli, reading: Reading, code: int, evidence: Evidence, zone: tzinfo) -> Outcome:
    if code < 0 and not evidence.exit.stopped:
        return _outcome(OutcomeKind.CRASHED, f"the CLI {cli.name} was {how(evidence.exit)}")
    if reading.done and code == 0 and not reading.denied:
        return Outcome(OutcomeKind.COMPLETED)
    if reading.denied and code == 0:
        return _denied(cli, reading, evidence, zone)
    if reading.done:
        return _outcome(OutcomeKind.UNVERIFIED, f"done, says {cli.name}, but it failed: {ending(code)}")
    if reading.stopped:
        return _outcome(reading.stopped_as, f"{cli.name} ended before its time: {reading.stopped}")
    return _failed(cli, reading, code, evidence, zone)


def _denied(cli: Cli, reading: Reading, evidence: Evidence, zone: tzinfo) -> Outcome:
    """Denied what it asked for; but that is not why it ended if it met a limit after that, say."""
    failed = None if reading.done else _failed(cli, reading, 0, evidence, zone)
    if failed is not None and not RULES[failed.kind].uses_try:
        return failed
    denied = ", ".join(reading.denied)
    return _outcome(OutcomeKind.UNVERIFIED, f"the agent was denied what it asked for: {denied}")


def _failed(cli: Cli, reading: Reading, code: int, evidence: Evidence, zone: tzinfo) -> Outcome:
    plain = lines(evidence.stderr) + other_lines(evidence.stdout)
    texts = [fault.text for fault in reversed(reading.faults)] + spoken(cli.name, plain)
    known = classify(cli.name, texts)
    said = reading.faults[-1].said if reading.faults else ""
    if known:
        return recognised(known._replace(line=said or known.line), texts, evidence.now, zone)
    if said:
        return _outcome(OutcomeKind.CRASHED, f"{cli.name} failed: {ending(code)}: {said}")
    kind = OutcomeKind.CRASHED if code else OutcomeKind.NO_RESULT
    said = last_line(evidence.stderr) or "no output"
    return _outcome(kind, f"{cli.name} ended without a result: {ending(code)}: {said}")


def _outcome(kind: OutcomeKind, detail: str) -> Outcome:
    return Outcome(kind, one_line(detail))


def _printable(text: str) -> str:
    """Text of several lines that can be kept and shown: what a terminal acts on is written as an escape."""
    kept = "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )
    return kept[-LONGEST_CLAIM:]
