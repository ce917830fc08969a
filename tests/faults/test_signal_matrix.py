"""Each signal, in each situation, so many times: what becomes of the command, of its agents, and of the next start."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1, SIGWINCH, Signals

import pytest
from cli import HOLD, MARKING, Place, alive, finish, kill, opened, plan_of, sh, until
from driven import Driven, fresh
from promises import Proof

from daplug_supervisor import Retry
from daplug_supervisor.core import events as ev

pytestmark = pytest.mark.promise("P14")
place = pytest.fixture(opened)

CODES = {SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGQUIT: 131}
WORKING = plan_of({"a": sh(MARKING + HOLD), "b": sh(MARKING, "a")})
DEAF = plan_of({"a": sh(f"trap '' TERM; {MARKING} {HOLD}", grace=30.0), "b": sh(MARKING, "a")})
WAITING = plan_of(
    {
        "a": sh(f"{MARKING} [ -e go ]", retry=Retry(attempts=3, backoff=600.0)),
        "b": sh(MARKING, "a"),
    }
)

HALTS: list[Sequence[Signals]] = [(SIGINT,), (SIGTERM,)]
STOPS: list[Sequence[Signals]] = [(SIGINT, SIGINT), (SIGTERM, SIGTERM), (SIGINT, SIGTERM)]
LEAVES: list[Sequence[Signals]] = [
    (SIGHUP,),
    (SIGQUIT,),
    (SIGTERM, SIGHUP),
    (SIGINT, SIGQUIT),
    (SIGINT,) * 3,
    (SIGTERM,) * 3,
    (SIGHUP,) * 3,
]
NOTHING: list[Sequence[Signals]] = [(SIGPIPE,), (SIGWINCH,) * 3, (SIGSTOP, SIGCONT)]
DEATHS: list[Sequence[Signals]] = [(SIGUSR1,), (Signals.SIGKILL,)]


def driven(place: Place, how: str, terminal: bool, plan: object = WORKING) -> Driven:
    """A supervisor with an attempt at work; for `resume` one that another supervisor launched."""
    name = place.write(plan)  # type: ignore[arg-type]
    first = Driven(place, name, terminal=terminal)
    place.started("a")
    if how == "run":
        return first
    first.press(SIGHUP)
    assert first.finish() == 129
    before = len(place.events(ev.RunStarted))
    again = Driven(place, "resume", terminal=terminal)
    until(lambda: len(place.events(ev.RunStarted)) > before, "the run resumed")
    return again


def press(one: Driven, wishes: Sequence[Signals]) -> None:
    for number in wishes:
        one.press(number)
        if number is SIGSTOP:
            until(one.stopped, "it is stopped")


def shims(place: Place) -> list[int]:
    return [event.pid for event in place.events(ev.AttemptSpawned)]


def ends_well(place: Place, starts: int) -> None:
    """The same command ends the run; so often was an attempt started in all."""
    place.go()
    ran = place.run("plan.json")
    assert ran.code == 0, ran
    assert place.statuses() == {"a": "done", "b": "done"}
    assert len(place.lines()) == starts == len(place.events(ev.AttemptSpawned))
    place.nothing_left()


def at_work(place: Place, how: str, wishes: Sequence[Signals], terminal: bool) -> None:
    """What each signal does to a supervisor whose agent works."""
    one = driven(place, how, terminal, DEAF if len(wishes) > 2 else WORKING)
    [shim] = shims(place)
    press(one, wishes)
    if wishes in NOTHING:
        place.go()
        assert one.finish() == 0
        assert place.events(ev.HaltRequested) == []
        assert place.statuses() == {"a": "done", "b": "done"}
    elif wishes in HALTS:
        until(lambda: place.events(ev.HaltRequested), "a halt")
        assert alive(shim)
        place.go()
        assert one.finish() == CODES[wishes[0]]
        assert place.statuses() == {"a": "done", "b": "pending"}
        ends_well(place, 2)
    elif wishes in STOPS:
        assert one.finish() == CODES[wishes[-1]]
        assert place.processes(attempts=True) == []
        [retried] = place.events(ev.RetryScheduled)
        assert (retried.result.outcome.kind, retried.uses_try) == ("interrupted", False)
        assert (place.task("a").status, place.task("a").tries) == ("pending", 0)
        ends_well(place, 3)
    else:
        assert one.finish() == (-wishes[0] if wishes in DEATHS else CODES[wishes[-1]])
        assert alive(shim)
        assert ("Detached: agents go on running" in one.text) == (wishes not in DEATHS)
        asked_to_stop = wishes in ((SIGINT,) * 3, (SIGTERM,) * 3)
        ends_well(place, 3 if asked_to_stop else 2)
        uses = [(event.result.outcome.kind, event.uses_try) for event in place.events(ev.RetryScheduled)]
        assert uses == ([("interrupted", False)] if asked_to_stop else [])


def waiting(place: Place, how: str, wishes: Sequence[Signals], terminal: bool) -> None:
    """What they do while nothing runs, and a task waits for its next try: whoever would have to wait, goes."""
    name = place.write(WAITING)
    one = Driven(place, name, terminal=terminal)
    until(lambda: place.events(ev.RetryScheduled), "the first try over")
    if how == "resume":
        one.press(SIGHUP)
        assert one.finish() == 129
        before = len(place.events(ev.RunStarted))
        one = Driven(place, "resume", terminal=terminal)
        until(lambda: len(place.events(ev.RunStarted)) > before, "the run resumed")
    wishes = wishes if wishes in NOTHING or wishes in DEATHS or wishes in LEAVES[:2] else wishes[:1]
    press(one, wishes)
    if wishes in NOTHING:
        until(lambda: not one.stopped(), "it goes on")
        assert one.process.poll() is None
        wishes = (SIGINT,)
        press(one, wishes)
    assert one.finish() == (-wishes[0] if wishes in DEATHS else CODES[wishes[0]])
    assert (place.task("a").status, place.task("a").tries) == ("pending", 1)
    assert place.run("task", "skip", "a").code == 0
    assert place.run(name).code == 0
    place.nothing_left()


Case = tuple[Callable[[Place, str, Sequence[Signals], bool], None], str, Sequence[Signals], bool]

ALL = [*HALTS, *STOPS, *LEAVES, *NOTHING, *DEATHS]
SHORT: list[Case] = [
    (at_work, "run", (SIGQUIT,), True),
    (at_work, "resume", (SIGINT, SIGINT), True),
]


def cases(proof: Proof) -> Sequence[Case]:
    return proof.pick(
        SHORT, list(itertools.product((at_work, waiting), ("run", "resume"), ALL, (False, True)))
    )


def test_each_signal_does_what_is_promised(tmp_path: Path, proof: Proof) -> None:
    for number, (situation, how, wishes, terminal) in enumerate(cases(proof)):
        with fresh(tmp_path / str(number)) as one:
            try:
                situation(one, how, wishes, terminal)
            except AssertionError as error:
                error.add_note(f"{situation} {how} {[wish.name for wish in wishes]} terminal={terminal}")
                raise
        proof.count("signals", len(wishes))


# --- starting up ------------------------------------------------------------------------------------------------


def starting(place: Place, number: Signals, delay: float) -> None:
    """Whatever moment of its start-up the signal hits: nothing is half done, and the next start ends the run."""
    name = place.write(WORKING)
    place.go()
    one = Driven(place, name)
    time.sleep(delay)
    one.process.send_signal(number)
    code = one.process.wait(20)
    if code != -SIGINT:  # Python itself says so if it is hit while it imports
        one.finish()
    assert code in (0, CODES[number], -number), one.text
    if not place.events(ev.RunFinished):
        ran = place.run(name)
        assert ran.code == 0, ran
    assert place.statuses() == {"a": "done", "b": "done"}
    assert [line.split()[0] for line in place.lines()] == ["a", "b"], (code, one.text)
    assert len({line.split()[1] for line in place.lines()}) == 2
    place.nothing_left()


def test_a_signal_while_it_starts_leaves_nothing_half_done(tmp_path: Path, proof: Proof) -> None:
    moments = [round((at + 0.5) * 0.45 / proof.pick(1, 24), 3) for at in range(proof.pick(1, 24))]
    for number, delay in itertools.product(proof.pick([SIGTERM], list(CODES)), moments):
        with fresh(tmp_path / f"{number}-{delay}") as place:
            starting(place, number, delay)
        proof.count("signals")
        proof.count("injected faults")


ENTERING = """
import os, signal, sys
from daplug_supervisor.supervisor import supervisor
entered = supervisor.Supervisor.__aenter__
async def enter(self):
    found = await entered(self)
    os.kill(os.getpid(), int(os.environ["NUMBER"]))
    return found
supervisor.Supervisor.__aenter__ = enter
sys.argv[0] = "daplug-supervise"
from daplug_supervisor.cli.main import main
main()
"""


def test_a_signal_before_anything_has_begun_is_obeyed_before_anything_begins(
    tmp_path: Path, proof: Proof
) -> None:
    for number in proof.pick([SIGTERM], list(CODES)):
        with fresh(tmp_path / number.name) as place:
            words = [sys.executable, "-c", ENTERING, place.write(WORKING)]
            ran = subprocess.run(
                words, cwd=place.target, env=place.environ | {"NUMBER": str(int(number))}, capture_output=True,
                text=True, check=False, timeout=20,
            )  # fmt: skip
            assert ran.returncode == CODES[number], ran
            assert "Ended before anything was started" in ran.stderr
            assert place.events(ev.RunSubmitted) == []
            assert place.lines() == []
            place.nothing_left()
        proof.count("signals")


# --- one wish or two --------------------------------------------------------------------------------------------


def test_signals_of_one_moment_are_one_wish(place: Place, proof: Proof) -> None:
    """As `timeout` sends them: to the command, and once more to its whole group."""
    one = driven(place, "run", terminal=False)
    for number in (SIGTERM, SIGTERM, SIGINT, SIGTERM):
        one.process.send_signal(number)
        time.sleep(0.002)
    one.says("once more stops the agents")
    assert place.events(ev.RetryScheduled) == []
    place.go()
    assert one.finish() == 143
    assert "stopping the agents" not in one.text
    assert place.statuses() == {"a": "done", "b": "pending"}
    proof.count("signals", 4)


def test_nohup_does_what_it_says(place: Place, proof: Proof) -> None:
    name = place.write(WORKING)
    process = place.start(name, preexec_fn=lambda: signal.signal(SIGHUP, signal.SIG_IGN))
    place.started("a")
    process.send_signal(SIGHUP)
    place.go()
    assert finish(process).code == 0
    assert place.statuses() == {"a": "done", "b": "done"}
    proof.count("signals")


# --- who reads, and where ---------------------------------------------------------------------------------------


def test_the_run_goes_on_when_nobody_reads_what_it_says(tmp_path: Path, proof: Proof) -> None:
    ways: list[tuple[str, ...]] = [(), ("--json",), ("--quiet",)]
    for words in ways[: proof.pick(1, 3)]:
        with fresh(tmp_path / f"-{''.join(words)}") as place:
            one = Driven(place, "run", *words, place.write(WORKING))
            place.started("a")
            one.close()
            place.go()
            assert one.finish() == 0
            assert place.statuses() == {"a": "done", "b": "done"}
            assert (place.state / "runs" / "p-1" / "report.txt").exists()
        proof.count("injected faults")


def test_a_closed_terminal_leaves_the_agents_at_work(place: Place, proof: Proof) -> None:
    one = driven(place, "run", terminal=True)
    [shim] = shims(place)
    one.says("p-1")
    one.close()
    assert one.finish() == 129
    assert alive(shim)
    assert place.events(ev.HaltRequested) == []
    ends_well(place, 2)
    proof.count("signals")


QUESTIONS: dict[str, tuple[int, ...]] = {
    "close": (129, 3),
    "key": (130,),
    "kill": (143,),
    "twice": (129, 130),
}


def test_a_question_that_is_open_does_not_hold_it(tmp_path: Path, proof: Proof) -> None:
    for how, codes in list(QUESTIONS.items())[: proof.pick(1, 4)]:
        with fresh(tmp_path / how) as place:
            one = Driven(place, "run", "--step", place.write(WORKING), terminal=True)
            one.says("Start a")
            if how == "close":
                one.close()
            else:
                one.press(SIGTERM if how == "kill" else SIGINT)
                if how == "twice":
                    with contextlib.suppress(ProcessLookupError):  # it may have gone already
                        one.press(SIGHUP)
            assert one.finish() in codes
            assert place.lines() == []
            place.nothing_left()
        proof.count("signals")


def test_the_picture_follows_the_width_and_hides_nothing(place: Place, proof: Proof) -> None:
    one = driven(place, "run", terminal=True)
    one.says("running")
    for columns in proof.pick([20], [60, 20, 132]):
        one.resize(columns)
        seen = len(one.data)
        until(lambda seen=seen: len(one.data) > seen, "drawn again")  # type: ignore[misc]
    one.press(Signals.SIGKILL)
    assert one.finish() == -9  # which also looks for a hidden cursor
    ends_well(place, 2)
    proof.count("signals", 4)


def test_a_terminal_that_is_held_holds_nothing_else(place: Place, proof: Proof) -> None:
    """Ctrl-S, or a connection that stands still: the run goes on, and what was to be shown is not."""
    one = driven(place, "run", terminal=True)
    one.says("running")
    one.type(b"\x13")
    place.go()
    until(lambda: place.events(ev.SupervisorStopped), "the run finished, and its supervisor gone", 15)
    one.type(b"\x11")
    assert one.finish() == 0
    assert "FINISHED" in one.text
    proof.count("injected faults")


def test_a_pager_that_nobody_turns_holds_nothing_else(place: Place, proof: Proof) -> None:
    readable, writable = os.pipe()
    room = fcntl.fcntl(writable, fcntl.F_SETPIPE_SZ, 4096)
    tasks = {f"t{number}": sh(MARKING) for number in range(room // 50)}
    process = place.start(place.write(plan_of(tasks)), stderr=writable)
    os.close(writable)
    until(lambda: place.events(ev.SupervisorStopped), "the run finished, and its supervisor gone", 15)
    os.close(readable)
    assert process.wait(20) == 0
    proof.count("injected faults")


# --- the machine goes down --------------------------------------------------------------------------------------


ORDERS = ["agents first", "supervisor first", "without supervisor"]


def shut_down(place: Place, order: str) -> None:
    process = place.start(place.write(WORKING))
    place.started("a")
    if order == "without supervisor":
        kill(process)
    for pid in sorted(place.processes(), reverse=order == "agents first"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGTERM)
    if order != "without supervisor":
        assert finish(process).code == 143
    until(lambda: not place.processes(), "all are gone")
    ends_well(place, 3)
    kinds = [(event.result.outcome.kind, event.uses_try) for event in place.events(ev.RetryScheduled)]
    assert kinds == [("interrupted", False)]


def test_a_shutdown_interrupts_and_costs_no_try(tmp_path: Path, proof: Proof) -> None:
    """As systemd does it: TERM to every process of the service, in any order."""
    for number, order in enumerate(proof.pick(ORDERS[:1], ORDERS * 8)):
        with fresh(tmp_path / str(number)) as place:
            shut_down(place, order)
        proof.count("signals")


def test_shims_keep_the_deadline_of_a_supervisor_that_is_stopped(place: Place, proof: Proof) -> None:
    plan = plan_of(
        {"a": sh(f"trap '' TERM; {MARKING} {HOLD}", timeout=0.5, grace=0.3, retry=Retry(attempts=1))}
    )
    process = place.start(place.write(plan))
    place.started("a")
    began = time.monotonic()
    process.send_signal(signal.SIGSTOP)
    until(lambda: not place.processes(attempts=True), "the agent is gone", 10)
    proof.measure(
        "tree gone after deadline, supervisor stopped", time.monotonic() - began - 0.8, "s", at_most=1.0
    )
    process.send_signal(SIGCONT)
    assert finish(process).code == 1
    assert place.task("a").past[0].result.outcome.kind == "timeout"
    proof.count("signals", 2)
