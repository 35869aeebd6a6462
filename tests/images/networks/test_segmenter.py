"""Any network that shrinks its maps becomes an encoder, and every pixel gets a score."""

import pytest
import torch
from torch import Tensor, nn

from barlow.images.networks.backbones import build_backbone
from barlow.images.networks.segmenter import Encoder, Segmenter


@pytest.mark.parametrize(
    ("name", "width", "stem", "strides"),
    [
        ("unet:2", 64, "auto", (1, 2, 4, 8, 16)),
        ("unet-plain:2", 64, "auto", (1, 2, 4, 8, 16)),
        ("resnet10", 4, "small", (1, 2, 4, 8)),
        ("resnet10", 4, "imagenet", (2, 4, 8, 16, 32)),
        ("timm:test_convnext", 64, "auto", (4, 8, 16, 32)),
        ("torchvision:resnet18", 64, "imagenet", (2, 4, 8, 16, 32)),
    ],
)
def test_every_pixel_of_an_image_of_any_size_gets_a_score(
    name: str, width: int, stem: str, strides: tuple[int, ...]
) -> None:
    backbone = build_backbone(name, image_size=64, width=width, stem=stem)
    network = Segmenter(backbone, 3, in_channels=3).eval()
    assert network.encoder.strides == strides
    with torch.no_grad():
        assert network(torch.randn(1, 3, 70, 45)).shape == (1, 3, 70, 45)


def test_two_classes_have_one_score() -> None:
    network = Segmenter(build_backbone("unet:2", in_channels=1, image_size=32), 2, in_channels=1)
    assert network(torch.randn(2, 1, 32, 32)).shape == (2, 1, 32, 32)


def test_the_last_map_is_the_one_whose_mean_the_features_are_and_looking_changes_no_statistics() -> None:
    backbone = build_backbone("resnet10", width=4, image_size=64, stem="imagenet").train()
    before = {name: one.clone() for name, one in backbone.state_dict().items()}
    encoder = Encoder(backbone, 3)
    assert all(torch.equal(one, before[name]) for name, one in backbone.state_dict().items())
    assert backbone.network.bn1.training  # type: ignore[union-attr]
    images = torch.randn(2, 3, 64, 64)
    backbone.eval()
    assert torch.allclose(encoder(images)[-1].mean((2, 3)), backbone(images), atol=1e-5)


def test_the_decoder_sees_every_map_of_the_encoder() -> None:
    backbone = build_backbone("unet:2", in_channels=1, image_size=32)
    network = Segmenter(backbone, 2, in_channels=1)
    maps = [one.detach().requires_grad_() for one in network.encoder(torch.randn(2, 1, 32, 32))]
    network.decoder(maps, (32, 32)).square().sum().backward()
    assert all(one.grad is not None and float(one.grad.abs().sum()) > 0 for one in maps)


def test_encoder_and_backbone_are_one_and_a_network_of_ones_own_brings_its_maps() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 5, 3, stride=2, padding=1)

        def maps(self, images: Tensor) -> list[Tensor]:
            fine = self.first(images)
            return [fine, self.second(fine)]

    own = Own()
    encoder = Encoder(own, 1)
    assert (encoder.channels, encoder.strides) == ((3, 5), (1, 2))
    assert encoder.network is own


def test_networks_without_levels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^backbone: VisionTransformer has maps of one size only, wanted a network"):
        Encoder(build_backbone("timm:test_vit", image_size=64), 3)
    with pytest.raises(ValueError, match=r"^backbone: the maps of Linear are not known; wanted unet:16"):
        Encoder(nn.Linear(2, 2), 3)
