"""What every benchmark shares: its options, the machine in words, its numbers and page on disk."""

import argparse
import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def options(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A parser with an option for each default, and --out, the folder of numbers and page.

    Of a tuple one is chosen, if not asked for its first; of a list several, and if these are texts,
    of those in it; False is a switch.
    """
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc, formatter_class=plain)
    for name, default in ({"out": HERE} | defaults).items():
        option: dict[str, Any] = {"default": default, "type": type(default)}
        match default:
            case False:
                option = {"action": "store_true"}
            case tuple():
                option = {"default": default[0], "choices": default}
            case [str(), *_]:
                option = {"default": default, "choices": default, "nargs": "+"}
            case [first, *_]:
                option = {"default": default, "type": type(first), "nargs": "+"}
        parser.add_argument("--" + name.replace("_", "-"), **option)
    return parser


def machine(device: str = "cpu") -> str:
    """Where it was measured, in words."""
    import torch  # here, because some benchmarks measure what does without

    cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    chip = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return (
        f"{chip}, {cores} cores, {threads} thread{'s' * (threads > 1)}, "
        f"load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """In Markdown. head: the columns' names, "name|of numbers:|..."; a colon aligns them right."""
    names = head.split("|")
    titles = [f" {name.removesuffix(':')} ".replace("  ", " ") for name in names]
    sides = ["-:" if name.endswith(":") else "-" for name in names]
    cells = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([f"|{'|'.join(titles)}|", f"|{'|'.join(sides)}|", *cells])


def page(command: str, title: str, *paragraphs: str) -> str:
    """A page of these paragraphs, which ends with the command that writes it."""
    return "\n\n".join([f"# {title}", *paragraphs, f"`python benchmarks/{command}`"]) + "\n"


def write_json(folder: Path, name: str, content: Any) -> None:
    """Write <name>.json."""
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def write(folder: Path, name: str, content: Any, page: str) -> None:
    """Write <name>.json and <name>.md, keep what was added to the page by hand, and print it."""
    file = folder / f"{name}.md"
    before = file.read_text() if file.is_file() else ""
    by_hand = before.partition(page.splitlines()[-1] + "\n")[2]
    write_json(folder, name, content)
    file.write_text(page + by_hand)
    print(page)
