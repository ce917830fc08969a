"""A pytest plugin for the tests with real provider CLIs: ``--e2e``, their installation, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clis
import pytest

if TYPE_CHECKING:
    from world import World

HEAD = ("scenario", "CLI", "read as", "what happened next", "seconds")
_ROW = "e2e row"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e")
    group.addoption("--e2e", action="store_true", help="all tests with real provider CLIs, and their table")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--e2e") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(), "e2e table")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those of all four CLIs take minutes, and most of that is waiting: they come first, and only when asked for."""
    for item in items:
        if item.get_closest_marker("whole") and not config.getoption("--e2e"):
            item.add_marker(pytest.mark.skip(reason="part of `make e2e`"))
    if config.getoption("--e2e"):
        items.sort(key=lambda item: -max((mark.args[0] for mark in item.iter_markers("takes")), default=0))
        hungry = [item for item in items if "opencode" in item.name]
        for number, item in enumerate(hungry):
            # It takes a processor and 600 MB: two at once are enough.
            item.add_marker(pytest.mark.xdist_group(f"opencode-{number % 2}"))


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Path:
    """The folder with the CLIs, see `clis.install`."""
    whole = request.config.getoption("--e2e")
    try:
        return clis.install(everything=whole)
    except clis.NotInstalledError as error:
        if whole and "not there" not in str(error):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def world(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[World]:
    """A repository, a home and a model for one test."""
    from world import World  # not before the tests begin: it imports much

    with World(programs, tmp_path, monkeypatch) as made:
        began = time.monotonic()
        yield made
        for scenario, cli, kinds, story in made.rows:
            seconds = f"{time.monotonic() - began:.1f}"
            request.node.user_properties.append((_ROW, [scenario, cli, kinds, story, seconds]))


class Table:
    """Collects the rows of all tests, and writes them down at the end."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._began = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._rows += [value for name, value in report.user_properties if name == _ROW]  # type: ignore[misc]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        lines = [" | ".join(cell.replace("|", "/") for cell in row) for row in sorted(self._rows)]
        text = "\n".join(
            f"| {line} |" for line in (" | ".join(HEAD), " | ".join(["---"] * len(HEAD)), *lines)
        )
        clis.FOLDER.mkdir(parents=True, exist_ok=True)
        (clis.FOLDER / "table.md").write_text(f"{text}\n")
        terminalreporter.section("what happened")
        terminalreporter.write_line(text)
        terminalreporter.write_line(
            f"in all {time.monotonic() - self._began:.0f} s; build/e2e/table.md has it too"
        )
