"""What a worker is told when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class Settings(Struct, frozen=True):
    """Given to a worker when it is made: ``MyWorker(settings)``.

    `target` is the absolute path of the directory that the run is about; `executor` is what ``--executor``
    said; `environ` is the environment to look in (not `os.environ`, so that tests can own it); `options`
    holds what an embedding program wants the worker to know.
    """

    target: str
    executor: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
