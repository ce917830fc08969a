"""What tasks will take, whether they are simple, and what everything waits for: D2, D3, D17."""

from __future__ import annotations

from build import plan, task

from daplug_supervisor.core.plan import Plan, Provider, Task
from daplug_supervisor.views.plan.estimate import complexity, estimate, minutes
from daplug_supervisor.views.plan.preview import check
from daplug_supervisor.views.plan.text import check_text

LIMITS = {"codex": 2}


def sub(*needs: str, at: float | None = 600.0, **more: object) -> Task:
    return task(*needs, estimate=at, **more)


def auth() -> dict[str, Task]:
    return {
        "design": sub(owner="development", estimate_tokens=5000),
        "backend": sub("design", at=1800.0, owner="development", estimate_tokens=18_000),
        "frontend": sub("design", at=1500.0, owner="development"),
        "tests": sub("backend", "frontend"),
        "audit": sub("tests", owner="security"),
        "docs": sub("audit"),
    }


def test_what_the_six_tasks_take() -> None:
    found = estimate(auth(), LIMITS)
    assert (found.shortest, found.longest) == (4200.0, 4200.0)
    assert (found.subtasks, found.workers, found.at_once, found.parallel) == (6, 6, 2, True)
    assert (found.tokens, found.tokens_unknown, found.unknown) == (23_000, 4, 0)
    assert found.owners == ("development", "security")
    assert found.bottlenecks == (
        "stage 1: all 5 other tasks wait for design",
        "stage 3: tests must wait for backend and frontend, and all 2 tasks after it wait for tests",
        "stage 4: audit must wait for tests, and the task after it waits for audit",
    )


def test_few_places_make_it_longer_and_are_a_bottleneck() -> None:
    found = estimate(auth(), {"codex": 1})
    assert (found.shortest, found.longest, found.at_once) == (4200.0, 5700.0, 1)
    assert found.bottlenecks[-1] == "provider codex: 1 place for up to 2 tasks at once"
    wide = {name: sub() for name in "abc"}
    other = {**wide, "d": sub(provider="local")}
    assert estimate(other, {"codex": 1, "local": 1}).longest == 1800.0
    assert estimate(wide, {}).longest == 1800.0, "a provider that is not known has one place"


def test_priorities_and_long_chains_go_first() -> None:
    specs = {"short": sub(at=60.0), "long": sub(at=60.0), "behind": sub("long", at=600.0)}
    assert estimate(specs, {"codex": 1}).longest == 720.0
    assert estimate({**specs, "short": sub(at=60.0, priority=1)}, {"codex": 1}).longest == 720.0
    two = {"a": sub(at=60.0), "b": sub(at=60.0, priority=1), "c": sub("a", at=600.0, provider="local")}
    assert estimate(two, {"codex": 1, "local": 1}).longest == 720.0


def test_barriers_make_it_longer() -> None:
    specs = {"a": sub(at=60.0), "b": sub(at=600.0), "c": sub("a", at=600.0)}
    assert estimate(specs, LIMITS).shortest == 660.0
    assert estimate(specs, LIMITS, barrier=True).shortest == 1200.0
    assert estimate({}, LIMITS, barrier=True).at_once == 0


def test_what_nobody_knows_is_said_to_be_unknown() -> None:
    found = estimate({"a": sub(at=None), "b": sub("a")}, LIMITS)
    assert (found.unknown, found.shortest) == (1, 600.0)
    assert minutes(found.shortest, found.longest, found.unknown) == "at least 10 minutes"
    none = estimate({"a": sub(at=None)}, LIMITS)
    assert (none.shortest, none.longest, none.tokens) == (None, None, None)
    assert minutes(none.shortest, none.longest) == "unknown"
    assert minutes(1.0, 1.0) == "1 minute"
    assert minutes(3900.0, 5400.0) == "65-90 minutes"


def test_bottlenecks_are_where_nothing_else_can_go_on() -> None:
    around = {"a": sub(), "b": sub("a"), "c": sub("b"), "beside": sub(), "end": sub("c", "beside")}
    assert estimate(around, LIMITS).bottlenecks == ()
    skips = {"a": sub(), "b": sub("a"), "c": sub("a", "b")}
    assert estimate(skips, LIMITS).bottlenecks[1] == (
        "stage 2: b must wait for a, and the task after it waits for b"
    )
    assert estimate({"a": sub(), "b": sub("a")}, LIMITS).bottlenecks == (
        "stage 1: the other task waits for a",
    )
    chain = {f"t{at}": sub(*([f"t{at - 1}"] if at else [])) for at in range(9)}
    assert estimate(chain, LIMITS).bottlenecks[-1] == "3 more stages of one task each"


def test_simple_is_one_owner_few_files_no_dependencies_and_half_an_hour() -> None:
    simple = sub(at=1800.0, owner="security", files=("a", "b", "c"), estimate_tokens=20_000)
    assert complexity({}, None, of=simple).kind == "simple"
    assert complexity({"a": simple}, 1800.0).reasons == ()


def test_every_reason_makes_it_complex() -> None:
    def why(spec: Task, **parts: Task) -> tuple[str, ...]:
        found = complexity(parts, None, of=spec)
        assert found.kind == "complex"
        return found.reasons

    assert why(sub("other")) == ("depends on 1 other task",)
    assert why(sub(at=1860.0)) == ("over 30 minutes (31 minutes)",)
    assert why(sub(estimate_tokens=20_001)) == ("over 20000 tokens (20001)",)
    assert why(sub(files=("a", "b", "c", "d"))) == ("4 files",)
    assert why(sub(owner="development"), part=sub(owner="security")) == (
        "several owners: development and security",
    )
    assert why(sub(), a=sub(), b=sub("a")) == ("2 stages one after another",)
    assert why(sub(), a=sub(estimate_tokens=12_000), b=sub(estimate_tokens=12_000)) == (
        "over 20000 tokens (24000)",
    )
    assert complexity(auth(), 4200.0).reasons == (
        "several owners: development and security",
        "5 stages one after another",
        "over 30 minutes (70 minutes)",
        "over 20000 tokens (23000)",
    )


def shown(of: Plan) -> str:
    return check_text(check(of), 100)


def test_check_says_it() -> None:
    text = shown(plan(auth(), {"codex": Provider(parallel=1)}, stages="barrier"))
    assert "  time           70-95 minutes, at most 1 at once\n" in text
    assert "  tokens         23000 (4 tasks without estimate_tokens)\n" in text
    assert "Stages (barriers: a stage begins when all before it are done)\n" in text
    assert "Bottlenecks\n  stage 1: all 5 other tasks wait for design\n" in text
    bare = shown(plan({"a": (), "b": ()}))
    assert "  time " not in bare
    assert "Bottlenecks" not in bare


def test_a_part_is_in_the_stage_of_its_whole() -> None:
    found = check(plan({"a": (), "b": sub(parent="a"), "c": sub("a")}))
    assert found.stages == (("a", "b"), ("c",))
    assert found.complexity is not None
    assert found.complexity.kind == "complex"
