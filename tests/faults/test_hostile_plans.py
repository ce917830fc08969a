"""Hostile plans and prompts are refused quickly and in little memory, and it is said where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile import MIB, PLANS
from promises import Proof

from daplug_supervisor.errors import PlanError, UsageError
from daplug_supervisor.formats import load_plan
from daplug_supervisor.formats.prompts import files as prompts

CHILD = """
import gc, json, sys, time
gc.disable()  # as the program does
from pathlib import Path
from daplug_supervisor.errors import PlanError
from daplug_supervisor.formats.plans import planyaml
from daplug_supervisor.formats import load_plan
import yaml
def peak():  # not ru_maxrss, which a process inherits
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before, begin = peak(), time.process_time()
try:
    load_plan(Path(sys.argv[1]))
    told = None
except PlanError as error:
    told = [str(error.problems[0]), error.problems[0].line]
print(json.dumps([told, time.process_time() - begin, peak() - before]))
"""

QUICK = (
    "aliases.yaml",
    "tag.yaml",
    "all-twice.yaml",
    "100-mb.yaml",
    "nested-twice.json",
    "deep.json",
    "nan.json",
)


def refused(path: Path) -> tuple[Any, float, float]:
    """What a process says of a plan, the processor time it took, and by how much its memory grew."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told, seconds, grown = json.loads(done.stdout)
    return told, seconds, grown


@pytest.mark.promise("P24")
@pytest.mark.parametrize("name", PLANS)
def test_a_hostile_plan_is_refused_at_once(name: str, proof: Proof, tmp_path: Path) -> None:
    if name not in QUICK and not proof.full:
        pytest.skip("in the full form: files of many megabytes take their time")
    content, words, named = PLANS[name]
    path = tmp_path / name
    path.write_bytes(content())
    told, seconds, grown = refused(path)
    for _ in range(proof.pick(0, 2)):  # the time of a busy machine is not the program's
        seconds = min(seconds, refused(path)[1]) if seconds > 0.8 else seconds
    path.unlink()
    assert told is not None, "taken on"
    problem, line = told
    assert words in problem
    assert problem.isprintable()
    assert (line > 0) == named, problem
    proof.count("fuzz inputs")
    proof.measure("slowest refusal (processor time)", seconds, "s", at_most=1.0)
    proof.measure("most memory for a refusal", grown / 1e6, "MB", at_most=100)


def test_small_hostile_plans_are_refused_with_their_line() -> None:
    """The same where no file is large, without a process for each: it shows that nothing depends on size."""
    from daplug_supervisor.formats.plans import planyaml

    for name, (content, words, named) in PLANS.items():
        if name in (
            "alias.yaml",
            "merge.yaml",
            "twice.yaml",
            "tabs.yaml",
            "mark.yaml",
            "nul.json",
            "half.json",
        ):
            with pytest.raises(PlanError) as caught:
                planyaml.loads(content(), file=name, default_name="x", processors=1)
            first = caught.value.problems[0]
            assert words in str(first)
            assert (first.line > 0) == named


@pytest.mark.promise("P24")
def test_what_is_no_file_is_not_read(proof: Proof, tmp_path: Path) -> None:
    """A pipe would hang whoever opens it, and a device never ends: as a plan, and as a prompt."""
    os.mkfifo(tmp_path / "fifo.md")
    (tmp_path / "zero.md").symlink_to("/dev/zero")
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "loop.md").symlink_to("loop.md")
    with (tmp_path / "huge.md").open("wb") as file:
        file.truncate(1 << 30)
    for name in (
        "fifo.md",
        "zero.md",
        "folder.md",
        "loop.md",
        "huge.md",
        "none.md",
        "a" * 5000 + ".md",
        "a\0.md",
    ):
        with pytest.raises(PlanError) as caught:
            load_plan(tmp_path / name)
        assert str(caught.value).isprintable()
        with pytest.raises(UsageError) as refusal:
            prompts.read(tmp_path / name)
        assert str(refusal.value).isprintable()
        proof.count("fuzz inputs", 2)
    told, seconds, grown = refused(tmp_path / "huge.md")
    assert "larger than" in told[0]
    proof.measure("slowest refusal (processor time)", seconds, "s", at_most=1.0)
    proof.measure("most memory for a refusal", grown / 1e6, "MB", at_most=100)


def test_a_plan_at_the_limit_is_taken_on(tmp_path: Path) -> None:
    """What bounds hostile plans leaves room for large ones."""
    count = 20_000
    tasks = {f"t{n}": {"command": ["true"], "needs": [f"t{n - 1}"] if n else []} for n in range(count)}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"tasks": tasks}))
    assert len(load_plan(path).tasks) == count
    path.write_text(json.dumps({"tasks": {"a": {"command": ["x" * (15 * MIB)]}}}))
    assert len(load_plan(path).tasks) == 1
