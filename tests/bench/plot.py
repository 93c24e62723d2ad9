"""`python -m tests.bench.plot FILE.svg`: the modelled day, drawn for docs/scaling.md."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.day import DAY, Day, Plan

WIDTH, HEIGHT, LEFT, GAP = 760, 150, 70, 45
STYLE = (
    "text{font:12px sans-serif;fill:#555}path{fill:none;stroke-width:1.5}"
    "line{stroke:#bbb}@media(prefers-color-scheme:dark){text{fill:#bbb}line{stroke:#555}}"
)


def draw(plan: Plan) -> str:
    """Demand above, the buffer's level below, over the hours of the day."""
    levels = [(when, float(level)) for when, level in Day(plan).run().levels]
    demand = [(float(when), plan.rate(when)) for when in range(0, DAY, 60)]
    parts = [
        _panel(30, "avatars asked for a second", demand, "#c2410c"),
        _panel(30 + HEIGHT + GAP, "avatars in the buffer", levels, "#1d4ed8"),
    ]
    size = f'viewBox="0 0 {LEFT + WIDTH + 20} {2 * HEIGHT + GAP + 60}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _panel(top: float, title: str, points: list[tuple[float, float]], colour: str) -> str:
    most = max(value for _, value in points)
    bottom = top + HEIGHT

    def place(when: float, value: float) -> str:
        return f"{LEFT + WIDTH * when / DAY:.1f},{bottom - HEIGHT * value / most:.1f}"

    line = "L".join(place(*point) for point in points)
    hours = "".join(
        f'<text x="{LEFT + WIDTH * hour / 24}" y="{bottom + 16}" text-anchor="middle">{hour}</text>'
        for hour in range(0, 25, 4)
    )
    marks = "".join(
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:,.0f}</text>'
        for y, value in ((top, most), (bottom - HEIGHT / 2, most / 2), (bottom, 0))
    )
    heading = f'<text x="{LEFT}" y="{top - 8}">{title}, by hour</text>'
    return f'{heading}{marks}{hours}<path stroke="{colour}" d="M{line}"/>'


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(Plan()), encoding="utf-8")
