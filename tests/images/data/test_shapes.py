"""Shapes: the truth that they promise is there, factor by factor, and learning from them goes like from other data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import barlow
from barlow.images.data.image_statistics import channel_statistics, image_shape
from barlow.images.data.load import load_source
from barlow.images.data.shapes import (
    COLUMNS,
    KINDS,
    MEAN,
    NUISANCES,
    RANGES,
    STD,
    ShapeFactors,
    ShapesSource,
    ShapeViews,
    drawn_factors,
    factors_of,
    render,
    shape_views,
)
from barlow.images.networks.backbones import build_backbone
from barlow.recipes import recipe_for
from barlow.seams import Params, Source, View
from barlow.training.machine import Machine


def one_of_each(**values: float) -> ShapeFactors:
    """All kinds, alike in everything else: centred, of middling size, upright, plain."""
    n = len(KINDS)
    given = {"scale": 0.3, "rotation": 0.0, "brightness": 0.5, "texture": 0.0} | values
    return ShapeFactors(torch.arange(n), torch.zeros(n, 2), **{k: torch.full((n,), v) for k, v in given.items()})


def images_of(source: Source, order: list[int], batch_size: int = 64) -> Tensor:
    return torch.cat([batch.samples for batch in source.batches(order, batch_size)])


def draw(view: ShapeViews, batch: Tensor, seed: int) -> Params:
    return view.sample(batch, torch.Generator().manual_seed(seed))


def test_a_sample_is_the_same_bit_for_bit_in_every_order_batch_and_source() -> None:
    source = ShapesSource(300, seed=5)
    assert isinstance(source, Source)
    whole = images_of(source, list(range(300)), 300)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0)).tolist()
    for batch_size in (1, 7, 64):
        assert torch.equal(images_of(source, order, batch_size), whole[order])
    assert torch.equal(images_of(ShapesSource(10_000, seed=5), order), whole[order])
    floats = render(drawn_factors(range(300), 5))
    assert torch.equal(torch.cat([render(drawn_factors([i], 5)) for i in order]), floats[order])
    (batch,) = source.batches([3, 1], 2)
    assert batch.indices.tolist() == [3, 1]
    assert (whole.dtype, whole.shape) == (torch.uint8, (300, 1, 32, 32))


def test_the_numbers_of_a_sample_never_change() -> None:
    """Written down from the first version: other numbers would be another data set under the same name."""
    found = drawn_factors([0, 1, 12_345], seed=0).as_vectors()
    expected = [
        [0, 0.09199459, -0.01643328, 0.2539651, 0.970882, 0.2765867, 0.3273258],
        [1, 0.06517117, -0.06103465, 0.3928046, 0.396468, 0.4402586, 0.5239506],
        [4, -0.05126867, -0.05947829, 0.3724602, 0.9778558, 0.3779989, 0.9815778],
    ]
    assert torch.allclose(found, torch.tensor(expected), rtol=0, atol=1e-6)


def test_another_seed_is_another_set_and_neighbouring_samples_have_nothing_in_common() -> None:
    train, test = (ShapesSource(2000, seed=seed).factors.as_vectors().double() for seed in (0, 1))
    for first, second in ((train, test), (train[:-1], train[1:])):
        both = torch.cat([first, second], 1).T
        assert both.corrcoef()[:7, 7:].abs().max() < 0.1  # 4.5 standard errors of a correlation of 2,000 pairs


def test_factors_are_uniform_and_independent_of_each_other() -> None:
    factors = ShapesSource(20_000).factors
    values = factors.as_vectors().double()
    classes = torch.nn.functional.one_hot(factors.kind, len(KINDS)).double()
    nuisances = values[:, 1:]
    # Squares too: their correlations would show factors that depend on each other without being correlated.
    everything = torch.cat([classes, nuisances, (nuisances - nuisances.mean(0)).square()], 1)
    correlation = everything.T.corrcoef()
    correlation[: len(KINDS), : len(KINDS)] = 0  # one class excludes the others
    correlation.fill_diagonal_(0)
    assert correlation.abs().max() < 4.5 / np.sqrt(20_000)
    assert factors.kind.bincount().sub(2500).abs().max() < 4.5 * np.sqrt(2500)
    for name, column in zip(("position", "position", *NUISANCES[1:]), nuisances.T, strict=True):
        low, high = RANGES[name]
        even = torch.linspace(low, high, len(column), dtype=torch.float64)
        assert (column.sort().values - even).abs().max() < 0.015 * (high - low), name  # Kolmogorov, 1 in 10,000


def test_all_kinds_have_the_area_that_the_scale_says_and_lie_within_the_image() -> None:
    for scale in RANGES["scale"]:
        grey = render(one_of_each(scale=scale), 256).mean((1, 2, 3))
        torch.testing.assert_close(grey, torch.full_like(grey, 0.5 * scale**2), rtol=1e-3, atol=0)
        coarse = render(one_of_each(scale=scale, rotation=0.07), 32).mean((1, 2, 3))
        torch.testing.assert_close(coarse, torch.full_like(coarse, 0.5 * scale**2), rtol=0.03, atol=0)
    turned = torch.cat([render(one_of_each(scale=RANGES["scale"][1], rotation=turn / 40), 256) for turn in range(40)])
    margin = round((0.5 - RANGES["position"][1]) * 256)  # how far a shape at the outermost place may reach
    seen = turned.amax((0, 1)) > 0
    assert not seen[: 128 - margin].any()
    assert not seen[:, 128 + margin :].any()
    assert seen[128 - margin : 128 - margin + 6].any()


def test_position_scale_rotation_brightness_and_texture_do_what_they_say() -> None:
    plain = one_of_each()
    image = render(plain, 64)
    shift = torch.tensor([4 / 64, -8 / 64]).expand(len(plain), 2)
    torch.testing.assert_close(
        render(replace(plain, position=shift), 64), image.roll((4, -8), (3, 2)), atol=1e-4, rtol=0
    )
    quarter = render(replace(plain, rotation=plain.rotation + 0.25), 64)
    torch.testing.assert_close(quarter, image.rot90(-1, (2, 3)), atol=1e-4, rtol=0)  # clockwise, as y points down
    torch.testing.assert_close(render(replace(plain, brightness=plain.brightness / 2), 64), image / 2)
    larger = replace(plain, scale=plain.scale * 1.5)
    assert render(larger, 64).mean() / image.mean() == pytest.approx(2.25, rel=0.01)
    striped = render(replace(plain, texture=plain.texture + 0.5), 64)
    inside = image == 0.5
    assert striped[inside].min() == pytest.approx(0.25, abs=0.06)
    assert striped[inside].max() == pytest.approx(0.75, abs=0.06)
    assert striped[inside].mean() == pytest.approx(0.5, abs=0.01)
    assert not striped[image == 0].any()
    half = render(replace(plain, texture=plain.texture + 0.25), 64)
    torch.testing.assert_close(half, (image + striped) / 2)  # linear in the depth of the stripes


@pytest.mark.parametrize("name", NUISANCES)
def test_one_factor_is_changed_while_the_others_stay(name: str) -> None:
    batch = ShapesSource(40).as_factors().samples
    assert isinstance(batch, Tensor)
    view = ShapeViews()
    params = draw(view, batch, 1)
    before, after = factors_of(batch), replace(factors_of(batch), **{name: params[name]["value"]})
    changed = (before.as_vectors() != after.as_vectors()).any(0).tolist()
    assert [column for column, new in zip(COLUMNS, changed, strict=True) if new] == (
        ["x", "y"] if name == "position" else [name]
    )
    images = view.apply(batch, {name: params[name]})
    assert torch.equal(images, (render(after) - MEAN) / STD)
    differs = (images != view.apply(batch, {})).flatten(1).any(1)
    round_ones = torch.isin(before.kind, torch.tensor([0, 4]))  # to turn a disc or a ring shows nothing much
    assert differs[~round_ones].all()


def test_kinds_are_told_apart_where_nuisances_are_fixed_and_not_by_mean_grey() -> None:
    """The nearest clean image names the kind, in images with noise and small changes of every nuisance."""
    source = ShapesSource(400, seed=3)
    drawn = source.factors
    fixed = one_of_each(texture=0.5)
    small = {
        name: (values - values.mean(0)) * 0.03 + getattr(fixed, name)[0]
        for name, values in ((name, getattr(drawn, name)) for name in NUISANCES)
    }
    noise = 0.05 * torch.randn(400, 1024, generator=torch.Generator().manual_seed(0))
    for factors in (replace(fixed, kind=fixed.kind), ShapeFactors(drawn.kind, **small)):
        shown = render(factors).flatten(1)
        nearest = torch.cdist(shown + noise[: len(shown)], render(fixed).flatten(1)).argmin(1)
        assert torch.equal(nearest, factors.kind)
    grey = images_of(source, list(range(400))).double().mean((1, 2, 3))
    expected = 255 * (drawn.brightness * drawn.scale**2).double()
    assert torch.stack([grey, expected]).corrcoef()[0, 1] > 0.97
    of_kind = torch.stack([(grey / expected)[drawn.kind == kind].mean() for kind in range(len(KINDS))])
    assert of_kind.max() / of_kind.min() < 1.06


def intraclass(features: Tensor) -> Tensor:
    """ICC(1) of (n, k, d) features, from the sums of squares of one-way analysis of variance."""
    n, k, _ = features.shape
    means = features.mean(1)
    between = k * (means - means.mean(0)).square().sum(0) / (n - 1)
    within = (features - means[:, None]).square().sum((0, 1)) / (n * (k - 1))
    return (between - within) / (between + (k - 1) * within)


def seen_factors(batch: Tensor, params: Params) -> Tensor:
    """A backbone that knows everything: the factors of what a view shows."""
    return replace(factors_of(batch), **{name: drawn["value"] for name, drawn in params.items()}).as_vectors().double()


@pytest.mark.parametrize("redraw", [NUISANCES, ("rotation", "texture"), ()])
def test_of_the_true_factors_those_drawn_anew_have_no_intraclass_correlation_and_the_others_have_one(
    redraw: tuple[str, ...],
) -> None:
    batch = ShapesSource(2000).as_factors().samples
    assert isinstance(batch, Tensor)
    views = shape_views(redraw)
    generator = torch.Generator().manual_seed(0)
    h = torch.stack([seen_factors(batch, view.sample(batch, generator)) for view in views.pipelines * 2], 1)
    found = dict(zip(COLUMNS, intraclass(h).tolist(), strict=True))
    for name in COLUMNS:
        drawn_anew = ("position" if name in "xy" else name) in redraw
        assert found[name] == pytest.approx(0.0 if drawn_anew else 1.0, abs=0.04), name


def test_views_are_replayable_and_each_nuisance_has_draws_of_its_own() -> None:
    batch = ShapesSource(50).as_factors().samples
    assert isinstance(batch, Tensor)
    every, one = ShapeViews(), ShapeViews(("texture",))
    assert isinstance(every, View)
    params = draw(every, batch, 7)
    assert set(params) == set(NUISANCES)
    assert torch.equal(every.apply(batch, params), every.apply(batch, draw(every, batch, 7)))
    assert torch.equal(draw(one, batch, 7)["texture"]["value"], params["texture"]["value"])
    assert set(draw(one, batch, 7)) == {"texture"}
    whole = every.apply(batch, params)
    part = {name: {"value": drawn["value"][10:20]} for name, drawn in params.items()}
    assert torch.equal(every.apply(batch[10:20], part), whole[10:20])
    values = torch.column_stack([*params["position"]["value"].T, *(params[name]["value"] for name in NUISANCES[1:])])
    assert values.T.corrcoef().fill_diagonal_(0).abs().max() < 0.6
    assert torch.equal(shape_views().plain(batch), (render(factors_of(batch)) - MEAN) / STD)


def test_the_normalisation_is_that_of_the_images() -> None:
    source = load_source("shapes")
    assert image_shape(source).uniform
    (mean,), (std,) = channel_statistics(source, len(source))
    assert mean == pytest.approx(MEAN, abs=0.0003)
    assert std == pytest.approx(STD, abs=0.0005)


def test_by_name_there_are_two_disjoint_splits_with_labels_and_channels_as_asked() -> None:
    train, test = load_source("shapes"), load_source("shapes", split="test", channels=3)
    assert [len(train), len(test)] == [10_000, 2_000]
    assert train.labels is not None
    assert torch.equal(train.labels, ShapesSource().factors.kind)
    assert list(train.class_names) == list(KINDS)
    images = images_of(test, [0, 1])
    assert images.shape == (2, 3, 32, 32)
    assert torch.equal(images[:, :1], images_of(ShapesSource(2, seed=1), [0, 1]))
    assert load_source("shapes", labels="none").labels is None
    kind = list(KINDS)[int(train.labels[7])]
    assert train.describe(7).startswith(f"sample 7: {kind} at (")
    assert recipe_for(None, "shapes").name == "small-grey"


@pytest.mark.usefixtures("as_users_call_it")
def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="num_samples: got 0"):
        ShapesSource(0)
    with pytest.raises(ValueError, match="channels: got 2"):
        ShapesSource(5, channels=2)
    with pytest.raises(ValueError, match="size: got 0"):
        render(one_of_each(), 0)
    with pytest.raises(ValueError, match="position 5 is not in a source of 5"):
        ShapesSource(5).batches([5], 1)
    with pytest.raises(ValueError, match=r"redraw: got 'kind', wanted one of position"):
        ShapeViews(("kind",))
    images = images_of(ShapesSource(2), [0, 1])
    with pytest.raises(
        ValueError, match=r"vectors: got torch.uint8 of shape \(2, 1, 32, 32\), wanted \(N, 7\).*as_factors"
    ):
        shape_views().plain(images)
    with pytest.raises(ValueError, match="vectors: kinds from 8 to 8, wanted 0 to 7"):
        factors_of(torch.full((1, 7), 8.0))


def test_a_run_learns_from_factors_rendered_anew(tmp_path: Path) -> None:
    # The backbone is drawn here, and two steps change it little: of other draws the share, an unbiased estimate, may
    # be just below 0.
    torch.manual_seed(1)
    source = ShapesSource(
        128, size=16, labels="none"
    )  # of labels, which are measured like any others, only time is lost
    run = barlow.pretrain(
        source.as_factors(),
        recipe="digits",
        views=shape_views(size=16),
        backbone=build_backbone("resnet10", width=4, in_channels=1, image_size=16),
        out=tmp_path / "run",
        machine=Machine(quiet=True),
        projector="8-8",
        epochs=1,
        batch_size=64,
        precision="32-true",
    )
    assert run.finished
    assert 0 <= run.summary["label_free"]["invariance_share"] < 0.9
    assert run.embed(source.as_factors()).shape == (128, 32)
