"""The launcher and its shims: a program of its own, of which the supervisor imports only what both must know.

The launcher is started once by a supervisor and forks a shim whenever one is asked for. A shim owns one process
tree at a time. It waits at its gate (a socket to the supervisor) for one message that says what to start; end of
file there means that the supervisor is gone, and nothing is started any more. While a tree runs, its shim needs no
supervisor: it keeps the hard deadline, bounds the output, sweeps the tree and leaves the exit record.

Nothing else of `daplug_supervisor` and nothing of site-packages is imported here: forking must stay cheap, and a
repository's own ``json.py`` must never be imported by accident. There this package is called ``shim``, so its modules
import one another relatively; and all of them at the start, for a later version may lie there later.
"""

from .protocol import FORK, HEAD_SIZE, OUTPUTS, RECORD, RECORD_SIZE, REFUSED, REPLY_SIZE
from .system import LINUX, identify

__all__ = [
    "FORK", "HEAD_SIZE", "LINUX", "OUTPUTS", "RECORD", "RECORD_SIZE", "REFUSED", "REPLY_SIZE", "identify",
]  # fmt: skip
