"""The worker `cli`: what is started for a model, and what its output is worth."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_signatures import bundle, captured

from daplug_supervisor.core.bundle import Evidence
from daplug_supervisor.core.plan import Assignment, Task, assignment
from daplug_supervisor.core.results import Exit, Outcome, Usage
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.plans import planyaml
from daplug_supervisor.ports import KnowsAccounts, ReadsLogs
from daplug_supervisor.testing import check_worker
from daplug_supervisor.workers.cli.models import CLIS, SHORTHANDS, choose
from daplug_supervisor.workers.cli.worker import CliWorker
from daplug_supervisor.workers.executor import ExecutorWorker
from daplug_supervisor.workers.settings import Settings

WORKER = CliWorker(Settings(target="/repo", environ={"TZ": "UTC", "PATH": "/nowhere"}))


def agent(
    model: str, cli: str | None = None, variant: str | None = None, provider: str = "pool"
) -> Assignment:
    return Assignment(provider, "cli", model, cli, variant)


def argv(assignment: Assignment, options: dict[str, object] | None = None, **changes: Any) -> tuple[str, ...]:
    return WORKER.command(bundle("codex", assignment=assignment, options=options or {}, **changes)).argv


# In a plan


def test_a_plan_that_does_without_daplug() -> None:
    plan = planyaml.loads(
        b"""
providers:
  codex: {worker: cli, parallel: 2, fallback: [claude]}
  claude: {worker: cli, model: claude, options: {args: [--dangerously-skip-permissions]}}
defaults: {worktree: true, loop: {max_iterations: 2}}
tasks:
  a: {provider: codex, prompt: 1, variant: high, sandbox: strict}
  b: {provider: claude, instructions: do it}
""",
        file="plan.yaml",
        default_name="plan",
        processors=2,
    )
    for name, expected in {"a": "codex", "b": "claude"}.items():
        task = plan.tasks[name]
        chosen = assignment(plan, task, task.provider or "")
        options = plan.providers[task.provider or ""].options
        found = WORKER.command(bundle("x", spec=task, assignment=chosen, options=options, branch="daplug/a"))
        assert found.argv[0] == expected
    assert choose(assignment(plan, plan.tasks["a"], "claude"))[:3] == ("claude", "", "")  # as the fallback


# What is started


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("codex", "codex exec --json --color=never --skip-git-repo-check --sandbox=workspace-write -"),
        ("opencode", "opencode run --format=json"),
        ("gemini", "gemini --output-format=stream-json --approval-mode=yolo --skip-trust"),
        ("claude", "claude --print --output-format=stream-json --verbose --permission-mode=acceptEdits"),
    ],
)
def test_each_cli_gets_its_prompt_on_standard_input_and_answers_for_machines(
    model: str, command: str
) -> None:
    found = WORKER.command(
        bundle("x", assignment=agent(model), cwd="/repo/sub", spec=Task(prompt="1", env={"A": "b"}))
    )
    assert found.argv == tuple(command.split())
    assert found.stdin == "/state/prompt.md"
    assert found.cwd == "/repo/sub"
    assert found.env == {"A": "b"}


@pytest.mark.parametrize(
    ("chosen", "cli", "model", "effort"),
    [
        (agent("codex"), "codex", "", ""),
        (agent("codex-high"), "codex", "", "high"),
        (agent("codex-high", variant="none"), "codex", "", ""),
        (agent("codex-high", variant="xhigh"), "codex", "", "xhigh"),
        (agent("gpt55-xhigh"), "codex", "gpt-5.5", "xhigh"),
        (agent("sol"), "codex", "gpt-5.6-sol", ""),
        (agent("gpt-9-new"), "codex", "gpt-9-new", ""),
        (agent("o3"), "codex", "o3", ""),
        (agent("cc-opus"), "claude", "opus", ""),
        (agent("claude", "claude", "low"), "claude", "", "low"),
        (agent("claude-opus-9[1m]"), "claude", "claude-opus-9[1m]", ""),
        (agent("gemini25flash"), "gemini", "gemini-2.5-flash", ""),
        (agent("gemini-4-pro"), "gemini", "gemini-4-pro", ""),
        (agent("zai/glm-5.2", variant="high"), "opencode", "zai/glm-5.2", "high"),
        (agent("glm5"), "opencode", "zai/glm-5.2", ""),
        (agent("my-own", "codex"), "codex", "my-own", ""),
        (agent("openai/gpt-5", "codex"), "codex", "openai/gpt-5", ""),
        (agent("anything", provider="claude"), "claude", "anything", ""),
    ],
)
def test_a_model_is_run_by_its_cli(chosen: Assignment, cli: str, model: str, effort: str) -> None:
    assert choose(chosen)[:3] == (cli, model, effort)
    command = argv(chosen)
    assert command[0] == cli
    assert any(model in flag for flag in command) == (model in " ".join(command))
    assert bool(model) == any(flag.startswith("--model=") for flag in command)


def test_efforts_have_the_names_that_each_cli_has_for_them() -> None:
    assert '--config=model_reasoning_effort="high"' in argv(agent("codex-high"))
    assert "--effort=xhigh" in argv(agent("sonnet", variant="xhigh"))
    assert "--variant=low" in argv(agent("zai/glm-5.2", variant="low"))


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        (agent("mystery"), r"which CLI runs the model 'mystery' is not known; add `cli: codex\|opencode\|"),
        (
            agent("codex", "cursor"),
            "the CLI 'cursor' is not known; `cli` is one of codex, opencode, gemini, claude",
        ),
        (agent("sonnet", "codex"), "the model 'sonnet' is one of claude, and cannot be run by codex"),
        (agent("glm", "opencode"), "opencode names models as provider/model, and 'glm' is none"),
        (agent("gemini", variant="high"), "gemini takes no variant 'high'; remove `variant`"),
        (agent("--evil", "codex"), "'--evil' cannot be the name of a model"),
        (agent("a b", "claude"), "'a b' cannot be the name of a model"),
    ],
)
def test_what_cannot_be_run_is_a_problem_before_the_run(chosen: Assignment, problem: str) -> None:
    (found,) = WORKER.problems([chosen, chosen])
    assert found.startswith("provider pool: ")
    with pytest.raises(UsageError, match=problem):
        argv(chosen)
    assert WORKER.account(chosen) == ""
    assert WORKER.outcome(Evidence(bundle("x", assignment=chosen), Exit(0))).kind in {
        "plan_error",
        "no_result",
    }


def test_a_cli_that_is_not_there_is_a_problem_with_the_way_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "codex").write_text("#!/bin/sh\n")
    (tmp_path / "codex").chmod(0o755)
    worker = CliWorker(Settings(target="/repo", environ={"PATH": str(tmp_path)}))
    assert worker.problems([agent("codex"), agent("gpt-5.5"), agent("sonnet"), agent("opus")]) == [
        "the CLI claude is not installed; get it with: npm install -g @anthropic-ai/claude-code"
    ]
    assert worker.problems([]) == []


def test_sandboxes() -> None:
    assert "--sandbox=workspace-write" in argv(agent("codex"), spec=Task(prompt="1", sandbox=True))
    dev = argv(agent("codex"), spec=Task(prompt="1", sandbox="dev"))
    assert "--config=sandbox_workspace_write.network_access=true" in dev
    assert "--sandbox" in argv(agent("gemini"), spec=Task(prompt="1", sandbox=True))
    for model in ("claude", "opencode"):
        with pytest.raises(UsageError, match="has no sandbox of its own; remove `sandbox`"):
            argv(agent(model), spec=Task(prompt="1", sandbox=True))


def added(target: Path, tree: Path, **changes: Any) -> list[str]:
    found = argv(agent("codex"), target=str(target), cwd=str(tree), branch="b", **changes)
    return [flag.removeprefix("--add-dir=") for flag in found if flag.startswith("--add-dir")]


def test_in_a_worktree_codex_may_commit_and_no_more(tmp_path: Path) -> None:
    target, tree = tmp_path / "repo", tmp_path / "tree"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {target}/.git/worktrees/tree1\n")
    git = f"{target}/.git"
    places = [f"{git}/worktrees/tree1", f"{git}/objects", f"{git}/refs", f"{git}/logs"]
    assert added(target, tree) == places
    assert added(target / "sub", tree) == places  # a run may be about a part of a repository
    assert added(target, tree / "sub", spec=Task(prompt="1", cwd="sub")) == places
    assert added(target, tree, spec=Task(prompt="1", sandbox="strict")) == []
    assert "--add-dir" not in " ".join(argv(agent("codex"), cwd=str(tree)))


@pytest.mark.parametrize(
    "pointer",
    ["", "gitdir: /etc\n", "gitdir: /other/.git/worktrees/x\n", "gitdir: {target}/.git/worktrees/..\n",
     "gitdir: {target}/.git\n", "gitdir: {target}/.git/worktrees/a/b\n", "gitdir: {target}/.git/worktrees/a\0b\n",
     "gitdir: {target}/../.git/worktrees/x\n", "\xff"],
)  # fmt: skip
def test_what_an_agent_wrote_opens_no_other_place(tmp_path: Path, pointer: str) -> None:
    target = tmp_path / "repo"
    (tmp_path / ".git").write_bytes(pointer.format(target=target).encode("latin-1"))
    assert added(target, tmp_path) == []
    assert added(target, tmp_path / "gone") == []
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / ".git")
    assert added(target, tmp_path / "fifo") == []


def test_a_task_without_a_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="task t: its worker runs prompts, and it has none"):
        argv(agent("codex"), prompt_file=None)


@pytest.mark.parametrize(
    ("model", "args", "there", "gone"),
    [
        (
            "codex",
            ["--sandbox=danger-full-access"],
            "--sandbox=danger-full-access",
            "--sandbox=workspace-write",
        ),
        ("codex", ["-s", "read-only"], "read-only", "--sandbox=workspace-write"),
        ("codex", ["--dangerously-bypass-approvals-and-sandbox"], "-", "--sandbox=workspace-write"),
        ("codex", ["--config=a=1", "-p", "work"], "--json", "--nothing"),
        ("claude", ["--dangerously-skip-permissions"], "--print", "--permission-mode=acceptEdits"),
        ("claude", ["--permission-mode", "plan"], "plan", "--permission-mode=acceptEdits"),
        ("gemini", ["--approval-mode=auto_edit"], "--skip-trust", "--approval-mode=yolo"),
        ("opencode", ["--agent", "build", "--auto"], "build", "--nothing"),
    ],
)
def test_flags_of_a_provider_take_the_place_of_ours(
    model: str, args: list[str], there: str, gone: str
) -> None:
    command = argv(agent(model), {"args": args})
    assert there in command
    assert gone not in command
    assert set(args) <= set(command)
    assert (command[-1] == "-") == (model == "codex")


def test_settings_of_codex_are_given_side_by_side() -> None:
    command = argv(agent("codex-high"), {"args": ["--config=a=1"]})
    assert '--config=model_reasoning_effort="high"' in command
    assert "--config=a=1" in command


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"arg": []}, "options: 'arg' is not known to the worker cli, which takes args"),
        ({"args": "--x"}, "a list of at most 100 texts"),
        ({"args": ["--x"] * 101}, "a list of at most 100 texts"),
        ({"args": [1]}, "each is a text"),
        ({"args": [""]}, "each is a text"),
        ({"args": ["--x=\0"]}, "each is a text"),
        ({"args": ["--x=" + "y" * 10_000]}, "each is a text"),
        ({"args": ["a prompt"]}, "begins with a flag, not with 'a prompt'"),
        ({"args": ["--x", "--"]}, "-- is not for users"),
        ({"args": ["--x", "-"]}, "- is not for users"),
        ({"args": ["--output-format=text"]}, "--output-format is not for users"),
        ({"args": ["--resume"]}, "--resume is not for users"),
        ({"args": ["--worktree=x"]}, "--worktree is not for users"),
    ],
)
def test_flags_that_would_break_what_is_relied_on_are_refused(
    options: dict[str, object], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        argv(agent("claude"), options)


@given(st.sampled_from(sorted(CLIS)), st.lists(st.text(max_size=20), max_size=5))
def test_whatever_a_provider_gives_the_prompt_comes_from_the_file(name: str, args: list[str]) -> None:
    try:
        command = WORKER.command(bundle("x", assignment=agent(name), options={"args": args}))
    except UsageError:
        return
    assert command.stdin == "/state/prompt.md"
    assert "--" not in command.argv
    assert (command.argv[0], command.argv.count("-")) == (name, int(name == "codex"))


# Accounts


@pytest.mark.parametrize(
    ("chosen", "account"),
    [
        (agent("codex"), "codex:openai"),
        (agent("gpt-5.5"), "codex:openai"),
        (agent("cc-opus"), "claude:anthropic"),
        (agent("gemini25pro"), "gemini:google"),
        (agent("zai/glm-5.2"), "opencode:zai"),
        (agent("opencode"), ""),
        (agent("mystery"), ""),
    ],
)
def test_what_shares_a_login_shares_an_account(chosen: Assignment, account: str) -> None:
    assert WORKER.account(chosen) == account


REGISTRY = {
    "schema_version": 1,
    "models": [
        {"name": "codex", "model_id": "openai:gpt-5.6-terra", "default_cli": "codex", "env": {}},
        {"name": "glm5", "model_id": "zai:glm-5.2", "default_cli": "opencode"},
        {"name": "claude", "model_id": "anthropic:claude", "default_cli": "subagent"},
        {"name": "odd", "model_id": "odd", "default_cli": "codex"},
        {"name": "bare"},
    ],
}


def daplug(folder: Path, registry: str | None) -> ExecutorWorker:
    executor = folder / "skills" / "prompt-executor" / "scripts" / "executor.py"
    executor.parent.mkdir(parents=True)
    executor.write_text("#\n")
    if registry is not None:
        (folder / "scripts").mkdir()
        (folder / "scripts" / "models.json").write_text(registry)
    return ExecutorWorker(Settings(target="/repo", executor=str(executor)))


def test_daplug_s_registry_says_who_shares_an_account(tmp_path: Path) -> None:
    worker = daplug(tmp_path, json.dumps(REGISTRY))
    expected = {
        "codex": "codex:openai",
        "glm5": "opencode:zai",
        "claude": "",
        "odd": "",
        "bare": "",
        "gone": "",
    }
    assert {name: worker.account(agent(name)) for name in expected} == expected
    assert worker.account(agent("claude", "cc")) == "claude:anthropic"
    assert worker.account(agent("codex", "opencode")) == "opencode:openai"


@pytest.mark.parametrize(
    "registry", [None, "", "[]", '{"models": {}}', '{"models": [{"model_id": 3}]}', "[" * 99_999]
)
def test_without_a_registry_no_account_is_known(tmp_path: Path, registry: str | None) -> None:
    assert daplug(tmp_path, registry).account(agent("codex")) == ""


def test_an_executor_that_was_not_found_knows_no_account(tmp_path: Path) -> None:
    worker = ExecutorWorker(Settings(target=str(tmp_path / "x"), environ={}))
    assert worker.account(agent("codex")) == ""
    assert "`worker: cli`" in worker.problems([agent("codex")])[0]


# What output is worth


def outcome(cli: str, *events: object, code: int | None = 0, stderr: bytes = b"", **more: Any) -> Outcome:
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in events]
    return WORKER.outcome(Evidence(bundle(cli), Exit(code, **more), b"\n".join(lines), stderr, now=NOW))


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("codex/tool", Usage(2468, 400, 112, 14)),
        ("opencode/tool", Usage(2468, 400, 112, 14, 0.003228)),
        ("gemini/tool", Usage(2468, 400, 126, 14)),
        ("claude/tool", Usage(2868, 400, 112, None, 0.01534)),
        ("claude/cut", Usage(1434, 200, 56, None, 0.00767)),
        ("claude/denied", Usage(2868, 400, 112, None, 0.01534)),
        ("codex/401", None),
        ("opencode/401", None),
        ("gemini/401", None),
        ("claude/401", None),
    ],
)
def test_what_a_cli_reports_to_have_used(name: str, usage: Usage | None) -> None:
    run = captured(name)
    evidence = Evidence(bundle(run["cli"]), Exit(run["exit"]), run["stdout"].encode(), run["stderr"].encode())
    found = WORKER.outcome(evidence).usage
    if usage is None or found is None:
        assert found == usage
        return
    assert (found.input, found.cached, found.output, found.reasoning) == (
        usage.input, usage.cached, usage.output, usage.reasoning,
    )  # fmt: skip
    assert found.cost == (usage.cost if usage.cost is None else pytest.approx(usage.cost))


def test_the_agent_s_last_words_are_its_claim() -> None:
    said = "Done by the mock model. <verification>VERIFICATION_COMPLETE</verification>"
    for cli in CLIS:
        run = captured(f"{cli}/tool")
        assert WORKER.outcome(Evidence(bundle(cli), Exit(0), run["stdout"].encode())).claim == {"text": said}
    long = {"type": "item.completed", "item": {"type": "agent_message", "text": "\x1b[2Jé\ud800\n" * 3000}}
    claim = outcome("codex", long, {"type": "turn.completed"}).claim
    assert claim is not None
    text = claim["text"]
    assert isinstance(text, str)
    assert len(text) == 2000
    assert text.replace("\n", "").isprintable()


NOW = 1795000000.0

SUCCESS: dict[str, list[object]] = {
    "codex": [{"type": "turn.completed", "usage": {}}],
    "opencode": [{"type": "step_finish", "part": {"reason": "stop"}}],
    "gemini": [{"type": "result", "status": "success"}],
    "claude": [{"type": "result", "subtype": "success", "is_error": False}],
}


@pytest.mark.parametrize("cli", sorted(SUCCESS))
def test_done_is_done_only_with_both_the_word_and_the_exit_code(cli: str) -> None:
    assert outcome(cli, *SUCCESS[cli]) == Outcome(outcome(cli, *SUCCESS[cli]).kind)
    assert outcome(cli, *SUCCESS[cli]).kind == "completed"
    failed = outcome(cli, *SUCCESS[cli], code=5)
    assert failed.kind == "unverified"
    assert failed.detail == f"done, says {cli}, but it failed: exit code 5"
    assert outcome(cli, b'{"type":').kind == "no_result"
    assert outcome(cli).detail == f"{cli} ended without a result: exit code 0: no output"
    assert outcome(cli, code=3, stderr=b"Bus\x1b error\n").detail.endswith("exit code 3: Bus\\x1b error")
    assert outcome(cli, *SUCCESS[cli], code=-9).kind == "crashed"
    assert outcome(cli, code=None).kind == "lost"
    assert outcome(cli, code=None, error="no such program").kind == "configuration"


@pytest.mark.parametrize(
    ("cli", "events", "kind", "detail"),
    [
        ("claude", [{"type": "result", "subtype": "error_max_turns", "is_error": True}], "max_iterations",
         "claude ended before its time: error_max_turns"),
        ("claude", [{"type": "result", "subtype": "error_during_execution", "is_error": True, "errors": ["x"]}],
         "crashed", "claude failed: exit code 0: error_during_execution"),
        ("claude", [{"type": "result", "subtype": "success", "is_error": False,
                     "result": "Claude AI usage limit reached|1795003600"}], "quota",
         "the quota of this account is used up: Claude AI usage limit reached|1795003600"),
        ("claude", [{"type": "result", "subtype": "success", "is_error": False,
                     "permission_denials": [{"tool_name": "Bash"}, {"tool_name": "Bash"}, {"x": 1}, 3]}],
         "unverified", "the agent was denied what it asked for: Bash, a tool"),
        ("claude", [{"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1795003600}}],
         "quota", "the quota of this account is used up: usage limit reached"),
        ("claude", [{"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}}], "no_result",
         "claude ended without a result: exit code 0: no output"),
        ("claude", [{"type": "system", "subtype": "api_retry", "error_status": 529}, {"type": "user"}], "no_result",
         "claude ended without a result: exit code 0: no output"),
        ("gemini", [{"type": "error", "message": "Maximum session turns exceeded"}, *SUCCESS["gemini"]],
         "max_iterations", "gemini ended before its time: Maximum session turns exceeded"),
        ("gemini", [{"type": "error", "message": "Loop detected, stopping execution"}, *SUCCESS["gemini"]],
         "stalled", "gemini ended before its time: Loop detected"),
        ("gemini", [{"type": "tool_use", "tool_id": "1", "tool_name": "shell"},
                    {"type": "tool_result", "tool_id": "1", "error": {"message": "x denied by policy."}},
                    {"type": "tool_result", "error": {"message": 'Tool "y" requires user confirmation'}},
                    *SUCCESS["gemini"]], "unverified", "the agent was denied what it asked for: shell, a tool"),
        ("opencode", [{"type": "step_finish", "part": {"reason": "length"}}], "no_result",
         "opencode ended before its time: its last step ended for 'length'"),
        ("opencode", [{"type": "error", "error": {"name": "Odd"}}], "crashed", "opencode failed: exit code 0: Odd"),
        ("opencode", [*SUCCESS["opencode"], {"type": "step_start"}], "no_result",
         "opencode ended without a result: exit code 0: no output"),
        ("codex", [{"type": "error", "message": "last status: 429"}, {"type": "item.started"}], "no_result",
         "codex ended without a result: exit code 0: no output"),
        ("codex", [*SUCCESS["codex"], {"type": "turn.started"}, {"type": "turn.failed", "error": {"message": "boo"}}],
         "crashed", "codex failed: exit code 0: boo"),
        ("codex", [{"type": "turn.failed"}], "crashed", "codex failed: exit code 0: an error without words"),
    ],
)  # fmt: skip
def test_other_ends(cli: str, events: list[object], kind: str, detail: str) -> None:
    found = outcome(cli, *events)
    assert (found.kind, found.detail) == (kind, detail)
    if kind == "quota":
        assert found.retry_at == 1795003600


def test_one_that_was_ended_while_it_waited_says_what_for() -> None:
    waits = {"type": "error", "message": "Reconnecting... waiting for network (Connection failed)"}
    assert outcome("codex", waits, code=-15, stopped="silence").kind == "outage"
    assert outcome("codex", waits, code=-15).kind == "crashed"


def test_one_unknown_price_is_no_price() -> None:
    def step(cost: object, tokens: object) -> dict[str, object]:
        return {"type": "step_finish", "part": {"reason": "stop", "cost": cost, "tokens": tokens}}

    assert outcome("opencode", step(0, {"input": 5})).usage == Usage(input=5)
    assert outcome("opencode", step(1, {"input": 5}), step("x", {"output": 2})).usage == Usage(
        5, None, 2, None, 1.0
    )
    for none in (True, -1, 1e400, "5", None, 10**400):
        assert outcome("opencode", step(none, {"input": none, "cache": [none]})).usage is None


@pytest.mark.parametrize("cli", sorted(CLIS))
def test_keeps_the_contract(cli: str) -> None:
    check_worker(WORKER, bundle(cli, assignment=agent(cli)))
    assert isinstance(WORKER, KnowsAccounts)
    assert not isinstance(WORKER, ReadsLogs)


SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "part", "item", "usage", "error", "message", "status", "reason", "tokens", "cache", "read", "input",
         "result", "subtype", "is_error", "permission_denials", "tool_name", "stats", "text", "data", "statusCode",
         "rate_limit_info", "modelUsage", "m", "total_cost_usd", "state", "content", "delta", "tool_id"]), inner),
    max_leaves=12,
)  # fmt: skip
KINDS = st.sampled_from(
    ["result", "error", "turn.completed", "turn.failed", "item.completed", "step_finish", "tool_use", "tool_result",
     "message", "text", "rate_limit_event", "system", "user"]
)  # fmt: skip


@given(
    st.sampled_from(sorted(CLIS)),
    st.lists(st.tuples(KINDS, st.dictionaries(st.text(max_size=3), SHAPES) | SHAPES), max_size=5),
    st.sampled_from([0, 1, 255, -9]),
)
def test_events_of_any_shape_give_an_outcome(cli: str, events: list[tuple[str, object]], code: int) -> None:
    lines = [{**inner, "type": kind} if isinstance(inner, dict) else inner for kind, inner in events]
    found = outcome(cli, *lines, code=code)
    assert found.detail.isprintable()
    if found.usage:
        assert (found.usage.tokens or 0) >= 0


def test_every_shorthand_is_of_a_cli_that_is_there() -> None:
    for name, model in SHORTHANDS.items():
        assert choose(agent(name)).problem == ""
        assert model.cli in CLIS


def test_the_exact_time_of_a_limit_counts_where_the_words_name_the_minute() -> None:
    limit = {"status": "rejected", "resetsAt": NOW + 90}
    said = "You've hit your session limit · resets 9:11am (UTC)"
    found = outcome(
        "claude",
        {"type": "rate_limit_event", "rate_limit_info": limit},
        {"type": "result", "subtype": "success", "is_error": True, "api_error_status": 429, "result": said},
        code=1,
    )
    assert (found.kind, found.retry_at) == ("quota", NOW + 90)


@pytest.mark.parametrize(
    ("said", "kind"),
    [("You've hit your session limit · resets 9:11am (UTC)", "quota"), ("it went wrong", "unverified")],
)
def test_who_meets_a_limit_after_a_tool_was_denied_has_met_a_limit(said: str, kind: str) -> None:
    denied = [{"tool_name": "Bash"}]
    end = {
        "type": "result",
        "subtype": "success",
        "is_error": True,
        "result": said,
        "permission_denials": denied,
    }
    assert outcome("claude", end).kind == kind
