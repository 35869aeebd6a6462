"""Every step comes on every process, and its views do not depend on how many processes there are."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.data.order import batches_of
from barlow.images.views.published import image_views
from barlow.seams import Params, Views
from barlow.training.order import LARGEST_STORED, Share, batches_from, draw_views, epoch_order, positions_of
from barlow.training.plan import Plan

PLAN = Plan(3, 6, seed=0, factor=lambda _: 1.0, clip_norm=0.0, checkpoint_minutes=1.0, floor=None)
SAMPLES = torch.randint(0, 256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
VIEWS = image_views("small-grey", size=8, channels=1, mean=(0.5,), std=(0.2,))


def shares(source: ArraySource, world: int, first_step: int = 0) -> list[dict[int, Share | None]]:
    return [dict(batches_from(source, PLAN, first_step=first_step, rank=r, world=world)) for r in range(world)]


def test_a_step_of_which_nothing_can_be_read_comes_too_wherever_it_stands() -> None:
    positions = epoch_order(20, plan=PLAN, epoch=1, first_step=0, rank=1, world=2).view(3, 3)
    for place in range(3):  # first, middle and last step of the second epoch
        bad = {int(position): "made bad" for position in positions[place]}
        first, second = shares(ArraySource(SAMPLES, bad=bad), 2)
        assert list(first) == list(second) == list(range(9))
        assert second[3 + place] is None
        others = [share for step, share in second.items() if 3 <= step < 6 and step != 3 + place]
        assert all(share is not None and len(share.places) == 3 for share in others)


def test_a_resumed_run_sees_the_same_steps() -> None:
    source = ArraySource(SAMPLES)
    whole, rest = shares(source, 2)[1], shares(source, 2, first_step=4)[1]
    assert list(rest) == list(range(4, 9))
    for step, share in rest.items():
        before = whole[step]
        assert share is not None
        assert before is not None
        assert torch.equal(share.samples, before.samples)


def test_a_last_epoch_that_is_a_part_begins_as_a_whole_one_does() -> None:
    part = replace(PLAN, epochs=5 / 3)
    whole = dict(batches_from(ArraySource(SAMPLES), PLAN, first_step=0, rank=0, world=2))
    for first_step in (0, 2, 4, 5):
        found = dict(batches_from(ArraySource(SAMPLES), part, first_step=first_step, rank=0, world=2))
        assert list(found) == list(range(first_step, 5))
        for step, share in found.items():
            expected = whole[step]
            assert share is not None
            assert expected is not None
            assert torch.equal(share.samples, expected.samples)


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("as_list", [False, True])
def test_the_views_of_all_shares_are_those_of_the_whole_batch(world: int, as_list: bool) -> None:
    (alone,) = shares(ArraySource(SAMPLES), 1)
    several = shares(ArraySource(SAMPLES), world)
    for step in range(9):
        share = alone[step]
        assert share is not None
        expected = draw_views(VIEWS, share, seed=5, step=step)
        for process in several:
            part = process[step]
            assert part is not None
            if as_list:
                part = Share(list(part.samples), part.places, part.whole)
            drawn = draw_views(VIEWS, part, seed=5, step=step)
            for view, whole in zip(drawn, expected, strict=True):
                assert torch.equal(view, whole[part.places])


def test_an_unreadable_sample_leaves_the_views_of_the_others_alone() -> None:
    position = int(epoch_order(20, plan=PLAN, epoch=0, first_step=0, rank=0, world=1)[2])
    (good,), (other,) = shares(ArraySource(SAMPLES), 1), shares(ArraySource(SAMPLES, bad={position: "made bad"}), 1)
    whole, rest = good[0], other[0]
    assert whole is not None
    assert rest is not None
    assert rest.places.tolist() == [0, 1, 3, 4, 5]
    for view, expected in zip(
        draw_views(VIEWS, rest, seed=5, step=0), draw_views(VIEWS, whole, seed=5, step=0), strict=True
    ):
        assert torch.equal(view, expected[rest.places])


class Cards:
    """Samples of another kind, which nothing can be put in the place of."""

    def __init__(self, values: Tensor) -> None:
        self.values = values


class OwnNoise:
    def sample(self, batch: Cards, generator: torch.Generator) -> Params:
        return {"noise": {"value": torch.randn(batch.values.shape, generator=generator)}}

    def apply(self, batch: Cards, params: Params) -> Tensor:
        return batch.values + params["noise"]["value"]


def test_samples_of_another_kind_are_drawn_for_by_each_process_differently() -> None:
    views = Views((OwnNoise(), OwnNoise()))
    drawn = [
        draw_views(views, Share(Cards(torch.zeros(3)), torch.arange(rank, 6, 2), 6), seed=5, step=0)[0]
        for rank in range(2)
    ]
    assert not torch.equal(drawn[0], drawn[1])


def test_labels_go_with_the_samples_that_could_be_read_on_every_process() -> None:
    position = int(epoch_order(20, plan=PLAN, epoch=0, first_step=0, rank=1, world=2)[1])
    labels = torch.arange(20) % 5 - 1
    for rank, found in enumerate(shares(ArraySource(SAMPLES, labels=labels, bad={position: "made bad"}), 2)):
        order = epoch_order(20, plan=PLAN, epoch=0, first_step=0, rank=rank, world=2).view(3, 3)
        for step, positions in enumerate(order):
            share = found[step]
            assert share is not None
            assert share.labels is not None
            assert torch.equal(share.labels, labels[positions[positions != position]])
    assert all(share is not None and share.labels is None for share in shares(ArraySource(SAMPLES), 1)[0].values())


def test_up_to_a_limit_the_order_is_the_one_that_runs_began_with() -> None:
    found = positions_of(20, plan=PLAN, epoch=2, first_step=1, rank=1, world=2)
    assert list(found) == epoch_order(20, plan=PLAN, epoch=2, first_step=1, rank=1, world=2).tolist()
    assert LARGEST_STORED == 2**24


@pytest.mark.parametrize("world", [1, 2, 3])
def test_beyond_it_shares_are_cut_out_of_one_permutation_too(monkeypatch: pytest.MonkeyPatch, world: int) -> None:
    monkeypatch.setattr("barlow.training.order.LARGEST_STORED", 10)
    source = ArraySource(SAMPLES)
    whole, parts = shares(source, 1)[0], shares(source, world)
    for step in range(9):
        one = whole[step]
        assert one is not None
        together = torch.zeros_like(one.samples)
        for part in parts:
            share = part[step]
            assert share is not None
            together[share.places] = share.samples
        assert torch.equal(together, one.samples)
    epoch = [share.samples for step, share in whole.items() if step < 3 and share is not None]
    assert len(torch.cat(epoch).flatten(1).unique(dim=0)) == 18
    rest = shares(source, world, first_step=4)[0]
    assert all(torch.equal(rest[step].samples, parts[0][step].samples) for step in rest)  # type: ignore[union-attr]


def test_an_order_of_a_billion_is_no_list() -> None:
    order = positions_of(10**9, plan=PLAN, epoch=0, first_step=0, rank=0, world=1)
    batches = batches_of(order, 6, 10**9)
    assert len(batches) == 10**9 // 6
    assert batches[10**8] == [order[6 * 10**8 + place] for place in range(6)]
    assert max(batches[0]) < 10**9
