"""Keeping up to date the files that tell of orchestrations: once something has changed, and never often.

All in them follows from what is durable in the journal. So after a crash they are made good at the next start, and
whatever goes wrong with them is told once and hurts no run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from logging import getLogger

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daplug_supervisor.core.events import Entry
from daplug_supervisor.core.health import Rules
from daplug_supervisor.core.model import Run, State
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.errors import JournalError
from daplug_supervisor.ports import Clock, Journal, RunMark
from daplug_supervisor.supervisor import recovery
from daplug_supervisor.supervisor.monitoring.health import HealthCheck
from daplug_supervisor.supervisor.monitoring.heartbeats import seen_of
from daplug_supervisor.views.orchestration.course import Course
from daplug_supervisor.views.orchestration.events import Line, follow, new_course
from daplug_supervisor.views.orchestration.handoffs import handoff
from daplug_supervisor.views.orchestration.records import MOST_SUBTASKS, orchestrations
from daplug_supervisor.views.orchestration.state import HEARTBEAT, state_of_all, tally
from daplug_supervisor.views.text import harmless_json
from daplug_supervisor.workspace.files import StateDirectory
from daplug_supervisor.workspace.monitoring import Monitoring

log = getLogger(__name__)

_SOON, _PAUSE, _AGAIN = 0.5, 1.0, 10.0
"""Seconds after the first change, between two times, and after what could not be written."""

_NEVER = (math.inf, 0)

_MOST_UNTOLD = 100_000
"""Lines that are kept for a file that cannot be written, while the journal can. The next start makes them anew."""

_SHARE = 50
"""Of the time at most one part in so many goes into making these files."""


class _Batch(Struct):
    """What is to be written at one time; `told`: its lines are."""

    lines: bytes
    ended: dict[str, tuple[int, int, int]] | None
    state: bytes
    records: dict[str, dict[str, bytes]]
    handoffs: dict[str, dict[str, bytes]]
    told: bool = False


class Monitor:
    """Tells of the orchestrations of one state directory, in files.

    Args:
        directory: where they are.
        clock: says when.
        mask: takes secrets out of what is told.
        health: what is known of the attempts that run.
        rules: how often these are looked at.
        ours: whether the directory is still the one that we hold.
    """

    def __init__(
        self, *, directory: StateDirectory, clock: Clock, mask: Mask, health: HealthCheck, rules: Rules,
        ours: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._clock, self._mask, self._health, self._ours = clock, mask, health, ours
        self._heartbeat = max(HEARTBEAT, 1.5 * rules.interval)
        self._files = Monitoring(directory.path)
        self._state: State | None = None
        self._courses: dict[str, Course] = {}
        self._changed: dict[str, None] = {}
        self._gone: set[str] = set()
        self._handed: dict[str, set[str]] = {}
        self._lines: list[tuple[int, int, bytes]] = []
        self._ended: dict[str, tuple[int, int, int]] = {}
        self._kept: dict[str, tuple[int, int, int]] = {}
        self._said: tuple[float, int] = (0, 0)
        self._done: dict[str, int] = {}
        self._silent = self._broken = self._failed = False
        self._dirty = self._begun = False
        self._unsaid: list[str] = []
        self._wake = anyio.Event()
        self._lock = anyio.Lock()

    # --- what happens

    def open(self) -> None:
        """Before the journal is read: find out what was told already. What cannot be read is told once."""
        try:
            self._said = self._files.last_told()
            ended = self._files.ended()
            self._silent, self._ended = ended is None, ended or {}
            self._kept = dict(self._ended)
        except OSError as error:
            self._give_up(error)

    def hear(self, entry: Entry) -> None:
        """An entry that the journal has kept, read again."""
        if entry.run and not self._broken:
            try:
                since = self._done.get(entry.run, 0) + 1, 0
                self._follow(entry, _NEVER if self._silent else max(self._said, since))
            except Exception as error:  # noqa: BLE001 (the run must not suffer)
                self._give_up(error)

    def offer(self, entries: Iterable[Entry]) -> None:
        """Entries that are durable now, and of which nobody was told yet: one of `recorder.Recorder.listeners`."""
        if self._broken:
            return
        try:
            for entry in entries:
                if entry.run:
                    self._follow(entry, (0, 0))
                    if entry.run in self._ended:
                        self._reopened(entry.run)
        except Exception as error:  # noqa: BLE001 (as above)
            self._give_up(error)

    def begin(self, state: State, marks: Iterable[RunMark]) -> None:
        """All unfinished runs were heard of; from now on entries are offered as they become durable."""
        self._state = state
        self.note()
        again = [mark.run for mark in marks if not mark.finished and mark.run in self._ended]
        for run in again:
            del self._ended[run]
        if (again or self._silent) and not self._broken:
            try:
                self._files.keep_ended(self._ended)
            except OSError as error:
                self._tell_once(error)

    def forget(self, run: str) -> None:
        """A finished run is no longer at hand."""
        self._gone.add(run)

    def note(self) -> None:
        """Something else than an event has changed: running attempts were looked at."""
        self._changed |= {name: None for name, course in self._courses.items() if course.working}
        self._dirty = True
        self._wake.set()

    def _follow(self, entry: Entry, since: tuple[float, int]) -> None:
        """Take an entry over. `since`: the first event, and which of its lines, that is to be told."""
        course = self._courses.get(entry.run)
        if course is None:
            course = new_course(entry)
            if course is None:
                return
            self._courses[entry.run] = course
        elif entry.seq <= course.seq:
            return  # it was heard of when its run was read again
        found = follow(course, entry)
        for at, line in enumerate(found):
            if (entry.seq, at) >= since:
                self._lines.append((entry.seq, at, self._encoded(line)))
        self._changed[entry.run] = None
        if not self._dirty:
            self._dirty = True
            self._wake.set()

    def _encoded(self, line: Line) -> bytes:
        if line.reason or line.title:  # the rest are names that the plan's form bounds
            line = replace(line, reason=self._mask(line.reason), title=self._mask(line.title))
            return harmless_json(msgspec.json.encode(line).decode()).encode() + b"\n"
        return msgspec.json.encode(line) + b"\n"

    def _reopened(self, run: str) -> None:
        """What had ended goes on: that has to be known before it ends again, and we with it."""
        course = self._courses.get(run)
        if course is not None and not course.ended:
            del self._ended[run]
            try:
                self._files.keep_ended(self._ended)
            except OSError as error:
                self._tell_once(error)

    # --- what is written

    async def run(self, journal: Journal, marks: Iterable[RunMark]) -> None:
        """Write what has changed, for ever. Nothing is done while nothing happens."""
        self._begun = True
        for text in self._unsaid:
            self._say(text)
        await self._catch_up(
            journal, [mark for mark in marks if mark.finished and mark.run not in self._ended]
        )
        pause = _SOON
        while not self._broken:
            await self._wake.wait()
            await anyio.sleep(pause)
            self._wake = anyio.Event()
            began = self._clock.monotonic()
            good = await self.flush()
            pause = max(_PAUSE, _SHARE * (self._clock.monotonic() - began)) if good else _AGAIN

    async def _catch_up(self, journal: Journal, marks: list[RunMark]) -> None:
        """Runs that ended before it was written down what they came to: that is made good now."""
        for mark in marks:
            if self._broken or mark.run in self._courses:
                continue
            try:
                run = await recovery.load_run(journal, State(), mark, self.hear)
            except JournalError as error:
                log.warning("run %s is not counted: %s", mark.run, error)
                continue
            course = self._courses.pop(mark.run, None)
            if course is None:
                continue
            self._done[mark.run] = course.seq
            self._changed.pop(mark.run, None)
            if not self._silent:
                await self.flush((course, run))
            self._ended[mark.run] = tally(course)
            self.note()
        self._silent = False

    async def flush(self, *also: tuple[Course, Run]) -> bool:
        """Write now what has changed. False: something could not be written, and is to be tried again."""
        async with self._lock:
            if not self._dirty or self._broken or not self._ours():
                return True
            self._dirty = False
            try:
                lines, self._lines = sorted(self._lines), []
                batch = self._batch(lines, also)
                await anyio.to_thread.run_sync(self._write, batch)
            except OSError as error:
                self._lines = (lines if not batch.told else []) + self._lines
                self._changed |= dict.fromkeys(self._courses)
                self._dirty = True
                self._wake.set()
                self._tell_once(error)
                if len(self._lines) > _MOST_UNTOLD:
                    self._lines = []
                    self._give_up(error)
                return False
            except Exception as error:  # noqa: BLE001 (the run must not suffer)
                self._give_up(error)
            self._failed = False
            return True

    def _batch(self, lines: list[tuple[int, int, bytes]], also: Iterable[tuple[Course, Run]]) -> _Batch:
        now = self._clock.now()
        changed, self._changed = self._changed, {}
        ended = self._note_ended()
        batch = _Batch(b"".join(line for _, _, line in lines), ended, b"", {}, {})
        for course, run in (*self._at_hand(changed), *also):
            if len(run.tasks) > MOST_SUBTASKS:
                continue
            suspects = [one.suspect for one in self._health.over_run(run.id) if one.suspect is not None]
            found = orchestrations(course, run, suspects)
            records = {course.orchestration_id(name): self._document(one) for name, one in found.items()}
            batch.records[run.id] = records
            batch.handoffs[run.id] = dict(self._new_handoffs(course, now))
        seen = {
            run: seen_of(self._health.over_run(run), self._clock, self._heartbeat) for run in self._courses
        }
        batch.state = self._document(state_of_all(self._courses.values(), self._ended, seen, now))
        self._let_go()
        return batch

    def _let_go(self) -> None:
        """Of runs that are no longer at hand nothing is kept."""
        for run in [run for run in self._gone if run in self._courses and self._courses[run].ended]:
            self._done[run] = self._courses.pop(run).seq
            self._gone.discard(run)
            self._handed.pop(run, None)
            self._files.forget(run)

    def _at_hand(self, changed: Iterable[str]) -> Iterator[tuple[Course, Run]]:
        for name in changed:
            run = self._state.runs.get(name) if self._state else None
            if run is not None and name in self._courses:
                yield self._courses[name], run

    def _note_ended(self) -> dict[str, tuple[int, int, int]] | None:
        """What has ended came to this; None if that is known."""
        found = {name: tally(course) for name, course in self._courses.items() if course.ended}
        self._ended |= found
        return None if self._ended == self._kept else dict(self._ended)

    def _new_handoffs(self, course: Course, now: float) -> Iterator[tuple[str, bytes]]:
        if course.run not in self._handed:
            self._handed[course.run] = self._files.handed(course.run)
        known = self._handed[course.run]
        for name in course.begins():
            if name not in known:
                yield name, self._document(handoff(course, name, now))

    def _document(self, value: object) -> bytes:
        told = self._mask.within(
            msgspec.to_builtins(value)
        )  # agents and plans say and name things as they like
        text = msgspec.json.format(msgspec.json.encode(told), indent=2).decode()
        return harmless_json(text).encode() + b"\n"

    def _write(self, batch: _Batch) -> None:
        """In a thread. Lines come first: what has ended is known only once that was told."""
        if batch.lines:
            self._files.tell(batch.lines)
        batch.told = True
        for run, handoffs in batch.handoffs.items():
            for task, data in handoffs.items():
                self._files.hand_off(run, task, data)
                self._handed[run].add(task)
        for run, records in batch.records.items():
            self._files.keep_records(run, records)
        if batch.ended is not None:
            self._files.keep_ended(batch.ended)
            self._kept = batch.ended
        self._files.keep_state(batch.state)

    # --- what goes wrong

    def _tell_once(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            self._say(f"what is told of orchestrations could not be written: {error}")

    def _give_up(self, error: Exception) -> None:
        """A fault of ours, or files that are none: runs go on without being told of."""
        if not self._broken:
            self._broken = True
            self._say(f"orchestrations are not told of any more: {error!r}")
            log.debug("why orchestrations are not told of", exc_info=error)

    def _say(self, text: str) -> None:
        """Tell the log, which there is only once the supervisor has begun."""
        if self._begun:
            log.warning("%s", text)
        else:
            self._unsaid.append(text)
