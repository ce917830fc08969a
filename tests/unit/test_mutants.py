"""The catalogue of deliberate bugs fits the code, and planting one works."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants.__main__ import passes
from mutants.catalogue import copy, faults, mutants, plant


def test_every_bug_can_be_planted_and_somebody_looks_for_it() -> None:
    assert list(faults()) == []


@pytest.mark.no_cover
def test_a_planted_bug_is_caught(tmp_path: Path) -> None:
    """The short form of ``make mutants``: one of them."""
    [mutant] = [one for one in mutants() if one.name == "an-idle-cli-works"]
    copy(tmp_path)
    assert passes(tmp_path, mutant.tests)[0]
    plant(mutant, tmp_path)
    assert not passes(tmp_path, mutant.tests)[0]
