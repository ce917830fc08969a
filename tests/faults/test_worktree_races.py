"""Worktrees made at once in one repository, by threads and by supervisors, while others work in it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli import Place, finish, opened, plan_of, sh
from promises import Proof

from daplug_supervisor import Provider
from daplug_supervisor.workspace.git.worktrees import worktree

place = pytest.fixture(opened)

GIT = (
    "git",
    "-c",
    "user.name=t",
    "-c",
    "user.email=t@example.org",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "gc.auto=0",
)
AT_ONCE = 32


def git(folder: Path, *words: str) -> str:
    done = subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, (words, done.stderr)
    return done.stdout


def fill(folder: Path) -> None:
    git(folder, "init", "-q", "-b", "main")
    for number in range(20):
        (folder / f"{number}").write_text(f"{number}\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")


@contextmanager
def committing(folder: Path) -> Iterator[list[str]]:
    """Somebody commits in the original checkout meanwhile, and must never find it locked. Yields the failures."""
    failures: list[str] = []
    over = threading.Event()

    def commit() -> None:
        while not over.is_set():
            with (folder / "0").open("a") as file:
                file.write("more\n")
            done = subprocess.run(
                [*GIT, "commit", "-qam", "more"], cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                failures.append(done.stderr)
            over.wait(0.01)

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield failures
    finally:
        over.set()
        thread.join()


def check_all_whole(folder: Path, names: list[str]) -> None:
    listed = git(folder, "worktree", "list", "--porcelain")
    for name in names:
        path = folder / ".worktrees" / name
        assert f"worktree {path}\n" in listed
        assert f"branch refs/heads/daplug/{name}\n" in listed
        assert git(path, "status", "--porcelain") == ""
    assert "prunable" not in listed
    assert "locked" not in listed


@pytest.mark.promise("P32")
def test_thirty_two_threads_at_once(tmp_path: Path, proof: Proof) -> None:
    fill(tmp_path)
    failures = 0
    took = 0.0
    for number in range(proof.pick(1, 10)):
        names = [f"{number}-{one}" for one in range(AT_ONCE)]
        barrier = threading.Barrier(AT_ONCE)

        def make(name: str, barrier: threading.Barrier = barrier) -> str:
            barrier.wait(20)
            return worktree(tmp_path, owner=f"/{name}", name=name).path

        with committing(tmp_path) as refused, ThreadPoolExecutor(AT_ONCE) as pool:
            began = time.monotonic()
            found = list(pool.map(make, names))
            took = max(took, time.monotonic() - began)
        failures += len(refused)
        assert len(set(found)) == AT_ONCE
        check_all_whole(tmp_path, names)
    proof.count("worktrees", proof.pick(1, 10) * AT_ONCE)
    proof.measure("32 worktrees from 32 threads", took, "s")
    assert not failures


@pytest.mark.promise("P32")
def test_four_supervisors_with_eight_each(place: Place, proof: Proof) -> None:
    fill(place.target)
    pool = {"p": Provider(worker="command", parallel=8)}
    for number in range(proof.pick(1, 5)):
        names: list[str] = []
        running: list[subprocess.Popen[Any]] = []
        began = time.monotonic()
        with committing(place.target) as refused:
            for which in "abcd":
                tasks = {f"t{one}": sh("git rev-parse HEAD > head", worktree=True) for one in range(8)}
                name = f"{which}{number}"
                plan = place.write(plan_of(tasks, pool, name=name), f"../{name}.json")
                running.append(place.start("run", plan, "--state-dir", f"../state-{name}"))
                names += [f"{name}-1-{task}" for task in tasks]
            ends = [finish(process) for process in running]
        took = time.monotonic() - began
        assert [end.code for end in ends] == [0] * 4, [(end.out, end.err) for end in ends]
        assert [end.out for end in ends if "wasted (" in end.out and "0 wasted" not in end.out] == []
        assert refused == []
        assert all((place.target / ".worktrees" / name / "head").exists() for name in names)
        proof.measure("32 worktrees of four supervisors, with their tasks", took, "s")
        proof.count("worktrees", AT_ONCE)


@pytest.mark.promise("P32")
def test_another_program_adds_worktrees_meanwhile(tmp_path: Path, proof: Proof) -> None:
    """daplug's executor, an agent or a person knows nothing of our lock."""
    fill(tmp_path)
    over = threading.Event()

    def add() -> None:
        number = 0
        while not over.is_set():
            number += 1
            words = ["worktree", "add", "-q", "-b", f"x{number}", str(tmp_path / ".worktrees" / f"x{number}")]
            subprocess.run([*GIT, *words], cwd=tmp_path, capture_output=True, check=False)
            over.wait(0.02)

    strangers = [threading.Thread(target=add)]
    for thread in strangers:
        thread.start()
    try:
        names = [f"ours-{number}" for number in range(proof.pick(8, 64))]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: worktree(tmp_path, owner=f"/{name}", name=name), names))
    finally:
        over.set()
        for thread in strangers:
            thread.join()
    proof.count("worktrees", len(names))
    listed = git(tmp_path, "worktree", "list", "--porcelain")
    assert all(f"branch refs/heads/daplug/{name}\n" in listed for name in names)


def test_a_git_that_outlives_us_keeps_others_out(tmp_path: Path) -> None:
    """Whoever makes a worktree is killed, and its git works on: nobody clears away what that is still making."""
    fill(tmp_path)
    code = (
        "import os, sys, subprocess; from daplug_supervisor.workspace.git import registry, running as git\n"
        "with registry.locked(sys.argv[1]):\n"
        "    subprocess.Popen(['sleep', '0.7'], pass_fds=git.held.get())\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    common = str(tmp_path / ".git")
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code, common], check=False)
    killed = time.monotonic()
    worktree(tmp_path, owner="/a", name="a")
    assert time.monotonic() - began > 0.7
    assert killed - began < 20
