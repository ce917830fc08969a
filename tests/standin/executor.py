"""A stand-in for daplug's executor.py in foreground-loop mode: same command line, same JSON, scripted agents.

The prompt says what happens:

``STUB: fail 1, ok``
    One mode per iteration, separated by commas; the last one is repeated.
``STUB-ATTEMPTS: die | fail 1, ok | ok`` with ``STUB-COUNTER: name``
    One such list per attempt, separated by bars; attempts are counted in that file in the working directory.

Modes of the agent, a child process: ok, okfail N (marker, but exit code N), fail N, nomarker, retry REASON,
blocked, nodiff, sleep SECONDS, write FILE, commit FILE, sh LINE (without commas), result FILE (hands in what
that holds), hang, deaf (ignores TERM, then hangs), stray SECONDS (leaves a process in a session of its own, then
ok). Modes of the executor itself: garbage, nothing, big N, die, error TEXT, conflict, subagent.

With ``DAPLUG_TEST_STORY`` in the environment the agent of mode ok does what `workman` says.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODELS = ["claude", "cc-opus", "cc-sonnet", "codex", "gemini", "glm5", "kimi", "opencode", "synthetic"]

Json = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", choices=MODELS, default="claude")
    parser.add_argument("--cli", choices=["codex", "opencode", "claude", "gemini"])
    parser.add_argument("--variant", choices=["none", "low", "medium", "high", "xhigh"])
    parser.add_argument("--sandbox-profile", choices=["strict", "balanced", "dev"], default="balanced")
    parser.add_argument("--max-iterations", type=int, default=3)
    parser.add_argument("--completion-marker", default="VERIFICATION_COMPLETE")
    for name in (
        "prompt-file",
        "prompt-number",
        "execution-timestamp",
        "cwd",
        "worktree-path",
        "branch-name",
    ):
        parser.add_argument(f"--{name}")
    parser.add_argument("--original-repo-root")
    for name in ("run", "loop", "loop-foreground", "require-diff", "sandbox"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args()


def agent(mode: str, arg: str, marker: str) -> int:
    """The agent: runs in a process of its own, with its output in the iteration's log."""
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode in ("hang", "deaf"):
        print("thinking", flush=True)
        while True:
            time.sleep(60)
    if mode == "ok" and "DAPLUG_TEST_STORY" in os.environ:
        sys.path.insert(0, str(Path(__file__).parent))
        __import__("workman").work()
    if mode == "sleep":
        time.sleep(float(arg))
    if mode == "stray":
        subprocess.Popen(["sleep", arg], start_new_session=True)
    work(mode, arg)
    if mode in ("retry", "blocked"):
        marker = "NEEDS_RETRY: " + (arg or "cannot read /etc/shadow" if mode == "blocked" else arg)
    if mode in ("fail", "nomarker"):
        print("boom" if mode == "fail" else "nothing to say")
    else:
        print(f"<verification>{marker}</verification>")
    return int(arg or 1) if mode in ("fail", "okfail") else 0


def work(mode: str, arg: str) -> None:
    """What the agent leaves behind."""
    if mode in ("write", "commit"):
        Path(arg).write_text("written\n")
    if mode == "sh":
        subprocess.run(["sh", "-c", arg], check=True)
    if mode == "result":
        Path(os.environ["DAPLUG_RESULT"]).write_bytes(Path(arg).read_bytes())
    if mode == "commit":
        who = ["-c", "user.name=agent", "-c", "user.email=agent@example.org"]
        subprocess.run(["git", "add", "--", arg], check=True)
        subprocess.run(["git", *who, "commit", "-qm", f"add {arg}"], check=True)


def modes(prompt: str) -> list[tuple[str, str]]:
    """The modes of this attempt, one per iteration, each with its argument."""
    attempts = re.search(r"^STUB-ATTEMPTS: (.+)$", prompt, re.MULTILINE)
    single = re.search(r"^STUB: (.+)$", prompt, re.MULTILINE)
    script = single.group(1) if single else "ok"
    if attempts:
        counter = re.search(r"^STUB-COUNTER: (\S+)$", prompt, re.MULTILINE)
        if counter is None:
            raise RuntimeError("STUB-ATTEMPTS needs a line STUB-COUNTER: name")
        with Path(counter.group(1)).open("a") as file:
            file.write("x")
            turn = file.tell()
        scripts = attempts.group(1).split("|")
        script = scripts[min(turn, len(scripts)) - 1]
    parts = [mode.strip().partition(" ") for mode in script.split(",")]
    return [(mode, arg) for mode, _, arg in parts]


def instead(mode: str, arg: str, document: Json) -> bool:
    """What the executor itself does in a mode that is not the agent's; True if that was all."""
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "error":
        print(json.dumps({"error": arg}))
        sys.exit(1)
    if mode == "garbage":
        print("Traceback? No: [[[{\x1b[31m not JSON \x00 {")
    if mode == "conflict":
        document["prompts"][0]["worktree"] = {"conflict": True, "existing_worktree": "/elsewhere"}
    if mode == "subagent":
        document["prompts"][0]["execution"] = {"status": "subagent_required", "log": "none"}
    if mode in ("conflict", "subagent"):
        print(json.dumps(document, indent=2))
    return mode in ("garbage", "nothing", "conflict", "subagent")


def iterate(args: argparse.Namespace, number: int, mode: str, arg: str, log: Path) -> Json:
    """One iteration, as the document shows it."""
    child = [sys.executable, __file__, "--as-agent", mode, arg, args.completion_marker]
    with log.open("wb") as output:
        env = {**os.environ, "DAPLUG_TEST_PROMPT": args.prompt_file}
        ran = subprocess.run(child, cwd=args.cwd, env=env, stdout=output, stderr=output, check=False)
    code = ran.returncode
    text = log.read_text()
    said = re.search(r"NEEDS_RETRY: (.*?)</verification>", text)
    reason = said.group(1) if said else None
    if mode == "nodiff":
        reason = "completion marker found but no file changes detected (--require-diff)"
    found = reason is None and f"<verification>{args.completion_marker}</verification>" in text
    entry: Json = {"iteration": number, "log_file": str(log), "exit_code": code}
    return entry | {"marker_found": found, "retry_reason": reason}


def verdict(history: list[Json], mode: str, last: bool) -> str | None:
    """The final status after an iteration, or None to go on."""
    reasons = [entry["retry_reason"] for entry in history]
    if history[-1]["marker_found"]:
        return "completed"
    if reasons[-1] and "cannot read /" in reasons[-1]:
        return "blocked"
    if len(reasons) > 1 and reasons[-1] and reasons[-1] == reasons[-2]:
        return "stalled"
    if last:
        return "completed_unverified" if mode == "nodiff" else "max_iterations_reached"
    return None


def loop(args: argparse.Namespace, script: list[tuple[str, str]], execution: Json, logs: Path) -> Json:
    name = f"{args.model}-{args.prompt_number}"
    for number in range(1, args.max_iterations + 1):
        print(f"[Loop] Starting iteration {number}/{args.max_iterations}...", file=sys.stderr, flush=True)
        mode, arg = script[min(number, len(script)) - 1]
        log = logs / f"{name}-iter{number}-{args.execution_timestamp}.log"
        execution["iterations"].append(iterate(args, number, mode, arg, log))
        status = verdict(execution["iterations"], mode, number == args.max_iterations)
        if status:
            execution |= {"status": status, "final_status": status}
            if status in ("blocked", "stalled"):
                execution["failure_reason"] = f"{status}: {execution['iterations'][-1]['retry_reason']}"
            break
    execution["total_iterations"] = len(execution["iterations"])
    return execution


def main() -> None:
    args = arguments()
    try:
        prompt = Path(args.prompt_file).read_text()
        if not Path(args.cwd).is_dir():
            raise RuntimeError(f"execution_cwd does not exist: {args.cwd}")
        script = modes(prompt)
    except (OSError, RuntimeError) as error:
        print(json.dumps({"error": str(error)}))
        sys.exit(1)
    home = Path.home() / ".claude"
    logs, state = home / "cli-logs", home / "loop-state" / f"{args.prompt_number}.json"
    for directory in (logs, state.parent):
        directory.mkdir(parents=True, exist_ok=True)
    entry: Json = {"file": args.prompt_file, "number": args.prompt_number, "content": prompt}
    document: Json = {"model": args.model, "selected_cli": args.cli or args.model, "prompts": [entry]}
    mode, arg = script[0]
    if instead(mode, arg, document):
        return
    if mode == "big":
        entry["content"], script = "y" * int(arg), [("ok", "")]
    execution: Json = {"status": "running", "loop_enabled": True, "final_status": None, "iterations": []}
    execution |= {"loop_log": str(logs / f"{args.model}-loop.log"), "state_file": str(state)}
    execution |= {"original_checkout_warnings": [], "suggested_next_steps": []}
    state.write_text(json.dumps({"status": "running", "executor_pid": os.getpid()}))
    entry["execution"] = loop(args, script, execution, logs)
    state.write_text(json.dumps({"status": execution["status"], "history": execution["iterations"]}))
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-agent"]:
        sys.exit(agent(*sys.argv[2:5]))
    main()
