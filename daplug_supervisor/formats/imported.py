"""What readers of daplug's plans share: they look up prompts and models, and tell what is wrong with its field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from daplug_supervisor.core.plan import Plan, Task
from daplug_supervisor.errors import PlanError, Problem, UsageError
from daplug_supervisor.formats.findings import dotted, escaped
from daplug_supervisor.formats.prompts import files as prompts
from daplug_supervisor.formats.prompts.batch import ATTEMPT_TIMEOUT, Batch, Item, make_plan
from daplug_supervisor.formats.prompts.models import DEFAULT_MODEL, Who, parse

if TYPE_CHECKING:
    from daplug_supervisor.formats.prompts.files import Prompt

T = TypeVar("T")
AS_DAPLUG = Task(timeout=ATTEMPT_TIMEOUT)


class Imported(Struct, frozen=True):
    """A plan, how many attempts it wants at once, what was left out of it, and the directory that it is about.

    `target` is None for the working directory. A plan without tasks has nothing left to be done.
    """

    plan: Plan
    parallel: int | None = None
    notes: tuple[str, ...] = ()
    target: Path | None = None


class Reading:
    """A document that is read: collects what is wrong with it, each with its field.

    Args:
        file: its name for messages.
        root: where prompts are looked for.
    """

    def __init__(self, file: str, root: Path) -> None:
        self.file, self.root = escaped(file, 300), root
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def wrong(self, path: tuple[str | int, ...], message: str, remedy: str = "") -> None:
        """Something is wrong with a field."""
        self.problems.append(Problem(message, remedy, self.file, field=dotted(path)))

    def convert(self, document: object, kind: type[T]) -> T:
        """The document as it should be.

        Raises:
            PlanError: it is not.
        """
        try:
            return msgspec.convert(document, kind)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `$")
            self.wrong((where.strip("`.") or "document",), escaped(message, 300), "make it anew with daplug")
            raise PlanError(self.problems) from None

    def prompt(self, words: tuple[str, ...], path: tuple[str | int, ...]) -> Prompt | None:
        """The prompt that the first usable one of these words names: a path, or a selector."""
        error: UsageError | None = None
        for word in words:
            try:
                return prompts.select([word], self.root)[0]
            except UsageError as found:
                error = error or found
        self.wrong(path, str(error) if error else "names no prompt", "correct it, or take it out")
        return None

    def who(self, model: str | None, path: tuple[str | int, ...]) -> Who:
        """A model; claude without a CLI is run in its own."""
        try:
            who = parse(model or DEFAULT_MODEL)
        except UsageError as error:
            self.wrong(path, str(error))
            return Who(DEFAULT_MODEL)
        return Who("claude", "claude") if who == Who("claude") else who

    def finish(self, items: list[Item], batch: Batch, parallel: int | None = None) -> Imported:
        """The plan of what was read.

        Raises:
            PlanError: something was wrong.
        """
        if not items and not self.problems:
            self.wrong(
                ("prompts",), "nothing is left to be done", "what is completed or skipped is not run again"
            )
        if self.problems:
            raise PlanError(self.problems)
        try:
            plan = make_plan(items, batch)
        except PlanError as error:
            raise PlanError(
                [Problem(one.message, one.remedy, self.file, field=one.field) for one in error.problems]
            ) from None
        return Imported(plan, parallel, tuple(self.notes))
