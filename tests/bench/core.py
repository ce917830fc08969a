"""The pure core on one large plan, in a process of its own: ``core.py PLAN``. Prints figures as JSON.

Loads the plan, takes it on, and schedules it from the first task to the last: every decision is carried out by the
events that a run would record. Nothing is started and nothing is written.
"""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import sys
import time
from collections import deque
from pathlib import Path

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.decide import Finish, Start, decide
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.core.state import State, apply
from daplug_supervisor.formats import load_plan

RUN = "run-1"
_UNIT = 1024 if sys.platform == "linux" else 1


def peak() -> int:
    """Of this process itself: what `getrusage` says begins with the peak of the process that started it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def main() -> None:
    before = peak()
    began = time.perf_counter()
    plan = load_plan(Path(sys.argv[1]))
    loaded = time.perf_counter()
    state = State()
    seq = 0

    def record(event: ev.Event) -> None:
        nonlocal seq
        seq += 1
        apply(state, ev.Entry(seq, RUN, float(seq), event))

    record(ev.RunSubmitted(plan, "/"))
    record(ev.RunStarted())
    indexed = time.perf_counter()
    run = state.runs[RUN]
    good = Result(Outcome(OutcomeKind.COMPLETED), Exit(0))
    active: deque[str] = deque()
    halves = [indexed]
    started = 0
    while not isinstance(decision := decide(run, float(seq)), Finish):
        if isinstance(decision, Start):
            started += 1
            record(ev.AttemptStarted(decision.task, 1, "token", decision.provider))
            record(ev.AttemptSpawned(decision.task, 1, 1, "boot"))
            active.append(decision.task)
            if started == len(plan.tasks) // 2:
                halves.append(time.perf_counter())
        else:
            name = active.popleft()
            for event in (ev.AttemptExited(name, good), ev.VerificationPassed(name), ev.Landed(name)):
                record(event)
    over = time.perf_counter()
    size = len(plan.tasks)
    gc.collect()
    found = {
        "tasks": size,
        "load": loaded - began,
        "index": indexed - loaded,
        "first_half": (halves[-1] - indexed) / (size / 2),
        "second_half": (over - halves[-1]) / (size / 2),
        "imports_rss": before,
        "rss": peak(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
