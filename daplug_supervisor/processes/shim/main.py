"""The program that the supervisor starts: see `start.program`."""

from __future__ import annotations

import gc
import os
import socket
import sys

from .launcher import Launcher


def main() -> None:
    """Serve the socket whose descriptor is the last argument."""
    control = socket.socket(fileno=int(sys.argv[-1]))
    control.setblocking(True)
    null = os.open(os.devnull, os.O_RDWR)
    launcher = Launcher(control)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.chdir("/")
    gc.collect()
    gc.freeze()
    gc.disable()
    launcher.serve()
