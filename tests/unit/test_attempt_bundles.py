"""The bundles that attempts of a run got: their form, and whether they still fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from build import World, plan, task

from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.plan import Assignment, Task
from daplug_supervisor.core.tasker.bundle import Integrity
from daplug_supervisor.errors import BundleError
from daplug_supervisor.workspace import attempt_bundles, bundles
from daplug_supervisor.workspace.files import StateDirectory

SPEC = task(title="A")


def ran(tmp_path: Path, spec: Task = SPEC) -> tuple[StateDirectory, World, Path]:
    """A run whose task `a` had one attempt, and `b` none."""
    directory, world = StateDirectory(tmp_path), World(plan({"a": spec, "b": task()}))
    world.begin("a")
    folder = directory.attempt("r1", "a", 1)
    chosen = Assignment("codex", "executor", "codex", None, None)
    bundles.write(Bundle("r1", "a", 1, "t", folder, "/t", "/t", SPEC, chosen, f"{folder}/prompt.md"), "do it")
    return directory, world, Path(folder)


def looked(directory: StateDirectory, world: World) -> Integrity:
    return attempt_bundles.integrity(directory, world.run, world.run.tasks["a"], 1)


def test_the_bundle_of_an_attempt_is_what_it_was_made_from(tmp_path: Path) -> None:
    directory, world, folder = ran(tmp_path)
    assert looked(directory, world) == Integrity("a", "good")
    (row,) = attempt_bundles.listing(directory, world.run)
    assert (row.name, row.verdict, row.path) == ("r1/a#1", "good", f"{folder}/bundle.json")
    assert attempt_bundles.last_of(world.run, world.run.tasks["a"]) == 1
    with pytest.raises(BundleError, match="had no attempt yet"):
        attempt_bundles.last_of(world.run, world.run.tasks["b"])


def test_what_has_changed_since_is_drift(tmp_path: Path) -> None:
    directory, world, folder = ran(tmp_path, task(title="Other"))
    (folder / "prompt.md").write_text("do something else")
    found = looked(directory, world)
    assert (found.code, found.changed) == (
        2, ("prompt.md has changed", "the plan says something else of the task now"),
    )  # fmt: skip


def edit(folder: Path, **fields: Any) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_what_is_missing_or_malformed_may_not_be_used(tmp_path: Path) -> None:
    directory, world, folder = ran(tmp_path)
    (folder / "prompt.md").unlink()
    assert looked(directory, world).problems == ("prompt.md: it is missing, or cannot be read",)
    for name in ("../../a", "", ".."):
        edit(folder, checksums={name: ""})
        assert looked(directory, world).verdict == "failed"
    edit(
        folder,
        checksums={},
        bundle={**json.loads((folder / "bundle.json").read_text())["bundle"], "number": 2},
    )
    assert "it is of r1/a#1" in looked(directory, world).problems[0]
    edit(folder, bundle={"run": 5})
    assert "at `$.bundle.run`" in looked(directory, world).problems[0]
    for text in ("{", "[" * 100_000, "\xff", ""):
        (folder / "bundle.json").write_text(text)
        assert looked(directory, world).verdict == "failed"
    (folder / "bundle.json").unlink()
    assert "only agents get one" in looked(directory, world).problems[0]
    (folder / "bundle.json").symlink_to("/etc/passwd")
    assert "it cannot be read" in looked(directory, world).problems[0]
    (folder / "bundle.json").unlink()
    assert attempt_bundles.listing(directory, world.run) == ()


def test_no_more_are_listed_than_anybody_reads(tmp_path: Path) -> None:
    directory, world, _ = ran(tmp_path)
    assert attempt_bundles.listing(directory, world.run, most=0) == ()
