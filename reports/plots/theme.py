"""How figures look, and how they are written: SVG that follows the reader's light or dark page."""

import html
import io
import re
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from reports.plots.colors import INK, MUTED, PAPER, RULE, on_dark

PAPER_STYLE: Any = {"color": MUTED, "marker": "D", "markerfacecolor": PAPER}
OURS_STYLE: Any = {"color": "#0072b2", "marker": "o"}
# Of a number beside a mark: on a piece of paper, so that no line crosses it.
BESIDE: Any = {
    "textcoords": "offset points",
    "va": "center",
    "bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
}
DASHES = ("-", "--", "-.", ":")
WIDTH = 5.5  # inches, 14 cm: a column of a page, or the screen of a phone held sideways

NOT_OF_FIGURES = ("backend", "interactive", "toolbar", "webagg", "tk.", "timezone", "savefig.dir")
STYLE: Any = {
    # Matplotlib's own defaults first: what a person's matplotlibrc says is not for reports.
    **{
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith(NOT_OF_FIGURES)
    },
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "reports",  # the same figure is the same file
    "svg.fonttype": "none",
    "text.parse_math": False,  # a data set may have dollars in its name
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
FONT = "system-ui, 'Helvetica Neue', Helvetica, Arial, sans-serif"  # of the reader's machine


def save(figure: Figure, kind: str, alt: str = "") -> bytes:
    """The figure as "png" (200 dpi) or "svg", the latter with its description in it."""
    buffer = io.BytesIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type")) if kind == "svg" else {}
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return _themed(buffer.getvalue().decode(), alt).encode() if kind == "svg" else buffer.getvalue()


def _themed(svg: str, alt: str) -> str:
    """An SVG with rules for dark pages, which viewers without such a thing ignore."""
    svg = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", rf"font: \1{FONT}", svg)
    svg = re.sub(r"font-family: [^;\"]*", f"font-family: {FONT}", svg)
    colors = sorted(set(re.findall(r"(?:fill|stroke|stop-color): (#[0-9a-f]{6})", svg)))
    rules = "".join(
        f'[style*="{part}: {color}"]{{{part}:{on_dark(color)}!important}}'
        for color in colors
        for part in ("fill", "stroke")
        if on_dark(color) != color
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    text = f"<desc>{html.escape(alt, quote=False)}</desc>" if alt else ""
    root = re.search(r"<svg [^>]*>", svg)
    assert root is not None
    return f'{svg[: root.end() - 1]} role="img">{text}{style}{svg[root.end() :]}'
