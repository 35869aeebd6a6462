"""The world with room: pictures lie anywhere, every view anew, and what is estimated from few views is not biased."""

import torch
from torch import Tensor, nn

from barlow.studies.canvas import MARGIN, CanvasImages, on_canvas
from barlow.studies.images import LabelledImages

SQUARE = torch.zeros(600, 1, 8, 8, dtype=torch.uint8)
SQUARE[:, :, 0, 0] = 255


def world(pixels: Tensor) -> CanvasImages:
    part = LabelledImages(pixels, torch.zeros(len(pixels), dtype=torch.int64))
    return CanvasImages(part, part, part, 0.0, 1.0)


def test_a_picture_lies_at_each_place_of_the_canvas_alike() -> None:
    views = on_canvas(SQUARE, torch.Generator().manual_seed(0))
    assert views.shape == (600, 1, 8 + MARGIN, 8 + MARGIN)
    assert 0 <= float(views.min()) <= float(views.max()) <= 1
    # The one bright pixel is as bright as its light; the background is dark where it lies (nothing is added to white).
    places = on_canvas(SQUARE, torch.Generator().manual_seed(0)).flatten(1)
    gains = places.amax(dim=1)
    assert 0.45 < float(gains.min()) < 0.75
    corner = SQUARE.clone()
    corner[:] = 255  # a full square hides the background: what is not background is the picture
    filled = on_canvas(corner, torch.Generator().manual_seed(1))
    top = (filled[:, 0].diff(dim=1).abs().amax(dim=2) > 0.02).float().argmax(dim=1)
    assert len(top.unique()) > MARGIN // 2


def test_views_are_drawn_anew_and_a_plain_picture_stays_where_it_is() -> None:
    images, generator = world(SQUARE[:50]), torch.Generator().manual_seed(0)
    assert not torch.equal(images.draw(SQUARE[:50], generator), images.draw(SQUARE[:50], generator))
    assert torch.equal(images.plain(SQUARE[:50]), images.plain(SQUARE[:50]))
    assert images.side == 20
    assert torch.equal(images.features(nn.Flatten(), SQUARE[:5]), images.features(nn.Flatten(), SQUARE[:5]))


def test_features_of_chance_have_no_covariance_between_pictures() -> None:
    """As if all views had been seen: their plain covariance of means would be W / K."""
    h = torch.randn(4000, 8, 6, generator=torch.Generator().manual_seed(0))
    found = world(SQUARE[:2]).covariances(h)
    assert float(found.between.diagonal().mean().abs()) < 0.01
    assert abs(float(found.within.diagonal().mean()) - 1) < 0.02
