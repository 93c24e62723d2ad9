"""`stock COUNT`: a pool with the shipped release, filled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tests.bench.processes import ROOT
from tests.bench.stocking import shelves
from webgui.buffer.provision import point_pool
from webgui.registry.loading import load_bundle

SHIPPED = ROOT / "models_core" / "releases" / "demo"


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int)
        parser.add_argument("--pictures", type=Path, help="a folder of PNG files to store")

    def handle(self, *_: Any, count: int, pictures: Path | None, **__: Any) -> None:
        release, _ = load_bundle(SHIPPED)
        pool, _ = point_pool("toon", release)
        shelves.stock(pool, count)
        if pictures:
            shelves.hang_pictures(pool, sorted(pictures.glob("*.png")))
