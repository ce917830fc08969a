"""Which plans are taken on: those whose workers can work here, and that the journal can keep and may show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path

import msgspec
from msgspec.structs import replace

from daplug_supervisor.core.addresses import holds_secret
from daplug_supervisor.core.plan import Plan, Task, assignment
from daplug_supervisor.core.secrets import in_plan
from daplug_supervisor.errors import UsageError
from daplug_supervisor.formats.checks import MAX_ACCOUNT
from daplug_supervisor.formats.prompts import files as prompts
from daplug_supervisor.ports import KnowsAccounts, Worker
from daplug_supervisor.workers import registry
from daplug_supervisor.workers.settings import Settings

log = getLogger(__name__)


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

    def with_accounts(self, plan: Plan, target: str) -> Plan:
        """The plan with accounts written into the providers that share one, as far as their workers know.

        What the plan says stays. A worker's fault here is nobody's loss: its providers rest alone.
        """
        known = {
            name: provider.account or self._account(plan, name, target)
            for name, provider in plan.providers.items()
        }
        shared = {account for account, count in Counter(known.values()).items() if account and count > 1}
        return replace(
            plan,
            providers={
                name: replace(provider, account=known[name]) if known[name] in shared else provider
                for name, provider in plan.providers.items()
            },
        )

    def _account(self, plan: Plan, provider: str, target: str) -> str:
        """The account that a provider draws on; '' if that is not known."""
        try:
            worker = self.worker(plan.providers[provider].worker, target)
            if not isinstance(worker, KnowsAccounts):
                return ""
            found = str(worker.account(assignment(plan, Task(), provider)))
        except Exception as error:  # noqa: BLE001 (a worker may come from anybody)
            log.warning("the account of provider %s is not known: %r", provider, error)
            return ""
        return found if len(found) <= MAX_ACCOUNT and found.isprintable() else ""

    def check(self, plan: Plan, target: str, source: str) -> None:
        """Look for everything that speaks against taking a plan on, for a target and from a source.

        Raises:
            UsageError: something does; the message has a line for each problem.
        """
        self.check_keeping(plan, target, source)
        self.check_workers(plan, target)

    def check_workers(self, plan: Plan, target: str) -> None:
        """Look for what keeps workers from working here, and for prompts that are not there.

        Raises:
            UsageError: there is something; the message has a line for each problem.
        """
        problems = dict.fromkeys(prompts.problems(plan, Path(target))) | self._problems(plan, target)
        if problems:
            raise UsageError("\n".join(problems))

    def check_added(self, old: Plan, new: Plan, tasks: Mapping[str, Task], target: str) -> None:
        """Look for what keeps workers from working on tasks that a plan gets while it runs.

        What spoke against the plan before is not said of them: its supervisor may have been told more than we are.

        Raises:
            UsageError: there is something; the message has a line for each problem.
        """
        found = self._problems(replace(new, tasks=dict(tasks)), target)
        problems = found.keys() - (self._problems(old, target).keys() if found else ())
        if problems:
            raise UsageError("\n".join(one for one in found if one in problems))

    def check_words(self, text: str) -> None:
        """Look for secrets in what a person says: it is kept in the journal.

        Raises:
            UsageError: there is one.
        """
        found = in_plan(Plan("words", {}), text, self._environ)
        if found:
            raise UsageError(
                f"this holds {' and '.join(found)}, and would be kept in the journal: "
                "leave it in the environment, and name its variable in pass_env"
            )

    def check_keeping(self, plan: Plan, target: str, source: str = "") -> None:
        """What the journal could not give back, and what should not be in it: all users can see what commands say.

        Raises:
            UsageError: there is such a thing.
        """
        try:
            text = msgspec.json.encode((plan, target, source))
            msgspec.json.decode(text, type=tuple[Plan, str, str])
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise UsageError(f"this plan cannot be kept: {error}") from error
        found = in_plan(plan, text.decode(), self._environ)
        if plan.notify.webhook and holds_secret(plan.notify.webhook):
            found.append("the secret in the address of notify.webhook (write $NAME in its place)")
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
