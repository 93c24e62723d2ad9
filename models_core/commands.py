"""What the command line's parts share.

A subpackage takes part by having a `cli.py` with `register(subparsers)`, which adds its commands
and sets `run` on each parser: `parser.set_defaults(run=function)`; `function(args)` gets the
parsed arguments and may return an exit code. `cli.py` must be quick to import: torch and the
like are imported inside `run`.
"""

from __future__ import annotations

import argparse
from typing import Any

# The commands that hold subcommands of several subpackages.
GROUPS = {
    "data": "build and look at data sets",
    "train": "train one of the models; a stopped run is resumed by the same command",
    "convert": "read another program's checkpoint and write ours",
    "sample": "draw pictures from one of the models",
    "release": "build, verify and try release bundles",
    "evaluate": "measure models and compare them",
}


class CommandError(Exception):
    """A command cannot go on; the message says why and what to do."""


def group(subparsers: Any, name: str) -> Any:
    """The subparsers of the group `name` (a key of `GROUPS`), made at its first use.

    `group(subparsers, "train").add_parser("critic", help="…")` is `models_core train critic`.
    """
    parser = subparsers.choices.get(name)
    if parser is None:
        parser = subparsers.add_parser(name, help=GROUPS[name], description=GROUPS[name])
        members = parser.add_subparsers(dest=f"{name}_what", metavar="WHAT", required=True)
        parser.set_defaults(members=members)
    return parser.get_default("members")


def new_parser() -> tuple[argparse.ArgumentParser, Any]:
    """An empty command line and the subparsers to register commands on."""
    parser = argparse.ArgumentParser(
        prog="python -m models_core",
        description="StyleDiffuser's models: data sets, training, sampling, releases.",
    )
    parser.add_argument(
        "--traceback", action="store_true", help="show the whole traceback of an error"
    )
    return parser, parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
