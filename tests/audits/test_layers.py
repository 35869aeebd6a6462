"""Invariance by layer: known networks have known shares, in the order of the network."""

import math

import pytest
import torch
from torch import Tensor, nn

from barlow.audits.layers import backbone_stages, layer_shares, projector_blocks
from barlow.data.arrays import ArraySource
from barlow.images.networks.backbones import build_backbone
from barlow.images.views.pipeline import ImagePipeline
from barlow.methods.heads import projector
from barlow.seams import Params
from barlow.theory.invariance import augmentation_share


class NoiseBehind:
    """Vectors (x, noise): four features of the picture, four of augmentation, all of variance 1."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {"noise": {"value": torch.randn(batch.shape, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return torch.cat([batch, params["noise"]["value"]], dim=1)


def vectors(n: int = 2000, d: int = 4) -> ArraySource:
    return ArraySource(torch.randn(n, d, generator=torch.Generator().manual_seed(7)))


def pictures(n: int = 30) -> ArraySource:
    return ArraySource(torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(0)))


VIEW = ImagePipeline(size=16, mean=(0.5,), std=(0.25,), translation=0.2, noise=0.2)


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def test_a_projector_that_keeps_the_picture_only_makes_its_output_invariant_and_leaves_h_as_it_is() -> None:
    keep, weigh = torch.eye(8)[:5], torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))
    head = nn.Sequential(linear(keep), linear(weigh)).eval()
    shares = layer_shares(lambda view: view, head, vectors(), NoiseBehind(), num_images=2000)
    assert list(shares) == ["h", "projector.1", "z"]
    for name, width, share, correlation in (("h", 8, 0.5, 0.5), ("projector.1", 5, 0.2, 0.8), ("z", 5, 0.0, 1.0)):
        found = shares[name]
        assert found.num_features == width
        assert found.augmentation_share == pytest.approx(share, abs=max(4 * found.error, 1e-9))
        assert found.mean_correlation == pytest.approx(correlation, abs=max(4 * found.mean_correlation_error, 1e-9))
        assert found.error < 0.02
    assert shares["h"].effective_rank == pytest.approx(8.0, abs=0.1)
    assert shares["z"].effective_rank == pytest.approx(4.0, abs=0.1)
    # The fifth output of z is constant: it has no correlation and does not count.
    assert shares["z"].mean_correlation == pytest.approx(1.0, abs=1e-12)


def test_scale_matters_to_the_share_and_not_to_the_correlation() -> None:
    louder = nn.Sequential(linear(torch.diag(torch.tensor([1.0] * 4 + [3.0] * 4)))).eval()
    found = layer_shares(lambda view: view, louder, vectors(), NoiseBehind(), num_images=2000)
    assert found["z"].augmentation_share == pytest.approx(0.9, abs=0.01)
    assert found["z"].mean_correlation == pytest.approx(found["h"].mean_correlation, abs=1e-6)


def test_the_share_of_h_is_that_of_its_views() -> None:
    seen: list[Tensor] = []

    def watched(view: Tensor) -> Tensor:
        seen.append(view)
        return view

    found = layer_shares(watched, None, vectors(50), NoiseBehind(), num_views=3)
    assert list(found) == ["h"]
    expected = augmentation_share(torch.stack(seen, dim=1))
    assert found["h"].augmentation_share == pytest.approx(expected, rel=1e-10)


def test_blocks_of_a_projector_end_before_each_linear_layer_and_make_up_the_whole() -> None:
    head = projector("6-5-4", 8).eval()
    blocks = projector_blocks(head)
    assert [(name, len(list(block.children()))) for name, block in blocks] == [
        ("projector.1", 3),
        ("projector.2", 3),
        ("z", 1),
    ]
    h = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
    z = h
    for _, block in blocks:
        z = block(z)
    torch.testing.assert_close(z, head(h))
    for spec in ("none", "linear"):
        assert [name for name, _ in projector_blocks(projector(spec, 8))] == ["z"]
    ending = projector("6-4", 8, last_norm="plain")
    assert [name for name, _ in projector_blocks(ending)] == ["projector.1", "z"]
    assert [name for name, _ in projector_blocks(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4)))] == ["z"]


def test_stages_of_a_resnet_come_before_h_and_the_last_one_is_h() -> None:
    backbone = build_backbone("resnet10", in_channels=1, image_size=16, width=4, stem="small").eval()
    stages = backbone_stages(backbone)
    assert list(stages) == ["layer1", "layer2", "layer3", "layer4"]
    head = projector("8-6", backbone.num_features).eval()
    shares = layer_shares(backbone, head, pictures(), VIEW, stages=stages)
    assert list(shares) == [*stages, "h", "projector.1", "z"]
    assert [shares[name].num_features for name in shares] == [4, 8, 16, 32, 32, 8, 6]
    # The features are the last map averaged over its positions.
    assert shares["layer4"].augmentation_share == pytest.approx(shares["h"].augmentation_share, rel=1e-4)
    assert all(not module._forward_hooks for module in backbone.modules())


def test_maps_and_tokens_are_averaged_over_positions() -> None:
    class Shaped(nn.Module):
        def __init__(self, *axes: int) -> None:
            super().__init__()
            self.axes = axes

        def forward(self, x: Tensor) -> Tensor:
            return x.permute(self.axes) if len(self.axes) == 4 else x.flatten(2).transpose(1, 2)

    stages = {"first": Shaped(0, 1, 2, 3), "last": Shaped(0, 2, 3, 1), "tokens": Shaped()}

    def represent(view: Tensor) -> Tensor:
        wide = torch.cat([view, view.square(), view.abs()], dim=1)
        for stage in stages.values():
            stage(wide)
        return wide.mean(dim=(2, 3))

    shares = layer_shares(represent, None, pictures(), VIEW, stages=stages)
    for name in stages:
        assert shares[name].num_features == 3
        assert shares[name].augmentation_share == pytest.approx(shares["h"].augmentation_share, rel=1e-4)


def test_lists_of_stages_are_found_by_their_usual_names() -> None:
    network = nn.ModuleDict({"stem": nn.Identity(), "stages": nn.Sequential(nn.Identity(), nn.ReLU())})
    assert list(backbone_stages(network)) == ["stages.0", "stages.1"]
    assert backbone_stages(nn.Sequential(nn.Flatten())) == {}


def test_a_collapsed_network_has_no_shares() -> None:
    found = layer_shares(lambda view: torch.full((len(view), 3), 0.1), None, pictures(), VIEW)
    assert math.isnan(found["h"].augmentation_share)
    assert math.isnan(found["h"].mean_correlation)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="projector: is in training mode"):
        layer_shares(lambda view: view, nn.Linear(8, 4), vectors(), NoiseBehind())
    with pytest.raises(ValueError, match="num_images, num_views: got 10 and 1"):
        layer_shares(lambda view: view, None, vectors(), NoiseBehind(), num_images=10, num_views=1)
    with pytest.raises(ValueError, match="stages: 'layer9' is not a part"):
        layer_shares(lambda view: view, None, vectors(), NoiseBehind(), stages={"layer9": nn.Identity()})
    with pytest.raises(ValueError, match="source: no sample could be read"):
        layer_shares(lambda view: view, None, vectors(0), NoiseBehind())
