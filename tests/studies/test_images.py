"""Images of the studies: all views can be listed, and the parts of the data share no image."""

import torch

from barlow.studies.images import TRANSFORMS, EnumeratedImages, load_enumerated, load_sampled
from tests.studies.tiny import FEW


def test_all_views_are_enumerated_and_the_first_is_plain(digits: EnumeratedImages) -> None:
    pixels = digits.test.pixels[:3]
    (views,) = digits.every(pixels)
    assert views.shape == (3, len(TRANSFORMS), 1, 8, 8)
    assert len(TRANSFORMS) == 54
    torch.testing.assert_close(views[:, 0], digits.plain(pixels))
    flat = views[0].flatten(1)
    assert float((torch.cdist(flat, flat) + torch.eye(54)).min()) > 0.01  # no augmentation is there twice
    generator = torch.Generator().manual_seed(0)
    drawn = digits.draw(pixels, generator)
    for image in range(3):
        assert float((views[image] - drawn[image]).flatten(1).norm(dim=1).min()) < 1e-5


def test_parts_are_disjoint_and_the_test_part_does_not_depend_on_the_seed(digits: EnumeratedImages) -> None:
    other = load_enumerated("digits", "", **FEW, seed=1)
    assert torch.equal(digits.test.pixels, other.test.pixels)
    assert not torch.equal(digits.fit.pixels, other.fit.pixels)
    parts = [{bytes(image.numpy().tobytes()) for image in part.pixels} for part in (digits.fit, digits.validation)]
    assert not parts[0] & parts[1]
    assert [len(part.labels) for part in (digits.fit, digits.validation, digits.test)] == [124, 26, 60]


def test_untrained_networks_follow_the_seed_and_nothing_else() -> None:
    images = load_sampled("digits")
    for kind in ("resnet", "mlp"):
        first, again, other = (images.untrained_network(kind, seed).state_dict() for seed in (0, 0, 1))
        weights = [name for name, value in first.items() if value.ndim > 1]
        assert all(torch.equal(first[name], again[name]) for name in weights)
        assert not any(torch.equal(first[name], other[name]) for name in weights), kind
