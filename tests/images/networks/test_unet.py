"""U-Nets: the network of BT-Unet to the last parameter, its maps, and its way into a folder and back."""

from pathlib import Path

import pytest
import torch
from torch import nn

from barlow.images.networks.backbones import build_backbone
from barlow.images.networks.saved import load_backbone, save_backbone
from barlow.images.networks.segmenter import Decoder
from barlow.images.networks.unet import ResidualBlock, UNetEncoder, is_unet

PUBLISHED_ENCODER, PUBLISHED_NETWORK = 188_523, 353_104
"""Numbers of the repository's network, statistics of BatchNorm among them (applied to three channels)."""
THEIR_LAST_NORM = 4
"""A BatchNorm of one channel before the sigmoid, which we do not have."""


def num_numbers(network: nn.Module) -> int:
    return sum(one.numel() for name, one in network.state_dict().items() if "num_batches" not in name)


def test_the_network_of_bt_unet_has_as_many_numbers_as_the_published_one() -> None:
    encoder = UNetEncoder("unet:16")
    assert num_numbers(encoder) == PUBLISHED_ENCODER
    decoder = Decoder((16, 32, 64, 128, 256), (1, 2, 4, 8, 16), 1, ResidualBlock)
    assert num_numbers(encoder) + num_numbers(decoder) + THEIR_LAST_NORM == PUBLISHED_NETWORK


@pytest.mark.parametrize("name", ["unet:4", "unet-plain:4"])
def test_the_features_are_the_mean_of_the_last_of_five_maps_that_halve(name: str) -> None:
    encoder = UNetEncoder(name, in_channels=1).eval()
    images = torch.randn(2, 1, 32, 48)
    maps = encoder.maps(images)
    assert [tuple(one.shape[1:]) for one in maps] == [(4, 32, 48), (8, 16, 24), (16, 8, 12), (32, 4, 6), (64, 2, 3)]
    assert torch.allclose(encoder(images), maps[-1].mean((2, 3)), atol=1e-6)


def test_it_comes_back_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(3)
    backbone = build_backbone("unet:4", in_channels=1, image_size=32).eval()
    assert backbone.num_features == 64
    save_backbone(tmp_path, backbone)
    again = load_backbone(tmp_path)
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(again(images), backbone(images))


@pytest.mark.parametrize(
    ("name", "width", "wanted"),
    [("unet", 64, "unet:16"), ("unet", 8, "unet:8"), ("unet:x", 64, "unet:16"), ("unet:8", 32, "unet:8")],
)
def test_its_width_is_in_its_name(name: str, width: int, wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"^backbone: got '{name}'.*wanted the width behind the name: {wanted}$"):
        build_backbone(name, width=width)
    assert is_unet("unet-plain:12")
    assert not is_unet("unet:0")
