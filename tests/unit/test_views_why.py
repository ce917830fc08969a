"""Why a task does not run: one sentence, and what to type. Every state has an example here."""

from __future__ import annotations

import pytest
from build import BOOM, Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.machine import Status
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.views.derived import STATES, blocked_by, blocks
from daplug_supervisor.views.why import SENTENCES, Why, why, why_text

RESUME = "daplug-supervise resume"


def repairs(name: str) -> tuple[str, ...]:
    return (
        f"daplug-supervise task logs {name}",
        f"daplug-supervise task retry {name}",
        f"daplug-supervise task skip {name} --reason ...",
    )


def ask(world: World, name: str = "a", *, live: bool = True, stop_file: bool = False) -> Why:
    return why(world.run, name, world.at, live=live, stop_file=stop_file)


def one(**more: object) -> World:
    return World(plan({"a": task(title="A", **more)}))


def said(found: Why) -> tuple[str, str, tuple[str, ...]]:
    return found.state, found.sentence, found.next


def test_every_state_has_a_sentence() -> None:
    assert set(SENTENCES) == set(STATES)


def test_ready() -> None:
    assert said(ask(one())) == ("ready", "Ready: provider codex starts it next.", ())


def test_no_supervisor() -> None:
    world = one()
    assert said(ask(world, live=False)) == (
        "waiting_for_supervisor",
        "Ready, but no supervisor drives the run.",
        (RESUME,),
    )
    assert ask(World(plan({"a": ()}), started=False), live=False).sentence == (
        "Ready, but the run has not been started."
    )
    world.retried("a", wait=24)
    assert ask(world, live=False).sentence == (
        "Backing off until 01:22:32Z, tried 1 of 3 (exit code 1: boom); no supervisor drives the run."
    )


def test_backing_off() -> None:
    world = one().retried("a", wait=24)
    assert said(ask(world)) == (
        "backing_off",
        "Backing off: tried 1 of 3 (exit code 1: boom); tries again in 24s, at 01:22:32Z.",
        (),
    )
    world.tick(24)
    assert ask(world).state == "ready"


def test_resting() -> None:
    world = one()
    world.say(ev.ProviderRested("codex", world.at + 600, "429"))
    assert said(ask(world)) == (
        "resting",
        "Ready, but provider codex rests (429); it takes tasks again in 10m 00s, at 01:32:03Z.",
        (),
    )
    world.retried("a", wait=900)
    assert ask(world).state == "backing_off"
    world = one()
    world.say(ev.ProviderRested("codex", world.at + 600))
    assert ask(world).sentence.startswith("Ready, but provider codex rests; it")


def test_pool_stopped() -> None:
    world = one().say(ev.ProviderStopped("codex", "not logged in"))
    sentence = "Ready, but provider codex is stopped (not logged in) until a person resumes it."
    assert said(ask(world)) == ("pool_stopped", sentence, (RESUME,))
    world = one().say(ev.ProviderStopped("codex", ""))
    assert ask(world).sentence == "Ready, but provider codex is stopped until a person resumes it."


def test_pool_full() -> None:
    world = World(plan({"a": (), "b": (), "c": ()}, {"codex": Provider(parallel=2)})).begin("b").begin("c")
    assert said(ask(world)) == ("pool_full", "Ready, but provider codex is full (2 of 2 running).", ())


def test_the_run_is_full() -> None:
    world = World(plan({"a": (), "b": ()})).say(ev.RunStarted(parallel=1)).begin("b")
    assert said(ask(world)) == ("pool_full", "Ready, but the run is full (1 of 1 running).", ())


def test_one_probe_at_a_time_after_an_outage() -> None:
    world = (
        World(plan({"a": (), "b": ()}))
        .retried("b", why=result("outage", "503", 1), uses_try=False)
        .begin("b")
    )
    assert world.run.pools["codex"].probing
    assert said(ask(world)) == (
        "pool_full",
        "Ready, but after an outage provider codex takes one task at a time.",
        (),
    )


def test_halted() -> None:
    world = one().say(ev.HaltRequested("enough", "command")).tick(5)
    assert said(ask(world)) == ("halted", "Halted by command 5.0s ago, at 01:22:03Z: enough.", (RESUME,))


def test_stop_file() -> None:
    world = one()
    sentence = "Halted: there is a STOP file, so nothing is started."
    assert said(ask(world, stop_file=True)) == ("halted", sentence, (RESUME,))


def test_not_selected() -> None:
    world = World(plan({"a": (), "b": ()})).say(ev.RunStarted(("b",)))
    assert said(ask(world)) == ("not_selected", "Not selected: the latest start asked only for b.", (RESUME,))


# --- blocked ------------------------------------------------------------------------------------------------


def test_waits_for_what_runs() -> None:
    world = World(plan({"a": ("b", "c"), "b": (), "c": ("d",), "d": ()})).begin("b").begin("d")
    assert said(ask(world)) == ("blocked", "Waits for b (running) and c (blocked); first comes d.", ())


def test_waits_for_what_waits() -> None:
    world = World(plan({"a": ("b",), "b": ()})).retried("b", wait=60)
    assert said(ask(world)) == ("blocked", "Waits for b (backing off).", ("daplug-supervise task why b",))
    assert said(ask(world, live=False)) == (
        "blocked",
        "Waits for b (backing off); no supervisor drives the run.",
        ("daplug-supervise task why b", RESUME),
    )
    assert ask(world, stop_file=True).sentence == "Waits for b (backing off); the run is halted."


def test_needs_that_are_met_are_not_named() -> None:
    world = World(plan({"a": ("b", "c"), "b": (), "c": ()})).done("b").begin("c")
    assert ask(world).sentence == "Waits for c (running)."


@pytest.mark.parametrize("status", ["failed", "stuck", "cancelled"])
def test_blocked_by_a_dead_task(status: str) -> None:
    world = World(plan({"a": ("b",), "b": ()}))
    if status == "cancelled":
        world.say(ev.TaskCancelled("b"))
    elif status == "stuck":
        world.stuck("b")
    else:
        world.failed("b")
    found = ask(world)
    assert (found.state, found.sentence) == ("blocked", f"Blocked by {status} task b.")
    assert found.next == (("daplug-supervise task retry b",) if status == "cancelled" else repairs("b"))


def test_blocked_transitively_names_the_root_cause() -> None:
    world = World(plan({"a": ("b",), "b": ("c",), "c": ("d", "e"), "d": (), "e": ()}))
    world.failed("d").stuck("e").say(ev.RunFinished())
    assert said(ask(world)) == (
        "blocked",
        "Blocked by failed task d and stuck task e; it needs b first.",
        (*repairs("d"), RESUME),
    )


def test_blocked_by_many_names_three() -> None:
    dead = [f"x{i}" for i in range(5)]
    world = World(plan({"a": tuple(dead), **dict.fromkeys(dead, ())}))
    for name in dead:
        world.failed(name)
    assert ask(world).sentence == ("Blocked by failed task x0, failed task x1, failed task x2 and 2 more.")


def test_a_ladder_of_diamonds_is_searched_once() -> None:
    tasks: dict[str, tuple[str, ...]] = {"l0": (), "r0": ()}
    for i in range(1, 300):
        tasks |= {f"l{i}": (f"l{i - 1}", f"r{i - 1}"), f"r{i}": (f"l{i - 1}", f"r{i - 1}")}
    world = World(plan(tasks)).failed("l0")
    assert ask(world, "l299").sentence == "Blocked by failed task l0; it needs l298 and r298 first."


def test_who_blocks_whom() -> None:
    world = World(plan({"x": (), "y": (), "a": ("x",), "b": ("a", "y"), "c": ("b",), "z": ()}))
    world.failed("x").stuck("y")
    assert blocked_by(world.run) == {"a": "x", "b": "y", "c": "y"}
    assert blocks(world.run, ["x", "y"], 100) == {"x": 3, "y": 2}
    assert blocks(world.run, ["x", "y"], 7) == {"x": 3}
    diamond = World(plan({"x": (), "l": ("x",), "r": ("x",), "end": ("l", "r")})).failed("x")
    assert blocks(diamond.run, ["x"], 100) == {"x": 3}


# --- at work ------------------------------------------------------------------------------------------------


def test_running() -> None:
    world = one(timeout=2700.0).begin("a").tick(250)
    assert said(ask(world)) == (
        "running",
        (
            "Running attempt 1 of 3 by provider codex for 4m 10s, since 01:22:03Z; "
            "its time is over in 40m 50s, at 02:07:03Z."
        ),
        ("daplug-supervise task logs a",),
    )


def test_running_later_attempts_without_a_timeout() -> None:
    world = one().retried("a").begin("a").tick(1)
    assert ask(world).sentence == ("Running attempt 2 of 3 by provider codex for 1.0s, since 01:22:08Z.")
    world = one().retried("a", uses_try=False).begin("a", spawn=False)
    assert ask(world).sentence.startswith("Running attempt 2, try 1 of 3 by provider codex for 0.0s")


def test_running_unwatched() -> None:
    found = ask(one().begin("a"), live=False)
    assert found.sentence.endswith("since 01:22:03Z; no supervisor watches it at the moment.")
    assert found.next == ("daplug-supervise task logs a", RESUME)


def test_being_cancelled() -> None:
    world = one(timeout=60.0).begin("a").say(ev.CancelRequested("a", "no"))
    assert ask(world).sentence.endswith("; it is being stopped because it was cancelled.")


def test_verifying_and_landing() -> None:
    world = one(timeout=60.0).begin("a").tick(5).say(ev.AttemptExited("a", result()))
    assert ask(world).sentence == "Verifying attempt 1 of 3 by provider codex for 0.0s, since 01:22:08Z."
    world.tick(2).say(ev.VerificationPassed("a"))
    assert ask(world).sentence == "Landing attempt 1 of 3 by provider codex for 0.0s, since 01:22:10Z."


def test_reviewing() -> None:
    world = one().begin("a").say(ev.AttemptExited("a", result()))
    world.run.tasks["a"].status = Status.REVIEWING  # no event leads there yet
    assert said(ask(world)) == (
        "reviewing",
        "Waits for a person's review since 01:22:03Z, tried 1 of 3.",
        ("daplug-supervise task approve a", "daplug-supervise task reject a --reason ..."),
    )


def test_delegated() -> None:
    world = one().begin("a").say(ev.Delegated("a")).tick(3)
    sentence = "Delegated 3.0s ago, at 01:22:03Z: it waits for its children and needs no slot."
    assert said(ask(world)) == ("delegated", sentence, ())


# --- ended --------------------------------------------------------------------------------------------------


def test_done() -> None:
    world = one().retried("a").done("a", seconds=250).tick(60)
    assert said(ask(world)) == (
        "done",
        "Done 1m 00s ago, at 01:26:18Z, by provider codex in 4m 10s (attempt 2).",
        (),
    )


def test_adopted() -> None:
    world = one().say(ev.TaskAdopted("a", "its box is ticked"))
    assert ask(world).sentence == "Was done already 0.0s ago, at 01:22:03Z: its box is ticked."
    assert ask(one().say(ev.TaskAdopted("a"))).sentence == "Was done already 0.0s ago, at 01:22:03Z."


def test_failed() -> None:
    world = one().retried("a").retried("a").failed("a").tick(300)
    assert said(ask(world)) == (
        "failed",
        (
            "Failed 5m 00s ago, at 01:22:18Z, tried 3 of 3 (exit code 1: boom): "
            "read the log, mend the cause, then retry the task."
        ),
        repairs("a"),
    )
    assert ask(world, live=False).next == (*repairs("a"), RESUME)


def test_failed_for_good_needs_force() -> None:
    found = ask(one().failed("a", result("plan_error", "no prompt 012", 2)))
    assert found.sentence == (
        "Failed 0.0s ago, at 01:22:08Z, tried 1 of 3 (plan error: no prompt 012): "
        "mend the plan or the prompt, then run it."
    )
    assert found.next[1] == "daplug-supervise task retry a --force"


@pytest.mark.parametrize(
    ("why_not", "words"),
    [
        (result("failed", "", 3), "(exit code 3)"),
        (result("failed", "", None), "(failed)"),
        (result("failed", "", None, error="no such program"), "(no such program)"),
        (result("max_iterations", "", 0), "(max iterations)"),
        (result("timeout", "no end after 45m", -15), "(timeout: no end after 45m)"),
    ],
)
def test_outcomes_in_words(why_not: object, words: str) -> None:
    assert words in ask(one().failed("a", why_not)).sentence  # type: ignore[arg-type]


def test_a_failure_without_remedy_or_result() -> None:
    world = one().failed("a", result("interrupted", "", None))
    assert ask(world).sentence.endswith("tried 0 of 3 (interrupted).")
    world.run.tasks["a"].past = ()  # cannot happen, and must not break a status
    assert ask(world).sentence.endswith("tried 0 of 3.")


def test_stuck() -> None:
    world = one().stuck("a", remedy="remove what blocks the agent, then retry")
    assert said(ask(world)) == (
        "stuck",
        (
            "Stuck since 01:22:08Z, tried 1 of 3 (blocked: needs a decision): "
            "remove what blocks the agent, then retry."
        ),
        repairs("a"),
    )
    assert ask(one().stuck("a", BOOM)).sentence.endswith("(exit code 1: boom): a person must decide.")


def test_cancelled_and_skipped() -> None:
    world = one().say(ev.TaskCancelled("a", "not wanted"))
    assert said(ask(world)) == (
        "cancelled",
        "Cancelled 0.0s ago, at 01:22:03Z: not wanted; its dependents stay blocked.",
        ("daplug-supervise task retry a",),
    )
    world = one().say(ev.TaskSkipped("a"))
    assert said(ask(world)) == (
        "skipped",
        "Skipped 0.0s ago, at 01:22:03Z; its dependents go on without it.",
        (),
    )


# --- the rest -----------------------------------------------------------------------------------------------


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotPossibleError, match="did you mean"):
        ask(World(plan({"oauth-api": ()})), "oauth-apo")


def test_text() -> None:
    world = one().failed("a", result("failed", "\x1b[31mboom\n" + "very " * 20 + "long", 1))
    assert why_text(ask(world), 60).splitlines() == [
        "a: Failed 0.0s ago, at 01:22:08Z, tried 1 of 3",
        "(\\x1b[31mboom\\nvery very very very very very very very very",
        "very very very very very very very very very very very",
        "long): read the log, mend the cause, then retry the task.",
        "  daplug-supervise task logs a",
        "  daplug-supervise task retry a",
        "  daplug-supervise task skip a --reason ...",
    ]
