"""How views go through the networks of a method: one by one, or neighbours of one size together."""

import pytest
import torch
from torch import Tensor, nn

from barlow.methods.forward import TwoViews, check_embeddings, pair_of, represent_together
from barlow.methods.simclr import SimCLR
from barlow.seams import Terms


class Seen(nn.Module):
    """Averages over the width, and notes how many rows of which width came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, ...]] = []

    def forward(self, view: Tensor) -> Tensor:
        self.calls.append(tuple(view.shape))
        return view.mean(dim=2)


def test_each_of_two_views_goes_through_the_networks_by_itself() -> None:
    seen = Seen()

    def loss(z_a: Tensor, z_b: Tensor, *, all_mean: object) -> Terms:
        return Terms((z_a - z_b).sum())

    terms = TwoViews(seen, nn.Identity(), loss)([torch.ones(3, 2, 4), torch.zeros(3, 2, 4)])
    assert seen.calls == [(3, 2, 4), (3, 2, 4)]
    assert terms.total == 6


def test_neighbours_of_one_size_go_together_in_the_order_of_the_views() -> None:
    seen = Seen()
    views = [torch.full((3, 2, width), float(place)) for place, width in enumerate((8, 8, 4, 4, 8))]
    h = represent_together(SimCLR(seen, nn.Identity()), views)
    assert seen.calls == [(6, 2, 8), (6, 2, 4), (3, 2, 8)]
    assert h[:, 0].tolist() == [0.0] * 3 + [1.0] * 3 + [2.0] * 3 + [3.0] * 3 + [4.0] * 3


@pytest.mark.parametrize("views", [1, 3])
def test_a_pair_is_two_views(views: int) -> None:
    with pytest.raises(ValueError, match=f"views: got {views}, wanted 2"):
        pair_of([torch.zeros(2, 2)] * views)


@pytest.mark.parametrize("shapes", [((4, 2), (4, 3)), ((4,), (4,)), ((4, 2, 2), (4, 2, 2))])
def test_embeddings_are_rows_of_one_width_and_named_when_they_are_not(shapes: tuple[tuple[int, ...], ...]) -> None:
    a, b = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"^p, z: got shapes ") as caught:
        check_embeddings(p=a, z=b)
    assert f"{shapes[0]} and {shapes[1]}, wanted (N, D), the same for all" in str(caught.value)
    check_embeddings(p=torch.zeros(4, 2), z=torch.zeros(4, 2), q=torch.zeros(4, 2))
