"""Plant each bug of the catalogue in a copy of the tree, and see whether its tests catch it.

``python -m tests.mutants [--jobs N] [NAME ...]``. Ends with 1 if one was not caught, or if the tests that are to catch
them do not pass on the tree as it is: a test that always fails catches nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from .catalogue import Mutant, copy, faults, mutants, plant

PATIENCE = 300.0
"""Seconds after which a run counts as hanging; a mutant that makes its tests hang is caught."""


def passes(folder: Path, tests: list[str]) -> tuple[bool, str]:
    """Whether tests pass on a copy, and the last line that pytest prints."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environ, timeout=PATIENCE, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"hung for {PATIENCE:g} s"
    return done.returncode == 0, (done.stdout.strip().splitlines() or ["no output"])[-1]


def tried(mutant: Mutant | None) -> tuple[bool, str, float]:
    """Plant a bug (or none, for its tests' sake), and run its tests."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy(folder)
        if mutant is not None:
            plant(mutant, folder)
        tests = mutant.tests if mutant else sorted({test for one in mutants() for test in one.tests})
        good, line = passes(folder, tests)
    return good, line, time.monotonic() - began


@click.command()
@click.option("--jobs", default=2, show_default=True, help="How many at a time.")
@click.argument("names", nargs=-1)
def main(jobs: int, names: tuple[str, ...]) -> None:
    """Plant each bug of the catalogue (or those named), and see whether its tests catch it."""
    wrong = list(faults())
    if wrong:
        raise click.ClickException("\n".join(wrong))
    if not names:
        good, line, took = tried(None)
        click.echo(f"without a bug: {line} ({took:.0f} s)")
        if not good:
            raise click.ClickException("the tests do not pass on the tree as it is")
    chosen = [mutant for mutant in mutants() if not names or mutant.name in names]
    survived = []
    with ThreadPoolExecutor(jobs) as pool:
        for mutant, (good, line, took) in zip(chosen, pool.map(tried, chosen), strict=True):
            click.echo(f"{'SURVIVED' if good else 'caught':9} {mutant.name:40} {took:4.0f} s  {line}")
            if good:
                survived.append(mutant.name)
    click.echo(f"{len(chosen) - len(survived)} of {len(chosen)} caught")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
