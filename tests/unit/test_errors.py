"""The errors: one tree, each with its exit code and a name for programs."""

from __future__ import annotations

import re

import pytest

from daplug_supervisor import errors
from daplug_supervisor.cli import main

EXITS = {
    "SupervisorError": 1,
    "UsageError": 2,
    "PlanError": 2,
    "NotPossibleError": 2,
    "StateDirectoryError": 2,
    "HaltedError": 3,
    "PullRequestError": 3,
    "BusyError": 4,
    "JournalError": 5,
    "LaunchError": 1,
    "NotPlannedError": 1,
    "BundleError": 1,
    "IllegalTransitionError": 5,
}
CLASSES: dict[str, type[errors.SupervisorError]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.SupervisorError)
}


def test_every_error_is_in_the_tree_with_its_exit_code() -> None:
    assert {name: found.exit_code for name, found in CLASSES.items()} == EXITS
    others = [name for name, value in vars(errors).items() if name.endswith("Error") and name not in CLASSES]
    assert others == []
    assert issubclass(errors.PlanError, errors.UsageError)
    assert issubclass(errors.NotPossibleError, errors.UsageError)


def test_every_error_has_a_name_of_its_own_for_programs() -> None:
    codes = {name: found.code for name, found in CLASSES.items()}
    assert len(set(codes.values())) == len(codes)
    assert all(re.fullmatch("[a-z_]+", code) for code in codes.values())


def test_the_tree_in_the_documentation_is_this_one() -> None:
    drawn = dict(re.findall(r"(\w+Error) +exit (\d)", errors.__doc__ or ""))
    assert {name: int(code) for name, code in drawn.items()} == {
        name: code for name, code in EXITS.items() if name != "IllegalTransitionError"
    }


def test_the_exit_codes_of_the_command_line() -> None:
    codes = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert codes == {
        "EXIT_DONE": 0,
        "EXIT_NOT_ALL_DONE": 1,
        "EXIT_USAGE": 2,
        "EXIT_HALTED": 3,
        "EXIT_BUSY": 4,
        "EXIT_JOURNAL": 5,
        "EXIT_RUN_TIMEOUT": 124,
        "EXIT_HUP": 129,
        "EXIT_INT": 130,
        "EXIT_QUIT": 131,
        "EXIT_TERM": 143,
    }
    told = set(map(int, re.findall(r"\d+", main.cli.epilog or "")))
    assert told == set(codes.values())


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (errors.Problem("wrong"), "wrong"),
        (errors.Problem("wrong", "mend it"), "wrong (mend it)"),
        (errors.Problem("wrong", file="p.yaml"), "p.yaml: wrong"),
        (
            errors.Problem("wrong", "mend it", "p.yaml", 3, 4, "tasks.a"),
            "p.yaml:3:4: tasks.a: wrong (mend it)",
        ),
    ],
)
def test_a_problem_says_where_what_and_the_remedy(problem: errors.Problem, text: str) -> None:
    assert str(problem) == text
    assert str(errors.PlanError([problem, problem])) == f"{text}\n{text}"
    assert errors.PlanError([problem]).problems == [problem]
