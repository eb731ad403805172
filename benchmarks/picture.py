"""Draw requests against the number of jobs, as a plain SVG."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH, HEIGHT = 760, 440
_LEFT, _TOP, _RIGHT, _BOTTOM = 80, 50, 220, 60
_FONT: Final = 'font-family="sans-serif" font-size="13"'
_MIDDLE: Final = 'text-anchor="middle" fill="#444444"'
_COLOURS: Final = ("#c0392b", "#1f6fb4", "#2e8b57", "#8e5ea2")

Line = Mapping[str, float]
"""Values by number of jobs, as JSON has them."""


def draw(title: str, lines: Mapping[str, Line], across: str, up: str) -> str:
    """Return a picture with logarithmic axes.

    Args:
        title: What it shows.
        lines: Values by number of jobs, by name.
        across: What the horizontal axis is.
        up: What the vertical axis is.
    """
    xs = [float(x) for line in lines.values() for x in line]
    ys = [y for line in lines.values() for y in line.values()]
    place = _Place(_decades(xs), _decades(ys))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="28" font-size="17" fill="#222222">{escape(title)}</text>',
        *place.grid(),
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 14}" {_MIDDLE}>{escape(across)}</text>',
        f'<text transform="translate(20 {(_TOP + HEIGHT - _BOTTOM) / 2}) rotate(-90)" {_MIDDLE}>{escape(up)}</text>',
    ]
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        parts += place.line(name, line, colour)
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


class _Place:
    """Where a value is on the picture."""

    def __init__(self, across: tuple[int, int], up: tuple[int, int]) -> None:
        self._across, self._up = across, up

    def x(self, value: float) -> float:
        share = (math.log10(value) - self._across[0]) / (self._across[1] - self._across[0])
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (math.log10(value) - self._up[0]) / (self._up[1] - self._up[0])
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    def grid(self) -> list[str]:
        parts: list[str] = []
        for power in range(self._across[0], self._across[1] + 1):
            x = self.x(10.0**power)
            parts.append(f'<line x1="{x}" y1="{_TOP}" x2="{x}" y2="{HEIGHT - _BOTTOM}" stroke="#e3e3e3"/>')
            parts.append(f'<text x="{x}" y="{HEIGHT - _BOTTOM + 20}" {_MIDDLE}>{10**power:,}</text>')
        for power in range(self._up[0], self._up[1] + 1):
            y = self.y(10.0**power)
            parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}" stroke="#e3e3e3"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#444444">{10**power:,}</text>')
        return parts

    def line(self, name: str, line: Line, colour: str) -> list[str]:
        points = [(self.x(float(x)), self.y(y)) for x, y in sorted(line.items(), key=lambda one: float(one[0]))]
        path = " ".join(f"{x},{y}" for x, y in points)
        marks = [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in points]
        last_x, last_y = points[-1]
        label = f'<text x="{last_x + 9}" y="{last_y + 4}" fill="{colour}">{escape(name)}</text>'
        return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *marks, label]
