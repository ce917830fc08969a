"""What an agent does, told by a story: ``{task: [{attempt 1}, {attempt 2}, ...]}``, the last of which is repeated.

An attempt: ``write`` (files and what is put into them), ``result`` (what it hands in; ``outputs`` and so on),
``hold`` (a file that it waits for). It leaves a line in the file `starts` of the story's folder, with what it was told.
"""

import json
import os
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
    result = os.environ.get("DAPLUG_RESULT")
    if result and turn.get("result", {}) is not None:
        Path(result).write_text(json.dumps(turn.get("result", {})))
