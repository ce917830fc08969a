"""What the errors of the CLIs mean: over what the real ones printed, and over texts that no mock can make."""

import json
from pathlib import Path
from typing import Any

import pytest

from daplug_supervisor.core.bundle import Bundle, Evidence
from daplug_supervisor.core.plan import Assignment, Task
from daplug_supervisor.core.results import Exit, Outcome
from daplug_supervisor.workers.cli.worker import CliWorker
from daplug_supervisor.workers.executor import ExecutorWorker
from daplug_supervisor.workers.settings import Settings
from daplug_supervisor.workers.signatures import SIGNATURES, classify, spoken

CAPTURED = Path(__file__).parent.parent / "captured"

WORKER = CliWorker(Settings(target="/repo", environ={"TZ": "UTC", "PATH": "/nowhere"}))


def captured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CAPTURED / f"{name}.json").read_text())
    return found


def bundle(cli: str, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "run": "r",
        "task": "t",
        "number": 1,
        "token": "a-token",
        "directory": "/state",
        "target": "/repo",
        "cwd": "/repo",
        "spec": Task(prompt="1"),
        "assignment": Assignment(cli, "cli", cli, cli, None),
        "prompt_file": "/state/prompt.md",
    }
    return Bundle(**fields | changes)


def outcome(name: str) -> Outcome:
    """What the worker `cli` makes of a captured run."""
    run = captured(name)
    exit_ = Exit(run["exit"], stopped="silence" if run["exit"] == -15 else "")
    return WORKER.outcome(
        Evidence(bundle(run["cli"]), exit_, run["stdout"].encode(), run["stderr"].encode(), now=run["ended"])
    )


MEANINGS = {
    "codex": {
        "tool": "completed", "text": "completed",
        "429": "rate_limited", "429long": "rate_limited", "quota": "quota", "400ctx": "plan_error",
        "401": "auth", "403": "auth", "noauth": "configuration", "badflag": "configuration",
        "500": "outage", "503": "outage", "refused": "outage", "cut": "outage", "drop": "outage", "term": "crashed",
    },
    "opencode": {
        "tool": "completed", "text": "completed", "denied": "unverified",
        "429": "rate_limited", "quota": "quota", "400ctx": "plan_error",
        "401": "auth", "403": "auth", "badmodel": "crashed",
        "500": "outage", "refused": "outage", "cut": "no_result", "term": "crashed",
    },
    "gemini": {
        "tool": "completed", "text": "completed",
        "429": "rate_limited", "429long": "rate_limited", "quota": "quota", "400ctx": "plan_error",
        "401": "auth", "403": "auth", "noauth": "auth", "badflag": "configuration",
        "500": "outage", "503": "outage", "refused": "outage", "cut": "outage", "drop": "outage",
        "term": "no_result",
    },
    "claude": {
        "tool": "completed", "text": "completed", "cut": "completed", "denied": "unverified",
        "429": "rate_limited", "429long": "rate_limited", "quota": "quota", "400ctx": "plan_error",
        "401": "auth", "403": "auth", "noauth": "auth", "badflag": "configuration",
        "root": "configuration",
        "500": "outage", "529": "outage", "refused": "outage", "drop": "outage", "term": "crashed",
    },
}  # fmt: skip
"""For each CLI: what each captured run is worth."""


@pytest.mark.parametrize(
    ("name", "kind"),
    [(f"{cli}/{scenario}", kind) for cli, runs in MEANINGS.items() for scenario, kind in runs.items()],
)
def test_what_the_real_clis_printed_is_understood(name: str, kind: str) -> None:
    found = outcome(name)
    assert found.kind == kind, found
    assert found.detail.isprintable()
    assert bool(found.detail) == (kind != "completed")


def test_every_captured_run_is_judged() -> None:
    there = {f"{path.parent.name}/{path.stem}" for path in CAPTURED.glob("*/*.json")}
    judged = {f"{cli}/{name}" for cli, runs in MEANINGS.items() for name in runs}
    assert there == judged | {f"{cli}/text-{name}" for cli, names in TEXTS.items() for name in names}


@pytest.mark.parametrize(
    ("name", "wait"),
    [
        ("codex/quota", (3600, 3660)),  # to the minute
        ("claude/429", (2, 2)),
        ("claude/429long", (3600, 3600)),
        ("gemini/429", (2, 2)),
        ("gemini/429long", (3600, 3600)),
        ("opencode/429", (2, 2)),
    ],
)
def test_a_time_that_a_real_cli_stated_is_read(name: str, wait: tuple[float, float]) -> None:
    at, ended = outcome(name).retry_at, captured(name)["ended"]
    assert at is not None
    assert wait[0] - 5 <= at - ended <= wait[1] + 5


@pytest.mark.parametrize("name", ["codex/429", "codex/500", "claude/quota", "gemini/quota", "opencode/500"])
def test_no_time_is_made_up(name: str) -> None:
    assert outcome(name).retry_at is None


def test_the_line_that_says_it_is_quoted() -> None:
    assert outcome("gemini/quota").detail.startswith(
        "the quota of this account is used up: [API Error: You have exhausted your daily quota on this model.]"
    )
    assert (
        outcome("gemini/503").detail
        == "the provider has a fault of its own: [API Error: MOCK internal error]"
    )
    assert outcome("opencode/401").detail == (
        "the provider does not accept the login: MOCK invalid api key (HTTP 401)"
    )
    assert outcome("codex/badflag").detail == (
        "the CLI does not take these flags: error: unexpected argument '--nosuchflag' found"
    )


# Through daplug's executor.py, whose logs hold what the CLIs print for people

TEXTS = {
    "codex": {"429": "rate_limited", "quota": "quota", "401": "auth", "500": "outage", "400ctx": "plan_error",
              "tool": "crashed"},
    "gemini": {"429": "rate_limited", "quota": "quota", "401": "auth", "500": "outage"},
    "claude": {"429": "rate_limited", "quota": "quota", "401": "auth", "tool": "crashed"},
}  # fmt: skip


def exhausted(cli: str, *codes: int, reason: str | None = None, logs: bool = True) -> bytes:
    """What executor.py prints when its CLI has failed each time."""
    iterations = [
        {"exit_code": code, "retry_reason": reason, "log_file": f"/home/me/{n}.log" if logs else "gone"}
        for n, code in enumerate(codes, 1)
    ]
    execution = {"final_status": "max_iterations_reached", "iterations": iterations}
    return json.dumps({"selected_cli": cli, "prompts": [{"execution": execution}]}, indent=2).encode()


EXECUTOR = ExecutorWorker(Settings(target="/repo", environ={"TZ": "UTC"}))


def through_daplug(cli: str, stdout: bytes, *logs: bytes, now: float = 0.0) -> Outcome:
    return EXECUTOR.outcome(Evidence(bundle(cli), Exit(0), stdout, b"", logs, now))


@pytest.mark.parametrize(
    ("cli", "scenario", "kind"),
    [(cli, scenario, kind) for cli, runs in TEXTS.items() for scenario, kind in runs.items()],
)
def test_a_log_of_daplug_s_says_why_the_cli_failed(cli: str, scenario: str, kind: str) -> None:
    run = captured(f"{cli}/text-{scenario}")
    log = (run["stdout"] + run["stderr"]).encode()
    found = through_daplug(cli, exhausted(cli, 1), log, now=run["ended"])
    assert found.kind == kind, found
    assert found.claim is not None
    assert found.usage is None  # for people, codex prints one number, of which the cached part is left out
    if scenario == "quota" and cli == "codex":
        assert found.retry_at is not None
        assert 3595 <= found.retry_at - run["ended"] <= 3665


def test_a_log_is_quoted_without_the_path_of_a_report() -> None:
    log = captured("gemini/text-quota")["stderr"].encode()
    assert through_daplug("gemini", exhausted("gemini", 1), log).detail == (
        "the quota of this account is used up: Error when talking to Gemini API TerminalQuotaError: "
        "You have exhausted your daily quota on this model."
    )


def test_opencode_s_log_holds_events_and_usage() -> None:
    failed, done = captured("opencode/429"), captured("opencode/tool")["stdout"].encode()
    found = through_daplug(
        "opencode", exhausted("opencode", 0, 1), done, failed["stdout"].encode(), now=1000.0
    )
    assert found.kind == "rate_limited"
    assert found.retry_at == 1002.0
    assert found.usage is not None
    assert (found.usage.input, found.usage.output) == (2468, 112)
    assert found.usage.cost == pytest.approx(0.003228)
    cut = b"x" * (64 << 10) + b"\n" + done
    assert through_daplug("opencode", exhausted("opencode", 0), cut).usage is None
    assert through_daplug("opencode", exhausted("opencode", 0, 0), done).usage is None


def test_the_logs_that_are_asked_for() -> None:
    def logs(stdout: bytes) -> list[str]:
        return list(EXECUTOR.logs(Evidence(bundle("codex"), Exit(0), stdout)))

    assert logs(exhausted("codex", 1, 1)) == ["/home/me/1.log", "/home/me/2.log"]
    assert logs(exhausted("codex", *[1] * 20)) == [f"/home/me/{n}.log" for n in range(13, 21)]
    for none in (b"", b"{}", b'{"prompts": 3}', b'{"prompts": [{}]}', exhausted("codex", 1, logs=False)):
        assert logs(none) == []
    assert logs(exhausted("codex", 1).replace(b"1.log", b"\\u0000.log")) == []


def test_a_failure_without_a_meaning_shows_the_log_s_last_line() -> None:
    found = through_daplug("codex", exhausted("codex", 7), b"thinking\nSegmentation fault\n")
    assert found.kind == "crashed"
    assert found.detail == ("the codex CLI failed: exit code 7 (Segmentation fault; see /home/me/1.log)")


def test_a_limit_in_the_last_iteration_is_no_fault_of_the_task() -> None:
    log = captured("codex/text-429")["stderr"].encode()
    assert through_daplug("codex", exhausted("codex", 0, 1, reason="tests"), b"", log).kind == "rate_limited"
    assert (
        through_daplug("codex", exhausted("codex", 1, 0, reason="tests"), log, log).kind == "max_iterations"
    )


# What agents say is not what CLIs say


ABOUT = (
    "I have added a test for HTTP 429 Too Many Requests, rate limits and quotas: You've hit your usage limit. "
    "last status: 429, unexpected status 401 Unauthorized, Overloaded, try again in 3 hours."
)


@pytest.mark.parametrize("cli", ["codex", "opencode", "gemini", "claude"])
def test_an_agent_may_write_about_limits(cli: str) -> None:
    run = captured(f"{cli}/tool")
    told = run["stdout"].replace("Done by the mock model.", ABOUT)
    assert ABOUT in told
    done = WORKER.outcome(Evidence(bundle(cli), Exit(0), told.encode(), ABOUT.encode()))
    assert done.kind == "completed"
    cut = "".join(line for line in told.splitlines(keepends=True)[:-1] if '"reason":"stop"' not in line)
    died = WORKER.outcome(Evidence(bundle(cli), Exit(3), cut.encode(), f"{ABOUT}\nok\n\n\n\n".encode()))
    assert died.kind == "crashed", died


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\\n"])
def test_no_separator_makes_an_agent_s_words_a_line_of_the_cli_s_own(separator: str) -> None:
    said = f'{{"type":"item.completed","item":{{"text":"x{separator}ERROR: last status: 429"}}}}\n'
    assert WORKER.outcome(Evidence(bundle("codex"), Exit(3), said.encode())).kind == "crashed"


def test_an_agent_s_words_in_a_log_are_no_error_of_the_cli() -> None:
    run = captured("codex/text-tool")
    log = run["stderr"].replace("Done by the mock model.", f"{ABOUT}\n  ERROR: last status: 429\n")
    assert through_daplug("codex", exhausted("codex", 1), log.encode()).kind == "crashed"


# Texts of limits that the mock cannot make, from the projects' own issues


@pytest.mark.parametrize(
    ("cli", "text", "kind"),
    [
        # github.com/openai/codex/issues/3899
        ("codex", ("You've hit your usage limit. Upgrade to Pro (https://openai.com/chatgpt/pricing) or try again in "
                  "5 days 22 hours 11 minutes."), "quota"),
        # github.com/openai/codex/issues/26668
        ("codex", ("You've hit your usage limit. Upgrade to Plus to continue using Codex "
                  "(https://chatgpt.com/explore/plus), or try again at Jul 5th, 2026 8:19 PM."), "quota"),
        # github.com/openai/codex/issues/39643
        ("codex", "Selected model is at capacity. Please try a different model.", "outage"),
        # github.com/openai/codex/issues/6498
        ("codex", ("Your access token could not be refreshed because your refresh token was already used. "
                  "Please log out and sign in again."), "auth"),
        # github.com/openai/codex/issues/5678
        ("codex", "exceeded retry limit, last status: 401 Unauthorized, request id: 99438b5929d256ae-OSL", "auth"),
        # github.com/anthropics/claude-code/issues/15064
        ("claude", "Claude AI usage limit reached|1766502000", "quota"),
        # github.com/anthropics/claude-code/issues/54698, 74079, 12789, 55876
        ("claude", "You've hit your limit · resets 1:30am (Asia/Dhaka)", "quota"),
        ("claude", "You've hit your session limit · resets 12:50am (America/Los_Angeles)", "quota"),
        ("claude", "Weekly limit reached · resets 10am (Asia/Seoul) · /upgrade to Max or turn on /extra-usage",
         "quota"),
        ("claude", "You've hit your limit · resets May 5 at 9pm (America/New_York)", "quota"),
        # github.com/anthropics/claude-code/issues/10712
        ("claude", ('API Error: 401 {"type":"error","error":{"type":"authentication_error","message":"OAuth token '
                   'has expired. Please obtain a new token or refresh your existing token."}} · Please run /login'),
         "auth"),
        # github.com/Wei-Shaw/claude-relay-service/issues/56
        ("claude", ('API Error (429 {"type":"error","error":{"type":"rate_limit_error","message":"This request would '
                   'exceed your account\'s rate limit. Please try again later."}})'), "rate_limited"),
        # seen: an answer that was cut off; two that began at once in a new home
        ("claude", ("API Error: API returned an empty or malformed response (HTTP 200) — check for a proxy or gateway "
                    "intercepting the request"), "outage"),
        ("opencode", "\x1b[91m\x1b[1mError: \x1b[0mUnexpected error\n\ndatabase is locked", "outage"),
        ("opencode", "Error: Unexpected error\n\nFailed query: \n  CREATE TABLE `workspace` (\nparams: ", "outage"),
        # github.com/google-gemini/gemini-cli/issues/22107, 25103, 22643, 6962, 14889
        ("gemini", "You have exhausted your capacity on this model. Your quota will reset after 5s.", "rate_limited"),
        ("gemini", ("[Backend Error] You have exhausted your capacity on this model. Your quota will reset after "
                   "4h28m20s. (HTTP 429)"), "quota"),
        ("gemini", "Usage limit reached for gemini-3-flash-preview. Access resets at 10:57 PM GMT-3.", "quota"),
        ("gemini", ('[API Error: {"error":{"message":"You exceeded your current quota, please check your plan and '
                   'billing details.","code":429,"status":"RESOURCE_EXHAUSTED"}}]'), "quota"),
        ("gemini", ('[API Error: [{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).",'
                   '"status":"RESOURCE_EXHAUSTED"}}]]'), "rate_limited"),
        # github.com/anomalyco/opencode/issues/47239, 47747; FishBottle7/opencode2dsh/issues/5; openrouter/hunter-alpha
        ("opencode", "The usage limit has been reached", "quota"),
        ("opencode", '429: {"type":"FreeUsageLimitError","message":"Rate limit exceeded. Please try again later."}',
         "quota"),
        ("opencode", 'OpenAI API error (429): {"param":null,"code":"rate_limit_exceeded","type":"rate_limit_error"}',
         "rate_limited"),
        ("opencode", "Model not found: openrouter/hunter-alpha. Did you mean: openrouter/hunter-alpha?",
         "configuration"),
    ],
)  # fmt: skip
def test_what_others_have_seen_is_understood(cli: str, text: str, kind: str) -> None:
    known = classify(cli, (text,))
    assert known is not None
    assert known.kind == kind


def test_the_first_text_with_a_meaning_counts() -> None:
    known = classify("codex", ("boom", "last status: 429", "hit your usage limit"))
    assert known is not None
    assert known.kind == "rate_limited"
    assert classify("codex", ("boom",)) is None
    assert classify("nobody-s", ("error: unexpected argument '-x'",)) is not None
    assert classify("nobody-s", ("last status: 429",)) is None


def test_only_the_last_lines_that_begin_as_errors_do_are_a_cli_s_own() -> None:
    assert spoken("codex", ["ERROR: one", "ERROR: two", "tokens used"]) == [
        "ERROR: two\ntokens used",
        "ERROR: one",
    ]
    assert spoken("codex", ["ERROR: long ago", *["agent"] * 12]) == []
    assert spoken("gemini", ["Error when talking", "    at a (b.js:1)", "  status: 503"]) == [
        "Error when talking\n  status: 503"
    ]
    assert spoken("nobody-s", ["error: x", ""]) == ["error: x"]


def test_every_signature_has_words_and_is_quick() -> None:
    hostile = ("a" * 20_000, "{" * 20_000, "limit " * 3000, "model " * 3000, "prompt " * 3000)
    for cli, table in SIGNATURES.items():
        assert all(each.meaning for each in table)
        for text in hostile:
            classify(cli, (text,))
            spoken(cli, [text] * 10)
