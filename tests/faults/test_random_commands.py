"""Random sequences of commands against a live supervisor: no state that may not be, every command answered once."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from promises import Proof

from daplug_supervisor import Plan, Provider, Retry, RunHandle, Supervisor, Task
from daplug_supervisor.core import events as ev
from daplug_supervisor.core.commands import Command, Verb
from daplug_supervisor.core.graph import cycle
from daplug_supervisor.core.machine import ACTIVE, SATISFIED, Status
from daplug_supervisor.core.queues import waits
from daplug_supervisor.core.state import Run, fold
from daplug_supervisor.core.surgery.edits import Edit
from daplug_supervisor.core.surgery.new_tasks import NewTask
from daplug_supervisor.errors import NotPossibleError
from daplug_supervisor.journal.reader import ReadOnlyJournal
from daplug_supervisor.supervisor.commands.inbox import send, take

PATIENCE = 20.0
HOLDS = "exec sleep 60"
ONCE = Retry(attempts=1)
NAMES = ("hold", "well", "badly", "looked", "n0", "n1", "n2", "n3", "nosuch")
names = st.sampled_from(NAMES)
fresh = st.sampled_from([*NAMES[4:8], "hold", "N1"])
lines = st.sampled_from(["true", "false", HOLDS])


def sh(line: str, *needs: str, **more: Any) -> Task:
    return Task(command=("sh", "-c", line), needs=needs, provider="p", retry=ONCE, grace=0.2, **more)


def plan(name: str) -> Plan:
    """Something that runs, something that fails, something that a person looks at, and what waits for these."""
    tasks = {
        "hold": sh(HOLDS, delegate=2),
        "well": sh("true"),
        "badly": sh("false"),
        "looked": sh("true", "well", review="human"),
    }
    return Plan(name, tasks, {"p": Provider(worker="command", parallel=2)})


class Live:
    """A supervisor that lives as long as the test, in a thread of its own; each sequence is a run of its own."""

    def __init__(self, portal: BlockingPortal, supervisor: Supervisor) -> None:
        self.portal, self.supervisor = portal, supervisor
        self.runs = 0

    def submit(self) -> RunHandle:
        self.runs += 1
        return self.portal.call(self._submit, f"p{self.runs}")

    async def _submit(self, name: str) -> RunHandle:
        return await self.supervisor.submit(plan(name), target=self.supervisor.directory.path.parent)

    def tell(self, command: Command) -> bool:
        """Say something directly; whether it was applied."""
        try:
            return self.portal.call(self.supervisor.command, command).applied
        except NotPossibleError:
            return False

    def put(self, command: Command) -> None:
        """Say something through the inbox, and have it read there."""
        send(self.supervisor.directory, command)
        self.portal.call(take, self.supervisor)

    def entries(self, run: str) -> list[ev.Entry]:
        """What is durable of a run, and what was answered to nobody's run."""
        self.portal.call(self.supervisor.settle)
        with contextlib.closing(ReadOnlyJournal(self.supervisor.directory.journal)) as journal:
            return [*journal.read(run), *journal.read("")]


@contextlib.contextmanager
def living(folder: Path) -> Iterator[Live]:
    with start_blocking_portal("asyncio") as portal:
        supervisor = portal.call(_made, folder)
        with portal.wrap_async_context_manager(supervisor):
            yield Live(portal, supervisor)


async def _made(folder: Path) -> Supervisor:
    # The inbox is read when something was put there: nobody waits for the system to tell of it.
    return Supervisor(folder / ".daplug", environ={"PATH": "/usr/bin:/bin"}, inbox=False)


class Commands(RuleBasedStateMachine):
    """What people and agents may say, in any order, and much that they may not."""

    live: ClassVar[Live]
    sequences: ClassVar[Counter[str]] = Counter()
    said = Bundle("said")

    @initialize()
    def begin(self) -> None:
        self.handle = self.live.submit()
        self.run: Run = self.handle.state
        self.ids: list[str] = []
        self.through_inbox: set[str] = set()

    # --- what is said

    def _say(self, verb: Verb, inbox: bool = False, **more: Any) -> Command:
        command = Command(f"{self.run.id}-{len(self.ids)}", verb, self.run.id, **more)
        self.ids.append(command.id)
        before = [name for name, task in self.run.tasks.items() if task.status in ACTIVE]
        if inbox:
            self.through_inbox.add(command.id)
            self.live.put(command)
            return command
        plan = self.run.plan
        applied = self.live.tell(command)
        self.sequences["applied" if applied else "refused"] += 1
        if not applied and verb in ("create", "update", "remove", "split"):
            assert self.run.plan is plan, "what was refused has changed the plan"
        del before
        return command

    @rule(target=said, verb=st.sampled_from(["retry", "skip", "cancel", "approve", "reject", "answer"]), name=names,
          inbox=st.booleans(), words=st.sampled_from(["", "because"]))  # fmt: skip
    def decide(self, verb: Verb, name: str, inbox: bool, words: str) -> Command:
        return self._say(verb, inbox, task=name, reason=words)

    @rule(target=said, name=fresh, line=lines, needs=st.lists(names, max_size=2), parent=st.none() | names,
          sender=st.sampled_from(["", "", "hold", "n0"]), inbox=st.booleans())  # fmt: skip
    def create(
        self, name: str, line: str, needs: list[str], parent: str | None, sender: str, inbox: bool
    ) -> Command:
        new = NewTask(name, line, command=True, needs=tuple(needs), parent=parent)
        return self._say("create", inbox, new=(new,), sender=sender)

    @rule(target=said, name=names, needs=st.lists(names, max_size=2), away=st.lists(names, max_size=1),
          priority=st.integers(-1, 1), sender=st.sampled_from(["", "hold"]), inbox=st.booleans())  # fmt: skip
    def update(
        self, name: str, needs: list[str], away: list[str], priority: int, sender: str, inbox: bool
    ) -> Command:
        edit = Edit(add_needs=tuple(needs), remove_needs=tuple(away), priority=priority)
        return self._say("update", inbox, task=name, edit=edit, sender=sender)

    @rule(target=said, name=names, sender=st.sampled_from(["", "hold", "n1"]), inbox=st.booleans())
    def delegate(self, name: str, sender: str, inbox: bool) -> Command:
        return self._say("delegate", inbox, task=name, sender=sender)

    @rule(target=said, name=names, rewire=st.booleans())
    def remove(self, name: str, rewire: bool) -> Command:
        return self._say("remove", task=name, force=rewire)

    @rule(target=said, name=names, parts=st.lists(fresh, max_size=2), line=lines)
    def split(self, name: str, parts: list[str], line: str) -> Command:
        return self._say("split", task=name, new=tuple(NewTask(part, line, command=True) for part in parts))

    @rule(target=said, verb=st.sampled_from(["halt", "resume"]))
    def drive(self, verb: Verb) -> Command:
        return self._say(verb)

    @rule(command=said, inbox=st.booleans())
    def say_it_again(self, command: Command, inbox: bool) -> None:
        """The same file, or the same words, twice: one thing."""
        applied = command.id in self.run.answered
        before = self.run.plan
        if inbox and applied:
            self.live.put(command)
        elif applied:
            assert self.live.tell(command)
        if applied:
            assert self.run.plan is before

    @rule()
    def let_it_go_on(self) -> None:
        """Until nothing is at work but what holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            busy = [task for task in self.run.tasks.values() if task.status in ACTIVE]
            if all(
                self._holds(task.id) and task.attempt and task.attempt.pid and not task.cancelling
                for task in busy
            ):
                return
            time.sleep(0.005)
        raise AssertionError(f"still at work: {[(task.id, task.status) for task in busy]}")

    def _holds(self, name: str) -> bool:
        task, command = self.run.tasks[name], self.run.spec(name).command
        return (
            command is not None
            and command[-1] == HOLDS
            and task.status is Status.RUNNING
            and not task.delegating
        )

    # --- what holds whatever is said

    @invariant()
    def the_plan_can_be_done(self) -> None:
        plan = self.run.plan
        assert set(plan.tasks) == set(self.run.tasks)
        assert not cycle(waits(plan))

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        for name in list(self.run.tasks):
            self._say("cancel", task=name)
        if self.run.halt is not None:
            self._say("resume")
        for name in list(self.run.tasks):
            self._say("cancel", task=name)
        end = time.monotonic() + PATIENCE
        while self.run.finished_at is None:
            assert time.monotonic() < end, (
                f"it does not end: {[(t.id, t.status) for t in self.run.tasks.values()]}"
            )
            for name in list(self.run.tasks):  # what has begun since
                if self.run.tasks[name].status not in SATISFIED | {Status.CANCELLED}:
                    self.live.tell(Command(f"end-{time.monotonic_ns()}", "cancel", self.run.id, task=name))
            time.sleep(0.005)
        self.sequences["sequences"] += 1
        self._check_journal()

    def _check_journal(self) -> None:
        entries = self.live.entries(self.run.id)
        answers = Counter(entry.event.id for entry in entries if isinstance(entry.event, ev.CommandAnswered))
        assert max(answers.values(), default=1) == 1, f"answered twice: {answers.most_common(3)}"
        assert self.through_inbox <= answers.keys(), "no answer"
        own = [entry for entry in entries if entry.run == self.run.id]
        again = fold(own).runs[self.run.id]
        assert again.plan == self.run.plan
        assert {name: task.status for name, task in again.tasks.items()} == {
            name: task.status for name, task in self.run.tasks.items()
        }
        done = Counter(entry.task for entry in own if isinstance(entry.event, ev.ChildrenDone))
        delegated = Counter(entry.task for entry in own if isinstance(entry.event, ev.Delegated))
        assert all(count <= delegated[name] for name, count in done.items()), (
            "completed more often than delegated"
        )


@pytest.mark.promise("P35")
def test_whatever_is_said_no_state_is_illegal_and_each_command_is_answered_once(proof: Proof) -> None:
    folder = Path(tempfile.mkdtemp(prefix="daplug-commands-"))
    Commands.sequences = Counter()
    try:
        with living(folder) as live:
            Commands.live = live
            run_state_machine_as_test(
                Commands,
                settings=settings(
                    max_examples=proof.pick(12, 1000),
                    stateful_step_count=proof.pick(25, 30),
                    deadline=None,
                    derandomize=True,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert Commands.sequences["applied"], "nothing that was said could be done"
    assert Commands.sequences["refused"]
    for what, count in Commands.sequences.items():
        proof.count(f"commands {what}" if what != "sequences" else "command sequences", count)
