"""Convolutions on maps of one pixel: the same numbers by the centre of the kernel, and bf16 refused elsewhere."""

from pathlib import Path

import pytest
import torch
from torch import nn

import barlow
from barlow.networks.backbones import build_backbone
from barlow.networks.single_pixel import CentreTapConv2d, single_pixel_convolutions


@pytest.mark.parametrize("side", [1, 2, 5])
def test_the_numbers_and_gradients_are_those_of_the_convolution(side: int) -> None:
    torch.manual_seed(0)
    ours = CentreTapConv2d(4, 6, 3, stride=2, padding=1).double()
    plain = nn.Conv2d(4, 6, 3, stride=2, padding=1).double()
    plain.load_state_dict(ours.state_dict())
    found: list[torch.Tensor] = []
    wanted: list[torch.Tensor] = []
    for conv, results in ((ours, found), (plain, wanted)):
        x = torch.randn(3, 4, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        y = conv(x)
        y.square().sum().backward()
        assert x.grad is not None
        assert conv.weight.grad is not None
        results += [y.detach(), x.grad, conv.weight.grad]
    for ours_one, plain_one in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours_one, plain_one)


def test_a_library_resnet_on_small_pictures_is_found_out_and_ours_is_not() -> None:
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
