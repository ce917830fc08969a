"""What is shipped as an example works as it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAM = str(Path(sys.executable).with_name("daplug-supervise"))


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_the_demo_runs_side_by_side_retries_and_keeps_the_order(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "demo" / "plan.yaml", tmp_path)
    done = run(PROGRAM, "plan.yaml", "--json", "--state-dir", "state", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["counts"]["done"] == report["counts"]["total"] == 6
    assert report["attempts"]["by_outcome"] == {"completed": 6, "failed": 1}
    assert report["durations"]["wall"] < report["durations"]["attempts"], "nothing ran side by side"
    assert (tmp_path / "release.txt").read_text() == "create table users\nassets\n"


def test_the_agents_plan_is_valid() -> None:
    done = run(PROGRAM, "check", "plan.yaml", "--json", cwd=EXAMPLES / "agents")
    assert done.returncode == 0, done.stderr
    limits = {row["name"]: row["limit"] for row in json.loads(done.stdout)["providers"]}
    assert {name: limits[name] for name in ("codex", "opencode", "gemini")} == {
        "codex": 2,
        "opencode": 3,
        "gemini": 1,
    }


def test_embedding_leaves_the_host_program_running(tmp_path: Path) -> None:
    done = run(sys.executable, str(EXAMPLES / "embed.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "embedded-1: 3 of 3 done"
    assert lines.count("the host goes on") >= 2
    assert any("run_finished" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_divided_work_waits_for_a_person_who_rejects_and_then_approves(tmp_path: Path) -> None:
    """All that its first lines name is typed, in that order."""
    place = tmp_path / "divided"
    shutil.copytree(EXAMPLES / "divided", place)
    first = divided("plan.yaml", cwd=place)
    assert first.returncode == 1, first.stderr
    assert statuses(place) == {
        **dict.fromkeys(("shop-db", "shop-api", "shop-ui"), "done"), "shop": "reviewing", "news": "pending",
    }  # fmt: skip
    assert "shop: Delegated: waits for its parts" in first.stderr
    assert "shop: Verified; waits for a person to review it." in first.stderr
    for view in (("status",), ("report",), ("task", "why", "shop"), ("task", "show", "shop")):
        shown = divided(*view, cwd=place).stdout
        assert "daplug-supervise task approve shop" in shown
        assert "git -C" not in shown, "there is no repository"
    remark = "Say what it costs"
    for words in (("task", "reject", "shop", "--remark", remark), ("task", "approve", "shop")):
        assert divided(*words, cwd=place).returncode == 0
        last = divided("resume", cwd=place)
    assert last.returncode == 0, last.stderr
    assert (place / "news.txt").read_text() == "buttons: list goods, orders\nEverything costs 1.\n"
    assert all(
        words in (place / "plan.yaml").read_text() for words in ("task why shop", f'--remark "{remark}"')
    )


def divided(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `run`, with our program where the example's agent finds it."""
    path = f"{Path(PROGRAM).parent}:{os.environ['PATH']}"
    return run("env", f"PATH={path}", PROGRAM, *words, cwd=cwd)


def statuses(cwd: Path) -> dict[str, str]:
    rows = json.loads(divided("task", "list", "--json", cwd=cwd).stdout)
    return {row["task"]: row["status"] for row in rows}
