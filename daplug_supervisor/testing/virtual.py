"""An event loop in virtual time: deterministic, without threads and without I/O.

It steps from one callback to the next; when none is ready, time jumps to the next timer. A seed shuffles callbacks
that are ready at the same time, so that each seed is another interleaving, and always the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import inspect
import random
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import anyio._backends._asyncio
import anyio.lowlevel
import anyio.to_thread

T = TypeVar("T")

EPOCH = 1_800_000_000.0
"""What `VirtualClock.now` says when a loop's time is 0 (a day in January 2027, UTC)."""


class DeadlockError(RuntimeError):
    """Nothing is ready, and there is no timer to wait for: the program waits for ever."""


class CrashError(BaseException):
    """The loop came to the step at which it was to be killed; nothing in it has seen this."""


class StrayError(RuntimeError):
    """Something on the loop failed, and there was nobody to hear of it."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time passes only when there is nothing else to do.

    Args:
        seed: shuffles what is ready at the same time; None keeps asyncio's order.
        start: the time at which it begins.
        crash_at: raises `CrashError` before this step (a step is one callback), counted from 1.

    Attributes:
        steps: how many steps it has taken.
        before: what is called before a step, by the step's number: to cancel a task there, for example.
        strays: what the loop was told of errors that nobody handled.
    """

    _ready: Any
    _scheduled: Any

    def __init__(self, seed: float | None = None, *, start: float = 0.0, crash_at: int | None = None) -> None:
        super().__init__()
        self.steps = 0
        self.crash_at = crash_at
        self.before: dict[int, Callable[[], object]] = {}
        self.strays: list[dict[str, Any]] = []
        self._abandoned = False
        self._count = 0
        self._made: weakref.WeakValueDictionary[int, asyncio.Task[Any]] = weakref.WeakValueDictionary()
        self._time = start
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 (to be the same each time)

    def time(self) -> float:
        """Virtual seconds."""
        return self._time

    def pass_time(self, seconds: float) -> None:
        """Let time go on while a step is being taken: real code takes time, too."""
        self._time += seconds

    def create_task(self, *args: Any, **how: Any) -> asyncio.Task[Any]:
        """As asyncio's; it remembers their order."""
        task: asyncio.Task[Any] = super().create_task(*args, **how)
        self._count += 1
        self._made[self._count] = task
        return task

    def unfinished(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended, in the order of their making (`asyncio.all_tasks` has none)."""
        return [task for _, task in sorted(self._made.items()) if not task.done()]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what went wrong where nobody looks; `run` raises it."""
        if not self._abandoned:
            self.strays.append(context)

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
        if self.steps in self.before:
            self.before[self.steps]()
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
        self._abandoned = True
        for task in self.unfinished():
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 (typeshed does not know it)
            _close(task.get_coro())
        self._ready.clear()
        self._scheduled.clear()
        self.close()


def _close(coroutine: Any) -> None:
    """End a coroutine that will never be resumed, however often it awaits on its way out."""
    if not inspect.iscoroutine(coroutine):  # the closing of an asynchronous generator
        coroutine.close()
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        frame = coroutine.cr_frame
        for value in frame.f_locals.values() if frame is not None else ():  # anyio wraps what it starts
            inner = getattr(value, "_coro", None)
            if inspect.iscoroutine(inner):
                inner.close()
    while getattr(coroutine, "cr_frame", None) is not None:
        with contextlib.suppress(BaseException):
            coroutine.close()


class VirtualClock:
    """`ports.Clock` of a virtual loop.

    Args:
        loop: the running one, unless one is given.
        wall: what the machine's clock says when the loop's time is 0, and so `now`; change it with `jump`.
        booted_at: the loop's time at the last boot; `monotonic` counts from there.
        tick: seconds that pass whenever somebody reads it, for between two looks at a real clock time has passed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        wall: float = EPOCH,
        booted_at: float = 0.0,
        tick: float = 0.0,
    ) -> None:
        self.wall = self._steady = wall
        self._loop = loop or asyncio.get_running_loop()
        self._booted_at = booted_at
        self._tick = tick

    def jump(self, seconds: float) -> None:
        """Somebody sets the machine's clock, forth or (below 0) back; `now` does not follow, nor the loop's time."""
        self.wall += seconds

    def now(self) -> float:
        """UTC, seconds since the epoch."""
        self._pass()
        return self._steady + self._loop.time()

    def boot(self) -> tuple[str, float]:
        """A boot for each `booted_at`, and when it began, as `now` counts."""
        return f"virtual {self._booted_at:g}", self._steady + self._booted_at

    def ahead(self) -> float:
        """By how many seconds the machine's clock is ahead of `now`."""
        return self.wall - self._steady

    def patience(self, until: float) -> float:
        """Until then: nobody sleeps unseen here."""
        return max(0.0, until - self.now())

    def monotonic(self) -> float:
        """Seconds since boot."""
        self._pass()
        return self._loop.time() - self._booted_at

    def _pass(self) -> None:
        if self._tick and isinstance(self._loop, VirtualLoop):
            self._loop.pass_time(self._tick)


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
        StrayError: something failed in a task or a callback that nobody waits for.
        CrashError: the loop's `crash_at` was reached; the loop is left as it is, for you to `abandon`.
    """
    loop = loop or VirtualLoop(seed)
    with _without_threads(), _in_order():
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
    if loop.strays:
        first = loop.strays[0]
        raise StrayError(first.get("message", "")) from first.get("exception")
    return result


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = loop.unfinished()
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(_gathered(tasks))


async def _gathered(tasks: list[asyncio.Task[Any]]) -> None:
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


class _InOrder(dict[Any, None]):
    """A set that is walked through in the order in which its elements came."""

    def add(self, element: object) -> None:
        self[element] = None

    def remove(self, element: object) -> None:
        del self[element]

    def discard(self, element: object) -> None:
        self.pop(element, None)


@contextlib.contextmanager
def _in_order() -> Iterator[None]:
    """While it lasts, anyio cancels tasks and scopes in the order of their making.

    It keeps them in sets, and walks through those in the order of addresses, which differ from one run to the next.
    """
    backend: Any = anyio._backends._asyncio
    backend.set = _InOrder
    try:
        yield
    finally:
        del backend.set


async def _run_here(function: Callable[..., T], *args: object, **_how: object) -> T:
    await anyio.lowlevel.checkpoint()
    return function(*args)
