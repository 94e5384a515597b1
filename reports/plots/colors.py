"""The colours of pages and figures, on light paper and on dark.

Data is in Okabe and Ito's colours, told apart by every kind of eye. What is drawn on light paper
keeps its colours on the dark one where they stand out there, and is lightened where they do not.
"""

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
STANDS_OUT = 4.5  # contrast that data has against dark paper at least; the guideline asks for 3


def on_dark(color: str) -> str:
    """What a colour of light paper becomes on dark paper, both as "#rrggbb"."""
    if color in DARK:
        return DARK[color]
    lighter = color
    for share in range(1, 20):
        if contrast(lighter, DARK[PAPER]) >= STANDS_OUT:
            break
        lighter = _mixed(color, "#ffffff", share / 20)
    return lighter


def contrast(one: str, other: str) -> float:
    """From 1 (equal) to 21 (black on white): WCAG 2.1, "contrast ratio"."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    """WCAG 2.1, "relative luminance"."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _parts(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(color: str, other: str, share: float) -> str:
    pairs = zip(_parts(color), _parts(other), strict=True)
    return "#" + "".join(f"{round(255 * (a + share * (b - a))):02x}" for a, b in pairs)


def _parts(color: str) -> list[float]:
    """Red, green and blue, from 0 to 1."""
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
