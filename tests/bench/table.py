"""The table."""
from __future__ import annotations
from tests.bench.rows import Row

def as_text(rows: list[Row]) -> str:
    return "\n".join(str(row.record()) + " " + "; ".join(row.notes) for row in rows)
