"""``python -m daplug_supervisor``: the command line, where its program is not on the path."""

from daplug_supervisor.cli.main import main

if __name__ == "__main__":
    main()
