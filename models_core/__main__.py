"""`python -m models_core`: one command line over the `cli.py` of every subpackage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from models_core.commands import CommandError, new_parser


def build_parser() -> argparse.ArgumentParser:
    """Every command of every subpackage that has a `cli.py`.

    The file alone is loaded, not the package around it, which may import torch: help is quick.
    """
    parser, subparsers = new_parser()
    for path in sorted(Path(__file__).parent.glob("*/cli.py")):
        spec = spec_from_file_location(f"models_core.{path.parent.name}.cli", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {path}")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.register(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 for what the caller can mend, 130 when interrupted."""
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        return 130
    except (CommandError, ValueError, OSError) as error:
        if args.traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
