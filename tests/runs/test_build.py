"""From a Recipe to objects: what is left to data and machine is settled, and what cannot be is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from barlow.data.arrays import ArraySource
from barlow.images.modality import IMAGES
from barlow.images.views.published import VIEWS, image_views
from barlow.recipes import RECIPES, Recipe, recipe_for, with_numbers
from barlow.runs.build import (
    build_backbone,
    build_method,
    build_plan,
    build_run_optimizer,
    build_views,
    fitted,
    untrained_backbone,
)
from barlow.runs.floor import floor_lines, loss_floor
from barlow.seams import Method, check_backbone
from barlow.theory.floors import batch_floor, raw_floor
from barlow.training.engine import build_fabric
from barlow.training.machine import Machine
from barlow.training.plan import set_learning_rate

SMALL = Recipe(backbone="resnet10", width=4, projector="16-16", views="small-grey", precision="32-true")


def pictures(n: int = 12, side: int = 10, channels: int = 1) -> ArraySource:
    generator = torch.Generator().manual_seed(0)
    return ArraySource(torch.randint(0, 256, (n, channels, side, side), generator=generator, dtype=torch.uint8))


def test_image_size_and_batch_size_follow_the_data_unless_they_are_given() -> None:
    recipe, facts = fitted(IMAGES, SMALL, pictures())
    assert (recipe.image_size, recipe.batch_size) == (10, 12)
    assert facts["image_shape"] == [1, 10, 10]
    assert 0.4 < facts["mean"][0] < 0.6
    given, _ = fitted(IMAGES, replace(SMALL, image_size=32, batch_size=4), pictures())
    assert (given.image_size, given.batch_size) == (32, 4)
    large, _ = fitted(IMAGES, SMALL, pictures(n=2, side=500))
    assert large.image_size == 224


def test_precision_auto_becomes_what_the_machine_is_fast_at() -> None:
    recipe, _ = fitted(IMAGES, replace(SMALL, precision="auto"), pictures())
    assert recipe.precision in ("bf16-mixed", "32-true")


def test_views_and_untrained_network_of_a_recipe_are_the_same_each_time() -> None:
    recipe, facts = fitted(IMAGES, SMALL, pictures())
    batch = next(pictures().batches([0, 1, 2], 3)).samples
    drawn = [build_views(IMAGES, recipe, facts).draw(batch, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    first, second = (untrained_backbone(IMAGES, recipe, facts).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_accumulation_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="accumulate: got 2, wanted 1: C is a statistic of the whole batch"):
        build_plan(replace(SMALL, accumulate=2), num_samples=64, num_features=8, checkpoint_minutes=1.0)


def test_warm_up_takes_at_most_a_tenth_of_the_run_and_the_cosine_ends_at_its_fraction() -> None:
    recipe = replace(SMALL, epochs=10, batch_size=8, warmup_epochs=50.0, final_learning_rate=0.25)
    plan = build_plan(recipe, num_samples=64, num_features=8, checkpoint_minutes=1.0)
    factors = [plan.factor(step) for step in range(80)]
    assert max(range(80), key=factors.__getitem__) in (7, 8)
    assert factors[-1] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("normalization", "floor"),
    [
        ("pearson", batch_floor(8, 16, 0.005)),
        ("scalar", batch_floor(8, 16, 0.005)),
        ("raw", raw_floor(16, 8, 0.005)),
        ("feature_cosine", raw_floor(16, 8, 0.005)),
    ],
)
def test_the_floor_counts_the_rank_that_centring_takes(normalization: Any, floor: float) -> None:
    recipe = with_numbers(SMALL, {"batch_size": 8, "normalization": normalization})
    assert loss_floor(recipe, num_features=99) == floor > 0
    assert loss_floor(with_numbers(recipe, {"redundancy_weight": 2.0}), num_features=99) is None
    assert loss_floor(with_numbers(recipe, {"method": "simclr"}), num_features=99) is None


def test_the_method_gets_the_projector_the_weight_and_the_normalisation_of_the_recipe() -> None:
    recipe = with_numbers(SMALL, {"redundancy_weight": 0.5, "normalization": "covariance"})
    method = build_method(recipe, nn.Identity(), num_features=6)
    z_a, z_b = torch.randn(2, 20, 6)
    h = [method.projector(z) - method.projector(z).mean(0) for z in (z_a, z_b)]
    c = h[0].T @ h[1] / 20
    expected = (1 - c.diagonal()).square().sum() + 0.5 * (c.square().sum() - c.diagonal().square().sum())
    torch.testing.assert_close(method([z_a, z_b]).total, expected)


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"method: got 'barlow_twin'.*did you mean 'barlow_twins'"):
        build_method(replace(SMALL, method="barlow_twin"), nn.Identity(), num_features=6)


def test_the_floor_is_said_and_warned_of_where_it_dominates() -> None:
    recipe = Recipe(batch_size=256, options={"redundancy_weight": 0.0051})
    line, dominates = floor_lines(recipe, 1122.3, 8192)
    assert "no network can show a loss below 1122 (batch 256 x 8192 features, lambda 0.0051)" in line
    assert dominates
    line, dominates = floor_lines(recipe, 2.6, 512)
    assert "below 2.6" in line
    assert not dominates
    assert floor_lines(recipe, None, 512) == ("", False)


def test_the_default_for_folders_is_not_dominated_by_its_floor() -> None:
    recipe = recipe_for(None, "some/folder")
    _, dominates = floor_lines(recipe, loss_floor(recipe, num_features=512), 1024)
    assert not dominates


@pytest.mark.usefixtures("as_users_call_it")
def test_an_option_that_the_method_does_not_have_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"temperature: barlow_twins has no such option; it has redundancy_weight=0.005,"
    ):
        build_method(replace(SMALL, options={"temperature": 0.2}), nn.Identity(), 4)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"final_learning_rate": 2.0}, "final_learning_rate: got 2.0, wanted a fraction"),
        ({"warmup_start": -0.1}, "warmup_start: got -0.1, wanted a fraction"),
        ({"warmup_epochs": -1.0}, "warmup_epochs: got -1.0, wanted 0 or more"),
        ({"clip_norm": -1.0}, "clip_norm: got -1.0, wanted 0 or more"),
        ({"learning_rate": float("nan")}, "learning_rate: got nan, wanted 0 or more"),
        ({"momentum": 0.99}, "momentum: got 0.99 with the optimizer adamw, which has none"),
    ],
)
def test_numbers_out_of_range_are_refused_before_the_first_step(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_plan(replace(SMALL, **numbers), num_samples=64, num_features=16, checkpoint_minutes=1.0)  # type: ignore[arg-type]


def test_what_is_constant_what_decays_and_where_the_warm_up_starts_reach_the_run() -> None:
    recipe = replace(
        SMALL, method="simsiam", optimizer="sgd", weight_decay=0.1, exclude_biases=False, constant_part="predictor",
        warmup_start=0.5, warmup_epochs=1.0, batch_size=16, epochs=10, image_size=10,
    )  # fmt: skip
    backbone = build_backbone(IMAGES, recipe, {"image_shape": [1, 10, 10]})
    method = build_method(recipe, backbone, 32)
    optimizer = build_run_optimizer(recipe, method, build_fabric(recipe, Machine(accelerator="cpu")))
    plan = build_plan(recipe, num_samples=64, num_features=8, checkpoint_minutes=1.0)
    set_learning_rate(optimizer, plan.factor(0))
    assert plan.factor(0) == pytest.approx(0.5 + 0.5 / 4)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1] * 4
    factors = [group["lr"] / recipe.learning_rate for group in optimizer.param_groups]
    assert factors == pytest.approx([plan.factor(0)] * 2 + [1.0] * 2)
    assert sum(p.numel() for group in optimizer.param_groups[2:] for p in group["params"]) == sum(
        p.numel() for p in method.get_submodule("predictor").parameters()
    )


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name]().views in VIEWS])
def test_every_recipe_of_images_can_be_built(name: str) -> None:
    recipe = recipe_for(name)
    views = image_views(recipe.views, size=recipe.image_size or 32, channels=1)
    assert len(views.pipelines) >= 2
    with torch.device("meta"):  # the widest heads have half a gigabyte of weights
        method = build_method(recipe, nn.Sequential(nn.Conv2d(3, 512, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512)
    assert isinstance(method, Method)
    groups = build_run_optimizer(recipe, method, build_fabric(replace(recipe, precision="32-true"), Machine()))
    in_groups = sum(p.numel() for group in groups.param_groups for p in group["params"])
    assert in_groups == sum(p.numel() for p in method.parameters() if p.requires_grad)


SMALL_RECIPES = [name for name in RECIPES if name.endswith(("small-grey", "digits"))]
UNPUBLISHED = ["vicregl-cifar", "optimal_projector-cifar", "sigreg-cifar"]
"""Of our own making, for a GPU: what nobody has run should at least take a step."""


@pytest.mark.parametrize("name", [*SMALL_RECIPES, *UNPUBLISHED])
def test_one_step_of_our_own_recipes_is_finite_and_moves_the_backbone(name: str) -> None:
    torch.manual_seed(0)
    # residual branches that start at zero would hold back the gradients behind them
    asked = replace(recipe_for(name), width=16, batch_size=64, precision="32-true", zero_init=False)
    source = pictures(n=64, side=28)
    recipe, facts = fitted(IMAGES, asked, source)
    backbone = build_backbone(IMAGES, recipe, facts)
    method = build_method(recipe, backbone, check_backbone(backbone, torch.zeros(2, 1, 28, 28)))
    method.start_step(0.0, recipe.epochs)
    terms = method(build_views(IMAGES, recipe, facts).draw(source.samples, torch.Generator().manual_seed(0)))
    terms.total.backward()
    assert terms.total.isfinite()
    moved = [p.grad is not None and bool(p.grad.isfinite().all()) and bool(p.grad.any()) for p in backbone.parameters()]
    assert all(moved)
