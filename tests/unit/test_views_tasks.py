"""Lists of tasks, and everything about one of them."""

from __future__ import annotations

import msgspec
import pytest
from build import T0, Provider, World, plan, result, task

from daplug_supervisor.core import events as ev
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.views.task_detail import task_detail, task_text
from daplug_supervisor.views.tasks import ready_lines, tasks, tasks_text


def world() -> World:
    providers = {"codex": Provider(parallel=2), "local": Provider(worker="command", model="sh")}
    specs = {
        "db": task(title="Schema", owner="ann", labels=("sql", "core")),
        "api": task("db", "lint", title="API", timeout=2700.0),
        "lint": task(title="Lint", provider="local"),
        "bench": task(title="Bench"),
        "docs": task("bench", "api", title="Docs"),
        "hot": task(title="Hot \x1b[1m", priority=5),
        "slow": task(instructions="\nWrite it all down\nand more"),
    }
    found = World(plan(specs, providers))
    found.done("db", seconds=125).retried("lint", wait=60).failed("bench")
    return found.tick(10)


def test_rows() -> None:
    w = world()
    rows = {row.task: row for row in tasks(w.run, w.at, True)}
    assert list(rows) == list(w.run.tasks)
    assert (rows["api"].state, rows["api"].waits_for, rows["api"].held_by) == ("blocked", ("lint",), None)
    assert rows["api"].blocked_by == ("db", "lint")
    assert (rows["docs"].waits_for, rows["docs"].held_by) == (("api", "bench")[::-1], "bench")
    assert (rows["lint"].state, rows["lint"].tries, rows["lint"].max_tries) == ("backing_off", 1, 3)
    assert (rows["bench"].status, rows["bench"].attempt, rows["bench"].reason) == (
        "failed",
        1,
        "exit code 1: boom",
    )
    assert rows["slow"].title == "Write it all down"
    assert msgspec.json.decode(msgspec.json.encode(list(rows.values())))[0]["since"] == T0 + 125


def test_filters() -> None:
    w = world()

    def names(**how: object) -> list[str]:
        return [row.task for row in tasks(w.run, w.at, True, **how)]  # type: ignore[arg-type]

    assert names(ready=True) == ["hot", "slow"]
    assert names(status="failed") == ["bench"]
    assert names(status="blocked") == ["api", "docs"]
    assert names(status="pending") == ["api", "lint", "docs", "hot", "slow"]
    assert names(ready=True, status="done") == []


def test_table() -> None:
    w = world()
    assert tasks_text(tasks(w.run, w.at, True), w.at, 60) == (
        "task   state        provider  tries   for\n"
        "db     done         codex     1 of 3  20s     Schema\n"
        "api    blocked      codex             2m 25s  waits for lint\n"
        "lint   backing off  local     1 of 3  15s     Lint\n"
        "bench  failed       codex     1 of 3  10s     exit code 1: …\n"
        "docs   blocked      codex             2m 25s  blocked by be…\n"
        "hot    ready        codex             2m 25s  Hot \\x1b[1m\n"
        "slow   ready        codex             2m 25s  Write it all …"
    )
    assert tasks_text([], w.at) == "No tasks."


def test_ready_prints_one_task_a_line_first_first() -> None:
    w = world()
    assert ready_lines(w.run, w.at) == ["hot: Hot \\x1b[1m", "slow: Write it all down"]
    assert ready_lines(w.run, w.at + 60) == ["hot: Hot \\x1b[1m", "lint: Lint", "slow: Write it all down"]


def test_what_a_task_is_called() -> None:
    specs = {"p": task(prompt="012"), "c": task(instructions=None, command=("sh", "-c", "ls"))}
    w = World(plan(specs))
    assert ready_lines(w.run, w.at) == ["p: 012", "c: sh -c ls"]


# --- one task -----------------------------------------------------------------------------------------------


def test_detail() -> None:
    w = world()
    found = task_detail(w.run, "db", w.at, True)
    assert (found.worker, found.model, found.owner, found.dependents) == (
        "executor",
        "codex",
        "ann",
        ("api",),
    )
    assert (found.unmet, found.not_before, found.timeout) == ((), None, None)
    [attempt] = found.attempts
    assert (attempt.number, attempt.kind, attempt.exit_code, attempt.seconds) == (1, "completed", 0, 125.0)
    assert (attempt.cpu, attempt.max_rss, attempt.at, attempt.ended_at) == (1.5, 50 << 20, T0, T0 + 125)
    lint = task_detail(w.run, "lint", w.at, True)
    assert (lint.worker, lint.model, lint.not_before) == ("command", "sh", T0 + 190)
    with pytest.raises(NotPossibleError):
        task_detail(w.run, "nothing", w.at, True)


def test_detail_text() -> None:
    w = world().begin("lint")
    w.tick(5)
    w.say(
        ev.TaskFailed(
            "lint", result("timeout", "no end after\n5s", None, seconds=5, cpu=0.5, max_rss=3 << 30)
        )
    )
    assert task_text(task_detail(w.run, "lint", w.at, True), w.at, 80) == (
        "lint: Lint\n"
        "Failed 0.0s ago, at 01:24:33Z, tried 2 of 3 (timeout: no end after\\n5s): raise\n"
        "the task's timeout, or split it.\n"
        "\n"
        "  provider   local (worker command, model sh)\n"
        "  needed by  api\n"
        "\n"
        "  attempt  provider  started    took  cpu   memory   outcome\n"
        "  #1       local     01:24:08Z  5.0s  0.0s           failed: exit code 1: boom\n"
        "  #2       local     01:24:28Z  5.0s  0.5s  3.0 GiB  timeout: no end after\\n5s\n"
        "\n"
        "Next\n"
        "  daplug-supervise task logs lint\n"
        "  daplug-supervise task retry lint\n"
        "  daplug-supervise task skip lint --reason ..."
    )
    assert task_text(task_detail(w.run, "db", w.at, True), w.at, 80) == (
        "db: Schema\n"
        "Done 25s ago, at 01:24:08Z, by provider codex in 2m 05s (attempt 1).\n"
        "\n"
        "  provider   codex (worker executor, model codex)\n"
        "  needed by  api\n"
        "  used       unknown (the attempt does not report it)\n"
        "  owner      ann\n"
        "  labels     sql, core\n"
        "\n"
        "  attempt  provider  started    took    cpu   memory  outcome\n"
        "  #1       codex     01:22:03Z  2m 05s  1.5s  50 MiB  completed"
    )


def test_an_attempt_without_result() -> None:
    w = World(plan({"a": task(timeout=60.0)})).begin("a").tick(5)
    [running] = task_detail(w.run, "a", w.at, True).attempts
    assert (running.kind, running.ended_at) == (None, None)
    text = task_text(task_detail(w.run, "a", w.at, True), w.at)
    assert "  timeout   1m 00s" in text
    assert text.split("Next")[0].rstrip().endswith("no result yet")
    w.say(ev.TaskCancelled("a", "no"))
    [cancelled] = task_detail(w.run, "a", w.at, True).attempts
    assert (cancelled.kind, cancelled.ended_at) == (None, w.at)
    assert (
        task_text(task_detail(w.run, "a", w.at, True), w.at).split("Next")[0].rstrip().endswith("cancelled")
    )


def test_small_memory_and_no_attempts() -> None:
    w = World(plan({"a": ()}))
    assert "attempt" not in task_text(task_detail(w.run, "a", w.at, True), w.at)
    w.failed("a", result("failed", "", 1, max_rss=2048))
    assert "  2 KiB   failed" in task_text(task_detail(w.run, "a", w.at, True), w.at)
