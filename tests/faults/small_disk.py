"""Runs on a small disk of its own (`disks.on_small_disk`): the supervisor while that disk is full."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "integration")]

from cli import HOLD, Place, plan_of, sh, until  # noqa: E402
from disks import Filled  # noqa: E402

from daplug_supervisor.core import events as ev  # noqa: E402
from daplug_supervisor.core.plan import Provider, Retry  # noqa: E402

MARK = 'echo "$DAPLUG_TASK $DAPLUG_SUP_ATTEMPT $(date +%s.%N)" >> starts; '
CHAIN = 12


class Told:
    """A command whose standard error is read as it comes, each line with its time."""

    def __init__(self, place: Place, *words: str) -> None:
        self.process = place.start(*words, "--state-dir", str(place.state))
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append((time.time(), line))

    @property
    def text(self) -> str:
        return "".join(line for _, line in self.lines)

    def first(self, what: str, patience: float = 20) -> float:
        """When it was said."""
        return until(lambda: [at for at, line in self.lines if what in line], what, patience)[0]

    def end(self, patience: float = 30) -> int:
        code = self.process.wait(patience)
        self._reader.join(10)
        return code


def starts(place: Place) -> list[tuple[str, float]]:
    return [(line.split()[0], float(line.split()[2])) for line in place.lines()]


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[tuple[Place, Told]]:
    """A run of two tasks that hold, and a chain of short ones, with its state on the small disk."""
    place = Place(folder)
    place.state = folder / "disk" / "state"
    pools = {"p": Provider(worker="command", parallel=2), "q": Provider(worker="command", parallel=1)}
    retry = Retry(attempts=1)
    tasks = {name: sh(MARK + HOLD + "exit 0", retry=retry) for name in ("a", "b")}
    for number in range(CHAIN):
        tasks[f"t{number:02}"] = sh(MARK + "sleep 0.15", provider="q", retry=retry)
    tasks["z"] = sh(MARK, "a", "b", retry=retry)
    place.write(plan_of(tasks, pools))
    try:
        told = Told(place, "plan.json")
        until(lambda: {"a", "b", "t02"} <= {name for name, _ in starts(place)}, "tasks at work")
        yield place, told
    finally:
        place.close()


def acknowledged(told: Told) -> list[tuple[str, ...]]:
    """What the command has said on standard error was durable: task, and what happened."""
    found = re.findall(r"(\w+): (Attempt \d+ began|Done)", told.text)
    return [(task, what) for task, what in found]


def check_all_once(place: Place, tolds: list[Told]) -> None:
    """Everything was done, each task once, and nothing is missing that was said to be there."""
    assert set(place.statuses().values()) == {"done"}, place.statuses()
    assert {task.tries for task in place.folded().tasks.values()} == {1}
    counts = Counter(name for name, _ in starts(place))
    assert set(counts.values()) == {1}, counts
    began = Counter(event.task for event in place.events(ev.AttemptStarted))
    landed = Counter(event.task for event in place.events(ev.Landed))
    for told in tolds:
        for task, what in acknowledged(told):
            assert (landed if what == "Done" else began)[task] >= 1, (task, what)


def stops_and_goes_on(folder: Path, killed: bool, left: int) -> dict[str, float]:
    """The disk is full, agents end meanwhile, and there is room again; perhaps the supervisor is killed in between."""
    with at_work(folder) as (place, told):
        tolds = [told]
        full_at = time.time()
        filled = Filled(folder / "disk", left)
        said = told.first("nothing is started")
        looked = place.run("status", "--state-dir", str(place.state))
        assert "nothing is started" in looked.out, looked
        place.go()  # these two end while nothing can be written
        until(lambda: len(list(place.state.glob("runs/p-1/[ab]/1/process.json"))) == 2, "records")
        until(
            lambda: all(
                b"exited" in path.read_bytes() for path in place.state.glob("runs/p-1/[ab]/1/process.json")
            ),
            "exit records",
        )
        time.sleep(0.5)
        last = max(at for _, at in starts(place))
        if killed:
            told.process.kill()
            told.end()
            refused = Told(
                place, "plan.json"
            )  # still full: it may wait or refuse, and loses nothing either way
            time.sleep(1)
            if refused.process.poll() is None:
                refused.process.kill()
            refused.end()
            tolds.append(refused)
            assert "Traceback" not in refused.text, refused.text
        count = len(starts(place))
        free_at = time.time()
        filled.remove()
        if killed:
            tolds.append(Told(place, "plan.json"))
        went_on = until(lambda: [at for _, at in starts(place) if at > free_at], "it goes on")[0]
        assert len(starts(place)) > count
        assert tolds[-1].end() == 0, tolds[-1].text
        assert killed or "all is well again after" in told.text, told.text
        assert "Traceback" not in told.text, told.text
        check_all_once(place, tolds)
        log = (place.state / "supervisor.log").read_text()
        assert killed or "all is well again" in log
        return {"stopped": last - full_at, "said": said - full_at, "went on": went_on - free_at}


def leaves(folder: Path) -> dict[str, float]:
    """Told to end while nothing can be written, it does so after a moment; the next start takes the agents back."""
    with at_work(folder) as (place, told):
        filled = Filled(folder / "disk")
        told.first("nothing is started")
        (place.target / "go-a").touch()  # its end cannot be written
        told.first("cannot grow")
        asked = time.time()
        told.process.send_signal(signal.SIGTERM)
        code = told.end()
        took = time.time() - asked
        assert code == 5, (code, told.text)
        assert "the disk is full" in told.text
        assert "agents go on running" in told.text
        assert place.processes(attempts=True), "agents live on"
        refused = place.run("doctor", "--state-dir", str(place.state))
        assert refused.code != 0, refused
        assert "nothing is started until" in refused.out, refused
        filled.remove()
        place.go()
        again = Told(place, "plan.json")
        assert again.end() == 0, again.text
        check_all_once(place, [told, again])
        return {"left": took}


def worktrees(folder: Path) -> dict[str, float]:
    """The repository's disk is full: a worktree cannot be made, and half of one is in nobody's way."""
    place = Place(folder)
    place.target = folder / "disk" / "target"
    place.target.mkdir()
    git = ["git", "-C", str(place.target), "-c", "user.name=n", "-c", "user.email=e@e"]
    (place.target / "large").write_bytes(os.urandom(3 << 20))
    place.write(plan_of({"a": sh("test -e large", worktree=True)}), "../../plan.json")
    for words in (["init", "-q"], ["add", "large"], ["commit", "-q", "-m", "m"]):
        subprocess.run([*git, *words], check=True)
    try:
        filled = Filled(folder / "disk", 1 << 20)
        told = Told(place, "../../plan.json")
        told.first("no room on the disk to start p-1/a#1")
        free_at = time.time()
        filled.remove()
        assert told.end() == 0, told.text
        assert {task.tries for task in place.folded().tasks.values()} == {1}
        assert [event.number for event in place.events(ev.AttemptStarted)] == [1]
        return {"went on": time.time() - free_at}
    finally:
        place.close()


def main() -> None:
    folder, what = Path(sys.argv[1]), sys.argv[2]
    if what == "leaves":
        print(json.dumps(leaves(folder)))
    elif what == "worktrees":
        print(json.dumps(worktrees(folder)))
    else:
        print(json.dumps(stops_and_goes_on(folder, sys.argv[3] == "killed", int(sys.argv[4]))))


if __name__ == "__main__":
    main()
