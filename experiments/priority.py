"""In which order runs are trained where not all can be: those that carry the paper's thesis first.

1   the seven of Tables 2 and 3: does sample selection close the gap, and nothing else?
2   Table 1's steps: what the implementation differences are worth
3   Table 7: several anchors per location
4   Table 4's extreme values of k, then all the rest
"""

from dataclasses import replace

from detector.config import DetectorConfig
from experiments import table1, table7
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, FCOS_CENTER_SAMPLING, IMPROVED_RETINANET

THESIS = (
    ATSS,
    IMPROVED_RETINANET,
    FCOS,
    replace(IMPROVED_RETINANET, assigner="ssc"),
    replace(IMPROVED_RETINANET, regress_from="point"),
    FCOS_ATSS,
    FCOS_CENTER_SAMPLING,
)
GROUPS: tuple[tuple[DetectorConfig, ...], ...] = (
    THESIS,
    tuple(row.config for row in table1.TABLE.rows),
    tuple(row.config for row in table7.TABLE.rows),
    tuple(replace(ATSS, k=k) for k in (3, 5, 19, 15)),
)
PLACES = {
    config: (number, place)
    for number, group in reversed(list(enumerate(GROUPS)))  # a config's first group counts
    for place, config in enumerate(group)
}
LAST = (len(GROUPS), 0)


def order(config: DetectorConfig, seed_place: int) -> tuple[int, int, int]:
    """A key to sort runs by: group, seed, place in the group; a group is trained seed by seed."""
    group, place = PLACES.get(config, LAST)
    return group, seed_place, place
