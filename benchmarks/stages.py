"""A training step of ours or of torchvision's, cut at the borders of its stages.

Forward: body, pyramid, head, assignment, losses; then backward through them, each from the
gradients at its border; then the optimizer. The numbers are those of the whole step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
from side_by_side import Targets
from torch import Tensor, nn
from torchvision.models.detection import FCOS as TheirFCOS
from torchvision.models.detection.image_list import ImageList

from detector.detector import Detector, normalizers_of
from detector.head import Predictions


@dataclass(frozen=True)
class Setting:
    """Number format, memory format and compilation of one measurement, of ours and theirs alike."""

    precision: str = "fp32"  # "tf32" and "bf16" are of convolutions
    channels_last: bool = False
    compiled: bool = False

    @classmethod
    def of(cls, name: str) -> "Setting":
        """By its name: a precision, then -channels_last, then -compiled."""
        precision, *parts = name.split("-")
        return cls(precision, "channels_last" in parts, "compiled" in parts)

    def autocast(self, device: str) -> torch.autocast:
        """Around the forward pass."""
        return torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16")

    def apply(self, model: nn.Module) -> nn.Module:
        """The model as it is to be measured."""
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        if self.compiled:
            model.get_submodule("backbone").compile()
            model.get_submodule("head").compile()
        return model


@dataclass(frozen=True)
class Case:
    """What every detector is given."""

    images: Tensor
    targets: Targets
    device: str
    setting: Setting

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]


def assignment(
    model: nn.Module, case: Case, features: list[Tensor], outputs: dict[str, Tensor]
) -> Callable[[], dict[str, Tensor]]:
    """Select the samples, of ours or as torchvision does; returns what gives their losses."""
    if isinstance(model, Detector):
        samples = model.select_samples(case.size, case.targets)
        predictions = Predictions(**({"centerness": None} | outputs))
        return lambda: model._losses(predictions, samples, normalizers_of([samples]))
    images = ImageList(case.images, [case.size] * len(case.images))
    anchors = model.anchor_generator(images, features)
    more = [[level[0, 0].numel() for level in features]] if isinstance(model, TheirFCOS) else []
    with patch.object(model.head, "compute_loss", lambda *given: given):
        given = model.compute_loss(case.targets, outputs, anchors, *more)
    return partial(model.head.compute_loss, *given)


def leaves(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values, at which a backward pass stops."""
    return {name: value.detach().requires_grad_() for name, value in outputs.items()}


def backward(outputs: dict[str, Tensor], cut: dict[str, Tensor]) -> None:
    """Go on from the gradients at a cut."""
    reached = [name for name in outputs if outputs[name].requires_grad]
    torch.autograd.backward([outputs[n] for n in reached], [cut[n].grad for n in reached])


def stages(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    case: Case,
    read: Callable[[], float],
) -> dict[str, float]:
    """What read() has grown by in each stage: seconds, or FLOPs."""
    spent, last = {}, read()

    def ends(name: str) -> None:
        nonlocal last
        reading = read()
        spent[name], last = reading - last, reading

    with case.setting.autocast(case.device):
        maps = model.backbone.body(case.images)
        ends("body")
        maps_cut = leaves(maps)
        pyramid = model.backbone.fpn(maps_cut)
        ends("pyramid")
        pyramid_cut = leaves(pyramid)
        features = list(pyramid_cut.values())
        outputs = model.head(features)
        outputs = outputs if isinstance(outputs, dict) else vars(outputs)
        outputs = {name: value for name, value in outputs.items() if value is not None}
        ends("head")
        cut = leaves(outputs)
        losses = assignment(model, case, features, cut)
        ends("assignment")
        total = torch.stack(list(losses().values())).sum()
        ends("losses")
    total.backward()
    ends("losses, backward")
    backward(outputs, cut)
    ends("head, backward")
    backward(pyramid, pyramid_cut)
    ends("pyramid, backward")
    backward(maps, maps_cut)
    ends("body, backward")
    optimizer.step()
    ends("optimizer")
    optimizer.zero_grad()
    return spent
