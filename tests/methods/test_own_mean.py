"""A caller's own `all_mean`: what needs the number of all samples takes it from `MeanOver` and guesses nothing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.optimal_projector import optimal_projector_loss
from barlow.methods.sigreg import sigreg_loss
from barlow.methods.vicreg import vicreg_loss
from barlow.methods.vicregl import Embeddings, vicregl_loss
from barlow.statistics.collectives import AllMean, MeanOver
from barlow.statistics.correlation import standardize, whiten


def view(n: int = 8, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(n), dtype=torch.float64)


def as_given(local_mean: Tensor, num_samples: int) -> Tensor:
    """Equal to `identity`, but not known to be."""
    return local_mean


def embeddings() -> Embeddings:
    positions = view(16, 3).unflatten(0, (8, 2))
    return Embeddings(view(), positions, positions[..., :2])


LOSSES: dict[str, Callable[[AllMean], object]] = {
    "vicreg": lambda mean: vicreg_loss(view(), view(), all_mean=mean),
    "vicregl": lambda mean: vicregl_loss([embeddings(), embeddings()], all_mean=mean),
    "sigreg": lambda mean: sigreg_loss(torch.stack([view(), view()]), torch.eye(3).double(), all_mean=mean),
    "barlow_twins": lambda mean: barlow_twins_loss(view(), view(), normalization="raw", bias="removed", all_mean=mean),
}


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("name", LOSSES)
def test_a_mean_that_does_not_tell_its_samples_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"all_mean: got a function of your own.*wanted barlow\.MeanOver"):
        LOSSES[name](as_given)
    LOSSES[name](MeanOver(as_given, 8))


def test_where_only_too_few_samples_would_be_refused_the_own_ones_count_unless_more_are_told() -> None:
    few = view(4, 5)
    for loss in (
        lambda mean: whiten(few, all_mean=mean),
        lambda mean: optimal_projector_loss(few, few, shrinkage=0.0, all_mean=mean),
    ):
        with pytest.raises(ValueError, match="4 samples"):
            loss(as_given)
    assert whiten(few, all_mean=MeanOver(as_given, 16)).shape == (4, 5)
    optimal_projector_loss(view(), view(), all_mean=as_given)  # needs no N with shrinkage
    torch.testing.assert_close(standardize(few, all_mean=as_given), standardize(few))
