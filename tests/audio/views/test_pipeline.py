"""Views of sound are replayed bit for bit, leave out what is missing, and scale; the bank follows from its seed."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from barlow.audio.front_end import FrontEnd, Strengths
from barlow.audio.views.log_mel import Prepare
from barlow.audio.views.named import audio_views, bank_of, transforms_of
from barlow.audio.views.pipeline import TRANSFORMS, AudioPipeline
from barlow.data.arrays import ArraySource
from barlow.seams import AdjustableView, View

FRONT = FrontEnd(8000, 512, 160, 16, 60.0, 3800.0, 0.3)
PREPARE = Prepare(FRONT, 0.05, -5.0, 3.0)
WAVES = torch.randn(6, FRONT.window, generator=torch.Generator().manual_seed(0))
BANK = PREPARE(WAVES)
EVERY = AudioPipeline(PREPARE, TRANSFORMS, Strengths(), BANK)


def drawn(view: View, seed: int = 0, batch: Any = WAVES) -> Any:
    return view.sample(batch, torch.Generator().manual_seed(seed))


def test_views_are_replayed_bit_for_bit_and_waves_or_log_mels_make_no_difference() -> None:
    params = drawn(EVERY)
    assert set(params) == set(TRANSFORMS)
    view = EVERY.apply(WAVES, params)
    assert view.shape == (6, 1, FRONT.mels, FRONT.frames)
    assert torch.equal(view, EVERY.apply(PREPARE(WAVES), params))
    assert not torch.equal(view, EVERY.apply(WAVES, drawn(EVERY, 1)))


def test_what_is_missing_is_not_applied() -> None:
    assert torch.equal(EVERY.apply(WAVES, {}), PREPARE.plain(WAVES))
    for name in TRANSFORMS:
        alone = EVERY.apply(WAVES, {name: drawn(EVERY)[name]})
        assert not torch.allclose(alone, PREPARE.plain(WAVES)), name


def test_draws_of_one_transform_do_not_depend_on_the_others() -> None:
    every, some = drawn(EVERY), drawn(replace(EVERY, names=("crop", "fader")))
    assert set(some) == {"crop", "fader"}
    for name in some:
        for key in some[name]:
            assert torch.equal(some[name][key], every[name][key])


def test_a_clip_does_not_depend_on_the_batch_it_stands_in() -> None:
    params = drawn(EVERY)
    together = EVERY.apply(WAVES, params)
    for place in range(len(WAVES)):
        own = {name: {key: value[place : place + 1] for key, value in part.items()} for name, part in params.items()}
        torch.testing.assert_close(EVERY.apply(WAVES[place : place + 1], own)[0], together[place], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_of_strength_0_changes_nothing_and_a_weaker_one_less(name: str) -> None:
    assert isinstance(EVERY, AdjustableView)
    plain = PREPARE.plain(WAVES)
    moved = []
    for magnitude in (0.0, 0.3, 1.0):
        view = EVERY.scaled(name, magnitude)
        moved.append(float((view.apply(WAVES, {name: drawn(view)[name]}) - plain).square().mean()))
    assert moved[0] < 1e-9
    assert moved[0] < moved[1] < moved[2]
    assert EVERY.drawn_by(name) != EVERY.scaled(name, 0.5).drawn_by(name)


def test_names_that_do_not_exist_are_refused() -> None:
    assert transforms_of("audio") == ("mixup", "crop", "fader")
    assert transforms_of("shift+noise") == ("shift", "noise")
    with pytest.raises(ValueError, match="views"):
        transforms_of("mixup+cropp")
    with pytest.raises(ValueError, match="transform"):
        EVERY.scaled("hue", 1.0)
    assert EVERY.drawn_by("hue") is None


def test_without_a_bank_there_is_no_mixup() -> None:
    views = audio_views("audio", PREPARE, Strengths(), None)
    assert set(drawn(views.pipelines[0])) == {"crop", "fader"}
    with pytest.raises(ValueError, match="bank: got"):
        audio_views("audio", PREPARE, Strengths(), torch.zeros(3, 2, 2))


def test_a_broken_clip_takes_only_its_own_place_in_the_bank() -> None:
    whole = bank_of(ArraySource(WAVES), PREPARE, 4, seed=0)
    broken = WAVES.clone()
    broken[2, 0] = torch.nan
    some = bank_of(ArraySource(broken), PREPARE, 4, seed=0)
    changed = [place for place in range(4) if not torch.equal(whole[place], some[place])]
    assert len(changed) <= 1
    assert all(bool(some[place].isneginf().all()) for place in changed)
    every = bank_of(ArraySource(broken), PREPARE, 6, seed=0)
    assert int(every.isneginf().all(dim=(1, 2)).sum() if every.ndim == 3 else 0) == 1
    assert torch.equal(whole, bank_of(ArraySource(WAVES), PREPARE, 4, seed=0))
    assert not torch.equal(whole, bank_of(ArraySource(WAVES), PREPARE, 4, seed=1))
