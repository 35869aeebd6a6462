"""Variants: networks as they begin, and training that chooses by validation alone."""

import math

import pytest
import torch

from barlow.studies import variants
from barlow.studies.images import EnumeratedImages
from barlow.studies.normalization import variant_of
from barlow.studies.variants import (
    Variant,
    complete_loss,
    fresh_networks,
    small_backbone,
    small_projector,
    train_variant,
)


@pytest.mark.parametrize("name", ["raw-linear-trained", "pearson-mlp-trained", "whiten-mlp_bn-trained"])
def test_embeddings_begin_with_unit_variance_and_the_same_backbone(digits: EnumeratedImages, name: str) -> None:
    backbone, projector = fresh_networks(digits, variant_of(name), 0)
    z = projector.of_views(digits.features(backbone, digits.fit.pixels))
    assert z.flatten(0, 1).var(dim=0).mean() == pytest.approx(1.0, abs=0.25)  # other views than it was scaled on
    reference = small_backbone(1, 8, 0)
    assert all(torch.equal(a, b) for a, b in zip(backbone.parameters(), reference.parameters(), strict=True))
    assert not any("BatchNorm" in type(part).__name__ for part in backbone.modules())


def test_the_scale_is_a_constant_that_training_does_not_touch() -> None:
    projector = small_projector("linear-32", "none", 0)
    assert "scale" not in dict(projector.named_parameters())
    with pytest.raises(ValueError, match="variance 0"):
        projector.match(torch.zeros(10, 64))


def test_training_lowers_the_loss_and_leaves_a_frozen_backbone_alone(digits: EnumeratedImages) -> None:
    for frozen in (True, False):
        variant = Variant("pearson", "linear-32", "none", frozen)
        before = fresh_networks(digits, variant, 0)
        trained = train_variant(digits, variant, seed=0, steps=15, rates=(0.01,))
        start, end = (
            complete_loss(p.of_views(digits.features(b, digits.test.pixels)), "pearson")
            for b, p in (before, (trained.backbone, trained.projector))
        )
        assert end < 0.9 * start
        same = all(
            torch.equal(a, b) for a, b in zip(before[0].parameters(), trained.backbone.parameters(), strict=True)
        )
        assert same == frozen
        assert (trained.gradient_ratio == 0) == frozen


def test_the_rate_with_the_least_own_loss_is_kept_and_one_that_diverges_is_not(digits: EnumeratedImages) -> None:
    variant = Variant("raw", "linear-32", "none", frozen=True)
    trained = train_variant(digits, variant, seed=0, steps=15, rates=(1e-6, 0.01, 1e30))
    assert trained.rate == 0.01
    assert trained.validation["0.01"] < trained.validation["1e-06"]
    assert not trained.validation["1e+30"] < 1e30
    none = train_variant(digits, Variant("pearson", "linear-32", "none", frozen=False), seed=0, steps=5, rates=(1e30,))
    assert math.isnan(none.rate)
    assert math.isnan(none.validation["1e+30"])


def test_a_rate_chosen_in_short_trials_is_used_for_the_whole_training(digits: EnumeratedImages) -> None:
    variant = Variant("pearson", "linear-32", "none", frozen=True)
    found = train_variant(digits, variant, seed=0, steps=15, rates=(1e-6, 0.01), trial_steps=5)
    whole = train_variant(digits, variant, seed=0, steps=15, rates=(0.01,))
    short = train_variant(digits, variant, seed=0, steps=5, rates=(0.01,))
    assert found.rate == 0.01
    pairs = zip(found.projector.parameters(), whole.projector.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert found.validation["0.01"] == short.validation["0.01"] > whole.validation["0.01"]


def test_a_rate_that_goes_wrong_after_its_trial_gives_way(
    digits: EnumeratedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 2.0, math.nan, 3.0])
    monkeypatch.setattr(variants, "complete_loss", lambda *args, **flags: next(losses))
    variant = Variant("pearson", "linear-32", "none", frozen=True)
    found = train_variant(digits, variant, seed=0, steps=2, rates=(0.01, 0.003), trial_steps=1)
    assert found.rate == 0.003
    assert found.validation == {"0.01": 1.0, "0.003": 2.0}


def test_complete_loss_says_nan_where_there_is_none() -> None:
    z = torch.randn(20, 3, 4)
    assert complete_loss(z, "pearson") > 0
    z[:, :, 1] = z[:, :, 0]
    assert math.isnan(complete_loss(z, "whiten"))
    assert math.isnan(complete_loss(z * math.inf, "pearson"))
