"""How figures look, and how they are written.

Data is in Okabe and Ito's colours, told apart by every kind of eye. Figures are drawn for light
paper; on dark paper their lightness is turned around, and their hues are kept.
"""

import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

MUTED, PAPER = "#555555", "#ffffff"  # of what is less than text; of the ground
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#000000")
PAPER_STYLE: Any = {"color": MUTED, "marker": "D", "markerfacecolor": PAPER, "ls": ""}
OURS_STYLE: Any = {"color": CYCLE[0], "marker": "o", "ls": ""}
DASHES = ("-", "--", "-.", ":")
WIDTH = 5.5  # inches, 14 cm: a column of a page, or the screen of a phone held sideways

# Matplotlib's own defaults first: what a person's matplotlibrc says is not for reports.
STYLE: Any = ["default", Path(__file__).parent / "templates" / "figures.mplstyle"]
# White becomes the dark paper of page.css, and text is in a font of the reader's machine.
RULES = b"""text{font-family:system-ui,sans-serif!important}
@media (prefers-color-scheme:dark){:root{filter:invert(.91) hue-rotate(180deg)}}"""


def save(figure: Figure, kind: str, caption: str = "") -> bytes:
    """The figure as "png" (200 dpi) or "svg", the latter with its caption in it."""
    buffer, metadata = io.BytesIO(), {}
    if kind == "svg":
        metadata = {**dict.fromkeys(("Creator", "Date", "Format", "Type")), "Title": caption}
    # A label may be longer than a figure, or have letters that the font lacks.
    with matplotlib.style.context(STYLE), warnings.catch_warnings(action="ignore"):
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    content = buffer.getvalue()
    return content if kind == "png" else content.replace(b"</style>", RULES + b"</style>", 1)
