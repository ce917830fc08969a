"""What running agents ask for: files in ``commands/`` of their outboxes, answered in the journal and beside them.

An agent may write there what it likes, as often as it likes. Who asks, and in which run, is what we know, not what a
file says; each command is carried out once, and answered; and there is an end to how many one attempt may give.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.commands import Command
from daplug_supervisor.core.secrets import Mask
from daplug_supervisor.core.state import Run
from daplug_supervisor.errors import IllegalTransitionError, NotPossibleError
from daplug_supervisor.ports import Durable, Journal
from daplug_supervisor.supervisor.commands.watching import Watch
from daplug_supervisor.workspace import bundles, outbox

log = getLogger(__name__)

MOST: Final = 200
"""Commands that one attempt may give. What comes after them is refused, and not journalled; after twice as many files
nothing more is read."""

_HALF = 2.0
"""Seconds for which a file that makes no sense may be one that is still being written."""


class Receiver(Protocol):
    """What carries the commands out: the supervisor."""

    mask: Mask

    async def command(self, command: Command) -> ev.CommandAnswered:
        """Carry one out."""
        ...

    def record(self, run: str, *events: ev.Event) -> Durable:
        """Record events."""
        ...

    async def settle(self) -> None:
        """Wait until all that was recorded is durable."""
        ...


class _Box:
    """The outbox of one attempt. `answers` are what we answered; `given` counts what earlier supervisors did as well.

    `odd` has since when a file makes no sense, `taken` counts files of whatever kind.
    """

    def __init__(self, run: Run, bundle: Bundle, path: str) -> None:
        self.run, self.task, self.token, self.path = run, bundle.task, bundle.token, path
        self.name = bundle.name
        self.answers: dict[str, ev.CommandAnswered] = {}
        self.given = sum(name.startswith(f"{self.token}-") for name in run.answered)
        self.lock = asyncio.Lock()
        self.open = True
        self.taken = 0
        self.odd: dict[str, float] = {}
        self.warned = False

    def warn(self, what: object) -> None:
        """Say once that something is odd here."""
        if not self.warned:
            log.warning("outbox of %s: %s", self.name, what)
        self.warned = True


class Outboxes:
    """Takes commands out of the outboxes of running attempts as they come, and once more when an attempt has ended.

    Args:
        receiver: what carries them out.
        journal: where answers are found that an earlier supervisor could not deliver.
    """

    def __init__(self, receiver: Receiver, journal: Journal) -> None:
        self._receiver, self._journal = receiver, journal
        self._boxes: dict[str, _Box] = {}
        self._watch: Watch | None = None

    @contextmanager
    def over(self, run: Run, bundle: Bundle) -> Iterator[None]:
        """While an attempt is watched, take what it asks for as it comes."""
        box = _box_of(run, bundle)
        if box is None:
            yield
            return
        self._boxes[box.token] = box
        self._wake()
        try:
            yield
        finally:
            box.open = False
            self._wake()

    async def last(self, run: Run, bundle: Bundle) -> None:
        """Take what an attempt that has ended had asked for by then."""
        box = self._boxes.pop(bundle.token, None) or _box_of(run, bundle)
        if box is not None:
            await self._take(box, last=True)

    async def watch(self) -> None:
        """Take commands as they come, for ever; nothing is watched as long as nobody may give any."""
        self._watch = Watch("outboxes")
        watched: set[str] = set()
        try:
            while True:
                boxes = [box for box in self._boxes.values() if box.open]
                paths = {box.path for box in boxes}
                if not paths or not paths <= watched:
                    watched = paths
                    self._watch.arm(
                        [f"{path}/{outbox.COMMANDS}" for path in paths if outbox.has_commands(path)]
                    )
                for box in boxes:
                    await self._take(box)
                await self._watch.change(only=not boxes)
        finally:
            self._watch.end()

    def _wake(self) -> None:
        if self._watch is not None:
            self._watch.wake()

    async def _take(self, box: _Box, *, last: bool = False) -> None:
        """Carry out what lies in an outbox."""
        async with box.lock:
            if box.taken >= 2 * MOST:
                return
            try:
                found, more = await anyio.to_thread.run_sync(outbox.asked, box.path, MOST)
            except OSError as error:  # removed, or changed by the agent: its own loss
                if not last:
                    box.warn(error)
                return
            if more:
                box.warn("there is more in it than commands; what is no command is passed over")
            for one in found:
                await self._answer(box, one, last=last)
                box.taken += 1

    async def _answer(self, box: _Box, one: outbox.Asked, *, last: bool) -> None:
        name = f"{box.token}-{one.id}"
        answer = box.answers.get(one.id) or await self._before(box, name)
        if answer is None and box.given >= MOST:
            box.warn(f"more than {MOST} commands; the next are refused, and then no more are read")
            answer = _refused(name, ev.UNREADABLE, f"an attempt may give {MOST} commands, and this one has")
        elif answer is None:
            answer = await self._carried_out(box, one, name, last=last)
            if answer is None:
                return
            box.given += 1
        box.answers[one.id] = answer
        data = msgspec.json.encode(replace(answer, id=one.id))
        try:
            await anyio.to_thread.run_sync(outbox.answer, box.path, one.id, data)
        except OSError as error:
            box.warn(f"an answer could not be put there: {error}")

    async def _carried_out(
        self, box: _Box, one: outbox.Asked, name: str, *, last: bool
    ) -> ev.CommandAnswered | None:
        """Carry a command out, or refuse it, durably. None: it may be half written, and is looked at again."""
        try:
            command = _command(box, one, name)
        except (ValueError, RecursionError) as error:
            if not last and not one.flaw and self._is_young(box, one.id):
                return None
            answer = _refused(name, ev.UNREADABLE, f"not a command: {error}"[:300])
        else:
            try:
                return await self._receiver.command(command)
            except (NotPossibleError, IllegalTransitionError) as error:
                answer = _refused(name, command.verb, str(error))
        answer = replace(answer, message=self._receiver.mask(answer.message))
        await self._receiver.record(box.run.id, answer).wait()
        return answer

    def _is_young(self, box: _Box, name: str) -> bool:
        """Whether a file that makes no sense was first seen just now; then it is looked at again soon."""
        now = anyio.current_time()
        since = box.odd.setdefault(name, now)
        if since == now:
            asyncio.get_running_loop().call_later(_HALF, self._wake)
        return now - since < _HALF

    async def _before(self, box: _Box, name: str) -> ev.CommandAnswered | None:
        """What an earlier supervisor has answered; it may have died before it said so."""
        if name not in box.run.answered:
            return None
        await self._receiver.settle()
        return await self._journal.answer(name)


def _box_of(run: Run, bundle: Bundle) -> _Box | None:
    """The outbox of an attempt that may give commands, if it is where we would have made it."""
    if not bundle.spec.delegate:
        return None
    path = bundles.outbox_of(bundle.directory)
    return _Box(run, bundle, path) if outbox.is_one(path, bundle.token) else None


def _command(box: _Box, one: outbox.Asked, name: str) -> Command:
    """The command in a file, as ours: from this task, in this run, under an id that no other attempt can have.

    Raises:
        ValueError: there is none.
        RecursionError: it is too deep.
    """
    if one.flaw:
        raise ValueError(one.flaw)
    found: Any = msgspec.json.decode(one.data)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 (as msgspec's)
    ours = {"id": name, "run": box.run.id, "sender": box.task}
    return msgspec.convert({**found, **ours}, Command)


def _refused(name: str, verb: str, why: str) -> ev.CommandAnswered:
    return ev.CommandAnswered(name, verb, applied=False, message=why)
