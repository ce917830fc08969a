"""What an agent does, told by a story: ``{task: [{attempt 1}, {attempt 2}, ...]}``, the last of which is repeated.

An attempt: ``write`` (files and what is put into them), ``result`` (what it hands in; ``outputs`` and so on),
``hold`` (a file that it waits for). It leaves a line in the file `starts` of the story's folder, with what it was told.

``divide`` has it do what its prompt says about dividing the work, word for word: ``commands`` types the commands,
``files`` writes the files. ``ask`` is a question, put where the prompt says. ``linger``: it then waits to be ended.
"""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any


def work() -> None:
    folder = Path(os.environ["DAPLUG_TEST_STORY"])
    task, attempt = os.environ["DAPLUG_TASK"], os.environ["DAPLUG_SUP_ATTEMPT"]
    with (folder / "starts").open("a") as file:
        file.write(f"{task} {attempt}\n")
    lines = [line.split()[0] for line in (folder / "starts").read_text().splitlines()]
    story = json.loads((folder / "story.json").read_text())
    turns: list[dict[str, Any]] = story.get(task, [{}])
    turn = turns[min(lines.count(task), len(turns)) - 1]
    hold = turn.get("hold")
    while hold and not (folder / hold).exists():
        time.sleep(0.02)
    for name, text in turn.get("write", {}).items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if "divide" in turn:
        divide(turn["divide"])
    if "ask" in turn:
        [place] = fences(section("Questions"))
        Path(place.strip()).write_text(turn["ask"])
    if turn.get("linger"):
        time.sleep(60)
    result = os.environ.get("DAPLUG_RESULT")
    if result and turn.get("result", {}) is not None:
        Path(result).write_text(json.dumps(turn.get("result", {})))


def section(title: str) -> str:
    """What the prompt says under a heading."""
    text = Path(os.environ["DAPLUG_TEST_PROMPT"]).read_text()
    found = re.search(rf"^##+ {title}$(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise RuntimeError(f"the prompt has no section {title!r}")
    return found[1]


def fences(text: str) -> list[str]:
    return re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def divide(how: str) -> None:
    """Do what the prompt says."""
    text = section("Dividing the work")
    commands, files = fences(text)
    if how == "commands":
        for line in commands.splitlines():
            subprocess.run(line, shell=True, check=True)
        return
    named = re.search(r"into the directory `(.+?)`", text)
    if named is None:
        raise RuntimeError("the prompt names no directory")
    for line in files.splitlines():
        name, data = line.split(maxsplit=1)
        Path(named[1], name).write_text(data)
