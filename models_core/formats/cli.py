"""`inspect` and `convert checkpoint`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from models_core.commands import group
from models_core.formats.verdicts import KINDS


def register(subparsers: Any) -> None:
    inspect = subparsers.add_parser(
        "inspect", help="tell what a checkpoint is, without running anything of it"
    )
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--json", action="store_true", help="the whole report as JSON")
    inspect.add_argument(
        "--kind", choices=KINDS, help="what it should be; anything else is incompatible"
    )
    inspect.set_defaults(run=run_inspect)

    convert = group(subparsers, "convert").add_parser(
        "checkpoint", help="anybody's checkpoint as safetensors and JSON"
    )
    convert.add_argument("file", type=Path)
    convert.add_argument("--out", type=Path, required=True, help="the folder to write")
    convert.add_argument("--json", action="store_true", help="the whole report as JSON")
    convert.add_argument("--half", action="store_true", help="float16 weights")
    convert.set_defaults(run=run_convert)


def run_inspect(args: argparse.Namespace) -> int:
    """Exit code 0 for a checkpoint that is ready, 1 for a refused one."""
    from models_core.formats.sandbox import inspect_confined

    report = inspect_confined(args.file, kind=args.kind)
    print(json.dumps(report, indent=1) if args.json else told(report))
    return 0 if report["state"] == "ready" else 1


def run_convert(args: argparse.Namespace) -> int:
    """As `inspect`, whose report it prints; a refusal also goes to stderr."""
    from models_core.formats.sandbox import convert_confined

    report = convert_confined(args.file, args.out, half=args.half)
    print(json.dumps(report, indent=1) if args.json else told(report))
    if report["state"] != "ready":
        print(f"{report['state']}: {report['reason']}", file=sys.stderr)
    return 0 if report["state"] == "ready" else 1


def told(report: dict[str, Any]) -> str:
    """The report for a reader at a terminal: a line for each thing that is known."""
    lines = [f"{report['state']}{report['reason'] and ': ' + report['reason']}"]
    for name, value in report.items():
        if name not in ("inspection", "state", "reason") and value not in (None, {}, [], ""):
            lines.append(f"  {name}: {value if isinstance(value, str) else json.dumps(value)}")
    return "\n".join(lines)
