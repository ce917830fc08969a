"""Refresh the parts of the documents that are made from the program: ``python docs/generate.py [--check]``.

Such a part stands between two comments, ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``, in any Markdown
file of the repository's root or of ``docs/``. With ``--check`` nothing is written, and what is out of date is listed.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from inspect import get_annotations
from pathlib import Path
from typing import Any

import click
from field_words import EXIT_WORDS, FIELD_WORDS, STATE_WORDS
from msgspec import NODEFAULT, UNSET, Struct, inspect
from msgspec.structs import FieldInfo, fields

import daplug_supervisor
from daplug_supervisor import errors
from daplug_supervisor.cli import archive, bundle, control, doctor, notify_trial, pr
from daplug_supervisor.cli import gc as cleaning
from daplug_supervisor.cli.main import cli
from daplug_supervisor.cli.task import attach
from daplug_supervisor.core import plan
from daplug_supervisor.core.model import Attempt, Past, TaskState
from daplug_supervisor.core.results import Exit, Outcome, Result
from daplug_supervisor.core.surgery import affected
from daplug_supervisor.core.tasker.bundle import Integrity
from daplug_supervisor.formats.plans.leaves import bare, described
from daplug_supervisor.formats.resolve import BUILTIN_PROVIDERS
from daplug_supervisor.formats.todos import substeps
from daplug_supervisor.views import affected as affected_views
from daplug_supervisor.views import (
    checklist_report,
    daplug,
    family,
    log,
    machine,
    proven,
    providers,
    review,
    rows,
    status,
    task_detail,
    tasks,
    told,
    usage,
    why,
    work,
)
from daplug_supervisor.views.evaluation import figures as evaluation
from daplug_supervisor.views.evaluation import fsm_coverage
from daplug_supervisor.views.orchestration import events as orchestration_events
from daplug_supervisor.views.orchestration import handoffs as orchestration_handoffs
from daplug_supervisor.views.orchestration import records as orchestration
from daplug_supervisor.views.orchestration import state as orchestration_state
from daplug_supervisor.views.plan import estimate
from daplug_supervisor.views.plan import preview as plan_views
from daplug_supervisor.views.report import claims, failures, flags, landed, metrics
from daplug_supervisor.views.report import contents as report
from daplug_supervisor.workspace import archive as archives
from daplug_supervisor.workspace import attempt_bundles, gc
from daplug_supervisor.workspace.tasker import bundles as task_bundles

MEASURED = ("sweep.json", "soak.json")
Totals = dict[str, float]
Rows = dict[str, dict[str, Any]]

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)

JSON_OF: dict[str, list[type[Struct]]] = {
    "check PLAN, run --dry-run, run-prompt --dry-run": [
        plan_views.Check,
        plan_views.ProviderPlan,
        plan_views.TaskPlan,
        estimate.Estimate,
        estimate.Complexity,
        substeps.SubStep,
    ],
    "status": [
        status.RunStatus,
        rows.ProviderRow,
        rows.RunningRow,
        rows.AttentionRow,
        rows.HaltRow,
        family.Family,
        family.Part,
        family.Progress,
        proven.RunProof,
        usage.Used,
        usage.BudgetRow,
    ],
    "task create, task update, task split, task remove ... --dry-run": [
        affected_views.Preview,
        affected.Affected,
        affected.Difference,
        affected.Moved,
        affected.Waiting,
    ],
    "run, resume, report": [
        report.Report,
        metrics.Attempts,
        metrics.Durations,
        metrics.LongTask,
        metrics.ProviderUse,
        failures.Failure,
        failures.FailedCriterion,
        claims.Disagreement,
        claims.ClaimedCriterion,
        claims.Said,
        flags.Flag,
        landed.Landing,
        landed.LandedTask,
        landed.FailedHook,
        landed.Source,
        work.WorktreeRow,
        work.Overlap,
        family.Edited,
        review.Remarked,
    ],
    "run-prompt": [
        daplug.PromptsRun,
        daplug.PromptRun,
        daplug.Execution,
        daplug.Iteration,
        daplug.Worktree,
        daplug.Mixture,
        daplug.MixtureRun,
    ],
    "report --metrics-only": [metrics.Metrics],
    "events (one object a line)": [log.LogLine],
    "task list (a list)": [tasks.TaskRow],
    "task show": [
        task_detail.TaskDetail,
        task_detail.AttemptRow,
        proven.CriterionRow,
        orchestration_state.SubtaskHealth,
    ],
    "orchestrations.json, and the files of each orchestration": [
        orchestration_state.Orchestrations,
        orchestration_state.Current,
        orchestration.Orchestration,
        orchestration.Subtask,
        orchestration.ResourceEstimate,
        orchestration.Progress,
        orchestration.Retried,
        orchestration.Blocked,
        orchestration.Completion,
        orchestration_handoffs.Handoff,
        orchestration_handoffs.Context,
        orchestration_events.Line,
    ],
    "task why": [why.Why],
    "task attach": [attach.Attached],
    "check --notify (a list)": [notify_trial.Tried],
    "notify (what a command reads, and a webhook gets)": [told.Message, told.Told],
    "provider list (a list)": [providers.ProviderDetail],
    "check-halt, halt-status": [control.HaltState],
    "doctor (a list)": [doctor.Finding],
    "gc": [cleaning.Cleaned, gc.Item],
    "pr begin, pause, complete, continue": [pr.Changed],
    "finish commit-rest": [checklist_report.Rest],
    "finish report": [checklist_report.ChecklistReport, checklist_report.CategoryRow],
    "evaluate": [
        evaluation.Evaluation,
        evaluation.Planning,
        evaluation.Rounds,
        evaluation.Criteria,
        evaluation.Proof,
        evaluation.EvaluatedTask,
        evaluation.FailureGroup,
        evaluation.FailedTask,
        evaluation.Pattern,
    ],
    "evaluate --metrics-only": [evaluation.EvaluationMetrics],
    "fsm coverage": [
        fsm_coverage.FsmCoverage,
        fsm_coverage.CoveredMachine,
        fsm_coverage.Share,
        fsm_coverage.CoveredTransition,
        fsm_coverage.Rules,
        fsm_coverage.CoveredRule,
        fsm_coverage.Evidence,
        fsm_coverage.Summary,
    ],
    "bundle generate, generate-ready (a list)": [bundle.Generated],
    "bundle validate": [bundle.Validated],
    "bundle validate-integrity": [Integrity],
    "bundle list (a list)": [task_bundles.BundleRow, attempt_bundles.AttemptBundleRow],
    "bundle clean": [bundle.Removed],
    "bundle result-info": [task_bundles.ResultInfo],
    "archive execution": [archive.ArchiveMade],
    "archive list (a list)": [archive.ArchiveRow],
    "archive restore (a list)": [archives.Restored],
}


def table(headers: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    every = [headers, ("---",) * len(headers), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in every)


# --- the command line -------------------------------------------------------------------------------------------


def walk(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and all below it, each with the context that knows its full name."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name  # noqa: S101
            yield from walk(child, click.Context(child, info_name=name, parent=context))


def commands() -> list[tuple[click.Command, click.Context]]:
    """Every command of the program, the program itself first."""
    return list(walk(cli, click.Context(cli, info_name="daplug-supervise", terminal_width=100)))


def options(command: click.Command, context: click.Context) -> list[tuple[str, ...]]:
    """The options of a command: how they are written, and what they do."""
    found = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in record[0]:
            found.append((f"`{record[0].replace('INTEGER RANGE', 'N')}`", _words(record[1])))
    return found


def _words(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def command_line() -> str:
    """All commands with all options."""
    parts = []
    for command, context in commands():
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        lines = [f"## {context.command_path}", f"```text\n{usage}\n```"]
        lines += [_words(part) for part in (command.help or "").split("\n\n")]
        found = options(command, context)
        if found:
            lines.append(table(("option", "what it does"), found))
        parts.append("\n\n".join(lines))
    return "\n\n".join(parts)


def exit_codes() -> str:
    """The codes that the command line may exit with."""
    named = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    raised: dict[int, list[str]] = {}
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.SupervisorError):
            raised.setdefault(error.exit_code, []).append(f"`{error.__name__}`")
    return table(
        ("code", "meaning", "in Python"),
        [(str(code), EXIT_WORDS[name], ", ".join(raised.get(code, []))) for name, code in named.items()],
    )


# --- structs ----------------------------------------------------------------------------------------------------


def summary(cls: type) -> str:
    """The first paragraph of a docstring."""
    return _words((cls.__doc__ or "").partition("\n\n")[0])


def rest(cls: type) -> str:
    """What a docstring says after its first paragraph."""
    return "\n\n".join(map(_words, (cls.__doc__ or "").split("\n\n")[1:]))


def _default(field: FieldInfo | inspect.Field, name: str) -> str:
    value = field.default
    if field.required:
        return "required"
    if field.default_factory is not NODEFAULT:
        return "`{}`"
    if isinstance(value, Struct):
        return "see below"
    if value in (NODEFAULT, UNSET, None, ""):
        return "none"
    if isinstance(value, tuple | bool):
        return f"`{str(value or []).lower()}`" if isinstance(value, tuple) else f"`{str(value).lower()}`"
    return f"`{value:g}s`" if name in plan.DURATION_FIELDS else f"`{value}`"


def plan_fields() -> str:
    """The fields of plan files."""
    parts = []
    for cls, heading in (
        (plan.PlanFile, "The file"),
        (plan.Task, "tasks: a task"),
        (plan.Provider, "providers: a provider"),
        (plan.Retry, "retry"),
        (plan.Loop, "loop"),
        (plan.Criterion, "accept: a criterion"),
        (plan.Commit, "commit"),
        (plan.Budget, "budget"),
        (plan.Hooks, "hooks"),
        (plan.Notify, "notify"),
    ):
        info = inspect.type_info(cls)
        assert isinstance(info, inspect.StructType)  # noqa: S101
        lines = []
        for field in info.fields:
            kind, null = bare(field.type)
            wanted = described(kind) + (" or null" if null else "")
            lines.append(
                (
                    f"`{field.name}`",
                    wanted,
                    _default(field, field.name),
                    FIELD_WORDS[cls.__name__][field.name],
                )
            )
        text = [
            f"## {heading}",
            summary(cls),
            rest(cls),
            table(("field", "value", "default", "meaning"), lines),
        ]
        parts.append("\n\n".join(filter(None, text)))
    return "\n\n".join(parts)


def default_fields() -> str:
    """The names of the fields that `defaults` may have."""
    return ", ".join(f"`{field.name}`" for field in fields(plan.Defaults))


def providers() -> str:
    """The built-in providers."""
    return table(
        ("provider", "worker", "model", "cli"),
        [
            (f"`{name}`", one.worker, one.model or "", one.cli or "")
            for name, one in BUILTIN_PROVIDERS.items()
        ],
    )


def annotation(cls: type, name: str) -> str:
    """The type of a field as it was written."""
    for base in cls.__mro__:
        if name in get_annotations(base):
            return str(get_annotations(base)[name])
    raise LookupError(name)


def in_json(text: str) -> str:
    """A Python type in the words of JSON."""
    for _ in range(2):
        text = re.sub(r"(?:tuple|list)\[([\w ]+)(?:, \.\.\.)?\]", r"list of \1", text)
    text = re.sub(r"dict\[str, (\w+)\]", r"object of \1", text).replace(" | ", " or ").replace("None", "null")
    text = re.sub(r"Literal\[[^]]*\]", "text", text).replace("object of object", "object")
    words = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true or false",
        "Level": "text",
        "PoolState": "text",
        "Trouble": "text",
        "UnsetType": "missing",
    }
    return re.sub(r"\w+", lambda match: words.get(match[0], match[0]), text)


def json_forms() -> str:
    """What the commands print with --json."""
    parts = []
    for command, classes in JSON_OF.items():
        parts.append(f"## {command}")
        for cls in classes:
            names = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
            lines = [(f"`{told}`", in_json(annotation(cls, name))) for name, told in names]
            text = [f"### {cls.__name__}", summary(cls), rest(cls), table(("field", "value"), lines)]
            parts.append("\n\n".join(filter(None, text)))
    return "\n\n".join(parts)


def task_state() -> str:
    """What is kept of a task while it is run."""
    parts = []
    for cls in (TaskState, Attempt, Past, Result, Outcome, Exit):
        lines = []
        for field in fields(cls):
            words = STATE_WORDS.get(cls.__name__, {}).get(field.name, "")
            lines.append((f"`{field.name}`", in_json(annotation(cls, field.name)), _needed(field), words))
        text = [
            f"### {cls.__name__}",
            summary(cls),
            rest(cls),
            table(("field", "value", "", "meaning"), lines),
        ]
        parts.append("\n\n".join(filter(None, text)))
    return "\n\n".join(parts)


def _needed(field: FieldInfo) -> str:
    return "required" if field.required else f"optional: {_default(field, field.name)}"


# --- other ------------------------------------------------------------------------------------------------------


def state_diagram() -> str:
    """The state machine as Mermaid, which GitHub draws."""
    return f"```mermaid\n{machine.transitions_mermaid()}\n```"


def public_names() -> str:
    """An autodoc directive for each public name."""
    parts = []
    for name in daplug_supervisor.__all__:
        if name.startswith("__"):
            continue
        found = getattr(daplug_supervisor, name)
        kind = "class"
        if isinstance(found, type) and issubclass(found, BaseException):
            kind = "exception"
        elif not isinstance(found, type):
            kind = "function"
        lines = [f"## {name}", "```{eval-rst}", f".. auto{kind}:: daplug_supervisor.{name}"]
        if kind == "class":
            lines += ["   :members:", "   :undoc-members:"]
        parts.append("\n".join([lines[0], "", *lines[1:], "```"]))
    return "\n\n".join(parts)


def unreleased() -> str:
    """The fragments in docs/changes, by kind."""
    headings = {"added": "Added", "changed": "Changed", "fixed": "Fixed", "removed": "Removed"}
    parts = []
    for kind, heading in headings.items():
        found = sorted((ROOT / "docs" / "changes").glob(f"*.{kind}.md"))
        if found:
            items = "\n".join("- " + path.read_text().strip().replace("\n", "\n  ") for path in found)
            parts.append(f"### {heading}\n\n{items}")
    return "\n\n".join(parts) or "Nothing yet."


def measured() -> tuple[Totals, Rows]:
    """What the last full sweep and the last soak found: totals, and by row the tests and their figures."""
    totals: Totals = {}
    found: Rows = {}
    for name in MEASURED:
        data = _data(name)
        for what, number in data["totals"].items():
            totals[what] = totals.get(what, 0) + number
        for row, about in data["rows"].items():
            kept = found.setdefault(row, {"tests": [], "figures": {}})
            kept["tests"] += about["tests"]
            kept["figures"] |= about["figures"]
    return totals, found


def _data(name: str) -> dict[str, Any]:
    path = Path(__file__).with_name(name)
    empty: dict[str, Any] = {"totals": {}, "rows": {}, "violations": []}
    return json.loads(path.read_text()) if path.exists() else empty


def promises() -> str:
    """The promises with the tests that show them, and what was measured."""
    lines = []
    _, found = measured()
    for row, about in tomllib.loads(Path(__file__).with_name("promises.toml").read_text()).items():
        shown = found.get(row, {"tests": [], "figures": {}})
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in shown["tests"])
        tests = tests or about.get("documented", "not measured yet")
        figures = "<br>".join(figure(what, one) for what, one in shown["figures"].items())
        lines.append(
            (
                row,
                f"**{about['fault']}.** {about['promise']}",
                tests or about.get("documented", "not measured yet"),
                figures or "-",
            )
        )
    return table(("#", "fault and promise", "shown by (in `tests/`)", "measured"), lines)


def figure(what: str, one: dict[str, Any]) -> str:
    """One figure, with its limit where there is one."""
    value = f"{one['value']:,.0f}" if one["value"] >= 1000 else f"{one['value']:.3g}"  # noqa: PLR2004
    limit = "" if one["at_most"] is None else f" (at most {one['at_most']:g})"
    return f"{what}: {value} {one['unit']}".rstrip() + limit


def totals() -> str:
    """What the last full sweep and soak went through, and what did not hold in them."""
    found, _ = measured()
    lines = [(what, f"{number:,.0f}") for what, number in sorted(found.items())]
    broken = [line for name in MEASURED for line in _data(name)["violations"]]
    listed = "".join(f"\n- {line}" for line in broken)
    return table(("in all", "number"), [*lines, ("violations", str(len(broken)))]) + (
        listed and f"\n{listed}"
    )


def packages() -> str:
    """What each package is for, in the first line of its docstring."""
    root = Path(daplug_supervisor.__file__).parent
    rows = []
    for path in sorted(root.rglob("*/__init__.py"), key=lambda path: path.parent.relative_to(root).parts):
        name = path.parent.relative_to(root).as_posix()
        said = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        rows.append((f"`{name}/`", said.replace("``", "`")))
    return table(("package", "what is in it"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "promises": promises,
    "totals": totals,
    "api": public_names,
    "changes": unreleased,
    "cli": command_line,
    "default-fields": default_fields,
    "events": machine.events_table,
    "exit-codes": exit_codes,
    "json": json_forms,
    "packages": packages,
    "plan-fields": plan_fields,
    "providers": providers,
    "rules": machine.rules_table,
    "state-diagram": state_diagram,
    "task-state": task_state,
    "transitions": machine.transitions_table,
}


def refreshed(text: str) -> str:
    """A document with its generated parts made anew."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", text)


def pages() -> list[Path]:
    """Every document that may have generated parts."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(path for path in found if "_build" not in path.parts)


def outdated() -> dict[Path, str]:
    """The documents that are out of date, with what they should be."""
    found = {}
    for path in pages():
        old = path.read_text()
        new = refreshed(old)
        if new != old:
            found[path] = new
    return found


def main() -> int:
    """Write what is out of date, or list it."""
    found = outdated()
    check = "--check" in sys.argv[1:]
    for path, text in found.items():
        sys.stdout.write(f"{path.relative_to(ROOT)} {'is out of date' if check else 'refreshed'}\n")
        if not check:
            path.write_text(text)
    if check and found:
        sys.stdout.write("run: make refresh\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
