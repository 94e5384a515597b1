"""Backbones: sizes, what trains, where P6 and P7 come from, and weights that cannot be had."""

import pickle
from urllib.error import URLError

import pytest
import torch
from foreign import Payload
from torch import nn
from torchvision.models import ResNet50_Weights, resnet18, resnet34
from torchvision.ops import FrozenBatchNorm2d

from detector.backbone import build_backbone
from detector.detector import build_detector
from detector.layers import DeformableConv2d, FrozenBatchNorm, GroupNorm
from detector.weights.conventions import Layout, own_layout
from experiments.baselines import ATSS


@pytest.fixture(scope="module")
def resnet():
    return build_backbone("resnet50")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_papers_detector_has_as_many_parameters_as_the_papers(resnet):
    assert count(resnet.body) == 23_454_912  # convolutions only: batch norm is buffers
    assert count(resnet.fpn) == 3_868_672  # P6 from P5
    assert count(build_detector(ATSS, 80, backbone=resnet)) == 32_244_250


@pytest.mark.parametrize("is_rectified", [True, False])
def test_p6_comes_from_p5_and_p7_from_p6_rectified_or_not(is_rectified):
    layout = Layout(rectified_p6=is_rectified)
    for chosen in (("small", "group_norm"), ("resnet50",)):
        backbone = build_backbone(*chosen, layout=layout)
        with torch.no_grad():
            _, _, p5, p6, p7 = backbone(torch.randn(1, 3, 128, 128))
            extra = backbone.fpn.extra_blocks
            assert extra.p6.kernel_size == extra.p7.kernel_size == (3, 3)
            torch.testing.assert_close(p6, extra.p6(p5))
            torch.testing.assert_close(p7, extra.p7(p6.relu() if is_rectified else p6))
        assert p6.min() < 0  # it goes to the head as it is


def test_the_stem_layer1_and_every_batch_norm_are_frozen(resnet):
    frozen = [name for name, p in resnet.body.named_parameters() if not p.requires_grad]
    assert {name.split(".")[0] for name in frozen} == {"conv1", "layer1"}
    assert sum(resnet.body.get_parameter(name).numel() for name in frozen) == 222_400
    norms = [m for m in resnet.body.modules() if isinstance(m, FrozenBatchNorm2d)]
    assert len(norms) == 53
    assert {norm.eps for norm in norms} == {1e-5}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in resnet.modules())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_norm_in_bf16_rounds_once_and_keeps_no_map_for_the_backward_pass(
    dtype, memory_format
):
    """In fp32 it is torchvision's to the bit. Rounding to bf16 moves a number by at most 2^-8."""
    ours, theirs = FrozenBatchNorm(24, eps=1e-5), FrozenBatchNorm2d(24, eps=1e-5)
    theirs.load_state_dict({name: torch.rand(24) + 0.1 for name in ours.state_dict()})
    ours.load_state_dict(theirs.state_dict())
    maps, gradient = (torch.randn(2, 24, 9, 7).to(dtype) for _ in range(2))
    features = maps.to(memory_format=memory_format).requires_grad_()
    exact, kept = features.detach().float().requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda it: kept.append(it) or it, lambda it: it):
        found = ours(features)
    expected = theirs(exact)
    found.backward(gradient)
    expected.backward(gradient.float())
    assert found.dtype == features.grad.dtype == dtype
    assert found.is_contiguous(memory_format=memory_format)
    close = {"rtol": 2**-8, "atol": 1e-6} if dtype == torch.bfloat16 else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(found.float(), expected, **close)
    torch.testing.assert_close(features.grad.float(), exact.grad, **close)
    assert dtype == torch.float32 or {it.shape for it in kept} == {(24,)}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_group_norm_in_bf16_keeps_bf16_and_is_torchs_in_fp32(device):
    """Three roundings: of the factor, of the shift, of the result."""
    ours, theirs = GroupNorm(4, 24).to(device), nn.GroupNorm(4, 24).to(device)
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        nn.init.uniform_(parameter, 0.5, 2)
        other.data.copy_(parameter.data)
    maps = torch.randn(2, 24, 9, 7, device=device)
    assert torch.equal(ours(maps), theirs(maps))
    with torch.autocast(device, torch.bfloat16):
        found = ours(maps.bfloat16())
    expected = theirs(maps.bfloat16().float())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=2**-6, atol=2**-6)
    gradients = []
    for output, one in ((found, ours), (expected, theirs)):
        output.float().square().sum().backward()
        gradients.append(torch.cat([p.grad for p in one.parameters()]))
    assert (gradients[0] - gradients[1]).norm() < 0.01 * gradients[1].norm()


def test_with_group_norm_everything_trains():
    for name in ("small", "resnet18"):
        backbone = build_backbone(name, "group_norm")
        assert all(parameter.requires_grad for parameter in backbone.parameters())
        assert not any(isinstance(m, FrozenBatchNorm2d) for m in backbone.modules())


def test_a_deformable_convolution_starts_as_the_plain_one_at_half_its_strength():
    plain = nn.Conv2d(8, 6, 3, stride=2, padding=1, groups=2)
    deformable = DeformableConv2d(plain)
    maps = torch.randn(2, 8, 9, 7)
    bias = plain.bias[:, None, None]
    expected = bias + (plain(maps) - bias) / 2  # the masks are sigmoid(0)
    torch.testing.assert_close(deformable(maps), expected)
    assert deformable.offset.weight.shape == (27, 8, 3, 3)


# Weights


@pytest.mark.parametrize("deformable", ["none", "c4-c5"])
def test_weights_come_from_a_file_of_torchvisions_keys(tmp_path, deformable):
    """Of plain convolutions, also where ours become deformable, which then begin as those."""
    theirs, path = resnet18(), tmp_path / "weights.pth"
    for name, buffer in theirs.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), path)
    layout = own_layout(deformable)
    ours = build_backbone("resnet18", weights=str(path), layout=layout).body.state_dict()
    offsets = {name for name in ours if ".offset." in name}
    assert bool(offsets) == (deformable != "none")
    assert not any(ours[name].any() for name in offsets)
    for name in ours.keys() - offsets:
        assert torch.equal(ours[name], theirs.state_dict()[name.replace(".conv.", ".")]), name


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no file"),
        (pickle.dumps(Payload(open, "trace", "w"), 2), "reading stopped"),
        ([1, 2], "it holds a list"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "keys missing"),
        (resnet34().state_dict(), "do not fit resnet18"),
        (resnet18().state_dict() | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, "18.*conv1.weight"),
    ],
    ids=["none", "hostile", "a list", "a tensor", "another depth", "a shape"],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, monkeypatch, content, complaint):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=complaint) as caught:
        build_backbone("resnet18", weights=str(path))
    assert "weights" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()  # nothing was executed


def test_without_a_network_the_needed_file_and_its_place_are_named(monkeypatch, tmp_path):
    def unreachable(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", unreachable)
    with pytest.raises(ValueError, match="resnet50-0676ba61.pth") as caught:
        build_backbone("resnet50", weights="imagenet")
    assert str(tmp_path) in str(caught.value)
