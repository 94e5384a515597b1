"""How many positives objects have under each sample selection, and what that says of the claims.

    objects   a data frame, one line per selection and object, as positives.csv has it
    images    a data frame, one line per selection and image: anchors ignored, contested, ...

The claims all stand in Sec. 4.1, "Maintaining fairness between different objects". The paper does
not say on which images it counted, nor whether before or after conflicts, so only directions are
judged: by the third of the objects that is largest in its images against the third that is
smallest, which, unlike COCO's areas, does not depend on how large the files are.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pandas as pd

from experiments.claims import BY_NAME
from reports.claims import MISSING, Finding, State, Verdict
from reports.render import Grid, line

CAPTIONS = {  # file name -> what the figure of all_figures shows
    "positives-by-size": "Positives per object, by its size.",
    "positives-by-aspect-ratio": "Positives per object, by its aspect ratio.",
    "positives-by-levels": "Positives per object on each level of the pyramid.",
}
LEVELS = ("P3", "P4", "P5", "P6", "P7")

# A name for each group, and which objects belong to it, by what.
GROUPS = {
    "size": ("small", "medium", "large"),
    "shape": ("wide", "even", "tall"),  # height / width up to 1/2, between, from 2 on
    "place": ("middle", "side", "corner"),  # of the image, cut into three by three
    "third": ("smallest third", "middle third", "largest third"),  # by the size in the image
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

# Quantities of a selection; a ratio is that of two groups' means.
SHARE = "share of the candidates"  # that are positive
BEFORE = "share before the in-box test and conflicts"
FAIRNESS = "largest third / smallest third"
FAIRNESS_BEFORE = "the same before the in-box test and conflicts"
SHAPES, PLACES = ("wide / even", "tall / even"), ("corner / middle",)
SIZES = ("medium / small", "large / small")

NORMAL = 0.159  # of a normal distribution lies above mean + one standard deviation
NEAR = 1.1  # ratios this close are called equal
RULES = {  # what is shown of ATSS: of every variant, the first has to lie within bounds
    "H17": ((SHARE, BEFORE, "positives", "candidates"), (0.15, 0.25)),
    "H18": ((FAIRNESS, FAIRNESS_BEFORE, *SHAPES, *PLACES), (1 / NEAR, NEAR)),
    "H19": ((BEFORE, "threshold"), (NEAR * NORMAL, 1.0)),
}
OLDER = ("IoU", "spatial and scale")  # how the selections of RetinaNet's and FCOS's rules begin
LEGEND = "H17 and the like: numbers in our list of the paper's claims (atss claims)."


def group_means(objects: pd.DataFrame, column: str = "positives") -> pd.DataFrame:
    """A line per selection: the mean of a column in every group; not a number in an empty one."""
    ratio, places, sizes = objects["aspect_ratio"], objects[["x", "y"]], objects["relative_size"]
    num_outer = ((places < 1 / 3) | (places > 2 / 3)).sum(axis=1)
    low, high = sizes.quantile([1 / 3, 2 / 3])
    grouped = objects.assign(
        shape=np.where(ratio <= 1 / 2, "wide", np.where(ratio >= 2, "tall", "even")),
        place=np.array(GROUPS["place"])[num_outer],
        third=np.array(GROUPS["third"])[np.select([sizes >= high, sizes <= low], [2, 0], 1)],
    )
    means = [
        grouped.groupby(["selection", by])[column].mean().unstack().reindex(columns=names)
        for by, names in GROUPS.items()
    ]
    return pd.concat(means, axis=1).loc[objects["selection"].unique()]


def summarize(objects: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One line per selection: all that the printed tables show, in full precision."""
    without = 100.0 * (objects["positives"] == 0)
    by_selection = objects.assign(**{"none, %": without}).groupby("selection", sort=False)
    levels = by_selection[list(LEVELS)].sum()
    columns = [
        by_selection["positives"].agg(objects="size", mean="mean", std="std"),
        by_selection[["none, %", "lost"]].mean(),
        group_means(objects),
        100 * levels.div(levels.sum(axis=1), axis=0),
        images.groupby("selection")[["ignored", "contested"]].mean(),
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
    found = _quantities(objects)
    atss = found[found[SHARE].notna()]
    judged = [_judge(claim, atss, *rule) for claim, rule in RULES.items() if len(atss)]
    return [*judged, _unfairness(found, atss)]


def _quantities(objects: pd.DataFrame) -> pd.DataFrame:
    """A line per selection: what the claims are judged by; not a number where it is unknown."""
    counted = ["positives", "candidates", "above_threshold", "threshold"]
    found = objects.groupby("selection", sort=False)[counted].mean()
    found[SHARE] = found["positives"] / found["candidates"]
    found[BEFORE] = found["above_threshold"] / found["candidates"]
    means, before = group_means(objects), group_means(objects, "above_threshold")
    for ratio in (FAIRNESS, *SHAPES, *PLACES, *SIZES):
        group, other = ratio.split(" / ")
        found[ratio] = means[group] / means[other]
    found[FAIRNESS_BEFORE] = before["largest third"] / before["smallest third"]
    return found.replace(inf, nan)


def _judge(
    claim: str, atss: pd.DataFrame, shown: Sequence[str], bounds: tuple[float, float]
) -> Verdict:
    values = atss[shown[0]]
    ends = dict.fromkeys(_number(value) for value in (values.min(), values.max()))
    reason = f"{shown[0]} {' to '.join(ends)}, agrees from {bounds[0]:.3g} to {bounds[1]:.3g}"
    state: State = "undecided"
    if values.notna().all():  # of enough objects
        state = "supported" if values.between(*bounds).all() else "contradicted"
    return _verdict(claim, state, reason, atss[list(shown)])


def _unfairness(found: pd.DataFrame, atss: pd.DataFrame) -> Verdict:
    """Both older rules have to be unfair, in every variant counted; one that is fair in all of
    them contradicts. The paper does not say with which variants it counted."""
    fair = NEAR * (atss[FAIRNESS].max() if len(atss) else 1.0)
    favors = found[FAIRNESS].drop(atss.index) > fair
    yes, no = (", ".join(favors.index[favors == kind]) or "none" for kind in (True, False))
    than = " more than ATSS does" if len(atss) else ""
    reason = f"Favoring larger objects{than}: {yes}. Not so: {no}."
    rules = [set(favors[favors.index.str.startswith(rule)]) for rule in OLDER]
    state: State = "supported" if rules == [{True}, {True}] else "undecided"
    if {False} in rules:
        state = "contradicted"
    needs = ("atss positives",) if state == "undecided" and set() in rules else ()
    return _verdict("H23", state, reason, found[[FAIRNESS, *SIZES]], needs)


def _verdict(
    claim: str, state: State, reason: str, shown: pd.DataFrame, needs: tuple[str, ...] = ()
) -> Verdict:
    """The verdict on a claim, with a line per selection of the quantities shown."""
    findings = []
    for selection, values in shown.iterrows():
        told = ", ".join(f"{name} {_number(value)}" for name, value in values.items())
        findings.append(Finding(ours=f"{selection}: {told}", state=None))
    found = Verdict(claim=BY_NAME[claim], state=state, reason=reason, findings=tuple(findings))
    return replace(found, needs=needs)


def _number(value: float) -> str:
    """Three decimals; a dash for what is not known."""
    return MISSING if isnan(value) else f"{value:.3f}"


def markdown_claims(found: Sequence[Verdict]) -> str:
    """The claims as a Markdown list."""
    lines = ["**The paper's claims that need no training**", "", LEGEND, ""]
    for verdict in found:
        claim = verdict.claim
        lines.append(f"- **{claim.name}: {claim.says}** ({claim.where}; the paper: {claim.paper})")
        lines += [f"  - {finding.ours}" for finding in verdict.findings]
        lines.append(f"  - *{verdict.state}: {verdict.reason}*")
    return "\n".join(lines) + "\n"
