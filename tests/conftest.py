"""Hypothesis profiles: ``HYPOTHESIS_PROFILE=thorough`` looks longer, and at something new each time."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

pytest_plugins = ["promises", "e2e"]

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("thorough", deadline=None, max_examples=1500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_UNMEASURED = ("e2e", "faults", "simulation")
"""What is done here thousands of times the other tests do too: only those tell which lines are tested."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in _UNMEASURED:
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _unmeasured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is not measured starts processes that are not measured."""
    if request.node.get_closest_marker("no_cover"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
