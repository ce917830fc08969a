"""Which providers share an account: as their workers know it, where the plan does not say."""

from __future__ import annotations

from typing import Any

import pytest

from daplug_supervisor.core.plan import Assignment, Plan, Provider, Task
from daplug_supervisor.errors import UsageError
from daplug_supervisor.supervisor.admission import Admission
from daplug_supervisor.workers.command import CommandWorker
from daplug_supervisor.workers.settings import Settings


class Knowing(CommandWorker):
    """Tells the accounts that it was made with, by model."""

    def __init__(self, accounts: dict[str, Any]) -> None:
        super().__init__(Settings("/"))
        self._accounts = accounts

    def account(self, chosen: Assignment) -> str:
        found = self._accounts[chosen.model]
        assert isinstance(found, str) or found is None
        return found  # type: ignore[return-value]


def accounts(providers: dict[str, Provider], known: dict[str, Any]) -> dict[str, str | None]:
    workers = {"knows": Knowing(known), "plain": CommandWorker(Settings("/"))}
    tasks = {"a": Task(instructions="x", provider=next(iter(providers)))}
    found = Admission(workers, None, {}).with_accounts(Plan("p", tasks, providers), "/")
    assert found.tasks == tasks
    return {name: provider.account for name, provider in found.providers.items()}


def test_two_of_one_account_share_it_and_one_alone_has_none() -> None:
    pools = {name: Provider(worker="knows") for name in ("low", "high", "other")}
    known = {"low": "acme", "high": "acme", "other": "else"}
    assert accounts(pools, known) == {"low": "acme", "high": "acme", "other": None}


def test_what_the_plan_says_counts_and_others_join_it() -> None:
    pools = {
        "low": Provider(worker="knows", account="mine"),
        "high": Provider(worker="knows"),
        "third": Provider(worker="plain", account="acme"),
        "fourth": Provider(worker="plain", account="alone"),
    }
    known = {"low": "acme", "high": "acme"}
    assert accounts(pools, known) == {"low": "mine", "high": "acme", "third": "acme", "fourth": "alone"}


@pytest.mark.parametrize("bad", ["", "a\x1b", "x" * 201, KeyError])
def test_what_cannot_be_an_account_is_none(bad: Any) -> None:
    pools = {name: Provider(worker="knows") for name in ("low", "high")}
    known = {} if bad is KeyError else dict.fromkeys(pools, bad)
    assert accounts(pools, known) == {"low": None, "high": None}


def test_a_worker_that_there_is_not_is_told_by_the_check_and_not_here() -> None:
    plan = Plan("p", {"a": Task(command=("true",), provider="x")}, {"x": Provider(worker="nowhere")})
    admission = Admission({}, None, {})
    assert admission.with_accounts(plan, "/") == plan
    with pytest.raises(UsageError, match="no worker 'nowhere'"):
        admission.check(plan, "/", "")
