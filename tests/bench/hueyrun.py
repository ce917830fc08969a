"""The peer huey: ``hueyrun.py GRAPH DATABASE``. Its queue is in SQLite; a chain is one of its pipelines."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


def main() -> None:
    graph = json.loads(Path(sys.argv[1]).read_text())
    names = list(graph["needs"])
    logging.getLogger("huey").setLevel(logging.ERROR)
    huey: Any = importlib.import_module("huey").SqliteHuey(filename=sys.argv[2], fsync=True)
    over = threading.Semaphore(0)

    @huey.task()  # type: ignore[untyped-decorator]
    def one(*_: object) -> bool:
        subprocess.run([graph["command"]], check=True)
        over.release()
        return True

    if any(graph["needs"].values()):
        pipeline = one.s()
        for _ in names[1:]:
            pipeline = pipeline.then(one)
        huey.enqueue(pipeline)
    else:
        for _ in names:
            one()
    consumer = huey.create_consumer(workers=graph["jobs"], initial_delay=0.01, max_delay=0.05)
    consumer.start()
    for _ in names:
        over.acquire()
    consumer.stop(graceful=True)


main()
