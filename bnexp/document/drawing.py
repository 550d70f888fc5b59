"""Draws plots of runs with matplotlib, for a page and for a file, at the size they are read at.

A paper's column is 3.3 inches wide, its page 6.9, a slide 10; text is 7 points high at least where it is read. The same
plot gives the same bytes. Letters stay letters: TrueType in PDF, text in SVG.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.document.axis_drawing import wrapped
from bnexp.document.curve_drawing import draw_panel
from bnexp.document.figure import SeriesStyle, styles_of
from bnexp.document.interactive import page_svg
from bnexp.document.plots import Curves, Differences, Form, HeatMap, Plot, SizeName
from bnexp.document.row_drawing import color_scale, draw_differences, draw_grid, prepare_scale
from bnexp.errors import visible

Styles = Mapping[str, SeriesStyle]


@dataclass(frozen=True)
class Size:
    """Inches of width, points of letters and of lines, panels side by side, and their height against their width."""

    inches: float
    letter: float
    line: float
    panels: int
    high: float
    dpi: int


SIZES: dict[SizeName, Size] = {
    "column": Size(3.3, 7.5, 1.1, 2, 0.55, 400),
    "page": Size(6.9, 8, 1.3, 3, 0.45, 300),
    "slide": Size(10, 16, 2.2, 2, 0.45, 200),
}
ON_PAGES: tuple[SizeName, ...] = ("page", "column")
_ROW = 1.5
"""Of a heat map, its height in heights of a letter, where there are not too many."""
_HIGHEST = 7.5
"""Inches of all rows of a heat map together, as a page has them."""
_LOWEST = 12
"""Height of a panel, in heights of a letter, at least."""


def to_bytes(plot: Plot, form: Form, size: SizeName = "page", styles: Styles | None = None) -> bytes:
    """Return a plot as a file of a form, without a date; styles go by its names."""
    content = io.BytesIO()
    with in_our_style(SIZES[size], plot.key):
        metadata = {
            "png": {"Title": plot.title, "Description": plot.caption, "Software": "bnexp"},
            "svg": {"Title": plot.title, "Description": plot.caption, "Date": None},
            "pdf": {"Title": plot.title, "Subject": plot.caption, "CreationDate": None},
        }
        drawn(plot, SIZES[size], styles).savefig(content, format=form, metadata=metadata[form], dpi=SIZES[size].dpi)
    return content.getvalue()


def letters_without_a_glyph(plot: Plot) -> str:
    """Return the letters in the names of a plot that our font does not have; PNG and PDF show a box for each."""
    grids = plot.grids if isinstance(plot, HeatMap) else []
    texts = [*plot.names, plot.title, *(text for grid in grids for text in (grid.title, *grid.rows))]
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(dict.fromkeys(letter for letter in visible("".join(texts)) if ord(letter) not in known))


def to_page(plot: Plot, size: SizeName, styles: Styles | None = None) -> str:
    """Return a plot as SVG for a page, which has it in each of the sizes `ON_PAGES` and shows one."""
    key = f"{plot.key}.{size}"
    with in_our_style(SIZES[size], key):
        return f'<div class="at-{size}">{page_svg(drawn(plot, SIZES[size], styles), key, plot.title)}</div>'


@contextlib.contextmanager
def in_our_style(size: Size, salt: str) -> Iterator[None]:
    """Set matplotlib's defaults and ours, whatever a file of the person's sets, and put back what was set."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # `letters_without_a_glyph` says which
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
                "font.size": size.letter,
                "axes.labelsize": size.letter,
                "axes.titlesize": size.letter,
                "xtick.labelsize": max(size.letter - 0.5, 7),
                "ytick.labelsize": max(size.letter - 0.5, 7),
                "legend.fontsize": size.letter,
                "text.parse_math": False,  # a name may hold a dollar
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.linewidth": 0.6 * size.line,
                "lines.linewidth": size.line,
                "lines.markersize": 0.5 * size.letter,
                "pdf.fonttype": 42,
                "svg.fonttype": "none",
                "svg.hashsalt": salt,  # identifiers come from it, and are unique in a page as keys are
            }
        )
        yield


def drawn(plot: Plot, size: Size, styles: Styles | None = None) -> Figure:
    """Return matplotlib's figure of a plot, as high as its panels, rows and legend need."""
    styles = styles or styles_of(plot.names)
    if isinstance(plot, Curves):
        return _drawn_curves(plot, size, styles)
    return _drawn_heat_map(plot, size) if isinstance(plot, HeatMap) else _drawn_differences(plot, size, styles)


def _drawn_curves(plot: Curves, size: Size, styles: Styles) -> Figure:
    abreast = 1 if size.inches < 5 and not plot.same_y else min(size.panels, len(plot.panels))
    letter = size.letter / 72
    inches = size.inches / abreast - 5 * letter, max(size.inches / abreast * size.high, _LOWEST * letter)
    figure, frames = _frames(size, len(plot.panels), abreast, lambda place: inches[1])
    for place, axes in enumerate(frames):
        draw_panel(axes, plot.panels[place], styles, inches=inches, others=plot.panels if plot.same_y else ())
        if plot.same_y and place % abreast:
            axes.set_ylabel("")
        if plot.same_y and place + abreast < len(plot.panels):
            axes.set_xlabel("")
    _add_legend(figure, size, _entries(plot, styles))
    return _fitted(figure, frames, abreast, lambda place: inches[1])


def _entries(plot: Curves, styles: Styles) -> dict[str, Artist]:
    """Return what the legend explains: each arm, where a title does not name it, and the band."""
    panels = plot.panels
    entries: dict[str, Artist] = {}
    if not all(list(panel.series) == [panel.title] for panel in panels):
        for name in plot.names:
            style = styles[name]
            line = Line2D([], [], color=style.color, marker=style.marker)
            if style.dashes:
                line.set_dashes(style.dashes)
            entries[name] = line
    if plot.band and any(curve.has_band for panel in panels for curve in panel.series.values()):
        bar = panels[0].form == "points"
        grey = "#666666"
        entries[plot.band] = Line2D([], [], color=grey, marker="|") if bar else Patch(color=grey, alpha=0.3, lw=0)
    return entries


def _drawn_heat_map(plot: HeatMap, size: Size) -> Figure:
    abreast = 1 if size.inches < 5 else min(2, len(plot.grids))

    firsts = range(0, len(plot.grids), abreast)
    rows = {first: max(len(grid.rows) for grid in plot.grids[first : first + abreast]) for first in firsts}
    line = _ROW * size.letter / 72
    row = min(line, _HIGHEST / sum(rows.values()))

    def high(place: int) -> float:
        return row * rows[place]

    figure, frames = _frames(size, len(plot.grids), abreast, high)
    scale = color_scale(plot)
    letters = int((size.inches / abreast * 72 / size.letter - 12) / 0.6)
    for place, (axes, grid) in enumerate(zip(frames, plot.grids, strict=True)):
        named = place % abreast == 0 or grid.rows != plot.grids[place - 1].rows
        mesh = draw_grid(axes, plot, grid, scale, letters=letters, every=named * math.ceil(line / row))
        if place + abreast >= len(plot.grids):
            axes.set_xlabel(visible(plot.x.name))
    pad = size.letter / 72 / figure.get_figheight()
    name = visible(plot.value.name)
    bar = figure.colorbar(mesh, ax=frames, label=name, location="bottom", aspect=40, pad=pad)
    prepare_scale(bar.ax, plot.value, scale, letters * abreast)
    return _fitted(figure, frames, abreast, high)


def _drawn_differences(plot: Differences, size: Size, styles: Styles) -> Figure:
    high = 2 * _ROW * size.letter / 72 * len(plot.rows)
    figure, (axes,) = _frames(size, 1, 1, lambda place: high)
    draw_differences(axes, plot, styles, letters=int((size.inches * 72 / size.letter - 12) / 0.6))
    grey = "#666666"
    entries: dict[str, Artist] = {"one seed": Line2D([], [], color=grey, marker="o", linestyle="none")}
    if any(math.isfinite(paired.low) for paired in plot.rows.values()):
        entries["mean, 95 % interval"] = Line2D(
            [], [], color=grey, linewidth=2 * size.line, marker="|", markeredgewidth=2
        )
    if any(any(paired.diverged) for paired in plot.rows.values()):
        hollow = Line2D([], [], color=grey, marker="o", markerfacecolor="white", linestyle="none")
        entries["one of the pair diverged"] = hollow
    _add_legend(figure, size, entries)
    return _fitted(figure, [axes], 1, lambda place: high)


def _frames(size: Size, count: int, abreast: int, high: Callable[[int], float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many axes, some abreast, as high in inches as `high` says of the place of each."""
    rows = [high(place) for place in range(0, count, abreast)]
    inches = size.inches, sum(rows) + (12 + 4 * len(rows)) * size.letter / 72
    figure = Figure(inches, dpi=size.dpi, layout="constrained")  # letters of fewer dots are wider
    FigureCanvasAgg(figure)
    frames = list(figure.subplots(len(rows), abreast, squeeze=False, gridspec_kw={"height_ratios": rows}).flat)
    for axes in frames[count:]:
        axes.remove()
    return figure, frames[:count]


def _fitted(figure: Figure, frames: Sequence[Axes], abreast: int, high: Callable[[int], float]) -> Figure:
    """Return a figure made higher or lower by what its axes lack, now that all labels have taken their room.

    The room of the labels stays as it is, so that it need not be found again: that takes as long as the drawing.
    """
    if layout := figure.get_layout_engine():
        layout.execute(figure)
    figure.set_layout_engine(None)  # "none" would leave one that draws everything once more
    before, boxes = figure.get_figheight(), {axes: axes.get_position() for axes in figure.axes}
    lacks = [high(place) - boxes[frames[place]].height * before for place in range(0, len(frames), abreast)]
    after = before + sum(lacks)
    figure.set_figheight(after)
    for axes, box in boxes.items():
        row = frames.index(axes) // abreast if axes in frames else len(lacks)  # a scale of colors lies below all
        top = (1 - box.y1) * before + sum(lacks[:row])
        height = box.height * before + sum(lacks[row : row + 1])
        axes.set_position((box.x0, 1 - (top + height) / after, box.width, height / after))
    return figure


def _add_legend(figure: Figure, size: Size, entries: Mapping[str, Artist]) -> None:
    """Explain the entries above the panels, in as many columns as fit."""
    if not entries:
        return
    letters = int(size.inches * 72 / (0.6 * size.letter)) - 9
    names = [wrapped(name, letters) for name in entries]
    for columns in range(min(len(names), 6), 0, -1):
        legend = figure.legend(
            list(entries.values()),
            [str(number) for number, _ in enumerate(names)],
            loc="outside upper center",
            ncols=columns,
            frameon=False,
            borderaxespad=0,
            columnspacing=1.2,
            handlelength=2.6,
        )
        for label, name in zip(legend.get_texts(), names, strict=True):
            label.set_text(name)  # only now: matplotlib would leave out a name that begins with _
        box = legend.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
        if box.width <= 0.95 * size.inches * figure.dpi or columns == 1:
            return
        legend.remove()
