"""What the comparisons with torchvision share: its detectors made equal to ours, turns, ratios.

Equal are the input (a normalized batch, not resized again), the 80 classes, ResNet-50 with frozen
batch norm whose stem and layer1 do not train, P3 to P7 with P6 from P5, and the weights of all
that. torchvision's builders give their frozen norm to downloaded weights only, so the same parts
are put together here.
"""

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from scipy.stats import binom
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.backbone import PyramidBackbone

CLASSES = 80
DEVICES = ("cuda", "cpu") if torch.cuda.is_available() else ("cpu", "cuda")
SIZES = {"cuda": (16, 800, 1344), "cpu": (2, 256, 320)}  # images, height and width, if not asked
Targets = list[dict[str, Tensor]]


class AsItIs(nn.Module):
    """In place of torchvision's transform: the batch is ready, detections stay in its pixels."""

    def forward(
        self, images: Tensor, targets: Targets | None = None
    ) -> tuple[ImageList, Targets | None]:
        """[B, 3, H, W], targets -> what torchvision's detectors go on with."""
        size = (images.shape[2], images.shape[3])
        return ImageList(images, [size] * len(images)), targets

    def postprocess(self, detections: Targets, *_sizes: object) -> Targets:
        """Detections as they are."""
        return detections


def torchvision_detector(
    kind: type[FCOS] | type[RetinaNet], like: PyramidBackbone, **settings: float
) -> FCOS | RetinaNet:
    """Theirs, with the backbone, the pyramid and the weights of ours; settings: of its test."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=3,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    backbone.load_state_dict(like.state_dict())
    detector = kind(backbone, num_classes=CLASSES, **settings)
    detector.transform = AsItIs()
    return detector


def asked(options: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line says: sizes of 0 are the usual ones; a CPU computes in one thread."""
    given = options.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)
    for name, usual in zip(("batch", "height", "width"), SIZES[given.device], strict=True):
        setattr(given, name, getattr(given, name, 0) or usual)
    return given


def normal_batch(batch: int, size: tuple[int, int], device: str) -> Tensor:
    """[B, 3, H, W] as if normalized."""
    random = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, *size, generator=random).to(device)


def made_up_targets(
    batch: int, size: tuple[int, int], objects: int, device: str, seed: int = 0
) -> Targets:
    """Objects of 8 to 512 pixels or the image's side, log-uniform, anywhere inside."""
    random = torch.Generator().manual_seed(seed)
    extent = torch.tensor([size[1], size[0]], dtype=torch.float32)
    targets = []
    for _ in range(batch):
        largest = extent.clamp(max=512) / 8
        sides = 8 * largest ** torch.rand(objects, 2, generator=random)
        corners = torch.rand(objects, 2, generator=random) * (extent - sides)
        labels = torch.randint(CLASSES, (objects,), generator=random)
        boxes = torch.cat([corners, corners + sides], dim=1)
        targets.append({"boxes": boxes.to(device), "labels": labels.to(device)})
    return targets


def now(device: str) -> float:
    """Seconds, once a GPU has done what it was asked; of a CPU those this process computed.

    On one thread the latter is what the wall clock says of an idle machine, whatever the load.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def peak_bytes(work: Callable[[], object], device: str) -> int:
    """What a work takes at most beyond what is there before it, all that it warms up included."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # or memory that was kept for reuse would hide the need
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _highest_resident_bytes()
    work()
    return _highest_resident_bytes() - before


def _highest_resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def in_turns(
    works: dict[str, Callable[[], object]], rounds: int, device: str
) -> dict[str, list[float]]:
    """Seconds of each work in each round, the order reversed every other round; one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name in list(works) if number % 2 else reversed(works):
            begun = now(device)
            works[name]()
            spent = now(device) - begun
            if number:
                times[name].append(spent)
    return times


def milliseconds(times: dict[str, list[float]]) -> dict[str, float]:
    """The median of each work."""
    return {name: 1000 * statistics.median(spent) for name, spent in times.items()}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Theirs over ours, round by round: the median, and an interval that holds it by 95 %.

    Of order statistics, as in a sign test: nothing is assumed of how the ratios are spread. Under
    six rounds no interval has that certainty, and the range of all ratios is given.
    """
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    outside = max(int(binom.ppf(0.025, len(ratios), 0.5)) - 1, 0)  # the interval, on each side
    low, high = ratios[outside], ratios[-1 - outside]
    return {"median": statistics.median(ratios), "low": low, "high": high}


def as_text(ratio: dict[str, float], digits: int = 2) -> str:
    """Its median and its interval."""
    return "{median:.{d}f}x ({low:.{d}f} to {high:.{d}f})".format(d=digits, **ratio)
