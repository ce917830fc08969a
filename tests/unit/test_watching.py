"""Folders that are watched: changes wake the reader, and without a watch one looks all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import watchfiles

from daplug_supervisor.supervisor.commands import watching
from daplug_supervisor.supervisor.commands.watching import Watch


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setattr(watching, "_SET_UP", ())
    found = Watch("test")
    yield found
    found.end()


async def test_a_change_wakes_who_waits(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LOOK", 60.0)
    watch.arm([str(tmp_path)])
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                number = 0
                while True:  # the watch needs a moment before it sees anything
                    (tmp_path / str(number)).touch()
                    number += 1
                    await anyio.sleep(0.3)

            tasks.start_soon(write)
            await watch.change()
            tasks.cancel_scope.cancel()


async def test_without_a_watch_one_looks(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "_LOOK", 0.05)
    caplog.set_level("INFO")

    def full(*_words: Any, **_more: Any) -> Any:
        raise OSError(28, "OS file watch limit reached.")

    monkeypatch.setattr(watchfiles, "watch", full)
    watch.arm([str(tmp_path)])
    with anyio.fail_after(20):
        while "watch limit" not in caplog.text:
            await watch.change()
        await watch.change()


async def test_for_nobody_nothing_is_looked_at(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOK", 0.0)
    watch.arm([])
    with anyio.move_on_after(0.05) as scope:
        await watch.change(only=True)
    assert scope.cancelled_caught
    watch.wake()
    with anyio.fail_after(20):
        await watch.change(only=True)
