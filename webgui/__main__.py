"""The command line of the server: `stylediffuser help`, or `python -m webgui help`, lists it."""

import os
import sys


def main() -> None:
    if sys.argv[1:2] == ["demo"]:
        # Database, keys, logs: for their owner's eyes only. Before the settings make the home.
        os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webgui.config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
