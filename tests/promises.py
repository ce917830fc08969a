"""A pytest plugin: what the tests show of the promises in `docs/promises.toml`, gathered into one table.

A test names its rows with ``@pytest.mark.promise("P1", ...)`` and asks for the fixture `proof`. By default it runs
its short form; ``--sweep`` asks for the full one, prints totals and figures, and writes them to ``--sweep-to``.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

ROWS = Path(__file__).parents[1] / "docs" / "promises.toml"
COUNT, FIGURE, ROW = "promise count", "promise figure", "promise row"

T = TypeVar("T")


class Proof:
    """What one test has to tell.

    Attributes:
        full: whether the full form was asked for.
    """

    def __init__(self, item: pytest.Item, *, full: bool) -> None:
        self.full = full
        self._told: list[tuple[str, object]] = item.user_properties

    def pick(self, short: T, full: T) -> T:
        """How much to do: `short` inside ``make test``, `full` in ``make sweep``."""
        return full if self.full else short

    def count(self, what: str, number: float = 1) -> None:
        """Add to a total of the sweep: "kills", "crash points", "injected faults", "simulated days" and the like."""
        self._told.append((COUNT, [what, number]))

    def measure(self, what: str, value: float, unit: str = "", *, at_most: float | None = None) -> None:
        """Tell a figure; of several of one name the largest counts.

        The limit of a duration or a size binds in the full form only: the short form runs beside other tests.
        Whatever must hold on any machine (nothing lost, nothing twice) is an ``assert``, not a figure.
        """
        self._told.append((FIGURE, [what, value, unit, at_most]))
        if self.full and at_most is not None:
            assert value <= at_most, f"{what}: {value:g} {unit}, promised {at_most:g}"


def rows() -> dict[str, dict[str, str]]:
    """The promises, by number."""
    found: dict[str, dict[str, str]] = tomllib.loads(ROWS.read_text())
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("promises")
    group.addoption(
        "--sweep", action="store_true", help="run faults in their full form, and tell what was found"
    )
    group.addoption("--sweep-to", metavar="FILE", help="write the figures of a sweep as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Gatherer(config), "promise gatherer")


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """See `Proof`."""
    return Proof(request.node, full=request.config.getoption("--sweep"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("promise"):
        assert set(mark.args) <= set(rows()), f"no such promise: {mark.args}"
        item.user_properties += [(ROW, row) for row in mark.args]


class Gatherer:
    """Collects what all tests told, whichever process they ran in."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._totals: Counter[str] = Counter()
        self._rows: defaultdict[str, dict[str, Any]] = defaultdict(lambda: {"tests": [], "figures": {}})
        self._violations: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = report.user_properties
        mine = [str(value) for name, value in told if name == ROW]
        if not mine:
            return
        if report.failed:
            self._violations.append(f"{', '.join(mine)}: {report.nodeid}")
        if report.when != "call" or report.skipped:
            return
        test = report.nodeid.partition("[")[0]
        for row in mine:
            if test not in self._rows[row]["tests"]:
                self._rows[row]["tests"].append(test)
        for name, value in told:
            if name == COUNT and isinstance(value, list):
                self._totals[value[0]] += value[1]
            if name == FIGURE and isinstance(value, list):
                for row in mine:
                    self._take(self._rows[row]["figures"], *value)

    @staticmethod
    def _take(
        figures: dict[str, dict[str, Any]], what: str, value: float, unit: str, at_most: float | None
    ) -> None:
        worst = max(value, figures.get(what, {}).get("value", value))
        figures[what] = {"value": worst, "unit": unit, "at_most": at_most}

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._config.getoption("--sweep"):
            return
        terminalreporter.section("promises")
        for line in self._lines():
            terminalreporter.write_line(line)
        where = self._config.getoption("--sweep-to")
        if where:
            ordered = {row: self._rows[row] for row in rows() if row in self._rows}
            for row in ordered.values():
                row["tests"].sort()
            data = {
                "totals": dict(sorted(self._totals.items())),
                "violations": self._violations,
                "rows": ordered,
            }
            Path(where).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def _lines(self) -> Iterator[str]:
        for row, about in rows().items():
            found = self._rows.get(row)
            yield f"{row:4} {about['fault']}: {'not shown' if found is None else ''}"
            for what, figure in (found or {"figures": {}})["figures"].items():
                limit = "" if figure["at_most"] is None else f"  (promised: {figure['at_most']:g})"
                yield f"       {what}: {figure['value']:.4g} {figure['unit']}{limit}"
        yield ""
        for what, number in sorted(self._totals.items()):
            yield f"{number:12,g}  {what}"
        yield f"{len(self._violations):12}  violations"
        yield from self._violations
