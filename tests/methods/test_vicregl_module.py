"""VICRegL from located views to its loss: maps, places, flips, gradients, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from barlow.images.networks.backbones import build_backbone
from barlow.images.views.located import LocatedPipeline, LocatedView
from barlow.images.views.pipeline import ImagePipeline
from barlow.methods.heads import HeadSpec
from barlow.methods.vicregl import VICRegL, vicregl, vicregl_loss
from tests.methods.vicregl_embeddings import PARTS, some_views


def tiny_method(**options: object) -> VICRegL:
    torch.manual_seed(0)
    backbone = build_backbone("resnet10", in_channels=1, image_size=28, width=8, stem="small", zero_init=False)
    head = HeadSpec("16-12", bias=True)
    return vicregl(backbone, head, backbone.num_features, local_projector="16-8", **options)  # type: ignore[arg-type]


def located_views(sizes: tuple[int, ...] = (28, 28), n: int = 6) -> list[LocatedView]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 1, 28, 28, generator=generator)
    made = []
    for size in sizes:
        pipeline = LocatedPipeline(
            ImagePipeline(size=size, mean=(0.5,), std=(0.25,), crop_scale=(0.3, 1.0), flip=0.5, noise=0.1)
        )
        made.append(pipeline.apply(images, pipeline.sample(images, generator)))
    return made


@pytest.mark.parametrize("sizes", [(28, 28), (28, 28, 14)], ids=["two views", "a small view"])
def test_gradients_reach_backbone_and_both_heads(sizes: tuple[int, ...]) -> None:
    method = tiny_method()
    terms = method(located_views(sizes))
    assert list(terms.parts) == PARTS
    assert terms.total.isfinite()
    terms.total.backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for part in (method.backbone, method.projector, method.local_projector):
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_the_module_gives_the_loss_of_its_maps() -> None:
    method, views = tiny_method(alpha=0.4, matches=5, matches_back=2, feature_matches=7).eval(), located_views()
    embeddings = [method._embeddings(view) for view in views]
    assert [(e.whole.shape, e.positions.shape, e.places.shape) for e in embeddings] == [
        ((6, 12), (6, 16, 8), (6, 16, 2))
    ] * 2
    # Position 6 of the map of 4 x 4 is row 1, column 2.
    with torch.no_grad():
        feature_map = method.backbone.network.layer4(  # type: ignore[union-attr, operator]
            _until_layer4(method.backbone.network, views[0].images)  # type: ignore[arg-type]
        )
        expected = method.local_projector(feature_map[:, :, 1, 2])
    torch.testing.assert_close(embeddings[0].positions[:, 6], expected)
    top, left, height, width = views[0].boxes.unbind(1)
    column = torch.where(views[0].flipped, 1 - 2.5 / 4, 2.5 / 4)
    place = torch.stack([top + 1.5 / 4 * height, left + column * width], dim=1)
    torch.testing.assert_close(embeddings[0].places[:, 6], place)
    expected_loss = vicregl_loss(embeddings, alpha=0.4, matches=(5, 2), feature_matches=(7, 0)).total
    torch.testing.assert_close(method(views).total, expected_loss)


def _until_layer4(network: nn.Module, images: Tensor) -> Tensor:
    x = images
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"):
        x = network.get_submodule(name)(x)
    return x


def test_flips_are_compensated_by_default_and_ignored_officially() -> None:
    """Two views of one crop, the second mirrored: only with compensation do matches show the same pixels."""
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(4, 4)
    upright, mirrored = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    views = [LocatedView(images, boxes, upright), LocatedView(images.flip(3), boxes, mirrored)]
    for flip, alike in (("compensated", False), ("official", True)):
        first, second = (tiny_method(flip=flip).eval()._embeddings(view).places for view in views)
        assert torch.equal(first, second) is alike
        grids = [places.view(4, 4, 4, 2) for places in (first, second)]
        assert torch.equal(grids[0], grids[1].flip(2)) is not alike


def test_represents_tensors_and_located_views_with_the_backbone() -> None:
    method, view = tiny_method().eval(), located_views()[0]
    expected = method.backbone(view.images)
    torch.testing.assert_close(method.represent(view.images), expected, rtol=0, atol=0)
    torch.testing.assert_close(method.represent(view), expected, rtol=0, atol=0)


def test_the_state_holds_backbone_and_heads_once() -> None:
    prefixes = {name.split(".")[0] for name in tiny_method().state_dict()}
    assert prefixes == {"backbone", "projector", "local_projector"}


def test_views_without_place_are_refused_and_name_the_way_out() -> None:
    with pytest.raises(ValueError, match="views: got Tensor, wanted views that carry their place"):
        tiny_method()([torch.rand(4, 1, 28, 28)] * 2)


def test_backbones_without_pooling_are_refused_when_built() -> None:
    with pytest.raises(ValueError, match="Linear has no global average pooling"):
        vicregl(nn.Linear(4, 3), HeadSpec("3"), 3)


@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted() -> None:
    views = some_views(4)
    for arguments, message in (
        ({"alpha": 1.5}, "alpha: got 1.5, wanted a number from 0 to 1"),
        ({"variance_weight": -1.0}, "variance_weight.*-1.0.*wanted 0 or more"),
        ({"matches": (-1, 4)}, "matches.*-1.*wanted 0"),
    ):
        with pytest.raises(ValueError, match=message):
            vicregl_loss(views, **arguments)
    with pytest.raises(ValueError, match="views: got 1, wanted at least 2"):
        vicregl_loss(views[:1])
    with pytest.raises(ValueError, match=r"flip: got 'oficial'.*did you mean 'official'"):
        tiny_method(flip="oficial")
