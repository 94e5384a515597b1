"""The frame of every page that is written: one style, light and dark, nothing from outside.

Set like paper: a serif text column, figures and tables in the system's sans serif with figures of
one width. What is wider than the window scrolls by itself, so that a phone's page stays put.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Template

from reports.plots.theme import DARK, INK, LINK, MUTED, PAPER, RULE

NAMES = {"ink": INK, "muted": MUTED, "rule": RULE, "paper": PAPER, "link": LINK}


@dataclass(frozen=True)
class Link:
    """Of the line that leads from page to page: what it is called, and its file's name."""

    text: str
    href: str


PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="description" content="$description">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")

STYLE = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 56rem; padding: 0 1.25rem 4rem; color: var(--ink);
  background: var(--paper); font: 1.0625rem/1.55 Charter, "Bitstream Charter", "Sitka Text",
  Cambria, Georgia, serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; font-weight: 600; text-wrap: balance; }
h1 { font-size: 1.75rem; margin: 2rem 0 .5rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .75rem; }
h3 { font-size: 1.08rem; margin: 2rem 0 .5rem; }
p, ul, ol, dl { max-width: 42rem; margin: .6rem 0; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
header { border-bottom: 1px solid var(--rule); padding: .9rem 0; }
header ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; margin: 0;
  padding: 0; max-width: none; font: .875rem/1.6 system-ui, sans-serif; }
header [aria-current] { color: inherit; font-weight: 600; text-decoration: none; }
figure { margin: 1.5rem 0; }
figcaption, .note, .grid p { font: .84rem/1.5 system-ui, sans-serif; color: var(--muted);
  max-width: 46rem; margin: .4rem 0; }
.grid figcaption { color: var(--ink); font-weight: 600; }
.plot { overflow-x: auto; }
.plot img { display: block; width: 46rem; max-width: 100%; min-width: 30rem; height: auto; }
.photo img { display: block; width: auto; max-width: min(100%, 46rem); height: auto; }
pre { overflow-x: auto; padding: .7rem .9rem; border: 1px solid var(--rule); border-radius: 3px;
  font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
dt { font-weight: 600; margin-top: .9rem; }
dd { margin: 0; }
dd p { margin: .1rem 0; }
#claims thead :nth-child(2) { min-width: 16rem; }
#claims td:last-child { white-space: nowrap; }
@media (max-width: 40rem) { #claims thead :nth-child(2) { min-width: 11rem; } }
.anchor-link { display: none; }
@media (max-width: 40rem) { body { font-size: 1rem; } h1 { font-size: 1.45rem; } }
@media print { header { display: none; } body { max-width: none; } }
"""


def page(title: str, body: str, description: str = "") -> str:
    """A whole page; body is HTML that begins with its h1."""
    return PAGE.substitute(
        title=html.escape(title),
        description=html.escape(description or title),
        style=f"{_colors()}{STYLE}",
        body=body,
    )


def relinked(text: str, links: Sequence[Link], here: str) -> str:
    """A whole page with this line of links instead of the one it has, if any."""
    header = _header(links, here)
    return re.sub(r"(<header>.*?</header>\n)?<main>", lambda _: f"{header}<main>", text, count=1,
                  flags=re.DOTALL)  # fmt: skip


def paragraphs(texts: Iterable[str]) -> str:
    """Plain texts, one below the other."""
    return "".join(f"<p>{html.escape(text)}</p>\n" for text in texts)


def listed(heading: str, texts: Sequence[str]) -> str:
    """Plain texts as a list under a line that says what they are; nothing without any."""
    if not texts:
        return ""
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<p>{html.escape(heading)}:</p>\n<ul>{items}</ul>\n"


def _colors() -> str:
    light = "".join(f"--{name}:{color};" for name, color in NAMES.items())
    dark = "".join(f"--{name}:{DARK[color]};" for name, color in NAMES.items())
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )


def _header(links: Sequence[Link], here: str) -> str:
    marks = {True: ' aria-current="page"', False: ""}
    items = "".join(
        f'<li><a href="{html.escape(link.href)}"{marks[link.href == here]}>'
        f"{html.escape(link.text)}</a></li>"
        for link in links
    )
    return f'<header><nav aria-label="Pages"><ul>{items}</ul></nav></header>\n'
