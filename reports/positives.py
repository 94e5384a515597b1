"""How many positives objects have under each sample selection, and what that says of the claims.

    objects   a data frame, one line per selection and object, as positives.csv has it
    images    a data frame, one line per selection and image: anchors ignored, contested, ...

The claims all stand in Sec. 4.1, "Maintaining fairness between different objects". The paper does
not say on which images it counted, nor whether before or after conflicts, so only directions are
judged: by the third of the objects that is largest in its images against the third that is
smallest, which, unlike COCO's areas, does not depend on how large the files are.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan

import numpy as np
import pandas as pd

from experiments.claims import BY_NAME
from reports.claims import MISSING, Finding, State, Verdict
from reports.render import Grid, line

CAPTIONS = {  # file name -> what the figure of all_figures shows
    "positives-by-size": "Positives per object, by its size.",
    "positives-by-aspect-ratio": "Positives per object, by its aspect ratio.",
    "positives-by-location": "Positives per object, by where in the image it is.",
    "positives-by-levels": "Positives per object on each level of the pyramid.",
}
LEVELS = ("P3", "P4", "P5", "P6", "P7")

# A name for each group, and which objects belong to it, by what.
GROUPS = {
    "size": ("small", "medium", "large"),
    "shape": ("wide", "even", "tall"),  # height / width up to 1/2, between, from 2 on
    "place": ("middle", "side", "corner"),  # of the image, cut into three by three
}
GRIDS = {  # the columns of each printed table, and what stands below
    "Positives per object": (
        ("mean", "std", "none, %", *GROUPS["size"]),
        "none: share of objects without a positive. small, medium, large: COCO's areas.",
    ),
    "Positives per object, by shape and place": (
        (*GROUPS["shape"], *GROUPS["place"]),
        "wide, even, tall: height / width up to 1/2, between, from 2. middle, side, corner: where "
        "the center lies, the image cut into 3 x 3.",
    ),
    "Positives by level (%), ignored anchors, conflicts": (
        (*LEVELS, "ignored", "contested", "lost"),
        "Share of the positives on each level. ignored, contested: anchors per image; contested "
        "ones would be taken by several objects, were each alone in its image. lost: positives an "
        "object would have alone and does not have among the others.",
    ),
}

# Quantities of a selection. The ratios are of means: of what, grouped by what, of whom, over whose.
SHARE = "share of the candidates"  # that are positive
BEFORE = "share before the in-box test and conflicts"
FAIRNESS = "largest / smallest third"
FAIRNESS_BEFORE = "the same before the in-box test and conflicts"
RATIOS = {
    FAIRNESS: ("positives", "third", "largest", "smallest"),
    FAIRNESS_BEFORE: ("above_threshold", "third", "largest", "smallest"),
    "wide / even": ("positives", "shape", "wide", "even"),
    "tall / even": ("positives", "shape", "tall", "even"),
    "corner / middle": ("positives", "place", "corner", "middle"),
    "medium / small": ("positives", "size", "medium", "small"),
    "large / small": ("positives", "size", "large", "small"),
}

NORMAL = 0.159  # of a normal distribution lies above mean + one standard deviation
NEAR = 1.1  # ratios this close are called equal
RULES = {  # what is shown of ATSS: of every variant, the first has to lie within bounds
    "H17": ((SHARE, BEFORE, "positives", "candidates"), (0.15, 0.25)),
    "H18": (
        (FAIRNESS, FAIRNESS_BEFORE, "wide / even", "tall / even", "corner / middle"),
        (1 / NEAR, NEAR),
    ),
    "H19": ((BEFORE, "threshold"), (NEAR * NORMAL, 1.0)),
}
OLDER = ("IoU", "spatial and scale")  # how the selections of RetinaNet's and FCOS's rules begin
COUNTING = "atss positives"  # which counts both of them
UNSAID = "nothing we can count: the paper does not say with which variants of the rules it counted"
LEGEND = "H17 and the like: numbers in our list of the paper's claims (atss claims)."

Quantities = Mapping[str, Mapping[str, float]]  # of each selection


def with_groups(objects: pd.DataFrame) -> pd.DataFrame:
    """The objects with the columns shape, place and third; size they have.

    third: "largest", "" or "smallest", by the size relative to the image.
    """
    ratio, places, sizes = objects["aspect_ratio"], objects[["x", "y"]], objects["relative_size"]
    num_outer = ((places < 1 / 3) | (places > 2 / 3)).sum(axis=1)
    low, high = sizes.quantile([1 / 3, 2 / 3])
    return objects.assign(
        shape=np.where(ratio <= 1 / 2, "wide", np.where(ratio >= 2, "tall", "even")),
        place=np.array(GROUPS["place"])[num_outer],
        third=np.select([sizes >= high, sizes <= low], ["largest", "smallest"], default=""),
    )


def summarize(objects: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One line per selection: all that the printed tables show, in full precision."""
    without = 100.0 * (objects["positives"] == 0)
    grouped = with_groups(objects).assign(**{"none, %": without})
    by_selection = grouped.groupby("selection", sort=False)
    counts, levels = by_selection["positives"], by_selection[list(LEVELS)].sum()
    means = [
        grouped.groupby(["selection", by])["positives"].mean().unstack().reindex(columns=names)
        for by, names in GROUPS.items()
    ]
    per_image = images.groupby("selection")[["ignored", "contested"]].mean()
    columns = [
        counts.agg(objects="size", mean="mean", std="std"),
        by_selection["none, %"].mean(),
        *means,
        100 * levels.div(levels.sum(axis=1), axis=0),
        per_image,
        by_selection["lost"].mean(),
    ]
    return pd.concat(columns, axis=1)


def summary_grids(summary: pd.DataFrame, about: str) -> list[Grid]:
    """Positives per object, by size; by shape and place; by level, beside other anchors."""
    grids: list[Grid] = []
    for title, (columns, note) in GRIDS.items():
        cells = summary[list(columns)].map("{:.2f}".format).replace("nan", MISSING)
        lines = tuple(line(*texts) for texts in cells.itertuples(name=None))
        head, title = line("", *columns), title if grids else f"{title}: {about}"
        grids.append(Grid(name="positives", title=title, head=head, blocks=(lines,), notes=(note,)))
    return grids


def claims(objects: pd.DataFrame) -> list[Verdict]:
    """What counting says about H17, H18, H19 and H23; without ATSS about H23 alone."""
    by_selection = with_groups(objects).groupby("selection", sort=False)
    found = {name: _quantities(part) for name, part in by_selection}
    atss = {name: values for name, values in found.items() if SHARE in values}
    judged = [_judge(claim, atss, *rule) for claim, rule in RULES.items() if atss]
    return [*judged, _unfairness(found, atss)]


def _quantities(part: pd.DataFrame) -> dict[str, float]:
    """What the claims are judged by, for the objects of one selection; shares only of ATSS."""
    found = {name: _ratio(part, *what) for name, what in RATIOS.items() if what[0] in part}
    if "candidates" in part and part["candidates"].notna().all():
        found |= part[["positives", "candidates", "threshold"]].mean()
        found[SHARE] = found["positives"] / found["candidates"]
        found[BEFORE] = part["above_threshold"].mean() / found["candidates"]
    return found


def _ratio(part: pd.DataFrame, column: str, by: str, group: str, other: str) -> float:
    """The mean of one group over that of another; NaN where one is empty."""
    means = part.groupby(by)[column].mean()
    return float(means.get(group, nan) / (means.get(other, nan) or nan))


def _judge(
    claim: str, atss: Quantities, shown: Sequence[str], bounds: tuple[float, float]
) -> Verdict:
    values = [found[shown[0]] for found in atss.values()]
    ends = dict.fromkeys(_number(value) for value in (min(values), max(values)))
    reason = f"{shown[0]} {' to '.join(ends)}, agrees from {bounds[0]:.3g} to {bounds[1]:.3g}"
    state: State = "undecided"
    if not any(map(isnan, values)):  # of too few objects
        is_within = all(bounds[0] <= value <= bounds[1] for value in values)
        state = "supported" if is_within else "contradicted"
    return _verdict(claim, state, reason, atss, shown)


def _unfairness(found: Quantities, atss: Quantities) -> Verdict:
    """Both older rules have to be unfair, in every variant counted; one that is fair in all of
    them contradicts. The paper does not say with which variants it counted."""
    fair = NEAR * max((values[FAIRNESS] for values in atss.values()), default=1.0)
    favors = {name: it[FAIRNESS] > fair for name, it in found.items() if name not in atss}
    yes, no = (
        ", ".join(name for name in favors if favors[name] == kind) or "none"
        for kind in (True, False)
    )
    reason = (
        f"Favoring larger objects{' more than ATSS does' if atss else ''}: {yes}. Not so: {no}."
    )
    told = (reason, found, (FAIRNESS, "medium / small", "large / small"))
    rules = [{favors[name] for name in favors if name.startswith(rule)} for rule in OLDER]
    if {False} in rules:
        return _verdict("H23", "contradicted", *told)
    if rules == [{True}, {True}]:
        return _verdict("H23", "supported", *told)
    return _verdict("H23", "undecided", *told, UNSAID if all(rules) else COUNTING)


def _verdict(
    claim: str, state: State, reason: str, found: Quantities, shown: Sequence[str], *needs: str
) -> Verdict:
    """The verdict on a claim, with a line per selection of what was counted."""
    findings = []
    for selection, values in found.items():
        told = ", ".join(f"{name} {_number(values[name])}" for name in shown)
        findings.append(Finding(ours=f"{selection}: {told}", state=None))
    return Verdict(
        claim=BY_NAME[claim], state=state, reason=reason, findings=tuple(findings), needs=needs
    )


def _number(value: float) -> str:
    """Three decimals; a dash for what is not known."""
    return MISSING if isnan(value) else f"{value:.3f}"


def markdown_claims(found: Sequence[Verdict]) -> str:
    """The claims as a Markdown list."""
    lines = ["**The paper's claims that need no training**", "", LEGEND, ""]
    for verdict in found:
        claim = verdict.claim
        lines.append(f"- **{claim.name}: {claim.says}** ({claim.where}; the paper: {claim.paper})")
        lines += [f"  - {text}" for text in (*verdict.ours, f"*{verdict.state}: {verdict.reason}*")]
    return "\n".join(lines) + "\n"
