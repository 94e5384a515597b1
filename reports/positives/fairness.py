"""The paper's claims about how many positives objects get, as far as counting can answer them.

All stand in Sec. 4.1, "Maintaining fairness between different objects". The paper does not say on
which images it counted, nor whether before or after conflicts, so only directions are judged: by
the third of the objects that is largest in its images against the third that is smallest, which,
unlike COCO's areas, does not depend on how large the files are.

    objects   a data frame, one line per selection and object, as positives.csv has it
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, nan

import numpy as np
import pandas as pd

from experiments.claims import BY_NAME
from reports.claims import Finding, State, Verdict
from reports.positives.counts import number, with_groups

NORMAL = 15.9  # percent of a normal distribution above mean + one standard deviation
NEAR = 1.1  # ratios this close are called equal
OLDER = ("IoU", "spatial and scale")  # how the selections of RetinaNet's and FCOS's rules begin
UNSAID = "nothing we can count: the paper does not say with which variants of the rules it counted"
LEGEND = "H17 and the like: numbers in our list of the paper's claims (atss claims)."

Parts = Mapping[str, pd.DataFrame]  # the objects of each selection


def claims(objects: pd.DataFrame) -> list[Verdict]:
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


def _amount(atss: Parts) -> Verdict:
    shares, ours = [], []
    for name, part in atss.items():
        num, mean, above = part[["candidates", "positives", "above_threshold"]].mean()
        shares.append(round(mean / num, 1))
        ours.append(
            f"{name}: {mean:.2f} of {num:.4g} candidates ({mean / num:.3f}); before the in-box "
            f"test and conflicts {above:.2f} ({above / num:.3f})"
        )
    if set(shares) == {0.2}:
        return _verdict("H17", ours, "supported", "About 0.2, as the paper says.")
    return _verdict("H17", ours, "contradicted", "Not about 0.2 for each of these.")


def _invariance(parts: Parts, atss: Parts) -> Verdict:
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
    return _verdict(
        "H18", ours, *_judge_invariance(max((ratios[name] for name in atss), default=nan), others)
    )


def _judge_invariance(ratio: float, others: Mapping[str, float]) -> tuple[State, str]:
    """ratio: positives of the largest third over those of the smallest, under ATSS."""
    if not isfinite(ratio):
        return "undecided", "Too few objects."
    if ratio < 1 / NEAR:
        return "contradicted", "Not so: larger objects have fewer positives."
    if ratio <= NEAR:
        return "supported", "So it is for scale here."
    unfair = [name for name, other in others.items() if other > NEAR * ratio]
    less = f", though less so than with {_listed(unfair)}" if unfair else ""
    return "contradicted", f"Weaker than stated: larger objects have more positives{less}."


def _theory(atss: Parts) -> Verdict:
    totals = {name: part[["above_threshold", "candidates"]].sum() for name, part in atss.items()}
    shares = {
        name: 100 * total["above_threshold"] / total["candidates"] for name, total in totals.items()
    }
    is_more = min(shares.values()) > NEAR * NORMAL
    ours = [
        f"{name}: {share:.1f} %; the threshold is {atss[name]['threshold'].mean():.3f} in the mean"
        for name, share in shares.items()
    ]
    if is_more:
        meaning = (
            "More than in theory: candidates' IoUs are not normally distributed, as the paper "
        )
        return _verdict("H19", ours, "supported", f"{meaning}itself says.")
    meaning = "As in theory for some of these, which the paper's own 20 % are not."
    return _verdict("H19", ours, "contradicted", meaning)


def _unfairness(parts: Parts, atss: Parts) -> Verdict:
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
    meaning = (". ".join(verdicts) or "Only ATSS was counted") + "."
    state = _judge_unfairness(unfair, fair)
    if all(any(name.startswith(rule) for name in (*unfair, *fair)) for rule in OLDER):
        needs = () if state != "undecided" else (UNSAID,)
    else:
        needs = ("atss positives",)  # which counts both rules
    return replace(_verdict("H23", ours, state, meaning), needs=needs)


def _judge_unfairness(unfair: Sequence[str], fair: Sequence[str]) -> State:
    """Both older rules have to be unfair, in every variant counted; one that is fair in all of
    them contradicts. The paper does not say with which variants it counted."""
    states: list[State] = []
    for rule in OLDER:
        is_unfair = any(name.startswith(rule) for name in unfair)
        is_fair = any(name.startswith(rule) for name in fair)
        states.append(
            "undecided" if is_fair == is_unfair else "supported" if is_unfair else "contradicted"
        )
    if "contradicted" in states:
        return "contradicted"
    return "undecided" if "undecided" in states else "supported"


def _verdict(name: str, ours: Sequence[str], state: State, meaning: str) -> Verdict:
    """A claim with what was counted, a line per selection."""
    findings = tuple(Finding(ours=text, state=None) for text in ours)
    return Verdict(claim=BY_NAME[name], state=state, reason=meaning, findings=findings)


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


def markdown_claims(found: Sequence[Verdict]) -> str:
    """The claims as a Markdown list."""
    lines = ["**The paper's claims that need no training**", "", LEGEND, ""]
    for verdict in found:
        claim = verdict.claim
        lines.append(f"- **{claim.name}: {claim.says}** ({claim.where}; the paper: {claim.paper})")
        lines += [f"  - {text}" for text in (*verdict.ours, f"*{verdict.state}: {verdict.reason}*")]
    return "\n".join(lines) + "\n"
