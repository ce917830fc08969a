"""That the benchmarks run and that what they say of costs is true. Never how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BURN = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
LINUX = sys.platform == "linux"

pytestmark = pytest.mark.no_cover
needs_linux = pytest.mark.skipif(not LINUX, reason="needs subreapers")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def metered(folder: Path, *argv: str) -> dict[str, float]:
    report = folder / "report.json"
    meter = ROOT / "tests" / "bench" / "meter.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(meter), str(report), *argv],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    found: dict[str, float] = json.loads(report.read_text())
    return found


@needs_linux
def test_the_short_form_measures_ours_and_the_yardstick_and_says_what_became_of_the_targets(
    tmp_path: Path,
) -> None:
    saved = tmp_path / "figures.json"
    options = ("--quick", "--tasks", "20", "--seconds", "0.5", "--dir", str(tmp_path), "--json", str(saved))
    done = bench(*options, "--only", "ours,F0,F1,F3")
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "W0: one task",
        "W1: 20 independent",
        "W2: a chain of 6",
        "W3: 20 tasks",
        "W4: 1,000 independent",
    ):
        assert words in done.stdout
    for words in (
        "wall a task, times F3",
        "cpu a task, times F3",
        "wall a hop, times F3",
        "flat (independent)",
    ):
        assert f"target: {words}" in done.stdout
    for words in ("memory in MiB", "--help, seconds", "status, seconds", "wake-ups/s"):
        assert words in done.stdout
    figures = json.loads(saved.read_text())
    assert set(figures) == {"machine", "tasks", "many", "startup", "scale", "idle"}
    assert all(one["cost"]["wall"] > 0 for one in figures["tasks"])
    assert not list(tmp_path.glob("daplug-bench-*"))


def test_a_section_that_does_not_exist_is_a_usage_error() -> None:
    done = bench("no-such-section")
    assert done.returncode == 2
    assert "no section no-such-section; there are tasks, many, startup, scale, idle" in done.stderr


@needs_linux
def test_the_processor_time_of_what_a_command_leaves_behind_is_counted(tmp_path: Path) -> None:
    orphan = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}], start_new_session=True)"
    )
    found = metered(tmp_path, sys.executable, "-c", orphan)
    assert found["left"] == 1
    assert found["user"] + found["system"] >= 0.2


@needs_linux
def test_the_processor_time_of_agents_under_shims_is_counted(tmp_path: Path) -> None:
    tasks = {f"t{number}": {"command": [sys.executable, "-c", BURN]} for number in range(3)}
    (tmp_path / "plan.json").write_text(json.dumps({"name": "burn", "tasks": tasks}))
    command = "from daplug_supervisor.cli.main import main; main()"
    found = metered(tmp_path, sys.executable, "-c", command, "run", "plan.json", "--quiet")
    assert found["code"] == 0
    assert found["user"] + found["system"] >= 0.6
