"""The full road with daplug's executor: a plan over three providers, every kind of ending, also through a crash."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from cli import STANDIN, Place, Ran, kill, opened, plan_of, until

from daplug_supervisor import Loop, Plan, Provider, Retry, Task
from daplug_supervisor.core import events as ev

place = pytest.fixture(opened)

PROVIDERS = {
    "codex": Provider(parallel=2),
    "opencode": Provider(model="glm5", parallel=3),
    "gemini": Provider(parallel=1, fallback=("opencode",)),
}


def prompt(task: str, provider: str, modes: str, *needs: str, tries: int = 2, **more: object) -> Task:
    """A task for the stand-in: what each of its attempts does, separated by bars."""
    return Task(
        title=f"Do {task}",
        instructions=f"Do {task}.\n\nSTUB-ATTEMPTS: {modes}\nSTUB-COUNTER: .count-{task}\n",
        provider=provider,
        needs=needs,
        retry=Retry(attempts=tries, backoff=0.05),
        loop=Loop(1),
        grace=0.5,
        **more,  # type: ignore[arg-type]
    )


def made(*rows: tuple[object, ...], **hang: object) -> dict[str, Task]:
    return {
        str(row[0]): prompt(*row, **(hang if row[0] == "slow" else {}))  # type: ignore[arg-type]
        for row in rows
    }


TASKS = made(
    ("schema", "codex", "ok"),
    ("api", "codex", "fail 1 | ok", "schema"),
    ("slow", "codex", "hang"),
    ("late", "codex", "ok", "slow"),
    ("lint", "opencode", "blocked"),
    ("fmt", "opencode", "ok", "lint"),
    ("quiet", "opencode", "nomarker"),
    ("tidy", "opencode", "stray 60"),
    ("noise", "gemini", "garbage"),
    ("frail", "gemini", "die | ok"),
    ("moved", "gemini", "okfail 5 | ok"),
    ("all", "gemini", "ok", "api", "frail", "tidy"),
    timeout=1.0,
    tries=1,
)
PLAN = plan_of(TASKS, PROVIDERS)

STATUSES = {
    "schema": "done",
    "api": "done",
    "slow": "failed",
    "late": "pending",
    "lint": "stuck",
    "fmt": "pending",
    "quiet": "failed",
    "tidy": "done",
    "noise": "failed",
    "frail": "done",
    "moved": "done",
    "all": "done",
}
KINDS = {
    "schema": ["completed"],
    "api": ["crashed", "completed"],
    "slow": ["timeout"],
    "late": [],
    "lint": ["blocked"],
    "fmt": [],
    "quiet": ["no_result"] * 2,
    "tidy": ["completed"],
    "noise": ["no_result"] * 2,
    "frail": ["crashed", "completed"],
    "moved": ["unverified", "completed"],
    "all": ["completed"],
}


def run(place: Place, plan: Plan = PLAN) -> Ran:
    return place.run(place.write(plan), "--executor", str(STANDIN))


def kinds(place: Place) -> dict[str, list[str]]:
    return {
        name: [str(past.result.outcome.kind) for past in task.past]
        for name, task in place.folded().tasks.items()
    }


def starts(place: Place) -> dict[str, int]:
    """How often the executor was really started for each task."""
    files = {name: place.target / f".count-{name}" for name in TASKS}
    return {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}


def check_ended_as_designed(place: Place) -> None:
    assert place.statuses() == STATUSES
    assert kinds(place) == KINDS
    assert starts(place) == {name: len(of) for name, of in KINDS.items()}
    assert place.task("lint").remedy == "remove what blocks the agent, then retry"
    assert [past.provider for past in place.task("moved").past] == ["gemini", "opencode"]
    place.nothing_left()


def test_a_plan_over_three_providers_with_every_kind_of_ending(place: Place) -> None:
    ran = run(place)
    assert ran.code == 1
    check_ended_as_designed(place)
    most = place.most_at_once()
    limits = {"codex": 2, "opencode": 3, "gemini": 1, "*": 6}
    assert all(most[name] <= limit for name, limit in limits.items())
    for word in ("slow: Do slow", "lint: Do lint", "daplug-supervise task logs"):
        assert word in ran.out


def test_killed_in_the_middle_it_ends_the_same(place: Place) -> None:
    process = place.start(place.write(PLAN), "--executor", str(STANDIN))
    until(lambda: {"api", "slow"} <= {name for name, count in starts(place).items() if count}, "both at work")
    kill(process)
    pids = [event.pid for event in place.events(ev.AttemptSpawned, task="slow")]
    assert len(pids) == 1
    assert run(place).code == 1
    check_ended_as_designed(place)
    assert [event.pid for event in place.events(ev.AttemptSpawned, task="slow")] == pids


def one(mode: str, provider: str = "codex", providers: Mapping[str, Provider] = PROVIDERS) -> Plan:
    return plan_of({"a": prompt("a", provider, mode, tries=1)}, providers)


def test_a_provider_that_is_not_installed_stops_and_the_run_halts(place: Place) -> None:
    lacks = "error [Errno 2] No such file or directory: 'codex'"
    tasks = {"a": prompt("a", "codex", f"{lacks} | ok"), "b": prompt("b", "opencode", "ok")}
    ran = run(place, plan_of(tasks, PROVIDERS))
    assert ran.code == 3
    assert "provider codex is stopped: the CLI is not installed" in " ".join(ran.out.split())
    assert place.statuses() == {"a": "pending", "b": "done"}
    assert place.task("a").tries == 0
    assert place.run("resume", "--executor", str(STANDIN)).code == 0


def test_a_provider_that_is_not_logged_in_hands_over_to_its_fallback(place: Place) -> None:
    providers = {"codex": Provider(fallback=("opencode",)), "opencode": Provider(model="glm5")}
    ran = run(place, one("error codex CLI not authenticated | ok", providers=providers))
    assert ran.code == 0
    assert [past.provider for past in place.task("a").past] == ["codex", "opencode"]


@pytest.mark.parametrize(
    ("mode", "status", "kind"),
    [
        ("nothing", "failed", "no_result"),
        ("conflict", "stuck", "conflict"),
        ("subagent", "failed", "plan_error"),
        ("deaf", "failed", "timeout"),
    ],
)
def test_other_endings(place: Place, mode: str, status: str, kind: str) -> None:
    tasks = {"a": prompt("a", "codex", mode, tries=1, timeout=0.8 if mode == "deaf" else 60.0)}
    assert run(place, plan_of(tasks, PROVIDERS)).code == 1
    assert (place.task("a").status, kinds(place)["a"]) == (status, [kind])
    place.nothing_left()


def test_the_attempts_share_no_state_in_the_home_directory(place: Place) -> None:
    assert run(place, plan_of({n: prompt(n, "codex", "fail 1 | ok") for n in "ab"}, PROVIDERS)).code == 0
    names = sorted(path.name for path in (place.home / ".claude" / "loop-state").iterdir())
    assert len(names) == 4
    assert [name[0] for name in names] == ["a", "a", "b", "b"]
