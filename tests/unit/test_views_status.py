"""Where a run stands: data, text at a glance, one line."""

from __future__ import annotations

import json

import msgspec
from build import T0, Plan, Provider, Task, World, plan, result, task, used

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Budget
from daplug_supervisor.core.results import Usage
from daplug_supervisor.views.rows import HaltRow
from daplug_supervisor.views.status import RunStatus, status
from daplug_supervisor.views.status_text import status_line, status_text
from daplug_supervisor.views.usage import BudgetRow


def busy() -> World:
    """A run in which everything is going on at once."""
    providers = {
        "codex": Provider(parallel=2, fallback=("opencode",)),
        "opencode": Provider(parallel=3),
        "gemini": Provider(parallel=1),
    }
    tasks = {
        "oauth-db": task(title="Schema"),
        "oauth-api": task("oauth-db", title="API endpoints for the whole OAuth dance", timeout=2700.0),
        "oauth-ui": task("oauth-api", title="Login page", provider="gemini"),
        "lint": task(title="Lint"),
        "bench": task(title="Bench \x1b[31m"),
        "review": task(title="Security review", provider="gemini"),
        "notes": task("review", "oauth-ui", title="Notes"),
        "perf": task(title="Profile", provider="opencode"),
        "audit": task(title="Audit", provider="gemini"),
    }
    world = World(plan(tasks, providers))
    world.tick(60).done("oauth-db", seconds=125).begin("oauth-api").tick(250).retried("lint", wait=24)
    world.failed("bench", result("crashed", "killed by signal 9: out of memory", -9))
    world.stuck("review", remedy="remove what blocks the agent, then retry")
    world.say(ev.ProviderRested("opencode", world.at + 600, "429 Too Many Requests"))
    return world.say(ev.ProviderStopped("gemini", "not logged in")).tick(10)


def view(world: World, *, live: bool = True) -> RunStatus:
    return status(world.run, world.at, live)


GLANCE = """\
Run r1 of plan add-oauth: RUNNING
1 task at work; stopped: provider gemini; resting: provider opencode.
[##..................] 11.1%
1 of 9 done, stage 1 of 4, 1 at work, 1 failed, 1 stuck, 5 waiting (2 ready, 1
backing off, 2 blocked)
submitted 2026-11-21 01:22:03Z, 7m 40s in all
used unknown (none of 4 attempts reports it)

At work
  task       status   attempt   for     time left  title
  oauth-api  running  #1 codex  4m 35s  40m 25s    API endpoints for the whole …

Providers
  provider  running  ready  backing off  state
  codex     1 of 2   0      1            open
  opencode  0 of 3   1      0            resting
  gemini    0 of 1   1      0            STOPPED
  opencode rests until 01:39:33Z (in 9m 50s): 429 Too Many Requests.
  gemini is stopped: not logged in; mend what is wrong, then resume it.

Needs a person
  bench (Bench \\x1b[31m)
    Failed 15s ago, at 01:29:28Z, tried 1 of 3 (crashed: killed by signal 9: out
    of memory): read the log, mend the cause, then retry the task.
      daplug-supervise task logs bench
      daplug-supervise task retry bench
      daplug-supervise task skip bench --reason ...
  review (Security review)
    Stuck since 01:29:33Z, tried 1 of 3 (blocked: needs a decision): remove what
    blocks the agent, then retry. Blocks 1 task.
      daplug-supervise task logs review
      daplug-supervise task retry review
      daplug-supervise task skip review --reason ...

Next
  daplug-supervise provider resume gemini"""


def test_at_a_glance() -> None:
    text = status_text(view(busy()))
    assert text == GLANCE
    assert max(map(len, text.splitlines())) <= 80


def test_one_line() -> None:
    assert status_line(view(busy())) == (
        "r1 running: 1 of 9 done, stage 1 of 4, 1 at work, 1 failed, 1 stuck, "
        "5 waiting (2 ready, 1 backing off, 2 blocked)"
    )


def test_data() -> None:
    world = busy()
    found = json.loads(msgspec.json.encode(view(world)))
    assert found["run"] == "r1"
    assert found["plan"] == "add-oauth"
    assert (found["total"], found["progress_percent"], found["stage"], found["stages"]) == (9, 11.1, 1, 4)
    counts = found["counts"]
    assert (
        counts["pending"]
        == counts["ready"] + counts["backing_off"] + counts["blocked"] + counts["not_selected"]
    )
    assert [row["name"] for row in found["providers"]] == ["codex", "opencode", "gemini"]
    assert found["providers"][1] == {
        "name": "opencode",
        "running": 0,
        "limit": 3,
        "ready": 1,
        "waiting": 0,
        "closed_until": T0 + 1050,
        "probing": True,
        "stopped": False,
        "reason": "429 Too Many Requests",
        "state": "resting",
        "probe": "",
        "sentence": "opencode rests until 01:39:33Z (in 9m 50s): 429 Too Many Requests",
        "used": None,
    }
    assert found["running"] == [
        {
            "task": "oauth-api",
            "title": "API endpoints for the whole OAuth dance",
            "status": "running",
            "attempt": 1,
            "provider": "codex",
            "since": T0 + 185,
            "elapsed": 275.0,
            "deadline": T0 + 185 + 2700,
        }
    ]
    assert [(row["task"], row["blocks"]) for row in found["attention"]] == [("bench", 0), ("review", 1)]
    assert found["attention"][0]["title"] == "Bench \x1b[31m"
    assert found["halt"] is None
    assert (found["submitted_at"], found["started_at"], found["starts"], found["elapsed"]) == (
        T0,
        T0,
        1,
        460.0,
    )
    assert found["last_update"] == T0 + 450


# --- states -------------------------------------------------------------------------------------------------


def two() -> Plan:
    return plan({"a": (), "b": ("a",)})


def test_not_started() -> None:
    found = view(World(two(), started=False), live=False)
    assert (found.state, found.sentence) == ("waiting", "The run has not been started.")
    assert found.next == ("daplug-supervise resume",)
    assert found.started_at is None


def test_between_decisions() -> None:
    found = view(World(two()))
    assert (found.state, found.next) == ("waiting", ())
    assert found.sentence == "Nothing is at work: the supervisor is about to decide."


def test_waiting_says_for_what() -> None:
    tasks: dict[str, Task | tuple[str, ...]] = {"a": (), "b": (), "c": ()}
    tasks |= {"d": task(provider="opencode"), "e": task(parent="b")}
    world = World(plan(tasks, TWO_PROVIDERS))
    world.retried("a", wait=24).begin("b").say(ev.Delegated("b")).begin("c").say(
        ev.AttemptExited("c", result()), ev.ReviewRequested("c")
    )
    world.say(ev.ProviderRested("codex", world.at + 60, "429"), ev.ProviderStopped("opencode", "no login"))
    found = view(world)
    assert found.sentence == (
        "Nothing is at work: provider codex rests until 01:23:08Z (in 1m 00s): 429; "
        "provider opencode is stopped: no login; mend what is wrong, then resume it; "
        "1 task backing off, tried again in 24s, at 01:22:32Z; "
        "1 task waiting for a person's review; 1 task delegated."
    )
    assert found.next == ("daplug-supervise provider resume opencode",)
    assert [row.task for row in found.attention] == ["c"]
    assert status_line(found).endswith("5 waiting (2 ready, 1 backing off, 1 reviewing, 1 delegated)")


TWO_PROVIDERS = {"codex": Provider(), "opencode": Provider()}


def test_halting_then_halted() -> None:
    world = World(two()).begin("a").tick(5)
    world.say(ev.HaltRequested("STOP file found", "stop_file", ("a",))).tick(3)
    found = view(world)
    assert (found.state, found.next) == ("halting", ("daplug-supervise resume",))
    assert found.sentence == (
        "Halt requested by stop file 3.0s ago, at 01:22:08Z: STOP file found; 1 task still at work."
    )
    world.say(ev.RetryScheduled("a", result("interrupted")), ev.Halted()).tick(60)
    found = view(world, live=False)
    assert (found.state, found.next) == ("halted", ("daplug-supervise resume",))
    assert found.sentence == "Halted by stop file 1m 00s ago, at 01:22:11Z: STOP file found."
    assert found.halt == HaltRow(T0 + 5, "stop_file", "STOP file found", T0 + 8, ("a",))
    assert found.elapsed == 8.0


def test_interrupted() -> None:
    world = World(two()).begin("a").say(ev.HaltRequested("x", "signal"))
    found = view(world, live=False)
    assert (found.state, found.next) == ("interrupted", ("daplug-supervise resume",))
    assert found.sentence == (
        "The run is not finished, and no supervisor drives it; 1 task had a slot when last heard of."
    )
    idle = view(World(two()), live=False)
    assert idle.sentence == "The run is not finished, and no supervisor drives it."


def test_all_done() -> None:
    world = World(two()).done("a", "b").say(ev.RunFinished()).tick(100)
    found = view(world, live=False)
    assert (found.state, found.sentence, found.next) == (
        "finished",
        "All tasks are done.",
        ("daplug-supervise report",),
    )
    assert (found.progress_percent, found.stage, found.stages, found.elapsed) == (100.0, 2, 2, 10.0)
    assert status_text(found) == (
        "Run r1 of plan add-oauth: FINISHED\n"
        "All tasks are done.\n"
        "[####################] 100%\n"
        "2 of 2 done, stage 2 of 2, 0 at work, 0 waiting\n"
        "submitted 2026-11-21 01:22:03Z, finished 2026-11-21 01:22:13Z, 10s in all\n"
        "used unknown (none of 2 attempts reports it)\n"
        "\n"
        "Providers\n"
        "  provider  running  ready  backing off  state\n"
        "  codex     0 of 2   0      0            open\n"
        "\n"
        "Next\n"
        "  daplug-supervise report"
    )


def test_done_and_skipped() -> None:
    world = World(two()).done("a").say(ev.TaskSkipped("b", "later"), ev.RunFinished())
    assert view(world).sentence == "All tasks are 1 done and 1 skipped."


def test_finished_with_failures() -> None:
    world = World(two()).failed("a").say(ev.RunFinished())
    found = view(world)
    assert found.sentence == "Nothing more can happen by itself: 1 failed and 1 blocked."
    assert found.next[1] == "daplug-supervise task retry a"
    assert found.next[-1] == "daplug-supervise report"


def test_started_again() -> None:
    world = World(two()).tick(3600).say(ev.RunStarted(("a",)))
    found = view(world)
    assert found.counts["blocked"] == 1
    assert "started 2 times, last 2026-11-21 02:22:03Z, 1h 00m in all" in status_text(found).replace(
        "\n", " "
    )
    world = World(plan({"a": (), "b": ()})).say(ev.RunStarted(("a",)))
    assert view(world).counts["not_selected"] == 1
    assert "(1 ready, 1 not selected)" in status_line(view(world))


def test_probing_shows() -> None:
    world = limited(World(two()), "a", 60).tick(60)
    text = status_text(view(world))
    assert "  codex     0 of 2   1      0            probing" in text
    assert "\n  codex was limited, and is tried with one task first." in text
    text = status_text(view(world.begin("a"))).replace("\n  ", " ")
    assert "tried with a first; more follow when it works, 01:28:08Z at the latest." in text


def limited(world: World, name: str, seconds: float) -> World:
    """An attempt meets its provider's limit."""
    world.retried(name, why=result("quota", "usage limit", 1), uses_try=False)
    return world.say(ev.ProviderRested("codex", world.at + seconds, "usage limit"))


def test_a_run_that_only_waits_for_a_limit_does_not_look_hung() -> None:
    found = view(limited(World(two()), "a", 2040))
    assert (found.state, found.next) == ("waiting", ())
    assert found.sentence == (
        "Nothing is at work: provider codex rests until 01:56:08Z (in 34m 00s): usage limit. "
        "Nothing to do: it goes on by itself, and the wait uses up no try."
    )
    assert found.providers[0].closed_until == T0 + 2045


def test_a_pause_says_for_how_long() -> None:
    world = World(two()).say(ev.ProviderPaused("codex", None, "lunch"))
    found = view(world)
    assert found.sentence == "Nothing is at work: provider codex is paused until a person resumes it: lunch."
    assert found.next == ("daplug-supervise provider resume codex",)
    assert (found.providers[0].state, found.providers[0].closed_until) == ("paused", None)
    world.say(ev.ProviderPaused("codex", world.at + 7200))
    found = view(world)
    assert found.sentence == "Nothing is at work: provider codex is paused until 03:22:03Z (in 2h 00m)."
    assert (found.next, found.providers[0].closed_until) == ((), T0 + 7200)


def test_what_is_used_and_what_is_left_of_the_budget() -> None:
    world = World(plan({"a": (), "b": ()}, budget=Budget(tokens=20_000, cost=5.0, attempts=4)))
    world.retried("a", why=used(Usage(input=12_000, cached=2_000, output=345, cost=0.43))).retried("b")
    found = view(world)
    assert found.budget == BudgetRow(20_000, 5.0, 4, 12_345, 0.43, 2, True, "")
    text = status_text(found, 120)
    assert "\nused 12,345 tokens, $0.43 (1 of 2 attempts report nothing)\n" in text
    assert "\nbudget 2 of 4 tries, at least 12,345 of 20,000 tokens, at least $0.43 of $5.00\n" in text
    assert "  codex     0 of 2   2      0            open   12,345+  $0.43+" in text


def test_a_budget_that_is_spent_says_what_to_type() -> None:
    world = World(plan({"a": ()}, budget=Budget(attempts=1))).retried("a")
    world.say(ev.HaltRequested("the run's budget is spent (tries: 1 of 1): raise it", "budget"), ev.Halted())
    found = view(world)
    assert found.next == ("daplug-supervise run plan.yaml",)
    assert "\nbudget 1 of 1 try: SPENT\n" in status_text(found)
    world.run.source = "some program"
    assert view(world).next == ("daplug-supervise resume",)


def test_long_lists_are_cut() -> None:
    tasks = {f"t{i:02}": () for i in range(50)}
    world = World(plan(tasks, {"codex": Provider(parallel=30)}))
    for i in range(25):
        world.begin(f"t{i:02}")
    for i in range(25, 50):
        world.failed(f"t{i:02}")
    found = view(world)
    assert len(found.attention) == 25
    lines = status_text(found).splitlines()
    assert lines.count("  and 5 more") == 2
    assert sum(" task retry " in line for line in lines) == 3
    assert "  `daplug-supervise task why TASK` says what to type for the others" in lines


def test_a_plan_without_tasks() -> None:
    found = view(World(plan({})))
    assert (found.progress_percent, found.stage, found.stages) == (100.0, 0, 0)


def test_a_task_at_work_without_attempt_does_not_break_a_status() -> None:
    world = World(two()).begin("a")
    world.run.tasks["a"].attempt = None
    assert view(world).running[0].attempt == 0


def test_hostile_names_stay_harmless() -> None:
    world = World(plan({"a": task(title="\u202eevil\n")}, name="p\x1b[2J")).begin("a")
    text = status_text(view(world))
    assert "p\\x1b[2J" in text
    assert "\\u202eevil\\n" in text


def test_what_lasts_and_a_person_should_know_is_told() -> None:
    world = World(two()).begin("a")
    found = status(world.run, world.at, True, ["the disk of /x\x1b[2J has 0.0 MiB left"])
    assert found.notices == ("the disk of /x\x1b[2J has 0.0 MiB left",)
    assert "NOTE: the disk of /x\\x1b[2J has 0.0 MiB left" in status_text(found)
    assert "NOTE" not in status_text(view(world))
    idle = status(World(two()).run, world.at, True, ["the disk of /x has 0.0 MiB left"])
    assert idle.sentence == "Nothing is at work: see NOTE."
