"""What sample selection costs: milliseconds per image, beside ATSS in the same interleaved run.

    python benchmarks/assigners.py [--device cuda] [--objects 20] [--rounds 20]

An input of 800 x 1344 pixels, 22,400 anchors (201,600 with nine per location). The official code
loops over objects in Python, which users met as a bottleneck at large batches; here one tensor
expression serves all objects.
"""

import argparse
import time
from statistics import median

import torch
from torch import Tensor

from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import build_assigner
from detector.config import DetectorConfig
from experiments import TABLES
from experiments.baselines import ATSS, FCOS, FCOS_CENTER_SAMPLING, IMPROVED_RETINANET, RETINANET

HEIGHT, WIDTH = 800, 1344
CONFIGS = {
    "ATSS": ATSS,
    "IoU": RETINANET,
    "IoU, in GT box": IMPROVED_RETINANET,
    "spatial and scale constraint": FCOS,
    "center sampling": FCOS_CENTER_SAMPLING,
    "IoU, #A=9": TABLES["table7"].rows[0].config,
    "ATSS, #A=9": TABLES["table7"].rows[2].config,
}


def scene(config: DetectorConfig, num_objects: int, device: str) -> tuple[list[Tensor], Tensor]:
    """Anchors per level, and objects of 8 to 512 pixels, log-uniform, anywhere in the image."""
    cells = [cell_anchors(s, config.anchor_scales, config.aspect_ratios) for s in STRIDES]
    anchors = grid_anchors(level_sizes(HEIGHT, WIDTH), [cell.to(device) for cell in cells])
    random = torch.Generator().manual_seed(0)
    sides = 8 * 64 ** torch.rand(num_objects, 2, generator=random)
    corners = torch.rand(num_objects, 2, generator=random) * torch.tensor([WIDTH, HEIGHT])
    return anchors, torch.cat([corners, corners + sides], dim=1).to(device)


def milliseconds(config: DetectorConfig, num_objects: int, device: str) -> float:
    """One assignment of one image, the scene's making not counted."""
    anchors, gt_boxes = scene(config, num_objects, device)
    assigner = build_assigner(config)
    _wait(device)
    begun = time.perf_counter()
    assigner(anchors, gt_boxes)
    _wait(device)
    return 1000 * (time.perf_counter() - begun)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure in turns, so that a drift of the machine's speed meets all alike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in CONFIGS}
    for round_number in range(arguments.rounds + 1):
        for name, config in CONFIGS.items():
            spent = milliseconds(config, arguments.objects, arguments.device)
            if round_number:  # the first round warms up
                times[name].append(spent)
    print(f"{arguments.objects} objects, {arguments.device}, {torch.get_num_threads()} threads")
    reference = median(times["ATSS"])
    for name, values in times.items():
        spread = f"{min(values):.1f} to {max(values):.1f}"
        middle = median(values)
        print(f"{name:<30} {middle:7.1f} ms  {middle / reference:5.2f} x ATSS  ({spread})")


if __name__ == "__main__":
    main()
