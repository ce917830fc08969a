"""Why a task does not run: one sentence, and what to type. Every state has an example here."""

from __future__ import annotations

import pytest
from build import BOOM, T0, Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Budget
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.views.derived import STATES, blocked_by, blocks
from daplug_supervisor.views.why import SENTENCES, Why, why, why_text

RESUME = "daplug-supervise resume"
RESUME_CODEX = "daplug-supervise provider resume codex"
PATIENCE = "Nothing to do: it goes on by itself, and the wait uses up no try."


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


def test_a_full_disk_is_why_nothing_is_started() -> None:
    world, lack = one(), "the disk of /x has 3.6 MiB left"
    found = why(world.run, "a", world.at, live=True, lack=lack)
    assert (found.state, found.sentence) == (
        "ready",
        f"Ready, but nothing is started, because {lack}; it starts when there is room: free some space.",
    )
    assert lack not in why(world.begin("a").run, "a", world.at, live=True, lack=lack).sentence


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
        f"Ready, but provider codex rests until 01:32:03Z (in 10m 00s): 429. {PATIENCE}",
        (),
    )
    world.retried("a", wait=900)
    assert ask(world).state == "backing_off"
    world = one()
    world.say(ev.ProviderRested("codex", world.at + 600))
    assert ask(world).sentence == f"Ready, but provider codex rests until 01:32:03Z (in 10m 00s). {PATIENCE}"


def test_pool_stopped() -> None:
    world = one().say(ev.ProviderStopped("codex", "not logged in"))
    sentence = "Ready, but provider codex is stopped: not logged in; mend what is wrong, then resume it."
    assert said(ask(world)) == ("pool_stopped", sentence, (RESUME_CODEX,))
    world = one().say(ev.ProviderStopped("codex", ""))
    assert ask(world).sentence == "Ready, but provider codex is stopped; mend what is wrong, then resume it."


def test_what_stopped_a_provider_says_what_to_do() -> None:
    shared = {name: Provider(account="acme") for name in ("codex", "high")} | {"other": Provider()}
    world = World(plan({"a": (), "b": task(provider="high"), "c": task(provider="other")}, shared))
    world.retried("c", why=result("configuration", "no CLI", 1), uses_try=False).tick(5)
    world.retried("a", why=result("auth", "401", 1), uses_try=False)
    world.say(ev.ProviderStopped("codex", "401."), ev.ProviderStopped("high", "401."))
    for name in ("codex", "high"):
        found = ask(world, "a" if name == "codex" else "b")
        assert found.sentence == (
            f"Ready, but provider {name} is stopped: 401; log in to the provider, then resume it."
        )
        assert found.next == (f"daplug-supervise provider resume {name}",)
    world.say(ev.HaltRequested("provider codex is stopped: 401", "provider"))
    assert ask(world).sentence == (
        "Halted by provider 0.0s ago, at 01:22:18Z: provider codex is stopped: 401; "
        "log in to the provider, then resume it."
    )
    assert ask(world).next == (RESUME,)


def test_pool_paused() -> None:
    world = one().say(ev.ProviderPaused("codex", None, "lunch"))
    sentence = "Ready, but provider codex is paused until a person resumes it: lunch."
    assert said(ask(world)) == ("pool_paused", sentence, (RESUME_CODEX,))
    world.say(ev.ProviderPaused("codex", world.at + 90000))
    assert ask(world).sentence == (
        "Ready, but provider codex is paused until 2026-11-22 02:22:03Z (in 1d 01h)."
    )


def test_each_wait_keeps_its_own_reason() -> None:
    world = one().say(
        ev.ProviderPaused("codex", T0 + 60, "lunch"), ev.ProviderRested("codex", T0 + 900, "429")
    )
    assert "is paused until 01:23:03Z (in 1m 00s): lunch" in ask(world).sentence
    assert "rests until 01:37:03Z (in 14m 00s): 429" in ask(world.tick(60)).sentence


def test_a_fallback_may_start_what_its_provider_cannot() -> None:
    pools = {
        "codex": Provider(fallback=("gemini", "spare")),
        "gemini": Provider(parallel=1),
        "spare": Provider(),
    }
    tasks = {"a": task(), "b": task(fallback=False), "g": task(provider="gemini")}
    world = World(plan(tasks, pools)).say(ev.ProviderRested("codex", T0 + 60, "429"))
    rests = "provider codex rests until 01:23:03Z (in 1m 00s): 429"
    assert said(ask(world)) == ("ready", f"Ready: provider gemini starts it next, because {rests}.", ())
    assert ask(world, "b").sentence == f"Ready, but {rests}; the task has fallback: false. {PATIENCE}"
    world.begin("g").say(ev.ProviderPaused("spare"))
    assert said(ask(world)) == (
        "resting",
        (
            f"Ready, but {rests}; its fallback gemini is full (1 of 1 running); "
            f"its fallback spare is paused until a person resumes it. {PATIENCE}"
        ),
        (),
    )
    world.say(ev.ProviderRested("gemini", T0 + 30))
    assert ask(world).state == "resting"
    world.say(ev.RunStarted(parallel=1), ev.ProviderResumed("spare"))
    assert ask(world).sentence == "Ready, but the run is full (1 of 1 running)."


def test_a_task_that_backs_off_waits_for_that_where_a_fallback_is_open() -> None:
    pools = {"codex": Provider(fallback=("gemini",)), "gemini": Provider()}
    world = World(plan({"a": (), "b": task(fallback=False)}, pools)).retried("a", wait=30)
    world.retried("b", wait=30).say(ev.ProviderRested("codex", T0 + 600, "429"))
    assert (ask(world).state, ask(world, "b").state) == ("backing_off", "resting")


def test_what_is_at_work_may_use_up_the_budget() -> None:
    world = World(plan({"a": (), "b": (), "c": ()}, budget=Budget(attempts=2))).retried("b").begin("c")
    assert said(ask(world)) == (
        "pool_full",
        "Ready, but what is at work may use up the run's budget (1 of 2 tries spent, 1 at work).",
        (),
    )


def test_a_spent_budget_says_to_run_the_edited_plan() -> None:
    world = one().say(ev.HaltRequested("the run's budget is spent (tries: 2 of 2): raise it", "budget"))
    assert ask(world).next == ("daplug-supervise run plan.yaml",)
    world.run.source = "run-prompt"
    assert ask(world).next == ("daplug-supervise run-prompt ... --budget ...",)


def test_pool_full() -> None:
    world = World(plan({"a": (), "b": (), "c": ()}, {"codex": Provider(parallel=2)})).begin("b").begin("c")
    assert said(ask(world)) == ("pool_full", "Ready, but provider codex is full (2 of 2 running).", ())


def test_the_run_is_full() -> None:
    world = World(plan({"a": (), "b": ()})).say(ev.RunStarted(parallel=1)).begin("b")
    assert said(ask(world)) == ("pool_full", "Ready, but the run is full (1 of 1 running).", ())


def test_one_probe_at_a_time_after_an_outage() -> None:
    world = World(plan({"a": (), "b": ()})).say(ev.ProviderRested("codex", T0 + 30, "503")).tick(30)
    assert said(ask(world)) == ("ready", "Ready: provider codex starts it next.", ())
    world.begin("b").tick(60)
    assert said(ask(world)) == (
        "pool_full",
        (
            "Ready, but provider codex was limited, and is tried with b first; "
            "more follow when it works, 01:27:33Z at the latest."
        ),
        (),
    )
    assert ask(world.tick(240)).state == "ready"


def test_halted() -> None:
    world = one().say(ev.HaltRequested("enough", "command")).tick(5)
    assert said(ask(world)) == ("halted", "Halted by command 5.0s ago, at 01:22:03Z: enough.", (RESUME,))


def test_stop_file() -> None:
    world = one()
    sentence = "Halted: there is a STOP file, so nothing is started."
    assert said(ask(world, stop_file=True)) == ("halted", sentence, (RESUME,))


def test_not_selected() -> None:
    world = World(plan({"a": (), "b": ()})).say(ev.RunStarted(("b",)))
    told = "Not selected: the latest start asked only for b."
    assert said(ask(world)) == ("not_selected", told, ("daplug-supervise run plan.yaml",))
    world.run.source = ""
    assert said(ask(world)) == ("not_selected", told, ())


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
    assert found.next == (repairs("b")[1:] if status == "cancelled" else repairs("b"))


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
        repairs("a")[1:],
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


def test_without_a_supervisor_the_rest_of_a_provider_is_told_too() -> None:
    world = World(plan({"a": ()}))
    world.say(ev.ProviderRested("codex", world.at + 3600, "usage limit"))
    found = why(world.run, "a", world.at, live=False)
    assert found.sentence.startswith(
        "Ready, but no supervisor drives the run; and provider codex rests until "
    )
    assert found.sentence.endswith("usage limit.")
