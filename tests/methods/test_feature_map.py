"""The map before the pooling: for our networks, both libraries' and a user's, with nothing left behind."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from barlow.images.networks.backbones import build_backbone
from barlow.images.networks.basic_resnet import BasicResNet
from barlow.methods.feature_map import final_pooling, with_feature_map


def hooks_of(network: nn.Module) -> int:
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in network.modules())


@pytest.mark.parametrize(
    ("name", "size", "cells"),
    [
        ("torchvision:resnet18", 64, 2),
        ("timm:resnet18", 64, 2),
        ("timm:convnext_atto", 64, 2),
        ("torchvision:regnet_y_400mf", 64, 2),  # with poolings inside its squeeze-and-excitation blocks
    ],
)
def test_networks_of_the_libraries_give_h_and_the_map_behind_it(name: str, size: int, cells: int) -> None:
    backbone = build_backbone(name, image_size=size, stem="imagenet").eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    h, feature_map = with_feature_map(backbone, images)
    assert feature_map.shape == (2, backbone.num_features, cells, cells)
    torch.testing.assert_close(h, backbone(images), rtol=0, atol=0)
    if "convnext" not in name:  # there a norm stands between the pooling and h
        torch.testing.assert_close(feature_map.mean(dim=(2, 3)), h)
    assert hooks_of(backbone) == 0


def test_our_narrow_resnet_with_the_small_stem_has_a_map_of_four_by_four() -> None:
    backbone = build_backbone("resnet10", in_channels=1, image_size=28, width=8, stem="small")
    h, feature_map = with_feature_map(backbone, torch.randn(2, 1, 28, 28))
    assert isinstance(backbone.network, BasicResNet)
    assert feature_map.shape == (2, 64, 4, 4)
    torch.testing.assert_close(feature_map.mean(dim=(2, 3)), h)


def test_gradients_flow_through_the_map_and_through_h() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())
    h, feature_map = with_feature_map(network, torch.randn(2, 1, 6, 6))
    for output in (h, feature_map):
        network.zero_grad()
        output.square().sum().backward(retain_graph=True)
        grad = network.get_parameter("0.weight").grad
        assert grad is not None
        assert grad.any()


def test_the_last_of_several_poolings_is_taken_and_timms_not_taken_apart() -> None:
    excitation = torchvision.models.efficientnet_b0()
    assert final_pooling(excitation) is excitation.avgpool
    convnext = build_backbone("timm:convnext_atto", image_size=64).network
    assert final_pooling(convnext) is convnext.get_submodule("head.global_pool")


@pytest.mark.parametrize(
    "network",
    [nn.Linear(4, 2), nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d((7, 7))), torchvision.models.vgg11()],
    ids=["linear", "pooling to 7 x 7", "vgg11"],
)
def test_networks_without_global_pooling_are_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="has no global average pooling module"):
        final_pooling(network)


class Widened(nn.Module):
    """Pools a map of 4 channels, and then makes 6 features of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(4, 6)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.last(self.pool(images).flatten(1))
        return features


class Twice(nn.Module):
    """Uses its pooling for two things."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.pool(images * self.pool(images)).flatten(1)
        return pooled


def test_a_map_that_h_is_not_the_mean_of_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 6\) from a map of shape \(2, 4, 5, 5\)"):
        with_feature_map(Widened(), torch.randn(2, 4, 5, 5))
    with pytest.raises(ValueError, match="ran 2 times"):
        with_feature_map(Twice(), torch.randn(2, 4, 5, 5))


def test_no_hook_is_left_after_an_error() -> None:
    network = Widened()
    with pytest.raises(RuntimeError):
        with_feature_map(network, torch.randn(2, 3, 5, 5))
    assert hooks_of(network) == 0
