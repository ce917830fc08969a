"""A launcher of which a part is killed at its nth line. Run in place of the shim's own file, from a copy in a folder of
its own: beside it lie ``source`` (where the shim's file is), ``part`` and ``at`` (the number of the line)."""

import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
SOURCE = (HERE / "source").read_text()


def load() -> Any:
    """The shim's module, from its source: compiled ones name another file."""
    spec = importlib.util.spec_from_file_location("shim", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shim"] = module
    spec.loader.exec_module(module)
    return module


def kill_at(number: int, *, parent_too: bool = False) -> None:
    """Kill ourselves at the nth line of the shim's file from here on."""
    left, who = number, os.getpid()

    def look(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != SOURCE or os.getpid() != who:
            return None
        if event == "line":
            left -= 1
            if not left:
                (HERE / "killed").write_text(f"{frame.f_code.co_name}:{frame.f_lineno}")
                if parent_too:
                    os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
        return look

    frame: FrameType | None = sys._getframe()
    while frame is not None:
        frame.f_trace = look
        frame = frame.f_back
    sys.settrace(look)


def main() -> None:
    shim = load()
    receive, fork = shim.Shim.receive, shim.Launcher.fork

    def received(self: Any) -> Any:
        message = receive(self)
        part, at = (HERE / "part").read_text(), int((HERE / "at").read_text())
        if message is not None and at and part != "launcher":
            kill_at(at, parent_too=part == "both")
        return message

    def forked(self: Any) -> Any:
        part, at = (HERE / "part").read_text(), int((HERE / "at").read_text())
        if part == "launcher" and at and not (HERE / "killed").exists():
            kill_at(at)
        return fork(self)

    shim.Shim.receive, shim.Launcher.fork = received, forked
    shim.main()


if __name__ == "__main__":
    main()
