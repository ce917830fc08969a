"""The stand-in for executor.py speaks the real one's contract: what is tested with it holds for that too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from daplug_supervisor.core.bundle import Bundle, Evidence
from daplug_supervisor.core.plan import Assignment, Loop, Task
from daplug_supervisor.core.results import Exit, Outcome, OutcomeKind
from daplug_supervisor.workers.executor import ExecutorWorker
from daplug_supervisor.workers.settings import Settings

STANDIN = Path(__file__).parents[1] / "standin" / "executor.py"


class Place:
    """A target directory and a home, in which prompts are run through the stand-in."""

    def __init__(self, root: Path) -> None:
        self.root, self.target, self.home = root, root / "target", root / "home"
        self.target.mkdir()
        self.home.mkdir()
        self.worker = ExecutorWorker(Settings(target=str(self.target), executor=str(STANDIN)))
        self.number = 0

    def start(self, prompt: str, *, model: str = "codex", cwd: str = "", iterations: int = 2) -> None:
        self.number += 1
        path = self.root / f"{self.number}.md"
        path.write_text(f"# A task\n\n{prompt}\n")
        self.bundle = Bundle(
            run="r",
            task="t",
            number=self.number,
            token=f"token {self.number}",
            directory=str(self.root),
            target=str(self.target),
            cwd=cwd or str(self.target),
            spec=Task(prompt="1", loop=Loop(iterations)),
            assignment=Assignment(model, "executor", model, None, None),
            prompt_file=str(path),
        )
        command = self.worker.command(self.bundle)
        self.process = subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env=os.environ | {"HOME": str(self.home)} | command.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self) -> Outcome:
        stdout, self.stderr = self.process.communicate(timeout=60)
        return self.worker.outcome(Evidence(self.bundle, Exit(self.process.returncode), stdout, self.stderr))

    def run(self, prompt: str, **how: object) -> Outcome:
        self.start(prompt, **how)  # type: ignore[arg-type]
        return self.finish()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("mode", "kind", "detail"),
    [
        ("ok", OutcomeKind.COMPLETED, ""),
        ("retry a, ok", OutcomeKind.COMPLETED, ""),
        ("sleep 0.01", OutcomeKind.COMPLETED, ""),
        ("big 3000000", OutcomeKind.COMPLETED, ""),
        ("okfail 5", OutcomeKind.UNVERIFIED, "exit code 5"),
        ("nodiff", OutcomeKind.STALLED, "no file changes"),
        ("fail 3", OutcomeKind.CRASHED, "the codex CLI failed: exit code 3"),
        ("nomarker", OutcomeKind.NO_RESULT, "without the completion marker"),
        ("retry a, retry b", OutcomeKind.MAX_ITERATIONS, "b"),
        ("retry a", OutcomeKind.STALLED, "a"),
        ("blocked", OutcomeKind.BLOCKED, "cannot read /etc/shadow"),
        ("garbage", OutcomeKind.NO_RESULT, "not JSON"),
        ("nothing", OutcomeKind.NO_RESULT, "no output"),
        ("die", OutcomeKind.CRASHED, "SIGKILL"),
        ("error [Errno 32] Broken pipe", OutcomeKind.CRASHED, "Broken pipe"),
        ("error [Errno 2] No such file or directory: 'codex'", OutcomeKind.CONFIGURATION, "not installed"),
        ("conflict", OutcomeKind.CONFLICT, "/elsewhere"),
        ("subagent", OutcomeKind.PLAN_ERROR, "Claude session"),
    ],
)
def test_modes(place: Place, mode: str, kind: OutcomeKind, detail: str) -> None:
    made = place.run(f"STUB: {mode}")
    assert made.kind is kind
    assert detail in made.detail


def test_one_iteration_without_a_change_is_unverified(place: Place) -> None:
    assert place.run("STUB: nodiff", iterations=1).kind is OutcomeKind.UNVERIFIED


def test_usage_errors(place: Place) -> None:
    assert "invalid choice: 'nosuch'" in place.run("", model="nosuch").detail
    unknown = subprocess.run([sys.executable, STANDIN, "--parallel", "3"], capture_output=True, check=False)
    assert unknown.returncode == 2
    assert unknown.stdout == b""


def test_a_missing_directory_is_an_error_document(place: Place) -> None:
    assert place.run("STUB: ok", cwd="/gone").kind is OutcomeKind.CONFIGURATION


def test_attempts_are_counted_where_the_prompt_says(place: Place) -> None:
    prompt = "STUB-ATTEMPTS: fail 1 | retry a, nomarker | ok\nSTUB-COUNTER: .count"
    kinds = [place.run(prompt).kind for _ in range(4)]
    done = OutcomeKind.COMPLETED
    assert kinds == [OutcomeKind.CRASHED, OutcomeKind.MAX_ITERATIONS, done, done]
    assert (place.target / ".count").stat().st_size == 4
    assert "STUB-COUNTER" in place.run("STUB-ATTEMPTS: ok").detail


def test_leaves_state_logs_and_progress_as_the_real_one_does(place: Place) -> None:
    claim = place.run("STUB: write made.txt").claim
    assert claim is not None
    assert (place.target / "made.txt").read_text() == "written\n"
    number = place.worker.command(place.bundle).env["DAPLUG_SUP_ATTEMPT"]
    assert claim["state_file"] == str(place.home / ".claude" / "loop-state" / f"{number}.json")
    assert claim["log_files"] == [
        str(place.home / ".claude" / "cli-logs" / f"codex-{number}-iter1-{number}.log")
    ]
    assert Path(str(claim["state_file"])).is_file()
    assert place.stderr.startswith(b"[Loop] Starting iteration 1/2...\n")


def test_an_agent_can_commit(place: Place) -> None:
    subprocess.run(["git", "init", "-q"], cwd=place.target, check=True)
    assert place.run("STUB: commit made.txt").kind is OutcomeKind.COMPLETED
    log = subprocess.run(["git", "log", "--format=%s"], cwd=place.target, capture_output=True, check=True)
    assert log.stdout == b"add made.txt\n"


def children(place: Place) -> list[psutil.Process]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = psutil.Process(place.process.pid).children(recursive=True)
        # The agent has announced itself once its log has a line.
        if found and any(log.stat().st_size for log in (place.home / ".claude" / "cli-logs").glob("*")):
            return found
        time.sleep(0.02)
    raise AssertionError("no agent was started")


@pytest.mark.parametrize("mode", ["hang", "deaf"])
def test_the_agent_is_a_process_of_its_own(place: Place, mode: str) -> None:
    place.start(f"STUB: {mode}")
    (child,) = children(place)
    assert os.getpgid(child.pid) == place.process.pid
    os.killpg(place.process.pid, signal.SIGTERM)
    assert place.finish().kind is OutcomeKind.CRASHED
    _, left = psutil.wait_procs([child], timeout=0.5 if mode == "deaf" else 30)
    # Where nobody reaps orphans (pid 1 of a container may not), they stay as zombies.
    assert bool([one for one in left if one.status() != psutil.STATUS_ZOMBIE]) == (mode == "deaf")
    for process in left:
        process.kill()


def test_a_stray_process_outlives_the_agent(place: Place) -> None:
    assert place.run("STUB: stray 60").kind is OutcomeKind.COMPLETED
    number = place.worker.command(place.bundle).env["DAPLUG_SUP_ATTEMPT"]
    strays = [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("DAPLUG_SUP_ATTEMPT") == number
    ]
    assert [process.name() for process in strays] == ["sleep"]
    for process in strays:
        process.kill()
