"""How many GPU-hours do the 33 runs of Tables 1 to 7 take at the paper's scale?

    python benchmarks/suite_cost.py

FLOPs of every run are counted: a forward and a backward pass at 800 x 1344, by torch's counter, on
tensors without values, so on any machine. Hours follow from images per second: those that
training_step_cuda.json holds for ATSS, where that was measured; else from a share of a GPU's peak,
which nobody measured. Beside them stands what is published. Writes suite_cost.json, suite_cost.md.
"""

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pages
import torch
from torch.utils.flop_counter import FlopCounterMode

from detector.backbone import build_backbone
from detector.config import DetectorConfig
from detector.detector import build_detector
from experiments import STUDY
from experiments.baselines import ATSS
from experiments.schedules import PAPER

SIZE = (800, 1344)  # of an image, padded: most are smaller, so these are upper bounds
CLASSES = 80
TEST_IMAGES = 5_000  # of val2017
# Dense bf16 peaks of data sheets, TFLOP/s, and what share of them training may reach.
PEAKS = {"A100": 312.0, "H100": 989.5, "H200": 989.5}
SHARES = (0.2, 0.3, 0.4)
V100_FP32 = 15.7
MEASURED = "training_step_cuda.json"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Published:
    """A run of 90,000 steps of 16 images on COCO, ResNet-50, as somebody reports it."""

    what: str
    hours: float
    gpus: int
    source: str


PUBLISHED = (
    Published("FCOS, its authors", 6.5, 8, "about 6.5 hours on eight V100, says its repository"),
    Published("ATSS, a user's log", 12.0, 8, "0.479 s a step; its code's default of eight GPUs"),
)


@dataclass(frozen=True)
class Work:
    """TFLOP of an image."""

    forward: float
    backward: float

    @property
    def training(self) -> float:
        return self.forward + self.backward

    @property
    def run(self) -> float:
        """Of a whole run, its tests included."""
        trained = PAPER.iterations * PAPER.batch_size
        return trained * self.training + PAPER.evaluations * TEST_IMAGES * self.forward


def work_of(config: DetectorConfig) -> Work:
    """Counted at the paper's scale; a multiplication and an addition are two."""
    with torch.device("meta"):
        backbone = build_backbone(PAPER.backbone, PAPER.norm, "none", PAPER.pyramid_channels)
        detector = build_detector(config, CLASSES, backbone=backbone)
        images = torch.empty(1, 3, *SIZE)
        with FlopCounterMode(display=False) as counter:
            predictions = detector(images)
            forward = counter.get_total_flops()
            outputs = [value.sum() for value in vars(predictions).values() if value is not None]
            torch.stack(outputs).sum().backward()
    return Work(forward / 1e12, (counter.get_total_flops() - forward) / 1e12)


def distinct() -> list[DetectorConfig]:
    """What Tables 1 to 7 train: equal rows once."""
    configs = dict.fromkeys(row.config for table in STUDY.values() for row in table.rows)
    return list(configs)


def hours_of(works: Counter[Work], images_per_second: float, work: Work) -> float:
    """GPU-hours of all runs, where a GPU trains so many images a second of one of them."""
    tflops = images_per_second * work.training
    return sum(one.run * count for one, count in works.items()) / tflops / 3600


def measured(works: Counter[Work], work: Work, folder: Path) -> dict[str, dict[str, float]]:
    """GPU and setting -> images per second and hours; empty where nothing was measured."""
    file = folder / MEASURED
    if not file.is_file():
        return {}
    content = json.loads(file.read_text())
    chip = content.pop("where").split(",")[0]
    rates = {name: values["detectors"]["ATSS"] for name, values in content.items()}
    return {
        f"{chip}, {name}": {
            "images per second": row["images per second"],
            "hours": hours_of(works, row["images per second"], work),
        }
        for name, row in rates.items()
    }


def groups(configs: list[DetectorConfig]) -> dict[Work, list[DetectorConfig]]:
    """The runs that cost the same."""
    found = defaultdict(list)
    for config in configs:
        found[work_of(config)].append(config)
    return dict(sorted(found.items(), key=lambda item: item[0].training))


def said(configs: list[DetectorConfig]) -> str:
    """What runs of one cost have in common."""
    anchors = sorted({config.anchors_per_location for config in configs})
    centerness = {config.centerness for config in configs}
    branch = {(True,): ", centerness", (False,): ", no centerness"}.get(tuple(centerness), "")
    return f"#A={', '.join(map(str, anchors))}{branch}"


def markdown(found: dict) -> str:
    """The page, without its last section, which is written by hand."""
    lines = [
        "# The whole study at the paper's scale",
        "",
        f"{found['runs']} runs fill the {found['rows']} rows of Tables 1 to 7. Each trains "
        f"{PAPER.iterations:,} steps of {PAPER.batch_size} images, ResNet-50, and is tested "
        f"{PAPER.evaluations} times on {TEST_IMAGES:,}. Counted at {SIZE[0]} x {SIZE[1]}: an upper "
        "bound.",
        "",
        "| runs | which | TFLOP an image, forward | forward and backward | EFLOP a run |",
        "|-:|-|-:|-:|-:|",
        *(
            f"| {row['runs']} | {row['which']} | {row['forward']:.3f} | {row['training']:.3f} | "
            f"{row['run'] / 1e6:.2f} |"
            for row in found["groups"]
        ),
        f"| {found['runs']} | all | | | {found['TFLOP'] / 1e6:.1f} |",
        "",
        "| GPU | by | images/s (ATSS) | GPU-hours a run | GPU-hours of all | days on 8 |",
        "|-|-|-:|-:|-:|-:|",
        *(_line(*row) for row in _rows(found)),
        "",
        f"Published: {'; '.join(f'{one.what}: {one.source}' for one in PUBLISHED)}. A V100 that "
        f"needs 6.5 h x 8 for a run computes {found['V100']:.1f} TFLOP/s by our count, "
        f"{found['V100'] / V100_FP32:.0%} of its fp32 peak ({V100_FP32}).",
        "",
        "`python benchmarks/suite_cost.py`; `atss plan all --scale paper` measures the machine at "
        "hand.",
        "",
    ]
    return "\n".join(lines)


def _rows(found: dict) -> list[tuple[str, str, float, float, int]]:
    """GPU, by what, images per second, hours of all, runs."""
    runs = found["runs"]
    rows = [
        (name, "**measured**", row["images per second"], row["hours"], runs)
        for name, row in found["measured"].items()
    ]
    rows += [
        (
            row["GPU"],
            f"{row['share']:.0%} of bf16 peak, not measured",
            row["rate"],
            row["hours"],
            runs,
        )
        for row in found["supposed"]
    ]
    per_second = PAPER.iterations * PAPER.batch_size / 3600
    rows += [
        (f"{one.gpus} GPUs", f"published: {one.what}", per_second / one.hours / one.gpus,
         one.hours * one.gpus * runs, runs)
        for one in PUBLISHED
    ]  # fmt: skip
    return rows


def _line(gpu: str, by: str, rate: float, hours: float, runs: int) -> str:
    return f"| {gpu} | {by} | {rate:.0f} | {hours / runs:.1f} | {hours:,.0f} | {hours / 192:.1f} |"


def main() -> None:
    """Count, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    configs = distinct()
    parts = groups(configs)
    works = Counter({work: len(members) for work, members in parts.items()})
    of_atss = next(work for work, members in parts.items() if ATSS in members)
    rates = [(gpu, share, share * peak / of_atss.training) for gpu, peak in PEAKS.items()
             for share in SHARES]  # fmt: skip
    one = PUBLISHED[0]
    found = {
        "runs": len(configs),
        "rows": sum(len(table.rows) for table in STUDY.values()),
        "groups": [
            {
                "runs": len(members),
                "which": said(members),
                "forward": work.forward,
                "training": work.training,
                "run": work.run,
            }
            for work, members in parts.items()
        ],
        "TFLOP": sum(work.run * count for work, count in works.items()),
        "measured": measured(works, of_atss, given.out),
        "supposed": [
            {"GPU": gpu, "share": share, "rate": rate, "hours": hours_of(works, rate, of_atss)}
            for gpu, share, rate in rates
        ],
        "V100": of_atss.run / (one.hours * 3600 * one.gpus),
    }
    pages.write(given.out, "suite_cost", found, markdown(found))


if __name__ == "__main__":
    main()
