"""What a plan says of values that one task hands on to another: checked when it is loaded.

Most tasks hand on nothing, and cost nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daplug_supervisor.core import graph
from daplug_supervisor.core.instructions.passing import passes_on
from daplug_supervisor.core.instructions.template import AS_TEXT, FORM, Reference, references
from daplug_supervisor.formats.findings import FieldPath, Finding, Nearest, choice, escaped, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from daplug_supervisor.core.plan import Commit, Plan, Task

NOT_HERE = "what another task says cannot be put into a command"
INSTEAD = "hand it on with inputs, and read it here as $DAPLUG_INPUT_<NAME>"

_MOST_PASSES = 16
_IN_ONE_PASS = 1024
"""Tasks that hand something on, of which one pass over the plan finds who comes after them."""

_TEXT = "instructions"

_Place = tuple[str, FieldPath, Reference]
"""A task, where it names what another hands on, and what."""


def check(plan: Plan) -> Iterator[Finding]:
    """Everything wrong with what tasks hand on."""
    yield from _hooks(plan)
    found: list[_Place] = []
    for name, task in plan.tasks.items():
        if task.setup or task.accept or task.env or task.commit:
            yield from _not_in_commands(("tasks", name), task)
        if task.inputs or task.outputs:
            yield from _names(("tasks", name), task)
        if task.inputs or (task.instructions and "${" in task.instructions):
            found += _referred(name, task)
    found = _meant(plan, found)
    yield from _unknown(plan, found)
    yield from _unneeded(plan, found)


def refused(path: FieldPath, text: str) -> Iterator[Finding]:
    """A value of another task in a command would be text that a shell may run: refused, not left as it is."""
    for one in references(text)[:1]:
        yield Finding(path, f"{shown(one.written)}: {NOT_HERE}", INSTEAD)


def _hooks(plan: Plan) -> Iterator[Finding]:
    for name, words in (("post_task", plan.hooks.post_task), ("post_run", plan.hooks.post_run)):
        for index, word in enumerate(words or ()):
            yield from refused(("hooks", name, index), word)


def _not_in_commands(path: FieldPath, task: Task) -> Iterator[Finding]:
    for index, word in enumerate(task.setup or ()):
        yield from refused((*path, "setup", index), word)
    for number, criterion in enumerate(task.accept):
        here = (*path, "accept", number, "run")
        if isinstance(criterion.run, str):
            yield from refused(here, criterion.run)
        else:
            for index, word in enumerate(criterion.run):
                yield from refused((*here, index), word)
    for key, value in task.env.items():
        yield from refused((*path, "env", key), value)
    if task.commit is not None:
        yield from _commit((*path, "commit"), task.commit)


def _commit(path: FieldPath, commit: Commit) -> Iterator[Finding]:
    yield from refused((*path, "message"), commit.message)
    yield from refused((*path, "when"), commit.when)
    for index, name in enumerate(commit.files):
        yield from refused((*path, "files", index), name)


def _names(path: FieldPath, task: Task) -> Iterator[Finding]:
    variables: dict[str, str] = {}
    for name in task.inputs:
        other = variables.setdefault(variable(name), name)
        if other != name:
            message = f"{shown(name)} and {shown(other)} would be the same variable, {variable(name)}"
            yield Finding((*path, "inputs", name), message, "rename one of them")
    if len(set(task.outputs)) < len(task.outputs):
        yield Finding((*path, "outputs"), "names an output twice", "keep one of them")


def variable(name: str) -> str:
    """The variable in which a command finds an input."""
    return f"DAPLUG_INPUT_{name.upper().replace('-', '_')}"


# --- what is referred to ----------------------------------------------------------------------------------------


def _referred(name: str, task: Task) -> Iterator[_Place]:
    path = ("tasks", name)
    for key, value in task.inputs.items():
        yield from ((name, (*path, "inputs", key), one) for one in references(value))
    for one in references(task.instructions or ""):
        yield name, (*path, _TEXT), one


def _meant(plan: Plan, found: list[_Place]) -> list[_Place]:
    """Without those in texts that cannot be meant: a plan may speak of programs that write such things too."""
    if not found or passes_on(plan):
        return found
    return [place for place in found if place[1][-1] != _TEXT or place[2].task in plan.tasks]


def of_prompts(plan: Plan, named: Iterable[tuple[str, Iterable[Reference]]]) -> Iterator[str]:
    """What is wrong with what prompt files refer to (by task); one message a task."""
    found = _meant(plan, [(name, ("tasks", name, _TEXT), one) for name, some in named for one in some])
    told = set()
    for finding in (*_unknown(plan, found), *_unneeded(plan, found)):
        if finding.path not in told:
            told.add(finding.path)
            yield f"task {finding.path[1]}: its prompt says {finding.message} ({finding.remedy})"


def _unknown(plan: Plan, found: Iterable[_Place]) -> Iterator[Finding]:
    tasks, fields = Nearest([*plan.tasks, *plan.saved_outputs]), dict[str, Nearest]()
    for name, path, one in found:
        saved = plan.saved_outputs.get(one.task, {})
        if not one.sound:
            yield Finding(path, f"{shown(one.written)} is not written as {FORM}", AS_TEXT)
        elif one.task == name:
            yield Finding(
                path, f"{shown(one.written)}: a task cannot be given its own outputs", "name another task"
            )
        elif one.task not in plan.tasks and one.task not in plan.saved_outputs:
            remedy = f"{choice(one.task, [*plan.tasks, *plan.saved_outputs], tasks)}; {AS_TEXT}"
            yield Finding(path, f"{shown(one.written)}: unknown task {shown(one.task)}", remedy)
        elif one.field not in saved and one.field not in _outputs(plan, one.task):
            known = [*_outputs(plan, one.task), *saved]
            remedy = choice(one.field, known, fields.setdefault(one.task, Nearest(known)))
            if one.task in plan.tasks:
                remedy = f"{remedy}; or add outputs: [{escaped(one.field)}] to {escaped(one.task)}"
            yield Finding(
                path, f"{shown(one.written)}: {escaped(one.task)} hands on no {escaped(one.field)}", remedy
            )


def _outputs(plan: Plan, name: str) -> tuple[str, ...]:
    return plan.tasks[name].outputs if name in plan.tasks else ()


def _unneeded(plan: Plan, found: Iterable[_Place]) -> Iterator[Finding]:
    """References to tasks that need not be done by then."""
    left = [
        place
        for place in found
        if place[2].sound
        and place[2].task in plan.tasks
        and place[2].task not in plan.tasks[place[0]].needs
        and place[2].task != place[0]
    ]
    if not left:
        return
    order, producers = graph.ordered(_known_needs(plan)), list(dict.fromkeys(place[2].task for place in left))
    for first in range(0, min(len(producers), _MOST_PASSES * _IN_ONE_PASS), _IN_ONE_PASS):
        some = {name: 1 << at for at, name in enumerate(producers[first : first + _IN_ONE_PASS])}
        before = _before(plan, order, some)
        for name, path, one in left:
            if one.task in some and name in before and not before[name] & some[one.task]:
                message = f"{shown(one.written)}: {escaped(one.task)} need not be done by then"
                yield Finding(
                    path,
                    message,
                    f"add {escaped(one.task)} to needs",
                    because=(path, ("tasks", name, "needs")),
                )


def _known_needs(plan: Plan) -> dict[str, list[str]]:
    return {name: [one for one in task.needs if one in plan.tasks] for name, task in plan.tasks.items()}


def _before(plan: Plan, order: Iterable[str], some: Mapping[str, int]) -> dict[str, int]:
    """For each task of `order` those of `some` that come before it, as bits; and itself."""
    found: dict[str, int] = {}
    for name in order:
        bits = some.get(name, 0)
        for other in plan.tasks[name].needs:
            bits |= found.get(other, 0)
        found[name] = bits
    return found
