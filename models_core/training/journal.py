"""What a run tells while it trains: `log.jsonl`, TensorBoard where installed, the terminal.

In a terminal a progress bar shows the newest values; elsewhere each line is printed as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

SHOWN = 6  # values beside the progress bar
PLACES = ("step", "kimg", "images_per_s", "memory_mb")  # on the bar anyway, or of no news


class Journal:
    """The record of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "log.jsonl"
        self.bar: tqdm[Any] | None = None
        self._board: Any = None

    def begin(self, step: int, last: int) -> None:
        """Show progress from `step` to `last`, and open TensorBoard's file."""
        self.bar = tqdm(initial=step, total=last, unit="step", dynamic_ncols=True, disable=None)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)

    def end(self) -> None:
        if self.bar is not None:
            self.bar.close()
        if self._board is not None:
            self._board.close()
        self.bar = self._board = None

    def advance(self) -> None:
        if self.bar is not None:
            self.bar.update()

    def write(self, values: dict[str, Any]) -> None:
        line = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.bar is not None and not self.bar.disable and sys.stdout.isatty():
            news = {k: v for k, v in line.items() if k not in PLACES}
            self.bar.set_postfix(dict(list(news.items())[:SHOWN]))
        else:
            print(json.dumps(line), flush=True)
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(name, value, values.get("step"))
            self._board.flush()

    def forget_after(self, step: int) -> None:
        """Drop lines of steps that a killed process took after its last checkpoint: they are taken
        again. A line it was killed in goes with them."""
        if not self.file.exists():
            return
        kept = []
        for line in self.file.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if row.get("step", 0) <= step and line.endswith("\n"):
                kept.append(line)
        part = self.file.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(self.file)
