"""Which plans are taken on: those whose workers can work here, and that the journal can keep and may show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from daplug_supervisor.core.plan import Plan, Task, assignment
from daplug_supervisor.core.secrets import in_plan
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats import prompts
from daplug_supervisor.ports import Worker
from daplug_supervisor.workers import registry
from daplug_supervisor.workers.settings import Settings


class Admission:
    """Refuses a plan before anything of it is recorded or started; knows the workers.

    Args:
        given: workers by name, in place of those found by entry point.
        executor: where daplug's executor.py is, if not in one of the usual places.
        environ: the environment that workers look for things in.
    """

    def __init__(self, given: Mapping[str, Worker], executor: str | None, environ: Mapping[str, str]) -> None:
        self._given = dict(given)
        self._executor = executor
        self._environ = environ
        self._loaded: dict[tuple[str, str], Worker] = {}

    def worker(self, name: str, target: str) -> Worker:
        """The worker of this name, for a target directory.

        Raises:
            UsageError: there is none.
        """
        if name in self._given:
            return self._given[name]
        key = name, target
        if key not in self._loaded:
            settings = Settings(target=target, executor=self._executor, environ=self._environ)
            self._loaded[key] = registry.load(name, settings)
        return self._loaded[key]

    def check(self, plan: Plan, target: str, source: str) -> None:
        """Look for everything that speaks against taking a plan on, for a target and from a source.

        Raises:
            UsageError: something does; the message has a line for each problem.
        """
        self._check_keeping(plan, target, source)
        self.check_workers(plan, target)

    def check_workers(self, plan: Plan, target: str) -> None:
        """Look for what keeps workers from working here, and for prompts that are not there.

        Raises:
            UsageError: there is something; the message has a line for each problem.
        """
        problems = dict.fromkeys(prompts.problems(plan, Path(target))) | self._problems(plan, target)
        if problems:
            raise UsageError("\n".join(problems))

    def _check_keeping(self, plan: Plan, target: str, source: str) -> None:
        """What the journal could not give back, and what should not be in it: all users can see what commands say."""
        try:
            text = msgspec.json.encode((plan, target, source))
            msgspec.json.decode(text, type=tuple[Plan, str, str])
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise UsageError(f"this plan cannot be kept: {error}") from error
        found = in_plan(plan, text.decode(), self._environ)
        if found:
            raise UsageError(
                f"the plan holds {' and '.join(found)}, and would be kept in the journal: "
                "leave it in the environment, and name its variable in pass_env"
            )

    def _problems(self, plan: Plan, target: str) -> dict[str, None]:
        """Why its workers cannot work here, each once."""
        tasks: dict[str, list[Task]] = {}
        for task in plan.tasks.values():
            tasks.setdefault(task.provider or "", []).append(task)
        found: dict[str, None] = {}
        for provider, its in tasks.items():
            name = plan.providers[provider].worker
            worker = self.worker(name, target)
            kinds = {assignment(plan, task, provider): None for task in its}
            try:
                found |= dict.fromkeys(worker.problems(list(kinds)))
            except Exception as error:
                raise UsageError(f"worker {name} failed: {type(error).__name__}: {error}") from error
        return found
