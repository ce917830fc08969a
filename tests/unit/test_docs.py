"""The documents say what the program does: generated parts, commands, plans, links."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import daplug_supervisor
from daplug_supervisor.cli import main as cli_main
from daplug_supervisor.formats import load_plan

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = "daplug-supervise"


@pytest.fixture(scope="module")
def generate() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("generate")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def blocks(language: str) -> list[Any]:
    """Every code block of a language, with the page that it is on."""
    found = []
    for page in PAGES:
        texts = [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]
        name = page.relative_to(ROOT)
        found += [pytest.param(text, id=f"{name}-{number}") for number, text in enumerate(texts, 1)]
    return found


def written_commands() -> list[str]:
    """Every command of ours that a document tells the reader to type."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = page.read_text()
        lines = [block for kind, block in BLOCK.findall(text) if kind == "console"]
        typed = [line[2:] for block in lines for line in block.splitlines() if line.startswith("$ ")]
        inline = re.findall(rf"`({PROGRAM} [^`]+)`", BLOCK.sub("", text))
        for line in [*typed, *inline]:
            for part in re.split(r"&&|;|\||&$", line):
                words = part.strip().replace(f".venv/bin/{PROGRAM}", PROGRAM)
                if words.startswith(f"{PROGRAM} "):
                    found.setdefault(words.replace("PLAN", "plan.yaml"))
    return list(found)


def all_commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from all_commands(child)


def test_generated_parts_are_up_to_date(generate: Any) -> None:
    assert [str(path.relative_to(ROOT)) for path in generate.outdated()] == [], "run: make refresh"


def test_every_command_and_option_is_documented(generate: Any) -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    sections = {part.partition("\n")[0]: part for part in text.split("\n## ")}
    for command, context in generate.commands():
        section = sections[context.command_path]
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(name in section for name in [*option.opts, *option.secondary_opts])


def test_every_public_name_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "api.md").read_text()
    names = [name for name in daplug_supervisor.__all__ if not name.startswith("__")]
    assert [name for name in names if f"\n## {name}\n" not in text] == []
    assert dir(daplug_supervisor) == daplug_supervisor.__all__ == sorted(daplug_supervisor.__all__)


def test_the_help_text_names_every_command() -> None:
    assert [line.split()[0] for line in cli_main.HELP] == list(cli_main.COMMANDS)
    task = cli_main.cli.get_command(click.Context(cli_main.cli), "task")
    assert isinstance(task, click.Group)
    told = cli_main.HELP["task ..."].partition(":")[0].split(", ")
    assert sorted(told) == sorted(task.commands)


@pytest.mark.parametrize("line", written_commands())
def test_written_commands_can_be_typed(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed: list[object] = []
    for command in all_commands(cli_main.cli):
        if not isinstance(command, click.Group):
            monkeypatch.setattr(command, "callback", lambda **values: typed.append(values))
    words = shlex.split(line)[1:]
    if len(words) == 1 and words[0] in cli_main.COMMANDS:
        return  # only named
    cli_main.cli.main(words, prog_name=PROGRAM, standalone_mode=False)
    assert typed or capsys.readouterr().out


@pytest.mark.parametrize("text", blocks("yaml"))
def test_plans_can_be_loaded(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text if "tasks:" in text else text + "tasks: {only: {command: [ls]}}\n")
    assert load_plan(path).tasks


@pytest.mark.parametrize("text", blocks("python"))
def test_python_examples_compile(text: str) -> None:
    compile(text, "example", "exec")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
