"""A run in the shape of daplug's document, and what agents say beside their results."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from build import Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.core.plan import Loop
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind, Result
from daplug_supervisor.views.daplug import Place, document
from daplug_supervisor.views.report.claims import Said, claim, said, texts
from daplug_supervisor.views.report.contents import report
from daplug_supervisor.views.report.text import report_text

CLAIM: dict[str, object] = {
    "final_status": "completed",
    "iterations": 2,
    "exit_codes": [0],
    "state_file": "/home/.claude/loop-state/a.json",
    "loop_log": "/home/.claude/cli-logs/loop.log",
    "log_files": ["/logs/iter1.log", "/logs/iter2.log"],
    "suggested_next_steps": ["deploy it", "write \x1b[31mdocs"],
    "original_checkout_warnings": ["src/other.py"],
}


def prompt(path: str, **more: Any) -> Any:
    return task(instructions=None, prompt=path, **more)


def ended(world: World, name: str, claimed: dict[str, object] | None, kind: str = "completed") -> World:
    """An attempt ends with what its agent claims; only `completed` is believed."""
    world.begin(name).tick(5)
    found = Result(Outcome(OutcomeKind(kind), "why", claim=claimed), Exit(0, seconds=5.0))
    if kind != "completed":
        return world.say(ev.TaskFailed(name, found))
    return world.say(ev.AttemptExited(name, found), ev.VerificationPassed(name), ev.Landed(name))


def batch() -> World:
    specs = {
        "a": prompt("/target/prompts/001-a.md", title="A", worktree=True, base="main"),
        "b": prompt("/target/prompts/api/deep/0021-b.md", loop=Loop(5)),
        "c": prompt("/target/prompts/completed/003-c.md"),
        "d": prompt("/elsewhere/notes.md"),
        "e": prompt("/target/prompts/005-e.md"),
        "f": prompt("/target/prompts/006-f.md"),
        "g": prompt("/target/prompts/007-g.md"),
        "h": prompt("/target/prompts/12-h.md"),
    }
    world = World(plan(specs, {"codex": Provider("gpt", cli="codex", variant="high", parallel=9)}))
    ended(world, "a", CLAIM)
    ended(world, "b", {"final_status": "stalled", "exit_codes": "odd", "log_files": [3, "/l"]}, "stalled")
    ended(world, "c", None, "failed")
    ended(world, "d", {**CLAIM, "log_files": None}, "verify_failed")
    world.begin("e").say(ev.TaskCancelled("f", "no"), ev.TaskSkipped("g"))
    return world


def test_the_document_has_the_shape_of_daplugs() -> None:
    places = {"a": Place("/target/.worktrees/r1-a", "daplug/r1-a", "/out/a"), "c": Place(output="/out/c")}
    found = json.loads(msgspec.json.encode(document(batch().run, "running", "/state/report.json", places)))
    assert {key: found[key] for key in found if key != "prompts"} == {
        "repo": "target",
        "model": "gpt",
        "run": "r1",
        "state": "running",
        "halt": "",
        "report": "/state/report.json",
        "loop_mode": True,
    }
    a, b, c, d, e, f, g, h = found["prompts"]
    assert a == {
        "file": "/target/prompts/001-a.md",
        "path": "prompts/001-a.md",
        "name": "001-a.md",
        "number": "001",
        "folder": "",
        "status": "active",
        "title": "A",
        "log": "/logs/iter2.log",
        "task": "a",
        "model": "gpt",
        "cli": "codex",
        "variant": "high",
        "execution": {
            "status": "completed",
            "final_status": "completed",
            "outcome": "completed",
            "detail": "why",
            "pid": None,
            "attempts": 1,
            "state_file": CLAIM["state_file"],
            "loop_log": CLAIM["loop_log"],
            "log": "/logs/iter2.log",
            "max_iterations": 3,
            "iterations": [
                {"iteration": 1, "log_file": "/logs/iter1.log", "exit_code": 0},
                {"iteration": 2, "log_file": "/logs/iter2.log", "exit_code": None},
            ],
            "original_checkout_warnings": ["src/other.py"],
            "suggested_next_steps": ["deploy it", "write \x1b[31mdocs"],
        },
        "worktree": {
            "worktree_path": "/target/.worktrees/r1-a",
            "branch_name": "daplug/r1-a",
            "base_branch": "main",
        },
    }
    about = [(one["number"], one["folder"], one["status"], one["path"]) for one in (b, c, d, h)]
    assert about == [
        ("0021", "api/deep", "active", "prompts/api/deep/0021-b.md"),
        ("003", "completed", "completed", "prompts/completed/003-c.md"),
        ("", "", "active", "/elsewhere/notes.md"),
        ("", "", "active", "prompts/12-h.md"),
    ]
    stands = [(one["execution"]["status"], one["execution"]["final_status"]) for one in (b, c, d, e, f, g, h)]
    assert stands == [
        ("stalled", "stalled"),
        ("failed", "failed"),
        ("completed_unverified", "completed_unverified"),
        ("loop_running", None),
        ("cancelled", "cancelled"),
        ("skipped", "skipped"),
        ("pending", None),
    ]
    assert (c["log"], e["execution"]["pid"], b["execution"]["max_iterations"]) == ("/out/c", 101, 5)
    assert "worktree" not in c


def test_a_mixture_has_its_runs_beneath_the_prompt() -> None:
    path = "/target/prompts/001-a.md"
    world = World(
        plan(
            {"a-codex": prompt(path, provider="one"), "a-other": prompt(path, provider="two")},
            {"one": Provider("codex"), "two": Provider("codex", cli="opencode", variant="low")},
        )
    )
    ended(world, "a-codex", CLAIM).say(ev.HaltRequested("enough", "command"))
    places = {"a-codex": Place("/tree", "branch")}
    found = json.loads(msgspec.json.encode(document(world.run, "halted", "", places)))
    assert (found["model"], found["moa_models"], found["halt"]) == ("moa", ["codex"], "enough")
    (row,) = found["prompts"]
    first, second = row["moa"]["runs"]
    assert "worktree" not in row
    assert (first["label"], first["status"], first["worktree_path"], first["branch_name"]) == (
        "codex", "completed", "/tree", "branch",
    )  # fmt: skip
    assert (second["label"], second["cli"], second["variant"], second["status"], second["worktree_path"]) == (
        "codex-opencode", "opencode", "low", "pending", "",
    )  # fmt: skip


def test_what_agents_say_is_in_the_report() -> None:
    full = report(batch().run, 0.0)
    steps = ("deploy it", "write \x1b[31mdocs")
    assert full.said == (Said("a", steps, ("src/other.py",)), Said("d", steps, ("src/other.py",)))
    text = report_text(full)
    assert "\nNext steps that agents suggest\n  a: deploy it\n  a: write \\x1b[31mdocs\n" in text
    assert "\nChanged outside their worktrees meanwhile, as daplug saw it\n  a: src/other.py\n" in text
    assert "agents suggest" not in report_text(report(World(plan({"a": ()})).done("a").run, 0.0))


def test_of_much_that_is_said_some_is_shown() -> None:
    many: dict[str, object] = {"suggested_next_steps": [f"step {number}" for number in range(50)]}
    world = World(plan({"a": (), "b": ()}))
    ended(world, "a", many)
    ended(world, "b", many)
    text = report_text(report(world.run, 0.0))
    assert (text.count("step "), "\n  and 20 more\n" in text) == (20, True)


def test_odd_claims_say_nothing() -> None:
    world = World(plan({"a": (), "b": ()}))
    ended(world, "a", {"suggested_next_steps": "x", "original_checkout_warnings": [3, None]})
    assert said(world.run) == ()
    assert texts({"x": [1, "one", "two"]}, "x") == ("one", "two")
    assert claim(world.run.tasks["b"]) == {}
    assert result().outcome.claim is None
