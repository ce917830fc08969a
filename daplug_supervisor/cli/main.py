"""The entry point. Commands are imported only when they are run, so that ``--help`` and ``status`` start fast."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import TextIO

import click

from daplug_supervisor.errors import EXIT_INT, EXIT_NOT_ALL_DONE, EXIT_USAGE, SupervisorError

COMMANDS = {
    "run": "run:run",
    "run-prompt": "prompts.command:run_prompt",
    "resume": "run:resume",
    "check": "plans:check",
    "schema": "plans:schema",
    "status": "inspect:status",
    "report": "inspect:report",
    "events": "inspect:events",
    "halt": "control:halt",
    "check-halt": "control:check_halt",
    "halt-status": "control:halt_status",
    "doctor": "doctor:doctor",
    "gc": "gc:gc",
    "task": "task.group:task",
    "provider": "provider:provider",
    "pr": "pr:pr",
    "finish": "specs.finish:finish",
    "evaluate": "evaluate:evaluate",
    "bundle": "bundle:bundle",
    "fsm": "evaluate:fsm",
    "archive": "archive:archive",
}
"""Command, and where it is: module of this package, and name in it."""

PLAN_ENDINGS = (".yaml", ".yml", ".json", ".md")


class Group(click.Group):
    """Commands that are imported when they are needed; a plan file as first argument means ``run``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the help text."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        found = getattr(import_module(f"daplug_supervisor.cli.{module}"), name)
        assert isinstance(found, click.Command), place  # noqa: S101
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, without importing what it lists."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(HELP.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """``daplug-supervise plan.yaml`` is ``daplug-supervise run plan.yaml``."""
        if args and args[0] not in COMMANDS and _is_plan(args[0]):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


def _is_plan(word: str) -> bool:
    if word.endswith(PLAN_ENDINGS) or os.path.exists(word):  # noqa: PTH110 (Path.exists raises for long names)
        return True
    from daplug_supervisor.cli.specs.words import is_spec_word  # noqa: PLC0415 (seldom needed)

    return is_spec_word(word)


HELP = {
    "run [PLAN]": "Run a plan to its end, or go on with its unfinished run.",
    "run-prompt SELECTORS": "Run daplug prompts, without a plan file.",
    "resume [RUN]": "Lift a halt and go on with what is unfinished.",
    "check PLAN": "Show stages, critical path and pools of a plan; start nothing.",
    "schema [NAME]": "Print the JSON Schema of plan files, bundles or results.",
    "status [RUN]": "Show where a run stands.",
    "report [RUN]": "Show what a run did, and what to type next.",
    "events [RUN]": "Show what happened, one line an event.",
    "halt [REASON]": "Start nothing more; what runs may finish.",
    "check-halt": "Exit 1 if halted, 0 if not.",
    "halt-status": "Show the halt.",
    "doctor": "Look for what is wrong here.",
    "gc": "Remove merged worktrees of finished runs, and old logs.",
    "task ...": "list, show, why, logs, attach, "
    "create, update, split, remove, retry, skip, cancel, approve, reject, answer, complete, fail: tasks.",
    "provider ...": "list, pause, resume: the providers of a run.",
    "pr ...": "begin, pause, complete, continue: the state of a pull request.",
    "finish ...": "commit-rest, report: the last steps of a PLAN.md.",
    "evaluate [RUN]": "Show what a run was worth: proof, failures, cost, what recurs.",
    "bundle ...": "generate, validate, list, clean: what executors get.",
    "fsm ...": "coverage: what a run has proven of state machines.",
    "archive ...": "execution, list, restore: keep what a run was.",
}
"""What ``--help`` says of each command. A test compares it with `COMMANDS`."""


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all done; 1 finished, some not done; 2 usage or plan error; 3 halted, can be resumed; "
    "4 another supervisor holds the directory; 5 journal damaged or newer; 124 run time-out; "
    "129, 130, 131, 143 signals.",
)
@click.version_option(package_name="daplug-supervisor")
def cli() -> None:
    """Run batches of coding-agent tasks durably: kill it at any time, and the next start goes on."""


def main() -> None:
    """Run the command line and exit with a documented code."""
    _open_streams()
    gc.disable()  # what starts makes no garbage; `driving.drive` turns it on again
    arguments = sys.argv[1:]
    try:
        code = cli.main(args=arguments, prog_name="daplug-supervise", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        code = _fail(arguments, "usage", error.format_message(), EXIT_USAGE, hint=_hint(error))
    except SupervisorError as error:
        code = _fail_ours(arguments, error)
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = EXIT_INT
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone: nothing is left to say
        code = 1
    except Exception as error:  # noqa: BLE001 (a fault of ours: said as such, with all that helps to find it)
        code = _fail_unexpectedly(arguments, error)
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    sys.exit(code if isinstance(code, int) else 0)


def _open_streams() -> None:
    """Standard streams that whoever started us had closed lead nowhere; else the next file opened would be in one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null == number:
                os.set_inheritable(null, True)  # those that we start have them too
            else:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False, encoding="utf-8"))  # noqa: SIM115


def _flush(stream: TextIO) -> None:
    """What a full disk did not take is lost now, or Python exits with a code of its own."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except ValueError:  # closed
        pass


def _fail_unexpectedly(arguments: list[str], error: Exception) -> int:
    import traceback  # noqa: PLC0415

    from daplug_supervisor.cli.output import print_harmless  # noqa: PLC0415

    print_harmless("".join(traceback.format_exception(error)))
    message = f"a fault in the supervisor itself: {type(error).__name__}: {error}"
    hint = "nothing that was recorded is lost, and agents live on: run the same command again"
    return _fail(arguments, "fault", message, EXIT_NOT_ALL_DONE, hint=hint)


def _hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"try '{context.command_path} --help'" if context else ""


def _fail_ours(arguments: list[str], error: SupervisorError) -> int:
    problems = getattr(error, "problems", [])
    return _fail(arguments, error.code, str(error), error.exit_code, problems=problems)


def _fail(
    arguments: list[str], code: str, message: str, exit_code: int, *, hint: str = "", problems: object = ()
) -> int:
    from daplug_supervisor.cli.output import print_error  # noqa: PLC0415 (not needed to print help)

    print_error(code, message, exit_code, hint=hint, problems=problems, as_json="--json" in arguments)
    return exit_code
