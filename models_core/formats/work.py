"""What is done inside `confined`: inspect or convert, with the report as the only answer."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from models_core.formats.inspection import answer, inspect, refusal
from models_core.formats.verdicts import Corrupt, Incompatible, Refused


def run(what: str, arguments: list[str]) -> dict[str, Any]:
    """`inspect FILE KIND` or `convert FILE OUT half|whole`."""
    if what == "inspect":
        path, kind = arguments
        return inspect(Path(path), kind=kind or None)
    path, out, precision = arguments
    from models_core.formats.convert import convert

    try:
        return answer("ready", **convert(Path(path), Path(out), half=precision == "half"))
    except Refused as refused:
        return refusal(refused)
    except (RecursionError, MemoryError):
        return refusal(Corrupt("it nests or repeats its data beyond all measure"))
    except OSError as error:
        if error.errno == errno.EFBIG:  # more was written than the file can honestly hold
            return refusal(Incompatible("it would become larger than converting may make it"))
        raise
