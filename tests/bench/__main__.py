"""``python -m tests.bench [SECTION...]``: docs/benchmarks.md says what the sections measure."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import contenders, idle, machine, rounds, scale, startup
from .measure import FailedError, become_subreaper, spread
from .workloads import JOBS, make

SECTIONS = ("tasks", "many", "startup", "scale", "idle")
_PATIENCE = 180.0
_PATIENCE_MANY = 900.0
_ROOT = Path(__file__).resolve().parents[2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Benchmarks; see docs/benchmarks.md."
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all unless given"
    )
    parser.add_argument("--rounds", type=int, help="rounds of W0 to W3 (5)")
    parser.add_argument(
        "--tasks", type=int, help="tasks of W1 and W3 (1000), and the size of the rest in proportion"
    )
    parser.add_argument("--seconds", type=float, help="how long to look at an idle supervisor (60)")
    parser.add_argument("--only", help="these contenders, separated by commas")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, in less than a minute")
    parser.add_argument("--no-install", action="store_true", help="do not make .venv-bench for huey and doit")
    parser.add_argument(
        "--dir", type=Path, help="where to work: a directory on a disk whose flushes are real"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all samples here")
    given = parser.parse_args()
    unknown = set(given.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    given.sections = given.sections or list(SECTIONS)
    given.tasks = given.tasks or (100 if given.quick else 1000)
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.seconds = given.seconds or (2.0 if given.quick else 60.0)
    return given


class Bench:
    """One call of the harness."""

    def __init__(self, given: argparse.Namespace, place: Path) -> None:
        self.given = given
        self.place = place
        self.good = True
        self.saved: dict[str, Any] = {"machine": machine.facts(place)}
        python, why = contenders.library_environment(_ROOT, install=not (given.no_install or given.quick))
        peers, absent = contenders.peers(python)
        ours = contenders.ours(contenders.our_command())
        self.all = [ours, *contenders.floors(place), *peers]
        self.ours = ours
        self.absent = [*absent, *([why] if why else [])]
        if given.only:
            wanted = set(given.only.split(","))
            self.all = [one for one in self.all if one.name in wanted]

    def run(self) -> bool:
        """Every section, as it is done. False if one of them could not be measured."""
        print(machine.text(self.saved["machine"]), flush=True)
        for section in self.given.sections:
            parts: dict[str, tuple[str, Callable[[], str]]] = {
                "tasks": ("Tasks a second", self.tasks),
                "many": ("A large plan", self.many),
                "startup": ("Start-up", self.startup),
                "scale": ("The core, without processes", self.scale),
                "idle": (f"Idle: {JOBS} agents that sleep", self.idle),
            }
            title, measured = parts[section]
            print(f"\n## {title}\n", flush=True)
            try:
                print(measured(), flush=True)
            except FailedError as error:
                self.good = False
                print(f"could not be measured: {error}", flush=True)
            if self.given.json:
                self.given.json.write_text(json.dumps(self.saved, indent=1) + "\n")
        return self.good

    def tasks(self) -> str:
        size = self.given.tasks
        loads = [make("W0", 1), make("W1", size), make("W2", max(2, size * 3 // 10)), make("W3", size)]
        samples = rounds.run(self.all, loads, self.given.rounds, self.place, patience=_PATIENCE, tree=False)
        self.saved["tasks"] = rounds.data(samples)
        absent = "".join(f"\nnot measured: {text}" for text in self.absent)
        return rounds.text(samples, self.all) + absent + self._failures(samples)

    def _failures(self, samples: list[rounds.Sample]) -> str:
        """What failed. Peers may; if we do, the harness fails too, after all is measured."""
        failed = [sample for sample in samples if sample.cost is None]
        self.good &= all(sample.contender != contenders.OURS for sample in failed)
        return "".join(
            f"\nFAILED: {one.contender}, {one.workload}, round {one.round + 1}: {one.error}" for one in failed
        )

    def many(self) -> str:
        load = make("W4", self.given.tasks * 50)
        some = [one for one in self.all if one.name in ("ours", "F0", "F3", "make", "ninja")]
        samples = rounds.run(some, [load], 1, self.place, patience=_PATIENCE_MANY, tree=True)
        self.saved["many"] = rounds.data(samples)
        return rounds.text(samples, some) + self._failures(samples)

    def startup(self) -> str:
        found = startup.run(self.ours, self.place, 3 if self.given.quick else 10)
        self.saved["startup"] = found
        return startup.text(found)

    def scale(self) -> str:
        unit = self.given.tasks
        found = scale.run([unit, unit * 10, unit * 50], self.place, 1 if self.given.quick else 3)
        self.saved["scale"] = found
        return scale.text(found)

    def idle(self) -> str:
        found = idle.run(contenders.our_command(), self.place, self.given.seconds)
        self.saved["idle"] = found
        return idle.text(found)


def main() -> int:
    given = arguments()
    become_subreaper()
    with tempfile.TemporaryDirectory(prefix="daplug-bench-", dir=given.dir) as place:
        spread(Path(place))
        return 0 if Bench(given, Path(place)).run() else 1


if __name__ == "__main__":
    sys.exit(main())
