"""What an attempt is given and told: its inputs, a place for its result, its prompt."""

from __future__ import annotations

import shlex
import shutil
import sys
from contextlib import suppress
from logging import getLogger
from pathlib import Path

import msgspec
from msgspec.structs import replace

from daplug_supervisor.core.acceptance import Verification
from daplug_supervisor.core.bundle import Bundle
from daplug_supervisor.core.instructions import earlier, passing
from daplug_supervisor.core.instructions.delegation import PROGRAM, parts_of
from daplug_supervisor.core.instructions.earlier import Earlier
from daplug_supervisor.core.instructions.passing import Wisdom
from daplug_supervisor.core.instructions.sections import Told, compose, filled
from daplug_supervisor.core.instructions.template import fill, references
from daplug_supervisor.core.model import Past, Run, TaskState
from daplug_supervisor.core.results import OutcomeKind
from daplug_supervisor.formats.prompts import files as prompts
from daplug_supervisor.formats.references import variable
from daplug_supervisor.supervisor.attempts.desk import Desk
from daplug_supervisor.workspace import bundles, outbox
from daplug_supervisor.workspace.files import NAME, make_private, open_output
from daplug_supervisor.workspace.room import FULL

log = getLogger(__name__)

_LARGEST = 1 << 20
_MOST_VARIABLE = (128 << 10) - 1
"""Bytes of one variable with its name, as the kernel takes it."""

_MOST_VARIABLES = 512 << 10
"""Bytes of all inputs together: there must be room for the rest of the environment, and for the arguments."""


# --- what it is given -------------------------------------------------------------------------------------------


def given(desk: Desk, run: Run, bundle: Bundle) -> Bundle:
    """The bundle with what earlier tasks hand on in the place of what names it, what people said, and an outbox.

    Raises:
        UsageError: a task has not handed on what this one needs.
        OSError: there was no room for an outbox.
    """
    spec = bundle.spec
    if spec.inputs:
        values = passing.outputs(run, (one for text in spec.inputs.values() for one in references(text)))
        inputs = {name: _text(fill(text, values)) for name, text in spec.inputs.items()}
        bundle = replace(bundle, inputs=inputs)
    bundle = replace(bundle, remarks=run.tasks[bundle.task].remarks)
    return replace(bundle, outbox=_outbox(desk, bundle)) if spec.wants_outbox else bundle


def _text(text: str) -> str:
    """Half a surrogate pair can be kept nowhere."""
    return text.encode("utf-8", "backslashreplace").decode()


def _outbox(desk: Desk, bundle: Bundle) -> str:
    """A new outbox: where the attempt works, because it may be allowed to write nowhere else.

    Raises:
        OSError: there was no room for it.
    """
    _clear_before(desk, bundle)
    try:
        path = outbox.make(bundle.cwd, bundle.token, desk.directory.path)
    except OSError as error:
        if error.errno in FULL:
            raise
        make_private(Path(bundle.directory))  # a link is in its place, say
        path = outbox.make(bundle.directory, bundle.token, desk.directory.path)
    if bundle.spec.delegate:
        about = {"run": bundle.run, "task": bundle.task, "state": str(desk.directory.path)}
        outbox.furnish(path, msgspec.json.encode(about))
    return path


def clear(bundle: Bundle) -> None:
    """Remove the outbox of an attempt that is not started."""
    if bundle.outbox:
        outbox.remove(bundle.outbox)


def _clear_before(desk: Desk, bundle: Bundle) -> None:
    """Remove what a crash has left of the outbox of the attempt before, if it is where we would have made it."""
    before = f"{bundle.directory.rpartition('/')[0]}/{bundle.number - 1}"
    path = bundles.outbox_of(before)
    places = (f"{bundle.cwd}/{NAME}", f"{before}/{NAME}", str(desk.directory.path.resolve()))
    if path.rpartition("/")[0] in {f"{place}/{outbox.FOLDER}" for place in places}:
        outbox.remove(path)


def variables(bundle: Bundle) -> dict[str, str]:
    """What the environment of an attempt says of its inputs, its outbox, and of what people said.

    What no variable can hold, or not beside the others, is in the file only.
    """
    found, left = dict[str, str](), _MOST_VARIABLES
    for name, value in bundle.inputs.items():
        size = len(variable(name)) + len(value.encode()) + 2
        if "\0" not in value and size <= min(left, _MOST_VARIABLE):
            found[variable(name)] = value
            left -= size
    if bundle.inputs:
        found["DAPLUG_INPUTS"] = f"{bundle.directory}/{bundles.INPUTS}"
    if bundle.remarks:
        found["DAPLUG_REMARKS"] = f"{bundle.directory}/{bundles.REMARKS}"
    if bundle.outbox:
        found["DAPLUG_OUTBOX"] = bundle.outbox
    if bundle.result_file:
        found["DAPLUG_RESULT"] = bundle.result_file
    return found


# --- what it is told --------------------------------------------------------------------------------------------


def prompt(desk: Desk, run: Run, bundle: Bundle) -> str:
    """All that an agent is told.

    Raises:
        UsageError: there is no prompt, or a task has not handed on what it names.
    """
    spec, task = bundle.spec, run.tasks[bundle.task]
    text = spec.instructions or prompts.read(prompts.resolve(spec.prompt or "", Path(run.target)))
    found = passing.meant(run.plan, references(text))
    named: dict[str, str] = {}
    if found or ("$${" in text and passing.passes_on(run.plan)):
        text, named = filled(text, passing.outputs(run, found))
    return compose(
        text,
        Told(
            bundle,
            wisdom=_wisdom(run),
            earlier=_earlier(desk, run, task, bundle),
            named={name: _text(value) for name, value in named.items()},
            checklist=run.plan.origin is not None and run.plan.origin.format == "checklist",
            program=_program(desk, run, bundle) if spec.delegate else PROGRAM,
            parts=parts_of(run, task),
        ),
    )


def _program(desk: Desk, run: Run, bundle: Bundle) -> str:
    """How an attempt calls us: by name if it can find us so."""
    path = run.plan.providers[bundle.assignment.provider].env.get("PATH", desk.environ.get("PATH", ""))
    return (
        PROGRAM if shutil.which(PROGRAM, path=path) else f"{shlex.quote(sys.executable)} -m daplug_supervisor"
    )


def _wisdom(run: Run) -> Wisdom:
    """What was learnt before: of a PLAN.md, what its context folder has, earlier sessions included."""
    if run.plan.origin is None or run.plan.origin.format != "checklist":
        return passing.wisdom(run)
    from daplug_supervisor.formats.todos import checklist, context, folder  # noqa: PLC0415 (seldom needed)

    try:
        return context.wisdom((Path(run.target) / run.plan.origin.path).parent / checklist.CONTEXT)
    except folder.FolderError as error:  # said again, and louder, when something is to be written there
        log.warning("what earlier TODOs wrote down cannot be read: %s", error)
        return passing.wisdom(run)


def _earlier(desk: Desk, run: Run, task: TaskState, bundle: Bundle) -> Earlier:
    past = earlier.teaching(task)
    if past is None:
        return Earlier()
    kind = past.result.outcome.kind
    return Earlier(
        line=bundle.previous,
        found=_found(desk, run, task, past) if kind is OutcomeKind.VERIFY_FAILED else None,
        put_back=bundle.spec.rollback,
        merging=kind is OutcomeKind.CONFLICT and past.result.exit.code is not None,
        last_fix=task.last_fix,
        tried=earlier.history(task),
    )


def _found(desk: Desk, run: Run, task: TaskState, past: Past) -> Verification:
    """What we saw in the work of an attempt: with what was printed, as it is written down there; else as journalled."""
    path = Path(desk.directory.attempt(run.id, task.id, past.number)) / bundles.VERIFICATION
    result = past.result
    with (
        suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError),
        open_output(path) as file,
    ):
        found = msgspec.json.decode(file.read(_LARGEST), type=Verification)
        if found.findings == result.findings:
            return replace(found, tails=tuple(map(desk.mask, found.tails)))
    return Verification(result.findings, flags=result.flags)
