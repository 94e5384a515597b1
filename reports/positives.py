"""How many positives objects have under each sample selection, and what that says of the claims.

    objects   a data frame, one line per selection and object, as positives.csv has it
    images    a data frame, one line per selection and image: anchors ignored, contested, ...

The claims all stand in Sec. 4.1, "Maintaining fairness between different objects". The paper does
not say on which images it counted, nor whether before or after conflicts, so only directions are
judged: by the third of the objects that is largest in its images against the third that is
smallest, which, unlike COCO's areas, does not depend on how large the files are.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from math import isfinite, nan

import numpy as np
import pandas as pd

from experiments.claims import BY_NAME
from reports.claims import Finding, State, Verdict
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
NAMES = [name for groups in GROUPS.values() for name in groups]
SIZES = "none: share of objects without a positive. small, medium, large: COCO's areas."
PLACES = (
    "wide, even, tall: height / width up to 1/2, between, from 2. middle, side, corner: where the "
    "center lies, the image cut into 3 x 3."
)
CONFLICTS = (
    "Share of the positives on each level. ignored, contested: anchors per image; contested ones "
    "would be taken by several objects, were each alone in its image. lost: positives an object "
    "would have alone and does not have among the others."
)

NORMAL = 15.9  # percent of a normal distribution above mean + one standard deviation
NEAR = 1.1  # ratios this close are called equal
OLDER = ("IoU", "spatial and scale")  # how the selections of RetinaNet's and FCOS's rules begin
UNSAID = "nothing we can count: the paper does not say with which variants of the rules it counted"
LEGEND = "H17 and the like: numbers in our list of the paper's claims (atss claims)."

Parts = Mapping[str, pd.DataFrame]  # the objects of each selection


def with_groups(objects: pd.DataFrame) -> pd.DataFrame:
    """The objects with the columns shape, place and third; size they have.

    third: by the size relative to the image, 0, 1 and 2.
    """
    ratio, places, sizes = objects["aspect_ratio"], objects[["x", "y"]], objects["relative_size"]
    num_outer = ((places < 1 / 3) | (places > 2 / 3)).sum(axis=1)
    low, high = sizes.quantile([1 / 3, 2 / 3])
    return objects.assign(
        shape=np.where(ratio <= 1 / 2, "wide", np.where(ratio >= 2, "tall", "even")),
        place=np.array(GROUPS["place"])[num_outer],
        third=np.select([sizes >= high, sizes <= low], [2, 0], default=1),
    )


def by_group(objects: pd.DataFrame) -> pd.DataFrame:
    """selection, by, group -> objects, mean, std, without (percent); the first group is all."""
    by_selection = with_groups(objects).assign(all="all").groupby("selection", sort=False)
    lines = []
    for by, groups in {"all": ("all",), **GROUPS}.items():
        for group, (selection, part) in product(groups, by_selection):
            counts = part.loc[part[by] == group, "positives"]
            names = {"selection": selection, "by": by, "group": group, "objects": len(counts)}
            without = 100 * (counts == 0).mean()
            lines.append(names | {"mean": counts.mean(), "std": counts.std(), "without": without})
    return pd.DataFrame(lines)


def summarize(objects: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One line per selection: all that the printed tables show, in full precision."""
    groups = by_group(objects)
    summary = groups[groups["by"] == "all"].set_index("selection")
    means = groups.pivot(index="selection", columns="group", values="mean")[NAMES]
    by_selection = objects.groupby("selection", sort=False)
    levels = by_selection[list(LEVELS)].sum()
    shares = 100 * levels.div(levels.sum(axis=1), axis=0)
    per_image = images.groupby("selection", sort=False)[["ignored", "contested"]].mean()
    lost = by_selection["lost"].mean()
    return summary[["objects", "mean", "std", "without"]].join([means, shares, per_image, lost])


def summary_grids(summary: pd.DataFrame, title: str) -> list[Grid]:
    """Positives per object, by size; by shape and place; by level, beside other anchors."""
    means = {"mean": 2, "std": 2, "without": 2} | dict.fromkeys(GROUPS["size"], 1)
    places = dict.fromkeys((*GROUPS["shape"], *GROUPS["place"]), 1)
    levels = dict.fromkeys((*LEVELS, "ignored", "contested"), 1) | {"lost": 2}
    by_place = "Positives per object, by shape and place"
    by_level = "Positives by level (%), ignored anchors, conflicts"
    return [
        _grid("means", title, summary, means, SIZES),
        _grid("places", by_place, summary, places, PLACES),
        _grid("levels", by_level, summary, levels, CONFLICTS),
    ]


def _grid(
    name: str, title: str, summary: pd.DataFrame, digits: Mapping[str, int], note: str
) -> Grid:
    """A line per selection; digits: of each column shown."""
    lines = [
        line(selection, *(number(row[column], count) for column, count in digits.items()))
        for selection, row in summary.iterrows()
    ]
    head = line("", *("none, %" if column == "without" else column for column in digits))
    return Grid(name=name, title=title, head=head, blocks=(tuple(lines),), notes=(note,))


def groups_grid(groups: pd.DataFrame, title: str) -> Grid:
    """Mean, spread and share without for each group, selections across."""
    selections = list(dict.fromkeys(groups["selection"]))
    cells = groups.set_index(["group", "selection"])
    blocks = [
        tuple(
            line(name, str(cells.loc[(name, selections[0])]["objects"]))
            + line(*(_spread(cells.loc[(name, selection)]) for selection in selections))
            for name in names
        )
        for names in (("all",), *GROUPS.values())
    ]
    head = line("", "objects", *selections)
    notes = ("Positives per object: mean ± standard deviation (share of objects without, %).",)
    return Grid(name="groups", title=title, head=head, blocks=tuple(blocks), notes=notes)


def _spread(row: pd.Series) -> str:
    if not row["objects"]:
        return "–"
    spread = f" ±{row['std']:.1f}" if isfinite(row["std"]) else ""
    return f"{row['mean']:.1f}{spread} ({row['without']:.1f})"


def number(value: float, digits: int) -> str:
    """With so many digits; a dash for what is not known."""
    return f"{value:.{digits}f}" if isfinite(value) else "–"


def claims(objects: pd.DataFrame) -> list[Verdict]:
    """What counting says about H17, H18, H19 and H23; without ATSS about H23 alone."""
    parts = dict(list(with_groups(objects).groupby("selection", sort=False)))
    atss = {
        name: part
        for name, part in parts.items()
        if "candidates" in part and part["candidates"].notna().all()
    }
    if not atss:
        return [_unfairness(parts, atss)]
    return [_amount(atss), _invariance(parts, atss), _theory(atss), _unfairness(parts, atss)]


def _amount(atss: Parts) -> Verdict:
    shares, ours = set(), []
    for name, part in atss.items():
        num, mean, above = part[["candidates", "positives", "above_threshold"]].mean()
        shares.add(round(mean / num, 1))
        ours.append(
            f"{name}: {mean:.2f} of {num:.4g} candidates ({mean / num:.3f}); before the in-box "
            f"test and conflicts {above:.2f} ({above / num:.3f})"
        )
    if shares == {0.2}:
        return _verdict("H17", ours, "supported", "About 0.2, as the paper says.")
    return _verdict("H17", ours, "contradicted", "Not about 0.2 for each of these.")


def _invariance(parts: Parts, atss: Parts) -> Verdict:
    ratios = {name: _ratio(part) for name, part in parts.items()}
    ours = [
        f"{name}: largest / smallest third {number(ratios[name], 2)} (before the in-box test "
        f"and conflicts {number(_ratio(part, column='above_threshold'), 2)}), "
        f"wide / even {_shown(part, 'shape', 'wide', 'even')}, "
        f"tall / even {_shown(part, 'shape', 'tall', 'even')}, "
        f"corner / middle {_shown(part, 'place', 'corner', 'middle')}"
        for name, part in atss.items()
    ]
    others = {name: ratio for name, ratio in ratios.items() if name not in atss}
    if others:
        listed = ", ".join(f"{name} {number(ratio, 2)}" for name, ratio in others.items())
        ours.append(f"largest / smallest third of the others: {listed}")
    ratio = max(ratios[name] for name in atss)
    if not isfinite(ratio):
        return _verdict("H18", ours, "undecided", "Too few objects.")
    if ratio < 1 / NEAR:
        meaning = "Not so: larger objects have fewer positives."
        return _verdict("H18", ours, "contradicted", meaning)
    if ratio <= NEAR:
        return _verdict("H18", ours, "supported", "So it is for scale here.")
    unfair = [name for name, other in others.items() if other > NEAR * ratio]
    less = f", though less so than with {_listed(unfair)}" if unfair else ""
    meaning = f"Weaker than stated: larger objects have more positives{less}."
    return _verdict("H18", ours, "contradicted", meaning)


def _theory(atss: Parts) -> Verdict:
    shares = {
        name: 100 * part["above_threshold"].sum() / part["candidates"].sum()
        for name, part in atss.items()
    }
    ours = [
        f"{name}: {share:.1f} %; the threshold is {atss[name]['threshold'].mean():.3f} in the mean"
        for name, share in shares.items()
    ]
    if min(shares.values()) > NEAR * NORMAL:
        meaning = (
            "More than in theory: candidates' IoUs are not normally distributed, as the paper "
            "itself says."
        )
        return _verdict("H19", ours, "supported", meaning)
    meaning = "As in theory for some of these, which the paper's own 20 % are not."
    return _verdict("H19", ours, "contradicted", meaning)


def _unfairness(parts: Parts, atss: Parts) -> Verdict:
    """Both older rules have to be unfair, in every variant counted; one that is fair in all of
    them contradicts. The paper does not say with which variants it counted."""
    ours, ratios = [], {}
    for name, part in parts.items():
        ranks = part[["relative_size", "positives"]].rank()
        ratios[name] = _ratio(part)
        ours.append(
            f"{name}: largest / smallest third {number(ratios[name], 2)}; by COCO's areas medium / "
            f"small {_shown(part, 'size', 'medium', 'small')}, large / small "
            f"{_shown(part, 'size', 'large', 'small')}; rank correlation of size and positives "
            f"{number(ranks['relative_size'].corr(ranks['positives']), 2)}"
        )
    base = max((ratios[name] for name in atss), default=1.0)
    others = {name: ratio > NEAR * base for name, ratio in ratios.items() if name not in atss}
    unfair = [name for name, is_unfair in others.items() if is_unfair]
    fair = [name for name, is_unfair in others.items() if not is_unfair]
    than = " more than ATSS does" if atss else ""
    told = [f"Favoring larger objects{than}: {_listed(unfair)}"] if unfair else []
    told += [f"Not so: {_listed(fair)}"] if fair else []
    meaning = (". ".join(told) or "Only ATSS was counted") + "."
    rules = [{others[name] for name in others if name.startswith(rule)} for rule in OLDER]
    if not all(rules):
        needs: tuple[str, ...] = ("atss positives",)  # which counts both rules
    else:
        needs = (UNSAID,) if {False} not in rules and {True, False} in rules else ()
    state: State = "supported" if all(rule == {True} for rule in rules) else "undecided"
    state = "contradicted" if {False} in rules else state
    return _verdict("H23", ours, state, meaning, needs)


def _verdict(
    name: str, ours: Sequence[str], state: State, meaning: str, needs: tuple[str, ...] = ()
) -> Verdict:
    """A claim with what was counted, a line per selection."""
    findings = tuple(Finding(ours=text, state=None) for text in ours)
    return Verdict(claim=BY_NAME[name], state=state, reason=meaning, findings=findings, needs=needs)


def _ratio(
    part: pd.DataFrame,
    by: str = "third",
    group: str | int = 2,
    other: str | int = 0,
    column: str = "positives",
) -> float:
    """The mean of one group, the largest third, over that of another; NaN where one is empty."""
    means = part.groupby(by)[column].mean()
    return float(means.get(group, nan) / (means.get(other, nan) or nan))


def _shown(part: pd.DataFrame, by: str, group: str, other: str) -> str:
    return number(_ratio(part, by, group, other), 2)


def _listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def markdown_claims(found: Sequence[Verdict]) -> str:
    """The claims as a Markdown list."""
    lines = ["**The paper's claims that need no training**", "", LEGEND, ""]
    for verdict in found:
        claim = verdict.claim
        lines.append(f"- **{claim.name}: {claim.says}** ({claim.where}; the paper: {claim.paper})")
        lines += [f"  - {text}" for text in (*verdict.ours, f"*{verdict.state}: {verdict.reason}*")]
    return "\n".join(lines) + "\n"
