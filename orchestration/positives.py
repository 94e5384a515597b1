"""From a data set and sample selections to what a person reads: counted, printed, written."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from orchestration.counting import Counter
from orchestration.progress import count
from orchestration.terminal import Interrupted, console

if TYPE_CHECKING:
    import pandas as pd

    from detector.data.coco import CocoDataset
    from detector.positives import Counts, Selection
    from reports.claims import Verdict

STYLES = {"supported": "green", "contradicted": "red", "undecided": "yellow"}


@dataclass(frozen=True)
class Study:
    """What was asked for: which images, at which size, under which selections."""

    name: str  # of the data and its split
    datasets: tuple["CocoDataset", ...]
    short_side: int
    long_side: int
    selections: tuple["Selection", ...]
    rows: dict[str, list[str]]  # selection -> the rows of the paper that it stands for
    folder: Path  # for what is written

    @property
    def num_images(self) -> int:
        """Of all its data sets."""
        return sum(map(len, self.datasets))

    @property
    def pixels(self) -> str:
        """The size of the resized images, for people."""
        return f"{self.short_side}/{self.long_side} pixels"

    @property
    def sides(self) -> dict[str, int]:
        """To what images are resized, in pixels."""
        return {"short_side": self.short_side, "long_side": self.long_side}


def count_and_report(study: Study, workers: int | None) -> None:
    """Count beside a bar, print the tables and the claims, write the files."""
    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    begun = time.perf_counter()
    try:
        counted = list(_count(study, processes))
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    seconds = time.perf_counter() - begun
    if not any(len(counts[0].lost) for counts in counted):
        raise ValueError(f"{study.name}: needs an object at least, its images show none")
    objects, images = _frames(study, counted)
    speed = (
        f"{count(study.num_images, 'image')}, {len(study.selections)} selections, "
        f"{processes or 1} CPUs: {seconds:.1f} s, {study.num_images / seconds:.1f} images/s"
    )
    _report(study, objects, images, speed)


def _count(study: Study, processes: int) -> Iterator[list["Counts"]]:
    """The selections' counts image by image, beside a bar."""
    from detector.positives import count_positives

    workers = processes if processes > 1 else 0
    with Counter("counting positives", study.num_images, console) as counter:
        for dataset in study.datasets:
            counted = count_positives(dataset, study.selections, workers=workers, **study.sides)
            for counts in counted:
                yield counts
                counter.add(1)


def _frames(
    study: Study, counted: Sequence[list["Counts"]]
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """A line per selection and object, a line per selection and image."""
    import pandas as pd

    from detector.positives import columns_of_images, columns_of_objects, describe_objects

    described = pd.concat([pd.DataFrame(describe_objects(one)) for one in study.datasets])
    ids = [image for dataset in study.datasets for image in dataset.image_ids]
    objects, images = [], []
    for selection, counts in zip(study.selections, zip(*counted, strict=True), strict=True):
        name = {"selection": selection.name}
        objects.append(described.assign(**name, **columns_of_objects(counts)))
        images.append(pd.DataFrame({"image": ids, **columns_of_images(counts)}).assign(**name))
    return pd.concat(objects, ignore_index=True), pd.concat(images, ignore_index=True)


def _report(study: Study, objects: "pd.DataFrame", images: "pd.DataFrame", speed: str) -> None:
    """Print what was counted, and write it."""
    from reports.plots.theme import save
    from reports.positives.counts import (
        by_group,
        groups_grid,
        levels_grid,
        means_grid,
        places_grid,
        summarize,
    )
    from reports.positives.fairness import LEGEND, claims, markdown_claims
    from reports.positives.figures import CAPTIONS, all_figures
    from reports.render import markdown
    from reports.terminal import terminal

    num_objects = len(objects) // len(study.selections)
    title = f"Positives per object: {study.name}, {num_objects:,} objects, {study.pixels}"
    summary, groups, found = summarize(objects, images), by_group(objects), claims(objects)
    grids = [means_grid(summary, title), places_grid(summary), levels_grid(summary)]
    for grid in grids:
        console.print(terminal(grid))
    print_counted(found)
    console.print(f"\n{LEGEND}", soft_wrap=True)
    command = f"Counted by `{shlex.join(['atss', *sys.argv[1:]])}`: {speed}."
    named = {name: labels for name, labels in study.rows.items() if labels != [name]}
    rows = [f"- {name}: {'; '.join(labels)}" for name, labels in named.items()]
    page = [*map(markdown, [*grids, groups_grid(groups, "Positives per object, by group")])]
    parts = [*page[:3], markdown_claims(found), page[3], command, "", *rows]
    files = {
        "summary.md": "\n".join(parts) + "\n",
        "summary.csv": summary.to_csv(),
        "groups.csv": groups.to_csv(index=False),
        "positives.csv": objects.to_csv(index=False, float_format="%.6g"),
        "images.csv": images.to_csv(index=False),
    }
    console.print(f"\n{speed}", soft_wrap=True)
    write_files(study.folder, {name: text.encode() for name, text in files.items()})
    pictures = {
        f"{name}.{kind}": save(figure, kind, CAPTIONS[name])
        for name, figure in all_figures(objects).items()
        for kind in ("svg", "png")
    }
    write_files(study.folder, pictures)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name, and say so."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    console.print(f"Written to {folder}: {', '.join(files)}", soft_wrap=True, markup=False)


def print_counted(found: Sequence["Verdict"]) -> None:
    """The claims that counting can judge: what was counted of each, and what that says."""
    for verdict in found:
        claim = verdict.claim
        console.print(Text(f"\n{claim.name}  {claim.says}", style="bold"), soft_wrap=True)
        lines = [f"{claim.where}; the paper: {claim.paper}", *verdict.ours]
        console.print(Text("\n".join(f"     {text}" for text in lines)), soft_wrap=True)
        meaning = f"     {verdict.state}: {verdict.reason}"
        console.print(Text(meaning, style=STYLES[verdict.state]), soft_wrap=True)
