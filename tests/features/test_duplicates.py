"""Copies are found by a threshold that the data tell, exact ones always, and strangers are not taken for copies."""

import pytest
import torch
from torch import Tensor

from barlow.features.duplicates import find_duplicates, mild_view
from barlow.images.views.pipeline import ImagePipeline

GENERATOR = torch.Generator().manual_seed(0)
H = torch.randn(400, 24, generator=GENERATOR)
SPREAD = 0.15


def near(h: Tensor) -> Tensor:
    return h + SPREAD * torch.randn(h.shape, generator=GENERATOR)


MILD, OF = near(H[:100]), torch.arange(100)
PLANTED = torch.cat([H, near(H[50:110])])
WANTED = {(place, 400 + place - 50) for place in range(50, 110)}


def test_planted_near_copies_are_found_and_nothing_else() -> None:
    found = find_duplicates(PLANTED, mild=MILD, of=OF)
    pairs = {tuple(group) for group in found.groups}
    assert len(pairs & WANTED) >= 51
    assert len(pairs - WANTED) == 0
    assert "of samples are as alike to a mild view of their own" in found.note
    assert "nearly as alike" not in found.note


def test_exact_copies_are_found_without_any_view_and_are_one_group() -> None:
    h = torch.cat([H, H[7:8], H[7:8], H[90:91]])
    found = find_duplicates(h)
    assert found.groups == ((7, 400, 401), (90, 402))
    assert found.to_remove == [400, 401, 402]
    assert found.group_of_each[[7, 400, 401, 90, 402, 0]].tolist() == [0, 0, 0, 1, 1, -1]
    assert "only samples with equal features are given" in found.note


def test_data_without_copies_have_none() -> None:
    assert find_duplicates(H, mild=MILD, of=OF).groups == ()


def test_where_views_are_as_far_apart_as_strangers_the_threshold_is_raised_and_this_is_said() -> None:
    """A network that has learnt nothing: two views of a sample have nothing in common."""
    unrelated = torch.randn(100, 24, generator=GENERATOR)
    found = find_duplicates(torch.cat([H, H[:3]]), mild=unrelated, of=OF)
    assert {tuple(group) for group in found.groups} >= {(0, 400), (1, 401), (2, 402)}
    assert len(found.groups) <= 5
    assert "Different samples are nearly as alike here as two views of one" in found.note


def test_a_threshold_that_is_given_is_taken() -> None:
    found = find_duplicates(H, threshold=-1.0)
    assert len(found.groups) == 1
    assert found.note == "similarity of at least -1, as asked for"


def test_views_without_their_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="mild, of: got one of them"):
        find_duplicates(H, mild=MILD)


def test_a_mild_view_changes_little_and_leaves_out_what_happens_or_does_not() -> None:
    view = ImagePipeline(
        size=32, mean=(0.5,), std=(0.5,), crop_scale=(0.25, 1.0), flip=1.0, jitter=1.0, brightness=0.6, solarize=(1.0,)
    )
    apply = mild_view(view)
    assert apply is not None
    ramp = torch.arange(32, dtype=torch.uint8).mul(8).expand(4, 1, 32, 32).contiguous()
    plain = view.apply(ramp, {})
    changed = apply(ramp, torch.Generator().manual_seed(0))
    assert not torch.equal(changed, plain)
    correlation = torch.corrcoef(torch.stack([changed.flatten(), plain.flatten()]))[0, 1]
    assert correlation > 0.9  # a flip or a solarisation would turn the ramp around


def test_a_view_without_magnitudes_has_no_mild_one() -> None:
    class Bare:
        def sample(self, batch: object, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
            return {}

        def apply(self, batch: object, params: object) -> object:
            return batch

    assert mild_view(Bare()) is None
