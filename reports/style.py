"""How pages and figures look, on light paper and on dark, and how figures are written.

Data is in Okabe and Ito's colours, told apart by every kind of eye. What is drawn on light paper
keeps its colours on the dark one where they stand out there, and is lightened where they do not.
"""

import html
import io
import re
from typing import Any

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#222222", "#555555", "#dddddd", "#ffffff"  # text, less, lines, ground
LINK = "#00558c"
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#000000")
DARK = {  # on light paper -> on dark
    INK: "#e8e6e3",
    MUTED: "#b5b2ad",
    RULE: "#3d4045",
    PAPER: "#17191c",
    LINK: "#7cc4f0",
    "#000000": "#f0e442",  # the last of Okabe and Ito's
}
NAMES = {"ink": INK, "muted": MUTED, "rule": RULE, "paper": PAPER, "link": LINK}
PAPERS = {"light": NAMES, "dark": {name: DARK[color] for name, color in NAMES.items()}}
STANDS_OUT = 4.5  # contrast that data has against dark paper at least; the guideline asks for 3

PAPER_STYLE: Any = {"color": MUTED, "marker": "D", "markerfacecolor": PAPER}
OURS_STYLE: Any = {"color": CYCLE[0], "marker": "o"}
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


def on_dark(color: str) -> str:
    """What a colour of light paper becomes on dark paper, both as "#rrggbb"."""
    if color in DARK:
        return DARK[color]
    lighter = color
    for share in range(1, 20):
        if contrast(lighter, DARK[PAPER]) >= STANDS_OUT:
            break
        red, green, blue = (part + share / 20 * (1 - part) for part in to_rgb(color))
        lighter = to_hex((red, green, blue))
    return lighter


def contrast(one: str, other: str) -> float:
    """From 1 (equal) to 21 (black on white): WCAG 2.1, "contrast ratio"."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    """WCAG 2.1, "relative luminance"."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


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
    more = f' role="img">{text}{style}'
    return re.sub(r"(<svg [^>]*)>", lambda root: root[1] + more, svg, count=1)
