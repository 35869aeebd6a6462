"""Narrow ResNets of basic blocks, which neither library has, and convolutions that are right where oneDNN's are not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import barlow
from barlow.images.networks.backbones import build_backbone
from barlow.images.networks.basic_resnet import SmallMapConv2d, SubsampledPointwise, _stage, single_pixel_convolutions


def test_a_subsampled_pointwise_convolution_is_the_strided_one() -> None:
    torch.manual_seed(0)
    ours, theirs = SubsampledPointwise(4, 8, 1, 2, bias=False).double(), nn.Conv2d(4, 8, 1, 2, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    for side in (7, 8):
        images = torch.randn(5, 4, side, side, dtype=torch.float64)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-12, atol=1e-12)


def test_only_stages_with_fewer_than_16_channels_take_it() -> None:
    stages = [_stage(width, 2 * width, 1, stride=2) for width in (4, 15, 16)]
    shortcuts = [type(stage.get_submodule("0.downsample.0")) for stage in stages]
    assert shortcuts == [SubsampledPointwise, SubsampledPointwise, nn.Conv2d]


NARROW_STEPS = """
import torch
from barlow.images.networks.basic_resnet import _stage
shortcut = _stage(4, 8, 1, stride=2)[0].downsample[0].to(memory_format=torch.channels_last)
junk = []
for step in range(80):
    images = torch.randn(127, 4, 12, 12, requires_grad=True).to(memory_format=torch.channels_last)
    shortcut(images).square().sum().backward()
    junk = [*junk[-20:], torch.zeros(step % 37 + 1)]
print("alive")
"""


def test_narrow_networks_do_not_corrupt_memory() -> None:
    """With `nn.Conv2d` this died in every run: an odd batch, two threads, four channels, channels_last."""
    command, threads = [sys.executable, "-c", NARROW_STEPS], {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=threads)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 2), (2, 1), (2, 5), (5, 5)])
def test_the_numbers_and_gradients_are_those_of_the_convolution(
    size: tuple[int, int], stride: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    ours = SmallMapConv2d(4, 6, stride).double().to(memory_format=layout)
    plain = nn.Conv2d(4, 6, 3, stride=stride, padding=1, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    found: list[torch.Tensor] = []
    wanted: list[torch.Tensor] = []
    for conv, results in ((ours, found), (plain, wanted)):
        x = torch.randn(3, 4, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x = x.contiguous(memory_format=layout).requires_grad_()
        y = conv(x)
        y.square().sum().backward()
        assert x.grad is not None
        assert conv.weight.grad is not None
        results += [y.detach(), x.grad, conv.weight.grad]
    for ours_one, plain_one in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours_one, plain_one)
    assert found[0].is_contiguous(memory_format=torch.channels_last) or max(size) > 2


def test_every_3_x_3_convolution_of_a_block_takes_it_with_the_names_and_weights_of_before() -> None:
    backbone = build_backbone("resnet10", image_size=28, width=4, stem="imagenet")
    kernels = {name for name, part in backbone.named_modules() if getattr(part, "kernel_size", ()) == (3, 3)}
    ours = {name for name, part in backbone.named_modules() if isinstance(part, SmallMapConv2d)}
    assert ours == kernels
    assert len(ours) == 8


def test_a_library_resnet_on_small_images_is_found_out_and_ours_is_not() -> None:
    example = torch.randn(2, 3, 8, 8)
    library = build_backbone("torchvision:resnet18", image_size=8, stem="imagenet")
    assert [name.removeprefix("network.") for name in single_pixel_convolutions(library, example)][-1].startswith(
        "layer4.0"
    )
    assert single_pixel_convolutions(library, torch.randn(2, 3, 64, 64)) == []
    ours = build_backbone("resnet10", image_size=8, width=4, stem="imagenet")
    assert ours.training
    assert single_pixel_convolutions(ours, example) == []
    assert ours.training


def test_bf16_on_such_a_network_is_refused_with_what_to_do(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (32, 3, 8, 8), dtype=torch.uint8)
    quiet = barlow.Machine(quiet=True)
    with pytest.raises(ValueError, match=r"precision: .*single pixel.*32-true"):
        barlow.pretrain(
            images, recipe="digits", views="cifar", out=tmp_path / "a", precision="bf16-mixed", machine=quiet,
            projector="8-8", backbone="torchvision:resnet18", stem="imagenet", width=64, epochs=1, batch_size=16,
        )  # fmt: skip
