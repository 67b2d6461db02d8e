"""Draws a run as SVG by hand: one panel per figure, a line from best to 95th percentile, a dot at the best."""

import math
from html import escape

from benchmarks.report import TITLES, Row, Run

WIDTH, LEFT, RIGHT, LINE, HEAD, FOOT = 760, 140, 90, 22, 34, 34
OURS, THEIRS, INK, GRID = "#b4470f", "#4a6a8a", "#222222", "#dddddd"


def draw(run: Run) -> str:
    """Give the SVG of every figure of ``run``, one under the other, each on an axis of its own."""
    parts: list[str] = []
    top = 10
    for figure, rows in run.figures.items():
        title, unit = TITLES[figure]
        parts += _panel(top, title, unit, list(rows.values()))
        top += HEAD + LINE * len(rows) + FOOT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _panel(top: int, title: str, unit: str, rows: list[Row]) -> list[str]:
    shown = {row.contender: row.shown(unit) for row in rows}
    values = [value for triple in shown.values() for value in triple]
    log = max(values) > 8 * min(values)  # else an axis from zero is the plainer picture
    low, high = (math.log10(min(values) * 0.9) if log else 0.0), math.log10(max(values) * 1.1)

    def x(value: float) -> float:
        part = (math.log10(value) - low) / (high - low) if log else value / 10**high
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    better = "more is better" if unit == "MB/s" else "less is better"
    axis = ", log scale" if log else ""
    first, bottom = top + HEAD, top + HEAD + LINE * len(rows)
    out = [f'<text x="10" y="{top + 18}" font-weight="bold">{escape(title)}, {unit} ({better}{axis})</text>']
    for tick in _log_ticks(10**low, 10**high) if log else _even_ticks(10**high):
        at = f"{x(tick):.1f}"
        out.append(f'<line x1="{at}" y1="{first}" x2="{at}" y2="{bottom}" stroke="{GRID}"/>')
        out.append(f'<text x="{at}" y="{bottom + 15}" font-size="11" text-anchor="middle">{tick:g}</text>')
    for number, (name, (best, median, late)) in enumerate(shown.items()):
        y = first + LINE * number + LINE // 2
        colour = OURS if name.startswith("cloche") else THEIRS
        weight = ' font-weight="bold"' if name.startswith("cloche") else ""
        ends = f'x1="{x(best):.1f}" y1="{y}" x2="{x(late):.1f}" y2="{y}"'
        bar = f'x1="{x(median):.1f}" y1="{y - 5}" x2="{x(median):.1f}" y2="{y + 5}"'
        out += [
            f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end"{weight}>{escape(name)}</text>',
            f'<line {ends} stroke="{colour}" stroke-width="3" stroke-opacity="0.4"/>',
            f'<line {bar} stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{x(best):.1f}" cy="{y}" r="5" fill="{colour}"/>',
            f'<text x="{WIDTH - 10}" y="{y + 4}" text-anchor="end">{_number(best)}</text>',
        ]
    return out


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def _log_ticks(low: float, high: float) -> list[float]:
    """Give 1, 2, 5, 10, ... between the two, fewer where they would crowd the axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    return [step * 10**power for power in powers for step in steps if low <= step * 10**power <= high]


def _even_ticks(high: float) -> list[float]:
    """Give three to six round numbers from 0 up to ``high``."""
    power = 10 ** math.floor(math.log10(high / 3))
    step = next(m * power for m in (1, 2, 5, 10) if high / (m * power) < 6)
    return [step * number for number in range(int(high / step) + 1)]
