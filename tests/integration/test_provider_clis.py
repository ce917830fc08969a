"""The worker `cli` through the whole supervisor, with programs that print what the real CLIs printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli import Place, opened, plan_of

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Loop, Provider, Retry, Task
from daplug_supervisor.core.results import Outcome

place = pytest.fixture(opened)

CAPTURED = Path(__file__).parents[1] / "captured"

PROGRAM = """#!/bin/sh
mkdir -p seen; cat > "seen/$DAPLUG_TASK"; echo "$*" > "seen/$DAPLUG_TASK.args"
n=1; while ! mkdir "seen/$DAPLUG_TASK.$n" 2>/dev/null; do n=$((n + 1)); done
said={folder}; if [ ! -e "$said/$n.code" ]; then n=last; fi
cat "$said/$n.out"; cat "$said/$n.err" >&2
exit "$(cat "$said/$n.code")"
"""
"""Notes its prompt and its arguments, and plays back: the first time 1, the second time 2, then the last one."""


@pytest.fixture
def clis(place: Place) -> Path:
    """A directory that stands first on the PATH."""
    folder = place.home / "bin"
    folder.mkdir()
    place.environ["PATH"] = f"{folder}:{place.environ['PATH']}"
    return folder


def plays(clis: Path, name: str, *scenarios: str, instead: tuple[str, str] = ("", "")) -> None:
    """Put a program there that plays back captured runs one after the other."""
    folder = clis.parent / f"said-{name}"
    folder.mkdir()
    for number, scenario in enumerate(scenarios, 1):
        run = json.loads((CAPTURED / name / f"{scenario}.json").read_text())
        for turn in (number, "last"):
            (folder / f"{turn}.out").write_text(run["stdout"].replace(*instead))
            (folder / f"{turn}.err").write_text(run["stderr"])
            (folder / f"{turn}.code").write_text(str(run["exit"]))
    program = clis / name
    program.write_text(PROGRAM.replace("{folder}", str(folder)))
    program.chmod(0o755)


def task(provider: str) -> Task:
    return Task(
        instructions="--do it\nin two lines",
        provider=provider,
        retry=Retry(attempts=2, backoff=0.02),
        loop=Loop(1),
    )


def plan(place: Place, providers: dict[str, Provider]) -> str:
    return place.write(plan_of({f"by-{name}": task(name) for name in providers}, providers))


def outcomes(place: Place, name: str) -> list[Outcome]:
    """Of all attempts at a task."""
    return [past.result.outcome for past in place.task(name).past]


def test_four_clis_get_their_prompts_and_are_understood(place: Place, clis: Path) -> None:
    names = ("codex", "opencode", "gemini", "claude")
    for name in names:
        plays(clis, name, "tool")
    ran = place.run(plan(place, {name: Provider(worker="cli", model=name) for name in names}), "--quiet")
    assert ran.code == 0, ran
    for name in names:
        assert (place.target / "seen" / f"by-{name}").read_text() == "--do it\nin two lines"
        assert "do it" not in (place.target / "seen" / f"by-{name}.args").read_text()
        (outcome,) = outcomes(place, f"by-{name}")
        assert outcome.claim is not None
        assert str(outcome.claim["text"]).startswith("Done by the mock model.")
        assert outcome.usage is not None
        assert (outcome.usage.tokens or 0) > 2000
    place.nothing_left()


def test_a_limit_with_a_time_is_waited_for_and_costs_no_try(place: Place, clis: Path) -> None:
    plays(clis, "claude", "429", "tool", instead=("try again in 2s", "try again in 1s"))
    ran = place.run(plan(place, {"claude": Provider(worker="cli", model="claude")}), "--quiet")
    assert ran.code == 0, ran
    first, second = outcomes(place, "by-claude")
    assert first.kind == "rate_limited"
    assert first.retry_at is not None
    assert second.kind == "completed"
    assert place.task("by-claude").tries == 1


def test_a_tool_that_was_denied_is_no_success(place: Place, clis: Path) -> None:
    plays(clis, "claude", "denied")
    ran = place.run(plan(place, {"claude": Provider(worker="cli", model="claude")}), "--quiet")
    assert ran.code == 1, ran
    found = outcomes(place, "by-claude")[0]
    assert found.kind == "unverified"
    assert found.detail == "the agent was denied what it asked for: Write"


def test_a_cli_that_is_not_there_is_said_before_anything_starts(place: Place) -> None:
    place.environ["PATH"] = str(place.home)
    named = plan(place, {"x": Provider(worker="cli", model="nobody/has-it", cli="opencode")})
    ran = place.run(named)
    assert ran.code == 2
    assert "opencode is not installed; get it with: npm install -g opencode-ai" in ran.err
    assert not place.events(ev.AttemptStarted)


def test_doctor_says_which_are_there(place: Place, clis: Path) -> None:
    plays(clis, "codex", "tool")
    found = {one["about"]: one for one in place.run("doctor", "--json").json()}
    assert (found["codex"]["level"], found["codex"]["message"]) == ("ok", str(clis / "codex"))
    assert {"opencode", "gemini", "claude"} < set(found)
