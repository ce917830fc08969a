"""A launcher of which a part is killed at its nth line. Run in place of the shim's own program, from a copy in a folder
of its own: beside it lie ``source`` (where the shim's package is), ``part`` and ``at`` (the number of the line)."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
SOURCE = (HERE / "source").read_text()
sys.path.insert(0, SOURCE.rpartition("/")[0])


def kill_at(number: int, *, parent_too: bool = False) -> None:
    """Kill ourselves at the nth line of the shim's package from here on."""
    left, who = number, os.getpid()

    def look(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename.rpartition("/")[0] != SOURCE or os.getpid() != who:
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
    from shim.launcher import Launcher  # type: ignore[import-not-found]
    from shim.main import main as serve  # type: ignore[import-not-found]
    from shim.shim import Shim  # type: ignore[import-not-found]

    receive, fork = Shim.receive, Launcher.fork

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

    Shim.receive, Launcher.fork = received, forked
    serve()


if __name__ == "__main__":
    main()
