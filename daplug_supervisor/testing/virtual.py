"""An event loop in virtual time: deterministic, without threads and without I/O.

It steps from one callback to the next; when none is ready, time jumps to the next timer. A seed shuffles callbacks
that are ready at the same time, so that each seed is another interleaving, and always the same one. (All but one
thing: anyio cancels the scopes inside a cancelled one in the order of their addresses, which Python does not fix.)
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import inspect
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import anyio.lowlevel
import anyio.to_thread

T = TypeVar("T")

EPOCH = 1_800_000_000.0
"""What `VirtualClock.now` says when a loop's time is 0 (a day in January 2027, UTC)."""


class DeadlockError(RuntimeError):
    """Nothing is ready, and there is no timer to wait for: the program waits for ever."""


class CrashError(BaseException):
    """The loop came to the step at which it was to be killed; nothing in it has seen this."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time passes only when there is nothing else to do.

    Args:
        seed: shuffles what is ready at the same time; None keeps asyncio's order.
        start: the time at which it begins.
        crash_at: raises `CrashError` before this step (a step is one callback), counted from 1.
    """

    _ready: Any
    _scheduled: Any

    def __init__(self, seed: float | None = None, *, start: float = 0.0, crash_at: int | None = None) -> None:
        super().__init__()
        self.steps = 0
        self.crash_at = crash_at
        self._time = start
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 (to be the same each time)

    def time(self) -> float:
        """Virtual seconds."""
        return self._time

    def _run_once(self) -> None:
        self._take_due()
        if not self._ready and not getattr(self, "_stopping", False):
            if not self._scheduled:
                raise DeadlockError("nothing is ready and no timer is set: this waits for ever")
            self._time = max(self._time, self._scheduled[0].when())
            self._take_due()
        self.steps += 1
        if self.crash_at is not None and self.steps >= self.crash_at:
            raise CrashError
        if not self._ready:
            return
        if self._random is not None and len(self._ready) > 1:
            self._ready.rotate(-self._random.randrange(len(self._ready)))
        handle = self._ready.popleft()
        if not handle.cancelled():
            handle._run()

    def _take_due(self) -> None:
        """Make ready whose time has come."""
        while self._scheduled and (self._scheduled[0].cancelled() or self._scheduled[0].when() <= self._time):
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            if not handle.cancelled():
                self._ready.append(handle)

    def _write_to_self(self) -> None:
        """Nothing sleeps here that would have to be woken."""

    def run_in_executor(self, *_: object) -> Any:
        """Not here.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("there are no threads in virtual time")

    def abandon(self) -> None:
        """Drop everything, as if the process had been killed: no task runs on, whatever it has under ``finally``.

        What lies outside (files, the `World`) has to be told beforehand that this loop is dead: Python does run
        ``finally`` clauses of the coroutines it drops, up to their first ``await``.
        """
        for task in asyncio.all_tasks(self):
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 (typeshed does not know it)
            _close(task.get_coro())
        self._ready.clear()
        self._scheduled.clear()
        self.close()


def _close(coroutine: Any) -> None:
    """End a coroutine that will never be resumed, however often it awaits on its way out."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        frame = coroutine.cr_frame
        for value in frame.f_locals.values() if frame is not None else ():  # anyio wraps what it starts
            inner = getattr(value, "_coro", None)
            if inspect.iscoroutine(inner):
                inner.close()
    while coroutine.cr_frame is not None:
        with contextlib.suppress(BaseException):
            coroutine.close()


class VirtualClock:
    """`ports.Clock` of a virtual loop: the running one, unless one is given."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()

    def now(self) -> float:
        """UTC, seconds since the epoch."""
        return EPOCH + self._loop.time()

    def monotonic(self) -> float:
        """The loop's own time."""
        return self._loop.time()


def run(
    main: Callable[[], Coroutine[Any, Any, T]], seed: float | None = 0, *, loop: VirtualLoop | None = None
) -> T:
    """Run a program in virtual time to its end. `anyio.to_thread` works in it, without threads.

    Args:
        main: an async function without arguments.
        seed: which interleaving; None for asyncio's own order.
        loop: the loop to run it on, in place of a new one; it is closed afterwards.

    Raises:
        DeadlockError: it waits for what cannot come.
        CrashError: the loop's `crash_at` was reached; the loop is left as it is, for you to `abandon`.
    """
    loop = loop or VirtualLoop(seed)
    with _without_threads():
        try:
            result = loop.run_until_complete(main())
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        except CrashError:
            raise
        except BaseException:
            loop.abandon()
            raise
        loop.close()
    return result


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(_gathered(tasks))


async def _gathered(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _without_threads() -> Iterator[None]:
    """While it lasts, what is sent to a thread is done at once, between two steps of the loop."""
    before = anyio.to_thread.run_sync
    anyio.to_thread.run_sync = _run_here  # type: ignore[assignment]
    try:
        yield
    finally:
        anyio.to_thread.run_sync = before


async def _run_here(function: Callable[..., T], *args: object, **_how: object) -> T:
    await anyio.lowlevel.checkpoint()
    return function(*args)
