"""The paper's claims about how many positives objects get, as far as counting can answer them.

All stand in Sec. 4.1, "Maintaining fairness between different objects". The paper does not say on
which images it counted, nor whether before or after conflicts, so only directions are judged: by
the third of the objects that is largest in its images against the third that is smallest, which,
unlike COCO's areas, does not depend on how large the files are.

    objects   a data frame, one line per selection and object, as positives.csv has it
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
import pandas as pd

from reports.positives import number, with_groups

WHERE = 'Sec. 4.1, "Maintaining fairness"'
NORMAL = 15.9  # percent of a normal distribution above mean + one standard deviation
NEAR = 1.1  # ratios this close are called equal

Parts = Mapping[str, pd.DataFrame]  # the objects of each selection


@dataclass(frozen=True)
class Claim:
    """One of the paper's sentences, its number, ours, and what ours says about it."""

    name: str
    says: str  # in our words
    paper: str
    ours: tuple[str, ...]  # one line per selection
    meaning: str
    where: str = WHERE


def claims(objects: pd.DataFrame) -> list[Claim]:
    """What counting says about H17, H18, H19 and H23; without ATSS about H23 alone."""
    parts = dict(list(with_groups(_with_thirds(objects)).groupby("selection", sort=False)))
    atss = {
        name: part
        for name, part in parts.items()
        if "candidates" in part and part["candidates"].notna().all()
    }
    if not atss:
        return [_unfairness(parts, atss)]
    return [_amount(atss), _invariance(parts, atss), _theory(atss), _unfairness(parts, atss)]


def _with_thirds(objects: pd.DataFrame) -> pd.DataFrame:
    """The objects with the column third, by their size relative to the image: 0, 1 and 2."""
    sizes = objects["relative_size"]
    low, high = sizes.quantile([1 / 3, 2 / 3])
    return objects.assign(third=np.select([sizes >= high, sizes <= low], [2, 0], default=1))


def _amount(atss: Parts) -> Claim:
    shares, ours = [], []
    for name, part in atss.items():
        num, mean, above = part[["candidates", "positives", "above_threshold"]].mean()
        shares.append(round(mean / num, 1))
        ours.append(
            f"{name}: {mean:.2f} of {num:.4g} candidates ({mean / num:.3f}); before the in-box "
            f"test and conflicts {above:.2f} ({above / num:.3f})"
        )
    return Claim(
        name="H17",
        says="An object has about 0.2 k L positives",
        paper="9 of 45",
        ours=tuple(ours),
        meaning="About 0.2, as the paper says."
        if set(shares) == {0.2}
        else "Not about 0.2 for each of these.",
    )


def _invariance(parts: Parts, atss: Parts) -> Claim:
    ratios = {name: _of_thirds(part) for name, part in parts.items()}
    ours = []
    for name, part in atss.items():
        before = _of_thirds(part, "above_threshold")
        ours.append(
            f"{name}: largest / smallest third {number(ratios[name], 2)} (before the in-box test "
            f"and conflicts {number(before, 2)}), "
            f"wide / even {_shown(part, 'shape', 'wide', 'even')}, "
            f"tall / even {_shown(part, 'shape', 'tall', 'even')}, "
            f"corner / middle {_shown(part, 'place', 'corner', 'middle')}"
        )
    others = {name: ratio for name, ratio in ratios.items() if name not in atss}
    if others:
        listed = ", ".join(f"{name} {number(ratio, 2)}" for name, ratio in others.items())
        ours.append(f"largest / smallest third of the others: {listed}")
    return Claim(
        name="H18",
        says="Their number is the same at every scale, aspect ratio and location",
        paper='"invariant"',
        ours=tuple(ours),
        meaning=_judge_invariance(max((ratios[name] for name in atss), default=nan), others),
    )


def _judge_invariance(ratio: float, others: Mapping[str, float]) -> str:
    """ratio: positives of the largest third over those of the smallest, under ATSS."""
    if not isfinite(ratio):
        return "Undecided: too few objects."
    if ratio < 1 / NEAR:
        return "Not so: larger objects have fewer positives."
    if ratio <= NEAR:
        return "So it is for scale here."
    unfair = [name for name, other in others.items() if other > NEAR * ratio]
    less = f", though less so than with {_listed(unfair)}" if unfair else ""
    return f"Weaker than stated: larger objects have more positives{less}."


def _theory(atss: Parts) -> Claim:
    totals = {name: part[["above_threshold", "candidates"]].sum() for name, part in atss.items()}
    shares = {
        name: 100 * total["above_threshold"] / total["candidates"] for name, total in totals.items()
    }
    is_more = min(shares.values()) > NEAR * NORMAL
    return Claim(
        name="H19",
        says="In theory 16 % of the candidates reach mean + standard deviation",
        paper=f"about 16 % (a normal distribution's {NORMAL} %), in practice about 20 %",
        ours=tuple(
            f"{name}: {share:.1f} %; the threshold is {atss[name]['threshold'].mean():.3f} in "
            "the mean"
            for name, share in shares.items()
        ),
        meaning="More than in theory: candidates' IoUs are not normally distributed, as the paper "
        "itself says."
        if is_more
        else "As in theory for some of these, which the paper's own 20 % are not.",
    )


def _unfairness(parts: Parts, atss: Parts) -> Claim:
    ours, ratios = [], {}
    for name, part in parts.items():
        ranks = part[["relative_size", "positives"]].rank()
        ratios[name] = _of_thirds(part)
        ours.append(
            f"{name}: largest / smallest third {number(ratios[name], 2)}; by COCO's areas medium / "
            f"small {_shown(part, 'size', 'medium', 'small')}, large / small "
            f"{_shown(part, 'size', 'large', 'small')}; rank correlation of size and positives "
            f"{number(ranks['relative_size'].corr(ranks['positives']), 2)}"
        )
    base = max((ratios[name] for name in atss), default=1.0)
    unfair = [name for name, ratio in ratios.items() if ratio > NEAR * base and name not in atss]
    fair = [name for name in ratios if name not in unfair and name not in atss]
    than = " more than ATSS does" if atss else ""
    verdicts = [f"Favoring larger objects{than}: {_listed(unfair)}"] if unfair else []
    verdicts += [f"Not so: {_listed(fair)}"] if fair else []
    return Claim(
        name="H23",
        says="The IoU and the spatial and scale rules give larger objects many more positives",
        paper="stated without a number",
        ours=tuple(ours),
        meaning=(". ".join(verdicts) or "Only ATSS was counted") + ".",
    )


def _of_thirds(part: pd.DataFrame, column: str = "positives") -> float:
    return _ratio(part, "third", 2, 0, column)


def _shown(part: pd.DataFrame, by: str, group: str, other: str) -> str:
    return number(_ratio(part, by, group, other), 2)


def _ratio(
    part: pd.DataFrame, by: str, group: str | int, other: str | int, column: str = "positives"
) -> float:
    """The mean of one group over that of another; NaN where either is empty."""
    means = part.groupby(by)[column].mean()
    return float(means.get(group, nan) / (means.get(other, nan) or nan))


def _listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def markdown_claims(found: Sequence[Claim]) -> str:
    """The claims as a Markdown list."""
    lines = ["**The paper's claims that need no training**", ""]
    for claim in found:
        lines.append(f"- **{claim.name}: {claim.says}** ({claim.where}; the paper: {claim.paper})")
        lines += [f"  - {text}" for text in (*claim.ours, f"*{claim.meaning}*")]
    return "\n".join(lines) + "\n"
