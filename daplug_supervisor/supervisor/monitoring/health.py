"""One coroutine looks at all running attempts from time to time: whether they still show that they work."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from logging import getLogger

import anyio
import anyio.to_thread

from daplug_supervisor.core import health
from daplug_supervisor.core.health import Health, Look, Rules, Signs, Suspect
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.plan import Task
from daplug_supervisor.core.retry import attempt_name
from daplug_supervisor.ports import Attached, Clock
from daplug_supervisor.processes import setup
from daplug_supervisor.supervisor.notifying.notices import Notices
from daplug_supervisor.views.health import suspect_words
from daplug_supervisor.workspace import suspects
from daplug_supervisor.workspace.files import STDERR, STDOUT, StateDirectory

log = getLogger(__name__)

_LOGS = (STDOUT, STDERR, setup.LOG)

_CLOCK_STEP = 1.0
"""Seconds by which a file may be newer than now: what is later was left by a clock that was set."""


class Checked:
    """An attempt that is looked at as long as it runs.

    `silent`: it showed nothing for longer than its task allows, and whoever waits for it was called. `alive`: its
    process was seen at the latest look.
    """

    def __init__(self, run: Run, task: TaskState, attached: Attached, directory: str) -> None:
        self.run, self.task = run, task.id
        self.number = task.attempt.number if task.attempt else 0
        self.spec: Task = run.spec(task.id)
        self.attached = attached
        self.directory = directory
        self.began = 0.0
        self.known: Health | None = None
        self.due = 0.0
        self.suspect: Suspect | None = None
        self.silent = False
        self.alive = True
        self.call: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """``run/task#number``."""
        return attempt_name(self.run.id, self.task, self.number)

    def verdict(self, rules: Rules) -> health.Verdict:
        """What is wrong with it, as far as is known."""
        return "" if self.known is None else health.verdict(self.known, self.spec, rules)

    def learn(self, changed: float) -> None:
        """A file was changed in its directory at this time of the machine's clock; 0 if none was."""
        if self.known is not None and changed:
            self.known = health.changed(self.known, changed)


class HealthCheck:
    """Looks after the attempts of one supervisor.

    Args:
        directory: where they are.
        clock: says when.
        notices: who is told of what is suspicious.
        rules: how often, and what is suspicious.

    `looked` is called after every look.
    """

    def __init__(self, directory: StateDirectory, clock: Clock, notices: Notices, rules: Rules) -> None:
        self._directory, self._clock, self._notices, self._rules = directory, clock, notices, rules
        self._checked: dict[tuple[str, str], Checked] = {}
        self._told: dict[str, tuple[Suspect, ...]] = {}
        self._wake = anyio.Event()
        self._wakes_at = math.inf
        self.looked: Callable[[], None] = lambda: None

    def over_run(self, run: str) -> list[Checked]:
        """The attempts of a run that are looked at."""
        return [one for key, one in self._checked.items() if key[0] == run]

    @contextmanager
    def over(
        self, run: Run, task: TaskState, attached: Attached, call: Callable[[], None], *, found_again: bool
    ) -> Iterator[Checked]:
        """Look at an attempt from now on; `call` is called once, when it has been silent for too long."""
        number, now = task.attempt.number if task.attempt else 0, self._clock.monotonic()
        one = Checked(run, task, attached, self._directory.attempt(run.id, task.id, number))
        one.call = call
        if found_again and task.attempt is not None:
            one.began = min(now, now - (self._clock.now() - task.attempt.spawned_at))
            one.due = now
        else:
            one.known = health.begun(now)
            one.due = now + health.next_look(one.known, one.spec, self._rules)
        self._checked[run.id, task.id] = one
        if one.due < self._wakes_at:
            self._wake.set()
        try:
            yield one
        except BaseException:
            self._forget(one)  # the supervisor may let go: what it wrote down last is true still
            raise
        self._forget(one)
        if one.suspect is not None:
            self._publish(run)

    def _forget(self, one: Checked) -> None:
        del self._checked[one.run.id, one.task]
        self._notices.forget(one.name)
        if not any(other.run is one.run for other in self._checked.values()):
            self._told.pop(one.run.id, None)

    async def run(self) -> None:
        """Look at what is due, for ever. Nothing is done while nothing runs."""
        while True:
            self._wake = anyio.Event()
            self._wakes_at = min((one.due for one in self._checked.values()), default=math.inf)
            with anyio.move_on_after(self._wakes_at - self._clock.monotonic()) as scope:
                await self._wake.wait()
            now = self._clock.monotonic()
            if scope.cancelled_caught:  # by a rounding error it may be a little earlier than that
                now = max(now, self._wakes_at)
            due = [one for one in self._checked.values() if one.due <= now]
            if due:
                await self._look(due)

    async def _look(self, due: list[Checked]) -> None:
        """Look at some attempts, and act on what is seen. Files are looked for only where all else is silent."""
        seen = await anyio.to_thread.run_sync(self._see, due, abandon_on_cancel=True)
        compared = [one for one, look in zip(due, seen, strict=True) if self._learn(one, look)]
        doubtful = [one for one in compared if one.verdict(self._rules)]
        if doubtful:
            others = list(self._checked.values())
            found = await anyio.to_thread.run_sync(self._search, doubtful, others, abandon_on_cancel=True)
            for one, changed in zip(doubtful, found, strict=True):
                one.learn(changed)
        for one, look in zip(due, seen, strict=True):
            if self._checked.get((one.run.id, one.task)) is one:  # it may have ended meanwhile
                self._plan(one)
                one.alive = look is not None
                if look is not None:
                    self._act(one, one.verdict(self._rules) if one in compared else "")
        self.looked()

    def _learn(self, one: Checked, look: Look | None) -> bool:
        """Take over what was seen. True if there was something before to compare it with."""
        if look is None:  # it ends at this moment, or has not begun
            return False
        before, one.known = one.known, None
        if before is None:
            limit = one.spec.idle_timeout or self._rules.zombie_after
            one.known = health.found_again(look, one.began, limit)
        else:
            one.known = health.after(before, look, one.due - before.look.at)
        return before is not None

    def _plan(self, one: Checked) -> None:
        """When to look again."""
        patience = (
            self._rules.interval if one.known is None else health.next_look(one.known, one.spec, self._rules)
        )
        one.due = self._clock.monotonic() + patience

    def _act(self, one: Checked, found: health.Verdict) -> None:
        """Have ended what is silent. Tell once when something becomes suspicious, and once when it is no longer."""
        before, now = one.suspect, self._clock.now()
        if found == "silent":
            log.warning("%s is silent, and is stopped", one.name)
            one.silent, one.due = True, math.inf
            one.call()
        if one.known is None or found in ("", "silent"):
            one.suspect = None
            if found:
                self._notices.forget(one.name)
            else:
                self._notices.tell(one.name, "")
        elif before is None or before.verdict != found:
            one.suspect = health.suspect(one.known, one.task, one.number, found, now)
            self._notices.forget(one.name)
            self._notices.tell(one.name, f"{one.name}: {suspect_words(one.suspect, now)}")
        if before != one.suspect or one.run.id not in self._told:
            self._publish(one.run)

    def _publish(self, run: Run) -> None:
        """Write down what is suspicious in a run now, for those who only look; also that nothing is any more."""
        found = tuple(
            one.suspect for one in self._checked.values() if one.run is run and one.suspect is not None
        )
        if self._told.get(run.id) == found:
            return
        self._told[run.id] = found
        try:
            suspects.write(self._directory.run(run.id), found)
        except OSError as error:  # a full disk, say: the notice has been told
            log.warning("what is suspicious in run %s could not be written: %s", run.id, error)

    # --- in a thread

    def _see(self, due: Iterable[Checked]) -> list[Look | None]:
        return [self._see_one(one) for one in due]

    def _see_one(self, one: Checked) -> Look | None:
        signs = one.attached.signs()
        if signs is None:
            return None
        at, wall = self._clock.monotonic(), self._wall()
        return Look(at, signs, _written(one.directory), wall)

    def _search(self, doubtful: Iterable[Checked], others: Iterable[Checked]) -> list[float]:
        """When something was changed last in the directories of these attempts, 0 for never.

        Where another attempt works as well, a change says nothing of this one.
        """
        places = {one.name: (one.attached.signs() or Signs()).places for one in others}
        all_places = {place for found in places.values() for place in found}
        until = self._wall() + _CLOCK_STEP
        kept_out = {"/", _home(), _temporary()}
        found = []
        for one in doubtful:
            shared = {place for name, more in places.items() if name != one.name for place in more}
            own = places.get(one.name, frozenset()) - shared - kept_out
            skipped = {*(all_places - own), str(self._directory.path)}
            changes = [suspects.newest_change(place, until, skipped) for place in own]
            found.append(max(changes, default=0.0))
        return found

    def _wall(self) -> float:
        return self._clock.now() + self._clock.ahead()


def _written(directory: str) -> float:
    """When the output of an attempt last grew, by the machine's clock."""
    times = [0.0]
    for name in _LOGS:
        with suppress(OSError):
            times.append(os.lstat(f"{directory}/{name}").st_mtime)
    return max(times)


def _home() -> str:
    return os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111


def _temporary() -> str:
    return os.path.realpath(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 (it is not written to)
