"""Effects on backbones that are known functions of the picture: what they ignore is 0, what they see is what it is."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from barlow.audits.effects import strength_curve, transform_effects
from barlow.audits.layers import layer_shares
from barlow.data.arrays import ArraySource
from barlow.images.data.shapes import ShapesSource, ShapeViews
from barlow.images.views.located import LocatedPipeline
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import image_views
from barlow.seams import Params
from barlow.theory.invariance import augmentation_share

SIDE = 12


def pictures(n: int = 200, low: float = 0.3, high: float = 0.7) -> ArraySource:
    """Pictures of their own brightness with a little texture, far from black and white: nothing is clamped."""
    generator = torch.Generator().manual_seed(0)
    level = low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)
    return ArraySource(level + 0.05 * torch.rand(n, 1, SIDE, SIDE, generator=generator))


VIEW = ImagePipeline(size=SIDE, mean=(0.0,), std=(1.0,), flip=0.5, translation=0.3, gain=0.3, shift=0.1, noise=0.02)


def brightness(view: Tensor) -> Tensor:
    return view.mean(dim=(1, 2, 3))[:, None]


def left_and_right(view: Tensor) -> Tensor:
    """Columns' means: a flip exchanges them."""
    return view.mean(dim=(1, 2))


class Vectors:
    """x + a + b (+ a b): a view of vectors with two transforms of deviation 1 and 1/2, and one that does nothing."""

    def __init__(self, interaction: float = 0.0) -> None:
        self.interaction = interaction

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        draw = torch.randn(3, *batch.shape, generator=generator, dtype=torch.float64)
        return {"a": {"value": draw[0]}, "b": {"value": 0.5 * draw[1]}, "idle": {"value": draw[2]}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        a, b = (params[name]["value"] if name in params else torch.zeros_like(batch) for name in ("a", "b"))
        return batch + a + b + self.interaction * a * b


def vectors(n: int = 3000, d: int = 2) -> ArraySource:
    return ArraySource(torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def same(view: Tensor) -> Tensor:
    return view


def test_brightness_sees_contrast_and_shift_and_is_exactly_blind_to_flips() -> None:
    still = ImagePipeline(size=SIDE, mean=(0.0,), std=(1.0,), flip=0.5, gain=0.3, shift=0.1, noise=0.02)
    effects = transform_effects(lambda view: brightness(view.double()), pictures(), still)
    assert list(effects) == ["flip", "contrast", "noise"]
    assert effects["flip"].total_effect == pytest.approx(0.0, abs=1e-12)  # the mean adds pixels in another order
    assert effects["flip"].marginal == pytest.approx(0.0, abs=1e-12)
    assert effects["contrast"].total_effect > 5 * effects["contrast"].total_effect_error > 0
    assert effects["contrast"].marginal > 0.1
    assert effects["contrast"].total_effect > 100 * effects["noise"].total_effect > 0


def test_columns_see_flips() -> None:
    effects = transform_effects(left_and_right, pictures(), VIEW)
    assert effects["flip"].total_effect > 5 * effects["flip"].total_effect_error > 0


def test_the_known_variances_of_a_sum_come_out_and_add_up() -> None:
    effects = transform_effects(same, vectors(), Vectors(), num_images=3000)
    between, a, b = 1.0, 1.0, 0.25
    total = between + a + b
    for name, part in (("a", a), ("b", b), ("idle", 0.0)):
        found = effects[name]
        assert found.num_images == 3000
        for value, error, truth in (
            (found.marginal, found.marginal_error, part / between / 2),
            (found.total_effect, found.total_effect_error, part / total),
            (found.first_order, found.first_order_error, part / total),
        ):
            assert abs(value - truth) <= 4 * error
            assert error < 0.03
    assert effects["idle"].total_effect == effects["idle"].marginal == 0.0
    assert sum(effect.total_effect for effect in effects.values()) == pytest.approx((a + b) / total, abs=0.02)


def test_total_effects_of_a_sum_add_up_to_the_share_of_augmentation_of_the_same_draws() -> None:
    """|h(p) - h(p')|^2 is the sum over transforms only where one transform moves one feature."""

    class Apart(Vectors):
        def apply(self, batch: Tensor, params: Params) -> Tensor:
            moved = batch.clone()
            for column, name in enumerate(("a", "b")):
                moved[:, column] += params[name]["value"][:, column] if name in params else 0.0
            return moved

    views: list[Tensor] = []

    def watched(view: Tensor) -> Tensor:
        views.append(view)
        return view

    effects = transform_effects(watched, vectors(200), Apart(), num_images=200)
    drawn = torch.stack(views[1:3], dim=1)  # plain, p, p', then the transforms
    assert sum(effect.total_effect for effect in effects.values()) == pytest.approx(
        augmentation_share(drawn), rel=1e-10
    )


def test_the_factors_of_shapes_move_the_mean_grey_as_they_should() -> None:
    """Area and grey of the shape make the mean of the picture; place, turn and stripes do not."""
    shapes = ShapesSource(300).as_factors()
    effects = transform_effects(lambda view: view.mean(dim=(1, 2, 3))[:, None], shapes, ShapeViews())
    assert list(effects) == ["position", "scale", "rotation", "brightness", "texture"]
    assert min(effects[name].total_effect for name in ("scale", "brightness")) > 0.2
    assert max(effects[name].total_effect for name in ("position", "rotation", "texture")) < 0.01
    everything = layer_shares(lambda view: view.mean(dim=(1, 2, 3))[:, None], None, shapes, ShapeViews())["h"]
    assert sum(effect.total_effect for effect in effects.values()) >= everything.augmentation_share - 0.05


def test_interactions_separate_total_from_first_order_effects() -> None:
    effects = transform_effects(same, vectors(), Vectors(interaction=2.0), num_images=3000)
    for name in ("a", "b"):
        found = effects[name]
        assert found.total_effect - found.first_order == pytest.approx(1.0 / 3.25, abs=0.1)
    assert effects["idle"].first_order == pytest.approx(0.0, abs=0.1)


def test_directions_tell_where_a_transform_acts() -> None:
    effects = transform_effects(left_and_right, pictures(), VIEW, directions=torch.eye(SIDE)[:3])
    assert len(effects["contrast"].along) == len(effects["contrast"].along_error) == 3
    both = torch.stack([torch.ones(SIDE), torch.arange(SIDE) - (SIDE - 1) / 2])
    still = replace(VIEW, translation=0.0)  # what a shift moves out of the picture depends on the flip
    symmetric, odd = transform_effects(left_and_right, pictures(), still, directions=both)["flip"].along
    assert symmetric == pytest.approx(0.0, abs=1e-6)
    assert odd > 0.02


def test_parts_of_the_affine_map_are_measured_beside_it() -> None:
    view = ImagePipeline(size=SIDE, mean=(0.0,), std=(1.0,), translation=0.3, zoom=(0.99, 1.01))
    effects = transform_effects(left_and_right, pictures(), view, parts=True)
    assert list(effects) == ["affine", "affine.translation", "affine.zoom"]
    assert effects["affine.translation"].total_effect > 50 * effects["affine.zoom"].total_effect > 0
    assert effects["affine.translation"].total_effect == pytest.approx(effects["affine"].total_effect, rel=0.05)


def test_a_constant_backbone_has_no_effects_to_speak_of() -> None:
    effects = transform_effects(lambda view: torch.full((len(view), 2), 0.1), pictures(), VIEW)
    assert all(math.isnan(effect.total_effect) and math.isnan(effect.marginal) for effect in effects.values())


def test_pipelines_with_switches_places_and_uneven_pictures_are_measured_too() -> None:
    colour = ArraySource(torch.rand(40, 3, 14, 10, generator=torch.Generator().manual_seed(2)))
    for name in ("byol-iid", "vicregl"):
        view = image_views(name, size=8, channels=3).pipelines[0]
        effects = transform_effects(left_and_right_of_colours, colour, view)
        assert ("blur+solarize" in effects) == (name == "byol-iid")
        assert all(math.isfinite(effect.first_order_error) for effect in effects.values())


def left_and_right_of_colours(view: Tensor) -> Tensor:
    return view.mean(dim=2).flatten(1)


def test_a_curve_rises_from_nothing_to_the_total_effect() -> None:
    magnitudes: Sequence[float] = (0.0, 0.25, 0.5, 1.0, 2.0)
    curve = strength_curve(left_and_right, pictures(), VIEW, "affine", magnitudes)
    values = [point.total_effect for point in curve]
    whole = transform_effects(left_and_right, pictures(), VIEW)["affine"]
    assert [point.magnitude for point in curve] == list(magnitudes)
    assert values[0] == 0.0
    assert values == sorted(values)
    assert values[3] == pytest.approx(whole.total_effect, rel=1e-9)
    assert curve[3].total_effect_error == pytest.approx(whole.total_effect_error, rel=1e-9)


def test_the_effect_of_a_shift_on_brightness_grows_with_its_square() -> None:
    view = ImagePipeline(size=SIDE, mean=(0.0,), std=(1.0,), shift=0.1, noise=0.01)
    one, two = strength_curve(brightness, pictures(), view, "contrast.shift", (1.0, 2.0))
    assert two.total_effect / one.total_effect == pytest.approx(4.0, rel=0.02)
    nothing = strength_curve(brightness, pictures(), view, "noise", (0.0,))
    assert nothing[0].total_effect == nothing[0].total_effect_error == 0.0


def test_curves_go_by_the_key_inside_a_switch_and_through_located_views() -> None:
    colour = ArraySource(torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(2)))
    view = image_views("byol-iid", size=16, channels=3).pipelines[0]
    curve = strength_curve(left_and_right_of_colours, colour, view, "blur", (0.0, 1.0))
    assert curve[0].total_effect < 1e-6 < curve[1].total_effect
    assert isinstance(view, ImagePipeline)
    located = LocatedPipeline(view)
    assert strength_curve(left_and_right_of_colours, colour, located, "blur", (0.0, 1.0)) == curve


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"view: got Vectors, wanted an AdjustableView, such as one of barlow\.image_views"
    ):
        strength_curve(same, vectors(10), Vectors(), "a", (1.0,))
    with pytest.raises(ValueError, match="transform: got 'blur', wanted one of flip, affine, contrast"):
        strength_curve(brightness, pictures(), VIEW, "blur", (1.0,))
    with pytest.raises(ValueError, match="num_images: got 2"):
        transform_effects(brightness, pictures(), VIEW, num_images=2)
    with pytest.raises(ValueError, match="source: 2 samples could be read"):
        transform_effects(brightness, pictures(2), VIEW)


class Needy:
    """A view that cannot leave its transform out, as ours could not once."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {"shift": {"value": torch.randn(len(batch), 1, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch + params["shift"]["value"]


def test_a_view_that_cannot_leave_a_transform_out_is_told_what_is_wanted() -> None:
    with pytest.raises(ValueError, match=r"views: Needy\.apply fails without 'shift'; a transform that is missing"):
        transform_effects(same, vectors(10), Needy())
