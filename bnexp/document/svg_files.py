"""Writes the figures of a lesson as SVG files of their own, for slides and papers: on white, in the colors of its page.

What a figure shows stands in its `<title>`, its values in its `<desc>`: they are read to whoever does not see it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from textwrap import wrap

from bnexp.document.figure import STYLES, Histogram, Lines, Regions, Scatter, figure_styles
from bnexp.document.interactive import OF_THE_PAGE
from bnexp.document.svg import to_svg
from bnexp.document.values import Part, Play
from bnexp.document.writing import readable

_GAP, _LINE, _SQUARE, _LETTER = 12.0, 18.0, 24.0, 7.5
"""Points between panels, of a line of text, of the side of a value in a region, and of a letter."""
_PANEL = re.compile(r'<svg[^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*><desc>(.*?)</desc>(.*?)</svg>', re.DOTALL)
_STYLE = "* { stroke-linejoin: round; stroke-linecap: butt } text { font-family: 'DejaVu Sans', Arial, sans-serif }"


def figure_files(parts: Iterable[Part]) -> Iterator[tuple[str, str]]:
    """Yield the key of each figure and its SVG; the same figure gives the same text."""
    parts = [part.still if isinstance(part, Play) else part for part in parts]
    styles = figure_styles(parts)
    for part in parts:
        if isinstance(part, Regions):
            yield part.key, _regions(part)
        elif isinstance(part, Histogram | Scatter | Lines):
            panels = _PANEL.findall(to_svg(part, styles[part.key]))
            names = [""] if isinstance(part, Lines) else list(part.series)  # its panel names the lines itself
            yield part.key, _of_panels(part.title, names, panels[: len(names)])


def _of_panels(title: str, names: Sequence[str], panels: Sequence[tuple[str, str, str, str]]) -> str:
    """Return named panels, each of its width, its height, its description and its drawing, as one picture."""
    width, height = max(float(one[0]) for one in panels) + _GAP, max(float(one[1]) for one in panels) + _GAP
    abreast, drawn, descriptions = 2 if len(panels) == 4 else 3, "", []
    for number, (own_width, own_height, description, drawing) in enumerate(panels):
        x, y = number % abreast * width, _LINE + number // abreast * height
        drawn += f'<svg x="{x:g}" y="{y:g}" width="{own_width}" height="{own_height}">{drawing}</svg>\n'
        descriptions.append(
            ", ".join(filter(None, (escape(readable(names[number])), description))).replace(", :", ":", 1)
        )
    rows = -(-len(panels) // abreast)
    for light, color in OF_THE_PAGE.items():
        drawn = drawn.replace(color, light)
    return _file(title, " ".join(descriptions), drawn, min(len(panels), abreast) * width, _LINE + rows * height)


def _regions(figure: Regions) -> str:
    """Return the blocks side by side, each value a square in the color of its letter."""
    colors = {letter: STYLES[number % len(STYLES[:-1])].color for number, letter in enumerate(figure.letters)}
    labels = _LETTER * max(len(label) for _, rows in figure.blocks for label, _ in rows)
    drawn, descriptions, x, height = "", [], 0.0, 0.0
    for name, rows in figure.blocks:
        drawn += _text(x, 2 * _LINE, name)
        for number, (label, letters) in enumerate(rows):
            y = 2.5 * _LINE + number * _SQUARE
            drawn += _text(x, y + 0.65 * _SQUARE, label)
            for at, letter in enumerate(letters):
                left = x + labels + at * _SQUARE
                square = f'x="{left:g}" y="{y:g}" width="{_SQUARE - 2:g}" height="{_SQUARE - 2:g}"'
                drawn += f'<rect {square} fill="{colors[letter]}" fill-opacity="0.33"/>\n'
                drawn += _text(left + _SQUARE / 2 - 1, y + 0.65 * _SQUARE, letter, "middle")
            height = max(height, y + _SQUARE)
        widest = max(labels + _SQUARE * max(len(letters) for _, letters in rows), _LETTER * len(name))
        x += widest + 2 * _GAP
        descriptions.append(f"{name}: " + "; ".join(f"{label} {' '.join(letters)}" for label, letters in rows) + ".")
    return _file(figure.title, escape(" ".join(descriptions)), drawn, x, height)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="12">{escape(readable(text))}</text>\n'


def _file(title: str, description: str, drawn: str, width: float, height: float) -> str:
    """Return the whole file; `description` and `drawn` are SVG already."""
    lines = wrap(readable(title), max(20, int(width / _LETTER)))
    width, lower = max(width, *(_LETTER * len(line) for line in lines)), _LINE * (len(lines) - 1)
    written = "".join(_text(0, (0.75 + number) * _LINE, line) for number, line in enumerate(lines))
    height, drawn = height + lower, f'<g transform="translate(0 {lower:g})">\n{drawn}</g>\n' if lower else drawn
    size = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size} role="img" '
        f'aria-labelledby="title description">\n<title id="title">{escape(readable(title))}</title>\n'
        f'<desc id="description">{description}</desc>\n<style>{_STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{written}{drawn}</svg>\n'
    )
