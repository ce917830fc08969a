import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daplug_supervisor.core.bundle import ATTEMPT_VARIABLE, Bundle, Evidence
from daplug_supervisor.core.plan import Assignment, Loop, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.errors import UsageError
from daplug_supervisor.testing import check_worker
from daplug_supervisor.workers import locate
from daplug_supervisor.workers.executor import ExecutorWorker, attempt_id, completion_marker
from daplug_supervisor.workers.executor_output import find_document, read
from daplug_supervisor.workers.settings import Settings

EXECUTOR = Path("skills", "prompt-executor", "scripts", "executor.py")


def agent(model: str = "codex", cli: str | None = None, variant: str | None = None) -> Assignment:
    return Assignment(provider=model, worker="executor", model=model, cli=cli, variant=variant)


def bundle(assignment: Assignment | None = None, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "run": "r",
        "task": "oauth",
        "number": 1,
        "token": "a-token",
        "directory": "/state/r/oauth/1",
        "target": "/repo",
        "cwd": "/repo",
        "spec": Task(prompt="1"),
        "assignment": assignment or agent(),
        "prompt_file": "/state/r/oauth/1/prompt.md",
    }
    return Bundle(**fields | changes)


def executor_in(directory: Path) -> Path:
    """A checkout of daplug, as far as it matters here."""
    path = directory / EXECUTOR
    path.parent.mkdir(parents=True)
    path.write_text("# the executor\n")
    return path


@pytest.fixture
def worker(tmp_path: Path) -> ExecutorWorker:
    return ExecutorWorker(Settings(target="/repo", executor=str(executor_in(tmp_path))))


def loop(final: str | None, /, *iterations: tuple[int, str | None], **more: Any) -> dict[str, Any]:
    """What the foreground loop prints. An iteration is an exit code and a retry reason."""
    execution = {
        "status": final or "running",
        "final_status": final,
        "loop_log": "/home/me/loop.log",
        "state_file": "/home/me/state.json",
        "iterations": [
            {"iteration": n, "log_file": f"/home/me/{n}.log", "exit_code": code, "retry_reason": reason}
            for n, (code, reason) in enumerate(iterations, 1)
        ],
        "original_checkout_warnings": [],
        "suggested_next_steps": [],
    } | more
    return {"selected_cli": "codex", "prompts": [{"number": "x", "content": "{", "execution": execution}]}


def outcome(
    document: object, code: int | None = 0, stderr: bytes = b"", *, b: Bundle | None = None
) -> Outcome:
    stdout = document if isinstance(document, bytes) else json.dumps(document, indent=2).encode()
    return read(Evidence(b or bundle(), Exit(code), stdout, stderr))


NO_EXECUTION = {"prompts": [{"number": "x"}]}
SAME = "Repeated identical retry reasons indicate no progress is possible: tests fail"


@pytest.mark.parametrize(
    ("document", "kind", "detail"),
    [
        (loop("completed", (0, None)), OutcomeKind.COMPLETED, ""),
        (loop("completed", (1, None), (0, "a"), (0, None)), OutcomeKind.COMPLETED, ""),
        (loop("completed", (5, None)), OutcomeKind.UNVERIFIED, "completed, but the CLI failed: exit code 5"),
        (
            loop("completed", (0, None), (-9, None)),
            OutcomeKind.UNVERIFIED,
            "but the CLI failed: killed by SIGKILL",
        ),
        (loop("completed"), OutcomeKind.UNVERIFIED, "completed, and no iteration is recorded"),
        (loop("completed", iterations=[{}]), OutcomeKind.UNVERIFIED, "but the CLI failed: no exit code"),
        (loop("completed_unverified", (0, "no file")), OutcomeKind.UNVERIFIED, "no file was changed"),
        (loop("stalled", (0, "a"), (0, "a"), failure_reason=SAME), OutcomeKind.STALLED, SAME),
        (loop("stalled", (0, "a"), (0, "a")), OutcomeKind.STALLED, "the agent gave the same reason twice"),
        (loop("blocked", (0, "a"), failure_reason="impossible: x"), OutcomeKind.BLOCKED, "impossible: x"),
        (loop("blocked", (0, "a")), OutcomeKind.BLOCKED, "no retry can change"),
        (loop("failed", failure_reason="disk"), OutcomeKind.FAILED, "disk"),
        (loop("failed"), OutcomeKind.FAILED, "the loop failed"),
        (loop("executor_missing"), OutcomeKind.CRASHED, "the executor vanished"),
        (
            loop("max_iterations_reached", (1, None), (1, None)),
            OutcomeKind.CRASHED,
            "the codex CLI failed: exit code 1 (a rate limit, a login, or a crash; see /home/me/2.log)",
        ),
        (loop("max_iterations_reached", (-11, None)), OutcomeKind.CRASHED, "killed by SIGSEGV"),
        (loop("max_iterations_reached", iterations=[{"exit_code": 1}]), OutcomeKind.CRASHED, "see its log"),
        (
            loop("max_iterations_reached", (3, None), (0, None)),
            OutcomeKind.NO_RESULT,
            "without the completion marker",
        ),
        (loop("max_iterations_reached"), OutcomeKind.NO_RESULT, "(iterations used: 0)"),
        (
            loop("max_iterations_reached", (0, "a"), (0, "b"), (1, None)),
            OutcomeKind.MAX_ITERATIONS,
            "not done (iterations used: 3): b",
        ),
        (loop(None), OutcomeKind.NO_RESULT, "exit code 0, and the executor's last word is 'running'"),
        (loop(None, status="loop_running"), OutcomeKind.NO_RESULT, "last word is 'loop_running'"),
        (loop(None, status=""), OutcomeKind.NO_RESULT, "last word is 'no status'"),
        (loop("from the future"), OutcomeKind.NO_RESULT, "last word is 'from the future'"),
        (
            loop(None, status="subagent_required"),
            OutcomeKind.PLAN_ERROR,
            "the model codex needs a Claude session",
        ),
        (NO_EXECUTION, OutcomeKind.NO_RESULT, "the executor ran nothing"),
        ({"prompts": []}, OutcomeKind.NO_RESULT, "the executor ran nothing"),
        ({"prompts": [{"worktree": {"conflict": False}}]}, OutcomeKind.NO_RESULT, "the executor ran nothing"),
        (
            {"prompts": [{"worktree": {"conflict": True, "existing_worktree": "/w"}}]},
            OutcomeKind.CONFLICT,
            "a worktree is in the way: /w",
        ),
        (
            {"prompts": [{"execution": [1]}]},
            OutcomeKind.NO_RESULT,
            "a document that is not as known: Expected `obj",
        ),
        ({"error": {"no": "text"}}, OutcomeKind.NO_RESULT, "a document that is not as known"),
        (loop("completed", (10**12, None)), OutcomeKind.NO_RESULT, "a document that is not as known"),
        ({"neither": 1}, OutcomeKind.NO_RESULT, "exit code 0 without a JSON document: }"),
        (b"", OutcomeKind.NO_RESULT, "exit code 0 without a JSON document: no output"),
        (b"hello\n", OutcomeKind.NO_RESULT, "exit code 0 without a JSON document: hello"),
        (b"\xff\xfe\x00[[[\n", OutcomeKind.NO_RESULT, "without a JSON document"),
        (b"[" * 500_000, OutcomeKind.NO_RESULT, "without a JSON document"),
        (b'{"prompts": ' + b"[" * 500_000, OutcomeKind.NO_RESULT, "without a JSON document"),
        (b'{"error": ' + b"9" * 5000 + b"}", OutcomeKind.NO_RESULT, "without a JSON document"),
    ],
)
def test_what_the_document_says(document: object, kind: OutcomeKind, detail: str) -> None:
    made = outcome(document)
    assert made.kind is kind
    assert detail in made.detail
    assert bool(made.detail) == (kind is not OutcomeKind.COMPLETED)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("[Errno 2] No such file or directory: 'codex'", OutcomeKind.CONFIGURATION),
        ("[Errno 13] Permission denied: 'codex'", OutcomeKind.CONFIGURATION),
        ("Claude Code CLI ('claude') not found in PATH.\nInstall Claude Code", OutcomeKind.CONFIGURATION),
        ("SYNTHETIC_API_KEY is required for Synthetic models.", OutcomeKind.CONFIGURATION),
        ("Error: bubblewrap (bwrap) not found in PATH.\n\nInstall with:", OutcomeKind.CONFIGURATION),
        ("Sandbox launch failed: preflight\nSandbox config: {}", OutcomeKind.CONFIGURATION),
        ("Sandbox workspace does not exist: /repo", OutcomeKind.CONFIGURATION),
        ("execution_cwd does not exist: /repo/.worktrees/sandbox", OutcomeKind.CONFIGURATION),
        ("[Errno 28] No space left on device", OutcomeKind.CONFIGURATION),
        ("Model registry is invalid JSON: /x", OutcomeKind.CONFIGURATION),
        ("Sandbox launch failed: Claude Code is not authenticated inside the sandbox.", OutcomeKind.AUTH),
        ("[Errno 7] Argument list too long: 'gemini'", OutcomeKind.PLAN_ERROR),
        ("Sandbox launch failed: [Errno 7] Argument list too long: 'bwrap'", OutcomeKind.PLAN_ERROR),
        ("No prompt found for '999'", OutcomeKind.PLAN_ERROR),
        ("No prompts directory: /repo/prompts", OutcomeKind.PLAN_ERROR),
        ("Prompt file not found: /state/prompt.md", OutcomeKind.PLAN_ERROR),
        ("Ambiguous prompt '011': ['a', 'b']", OutcomeKind.PLAN_ERROR),
        ("Unknown model shorthand: nosuch", OutcomeKind.PLAN_ERROR),
        ("--variant low is not supported with Codex for --model codex.", OutcomeKind.PLAN_ERROR),
        ("--cli opencode is not supported with --model gemini.", OutcomeKind.PLAN_ERROR),
        ("Unsupported CLI selected for --model x: y", OutcomeKind.PLAN_ERROR),
        ("'utf-8' codec can't decode byte 0xff in position 49: invalid start byte", OutcomeKind.UNVERIFIED),
        ("[Errno 32] Broken pipe", OutcomeKind.CRASHED),
        ("Command '['git', 'worktree', 'add', 'x']' returned non-zero exit status 128.", OutcomeKind.CRASHED),
        ("[Errno 2] No such file or directory: '/home/me/.claude/x.log'", OutcomeKind.CRASHED),
        ("something new", OutcomeKind.CRASHED),
        ("", OutcomeKind.CRASHED),
    ],
)
def test_error_texts(error: str, kind: OutcomeKind) -> None:
    made = outcome({"error": error}, 1)
    assert made.kind is kind
    assert made.detail.endswith(" ".join(error.split()) or ": ".strip())


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "kind", "detail"),
    [
        (2, b"", b"usage: x\nexecutor.py: error: argument --model/-m: invalid choice: 'worktree'\n",
         OutcomeKind.PLAN_ERROR, "the executor refused its arguments: executor.py: error: argument --mod"),
        (2, b"", b"python3: can't open file '/gone/executor.py': [Errno 2] No such file or directory\n",
         OutcomeKind.CONFIGURATION, "executor.py is gone: python3: can't open"),
        (1, b"", b"Traceback\nmodels.ModelRegistryError: Model registry not found: /x\n",
         OutcomeKind.CONFIGURATION, "daplug's model registry is damaged"),
        (1, b"", b"Traceback\nKeyError: 'x'\n",
         OutcomeKind.NO_RESULT, "exit code 1 without a JSON document: KeyError: 'x'"),
        (0, b"", b"[Errno 32] Broken pipe\n", OutcomeKind.NO_RESULT, "exit code 0 without a JSON document"),
        (-9, b"", b"", OutcomeKind.CRASHED, "the executor was killed by SIGKILL"),
        (None, b"", b"", OutcomeKind.LOST, "there is no exit record"),
    ],
)  # fmt: skip
def test_no_document(code: int | None, stdout: bytes, stderr: bytes, kind: OutcomeKind, detail: str) -> None:
    made = outcome(stdout, code, stderr)
    assert made.kind is kind
    assert made.detail.startswith(detail)


def test_a_document_does_not_outweigh_how_the_executor_ended() -> None:
    done = loop("completed", (0, None))
    assert outcome(done, 0).kind is OutcomeKind.COMPLETED
    assert outcome(done, 1).kind is OutcomeKind.UNVERIFIED
    assert outcome(done, -15).kind is OutcomeKind.CRASHED
    assert outcome(done, None).kind is OutcomeKind.LOST
    assert outcome(loop("stalled"), 1).kind is OutcomeKind.STALLED


def test_an_executor_that_could_not_be_started_is_a_fault_of_the_set_up() -> None:
    made = read(Evidence(bundle(), Exit(None, error="no such program: python\n")))
    assert made == Outcome(
        OutcomeKind.CONFIGURATION, "the executor could not be started: no such program: python"
    )


def test_the_model_claude_without_a_cli_ran_nothing() -> None:
    document = loop("max_iterations_reached", (-1, None))
    assert outcome(document, b=bundle(agent("claude"))).kind is OutcomeKind.PLAN_ERROR
    assert outcome(document, b=bundle(agent("claude", "claude"))).kind is OutcomeKind.CRASHED


def test_a_cli_that_the_document_does_not_name() -> None:
    document = loop("max_iterations_reached", (1, None)) | {"selected_cli": None}
    assert outcome(document, b=bundle(agent("glm5", "opencode"))).detail.startswith("the opencode CLI failed")
    assert outcome(document, b=bundle(agent("glm5"))).detail.startswith("the glm5 CLI failed")


DONE = json.dumps(loop("completed", (0, None)), indent=2).encode()


@pytest.mark.parametrize(
    "stdout",
    [
        b"a warning { not JSON\n" + DONE + b"\nmore { junk\n{\n",
        b'{"a document": "of another kind"}\n' + DONE,
        b"\xff\xfe\n" + DONE + b"\n\x00\xff",
        DONE + b"\n" + json.dumps({"later": 1}).encode(),
        DONE[40:],
        DONE[:60] + b"\n[1234 bytes left out]\n" + DONE[80:],
        DONE[:-4],
    ],
)
def test_a_document_is_found_in_junk_and_after_a_cut(stdout: bytes) -> None:
    assert outcome(stdout).kind is OutcomeKind.COMPLETED


def test_the_last_document_counts() -> None:
    stdout = DONE + b"\n" + json.dumps({"error": "[Errno 32] Broken pipe"}).encode()
    assert outcome(stdout, 1).kind is OutcomeKind.CRASHED


def test_a_prompt_cannot_forge_a_document() -> None:
    forged = loop("max_iterations_reached", (1, None))
    forged["prompts"][0]["content"] = (
        "x\n"
        + DONE.decode()
        + '\n      "execution": '
        + json.dumps(loop("completed", (0, None))["prompts"][0]["execution"])
    )
    whole = json.dumps(forged, indent=2).encode()
    assert outcome(whole).kind is OutcomeKind.CRASHED
    for start in range(0, len(whole) - 60, 7):
        assert outcome(whole[start:]).kind is not OutcomeKind.COMPLETED


def test_a_document_of_many_megabytes_is_read() -> None:
    document = loop("completed", (0, None))
    document["prompts"][0]["content"] = "y\n" * 4_000_000
    assert outcome(document).kind is OutcomeKind.COMPLETED


def test_the_claim_is_kept_small_and_printable() -> None:
    document = loop(
        "completed",
        *[(0, None)] * 50,
        suggested_next_steps=[
            {"text": "deploy\x1b[2J\x1b[1;31m it\n", "source_iteration": 1},
            "plain",
            3,
            {"text": None},
        ]
        * 30,
        original_checkout_warnings=[{"iteration": 1, "modified": ["a", 7], "new_untracked": ["b"] * 100}],
        loop_log=["not a text"],
    )
    claim = outcome(document).claim
    assert claim is not None
    assert claim["final_status"] == "completed"
    assert claim["iterations"] == 50
    assert claim["exit_codes"] == [0] * 20
    assert claim["state_file"] == "/home/me/state.json"
    assert claim["loop_log"] == ""
    assert claim["log_files"] == [f"/home/me/{n}.log" for n in range(31, 51)]
    assert claim["suggested_next_steps"] == [r"deploy\x1b[2J it", "plain"] * 5
    assert claim["original_checkout_warnings"] == ["a", *["b"] * 18]
    assert outcome(loop("stalled", suggested_next_steps="no list")).claim is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=5,
)
WORDS = st.sampled_from(["completed", "stalled", "max_iterations_reached", "running", "\x1b[0m", "\ud800"])
ITERATION = st.fixed_dictionaries(
    {}, optional={"exit_code": st.integers() | JSON, "retry_reason": JSON, "log_file": st.text() | JSON}
)
EXECUTION = st.fixed_dictionaries(
    {},
    optional={
        "status": WORDS | JSON,
        "final_status": WORDS | JSON,
        "failure_reason": JSON,
        "iterations": st.lists(ITERATION, max_size=3) | JSON,
        "suggested_next_steps": JSON,
        "original_checkout_warnings": JSON,
        "state_file": JSON,
    },
)
DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        "error": st.text() | JSON,
        "selected_cli": st.text() | JSON,
        "prompts": JSON
        | st.lists(
            st.fixed_dictionaries({}, optional={"execution": EXECUTION | JSON, "worktree": JSON}), max_size=2
        ),
    },
)
# A busy machine says nothing about the reading.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CODES = st.sampled_from([None, 0, 1, 2, 255, -9, -64, -1000])


def check_sane(made: Outcome) -> None:
    assert made.detail.isprintable()
    assert len(made.detail) <= 300
    msgspec.json.encode(made)


@unhurried
@given(st.binary(), st.binary(), CODES)
def test_random_bytes_are_never_success(stdout: bytes, stderr: bytes, code: int | None) -> None:
    made = outcome(stdout, code, stderr)
    check_sane(made)
    assert made.kind is not OutcomeKind.COMPLETED


@unhurried
@given(DOCUMENT | JSON, CODES, st.sampled_from([None, 2]))
def test_random_documents_succeed_only_if_they_say_so(
    document: Any, code: int | None, indent: int | None
) -> None:
    made = outcome(json.dumps(document, indent=indent).encode(), code)
    check_sane(made)
    if made.kind is OutcomeKind.COMPLETED:
        execution = document["prompts"][0]["execution"]
        assert code == 0
        assert execution["final_status"] == "completed"
        assert execution["iterations"][-1]["exit_code"] == 0


@unhurried
@given(st.integers(0, len(DONE)), st.integers(0, len(DONE)), st.binary(max_size=20))
def test_a_document_cut_anywhere_is_never_misread(first: int, second: int, junk: bytes) -> None:
    kind = outcome(DONE[: min(first, second)] + junk + DONE[max(first, second) :]).kind
    assert kind in (OutcomeKind.COMPLETED, OutcomeKind.NO_RESULT, OutcomeKind.UNVERIFIED, OutcomeKind.CRASHED)


def test_find_document_looks_at_the_last_few_places_only() -> None:
    assert find_document(DONE + b"\n{" * 7) is not None
    assert find_document(b'{"error": "x"}' + b"\n{" * 8) is None


# The command


def test_the_whole_command(tmp_path: Path) -> None:
    executor = executor_in(tmp_path)
    made = ExecutorWorker(Settings(target="/repo", executor=str(executor))).command(
        bundle(
            agent("glm5", "opencode", "high"),
            cwd="/trees/oauth",
            branch="sup/oauth",
            spec=Task(
                prompt="1",
                loop=Loop(4, "MY-MARKER"),
                require_diff=True,
                sandbox="strict",
                env={"A": "1", ATTEMPT_VARIABLE: "theirs"},
            ),
        )
    )
    attempt = attempt_id(bundle())
    assert made.argv == (
        *(sys.executable, str(executor), "--prompt-file", "/state/r/oauth/1/prompt.md"),
        *("--prompt-number", attempt, "--execution-timestamp", attempt),
        *("--model=glm5", "--cli=opencode", "--variant=high", "--cwd", "/trees/oauth"),
        *("--worktree-path", "/trees/oauth", "--branch-name", "sup/oauth", "--original-repo-root", "/repo"),
        *("--run", "--loop", "--loop-foreground", "--max-iterations", "4", "--completion-marker=MY-MARKER"),
        *("--require-diff", "--sandbox", "--sandbox-profile", "strict"),
    )
    assert made.env == {"A": "1", ATTEMPT_VARIABLE: attempt}
    assert made.cwd == "/repo"


def test_what_only_its_sandbox_knows_is_in_the_options_of_the_provider(worker: ExecutorWorker) -> None:
    options: dict[str, object] = {
        "sandbox_type": "bubblewrap",
        "sandbox_workspace": "--net",
        "sandbox_net": "off",
        "dangerously_bypass_permissions": True,
        "other": "--run",
    }
    made = worker.command(bundle(spec=Task(prompt="1", sandbox=True), options=options)).argv
    assert made[made.index("--dangerously-bypass-permissions") :] == (
        *("--dangerously-bypass-permissions", "--sandbox", "--sandbox-type=bubblewrap"),
        *("--sandbox-workspace=--net", "--sandbox-net=off"),
    )
    odd = worker.command(bundle(options={"sandbox_net": "off", "dangerously_bypass_permissions": "yes"})).argv
    assert not [word for word in odd if word.startswith(("--sandbox", "--dangerously"))]


def test_what_is_not_wanted_is_not_passed(worker: ExecutorWorker) -> None:
    plain = worker.command(bundle()).argv
    for option in ("--cli", "--variant", "--worktree-path", "--branch-name", "--require-diff", "--sandbox"):
        assert not any(word.startswith(option) for word in plain)
    sandboxed = worker.command(bundle(spec=Task(prompt="1", sandbox=True))).argv
    assert "--sandbox" in sandboxed
    assert "--sandbox-profile" not in sandboxed


def test_the_model_claude_never_gets_a_worktree_path(worker: ExecutorWorker) -> None:
    # With both, the executor edits the user's ~/.claude/settings.json, and loses entries of others.
    argv = worker.command(bundle(agent("claude", "claude"), cwd="/trees/x", branch="b")).argv
    assert "--worktree-path" not in argv
    assert argv[argv.index("--cwd") + 1] == "/trees/x"


def test_attempt_ids_are_unique_short_and_safe() -> None:
    bundles = [
        bundle(),
        bundle(number=2),
        bundle(token="another"),
        bundle(run="other"),
        bundle(task="x" * 64),
        bundle(task="../a b"),
    ]
    ids = [attempt_id(each) for each in bundles]
    assert len({each.lower() for each in ids}) == len(bundles)
    assert ids[-1].startswith(".._a_b-")
    for each in ids:
        assert 3 <= len(each) <= 60
        assert set(each) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        assert "a-token" not in each


def test_the_marker_is_the_plan_s_or_cannot_be_guessed() -> None:
    marker = completion_marker(bundle())
    assert marker != completion_marker(bundle(token="another"))
    assert attempt_id(bundle()).rpartition("-")[2] not in marker
    assert "a-token" not in marker
    assert completion_marker(bundle(spec=Task(prompt="1", loop=Loop(1, "MINE")))) == "MINE"


def test_a_task_without_a_prompt_is_refused(worker: ExecutorWorker) -> None:
    with pytest.raises(UsageError, match=r"task oauth: .* it has none"):
        worker.command(bundle(prompt_file=None))


def test_keeps_the_contract(worker: ExecutorWorker) -> None:
    assert worker.output_wanted == 4 << 20
    check_worker(worker, bundle())


# Finding executor.py


def test_the_path_that_the_user_gives_may_be_the_file_or_a_checkout(tmp_path: Path) -> None:
    executor = executor_in(tmp_path)
    for path in (executor, tmp_path):
        assert locate.find(Settings(target="/repo", executor=str(path))) == executor
        assert locate.find(Settings(target="/repo", environ={"DAPLUG_EXECUTOR": str(path)})) == executor


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = executor_in(tmp_path / "daplug")
    monkeypatch.chdir(tmp_path)
    assert locate.find(Settings(target="/repo", executor="daplug")) == executor


def test_the_first_place_counts(tmp_path: Path) -> None:
    option, variable = executor_in(tmp_path / "1"), executor_in(tmp_path / "2")
    plugin, beside = executor_in(tmp_path / "3"), executor_in(tmp_path / "daplug")
    manifest(tmp_path, {"plugins": {"daplug@cruzanstx": [{"installPath": str(tmp_path / "3")}]}})
    target, home = str(tmp_path / "target"), {"HOME": str(tmp_path)}
    both = home | {"DAPLUG_EXECUTOR": str(variable)}
    assert locate.find(Settings(target=target, executor=str(option), environ=both)) == option
    assert locate.find(Settings(target=target, environ=both)) == variable
    assert locate.find(Settings(target=target, environ=home)) == plugin
    assert locate.find(Settings(target=target)) == beside


def manifest(home: Path, content: object) -> None:
    path = home / ".claude" / "plugins" / "installed_plugins.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{not JSON",
        [],
        {"plugins": {}},
        {"plugins": {"daplug@cruzanstx": {"installPath": "x"}}},
        {"plugins": {"daplug@cruzanstx": [{"path": "x"}]}},
        {"plugins": {"daplug@cruzanstx": [{"installPath": "/gone"}]}},
        {"plugins": {"daplug@somebody-else": [{"installPath": "/gone"}]}},
    ],
)
def test_a_manifest_that_does_not_help_is_passed_over(tmp_path: Path, content: object) -> None:
    manifest(tmp_path, content)
    with pytest.raises(UsageError, match="was not found"):
        locate.find(Settings(target=str(tmp_path / "target"), environ={"HOME": str(tmp_path)}))


def test_an_install_that_is_gone_is_passed_over_for_one_that_is_there(tmp_path: Path) -> None:
    executor = executor_in(tmp_path / "new")
    paths = [
        {"installPath": "/gone", "version": "1"},
        {"installPath": str(tmp_path / "new"), "scope": "user"},
    ]
    manifest(tmp_path, {"version": 2, "plugins": {"other@x": [1], "daplug@cruzanstx": paths}})
    assert locate.find(Settings(target="/repo", environ={"HOME": str(tmp_path)})) == executor


def test_a_missing_executor_is_one_problem_with_every_remedy(tmp_path: Path) -> None:
    worker = ExecutorWorker(Settings(target=str(tmp_path / "target"), environ={"HOME": str(tmp_path)}))
    (problem,) = worker.problems([agent()])
    for remedy in ("--executor PATH", "DAPLUG_EXECUTOR", "Claude plugin", "beside the target"):
        assert remedy in problem
    with pytest.raises(UsageError, match="was not found"):
        worker.command(bundle())


@pytest.mark.parametrize("source", ["--executor", "DAPLUG_EXECUTOR"])
def test_a_wrong_path_is_not_replaced_by_another_place(tmp_path: Path, source: str) -> None:
    executor_in(tmp_path / "daplug")
    gone = str(tmp_path / "gone")
    settings = Settings(
        target=str(tmp_path / "target"),
        executor=gone if source == "--executor" else None,
        environ={"DAPLUG_EXECUTOR": gone},
    )
    (problem,) = ExecutorWorker(settings).problems([agent()])
    assert problem.startswith(f"{source}: there is no executor.py at {gone!r}")


def test_the_model_claude_without_a_cli_is_a_problem(worker: ExecutorWorker) -> None:
    assert worker.problems([agent(), agent("claude", "claude"), agent("cc-opus")]) == []
    (problem,) = worker.problems([agent("claude"), agent("claude"), agent("claude", "claude")])
    assert problem.startswith("provider claude: the model 'claude' runs only inside a Claude session")
    assert "`cli: claude`" in problem


LEAVE = {"dangerously_bypass_permissions": True}


@pytest.mark.parametrize(
    ("chosen", "spec", "options", "kind"),
    [
        (agent("cc-sonnet"), Task(prompt="1"), {}, OutcomeKind.UNVERIFIED),
        (agent("fable"), Task(prompt="1"), {}, OutcomeKind.UNVERIFIED),
        (agent("claude", "claude"), Task(prompt="1"), {}, OutcomeKind.UNVERIFIED),
        (agent("cc-opus"), Task(prompt="1", sandbox=True), {}, OutcomeKind.COMPLETED),
        (agent("cc-opus"), Task(prompt="1", require_diff=True), {}, OutcomeKind.COMPLETED),
        (agent("cc-opus"), Task(prompt="1"), LEAVE, OutcomeKind.COMPLETED),
        (agent("glm5", "codex"), Task(prompt="1"), {}, OutcomeKind.COMPLETED),
        (agent("codex"), Task(prompt="1"), {}, OutcomeKind.COMPLETED),
    ],
)
def test_an_agent_that_may_not_write_is_not_believed(
    worker: ExecutorWorker, chosen: Assignment, spec: Task, options: dict[str, object], kind: OutcomeKind
) -> None:
    said = json.dumps(loop("completed", (0, None)), indent=2).encode()
    found = worker.outcome(Evidence(bundle(chosen, spec=spec, options=options), Exit(0), said))
    assert found.kind is kind
    assert ("gives claude no leave to write" in found.detail) == (kind is OutcomeKind.UNVERIFIED)


def test_what_fails_without_leave_is_told_as_ever(worker: ExecutorWorker) -> None:
    said = json.dumps(loop("blocked", (0, "a")), indent=2).encode()
    assert worker.outcome(Evidence(bundle(agent("cc-opus")), Exit(0), said)).kind is OutcomeKind.BLOCKED
