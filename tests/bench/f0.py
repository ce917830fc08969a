"""F0 where there is no C compiler: ``f0.py SIZE JOBS COMMAND``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    waiting, room, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    alive = failed = 0
    while waiting or alive:
        if waiting and alive < room:
            os.posix_spawn(command, [command], os.environ)
            waiting, alive = waiting - 1, alive + 1
        else:
            failed |= os.wait()[1]
            alive -= 1
    sys.exit(failed != 0)


main()
