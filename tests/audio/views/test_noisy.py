"""Noise is as loud as it says and of the kind it says, rooms ring as long as they say, each copy can be replayed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from barlow.audio.front_end import FrontEnd, noise as noise_of, settled
from barlow.audio.noise_options import Noise
from barlow.audio.views.log_mel import Prepare, rms
from barlow.audio.views.noisy import (
    KINDS,
    NoisyPipeline,
    at_one_loudness,
    bank_of_waves,
    check_kinds,
    in_rooms,
    noisy_views,
    pink,
    with_noise,
)
from barlow.data.arrays import ArraySource
from barlow.seams import AdjustableView

RATE = 8000
PREPARE = Prepare(settled(FrontEnd(mels=8, seconds=0.25), RATE), 0.05, -8.0, 4.0)
LENGTH = PREPARE.front.window


def tones(n: int = 6) -> Tensor:
    """Tones of different heights and loudness, in the middle of silence."""
    time = torch.arange(LENGTH) / RATE
    waves = (
        torch.sin(2 * torch.pi * (200 + 150 * torch.arange(n)[:, None]) * time) * torch.linspace(0.02, 0.5, n)[:, None]
    )
    waves[:, :200] = waves[:, -200:] = 0
    return waves


VOICES = at_one_loudness(torch.randn(9, LENGTH, generator=torch.Generator().manual_seed(7)) * torch.rand(9, 1))


def pipeline(**changed: object) -> NoisyPipeline:
    return NoisyPipeline(PREPARE, replace(Noise(), **changed), VOICES)  # type: ignore[arg-type]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
@pytest.mark.parametrize("snr", [20.0, 0.0, -5.0])
def test_noise_is_so_many_decibels_below_the_heard_part_of_each_clip(kind: str, snr: float) -> None:
    view, waves = pipeline(noises=kind, snr_low=snr, snr_high=snr, room=0.0), tones()
    added = view.waves(waves, view.sample(waves, generator())) - waves
    ratio = 20 * torch.log10(rms(waves) / added.square().mean(dim=1).sqrt())
    torch.testing.assert_close(ratio, torch.full((6,), snr), atol=1e-3, rtol=0)


def test_the_ratio_is_drawn_between_its_ends_and_kinds_in_turn() -> None:
    drawn = pipeline(snr_low=3.0, snr_high=9.0).sample(torch.zeros(4000, LENGTH), generator())["noise"]
    assert 3.0 <= float(drawn["snr"].min()) < 3.1
    assert 8.9 < float(drawn["snr"].max()) <= 9.0
    counts = drawn["kind"].bincount().tolist()
    assert [KINDS[number] for number in range(len(counts))] == ["white", "pink", "babble"]
    assert min(counts) > 1200


def test_pink_noise_has_ten_decibels_less_power_per_decade() -> None:
    power = torch.fft.rfft(pink(torch.randn(64, 8000, generator=generator()))).abs().square().mean(dim=0)
    low, high = float(power[8:13].mean()), float(power[800:1300].mean())
    assert 10 * torch.log10(torch.tensor(low / high)) == pytest.approx(20.0, abs=1.0)
    assert float(power[0]) == pytest.approx(0.0, abs=1e-6)


def test_babble_is_a_sum_of_clips_of_the_bank() -> None:
    view, waves = pipeline(noises="babble", voices=2, room=0.0), torch.zeros(3, LENGTH)
    drawn = view.sample(waves, generator())["noise"]
    made = view._noise(drawn)
    for row in range(3):
        clips = [
            VOICES[int(clip) % 9].roll(-int(shift))
            for clip, shift in zip(drawn["clip"][row], drawn["shift"][row], strict=True)
        ]
        torch.testing.assert_close(made[row], clips[0] + clips[1])


def test_a_room_rings_for_its_time_and_keeps_the_energy() -> None:
    seconds, rate = torch.tensor([0.5, 0.25, 0.0]), 16000
    click = torch.zeros(3, rate)
    click[:, 0] = 1.0
    tail = torch.randn(3, rate // 2, generator=generator())
    heard = in_rooms(click, seconds, tail, rate)
    torch.testing.assert_close(heard.square().sum(dim=1), torch.ones(3), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(heard[2], click[2], rtol=0, atol=1e-5)
    # Energy of the tail beside the direct sound: T60 / 0.5 s.
    for row, expected in ((0, 1.0), (1, 0.5)):
        direct = float(heard[row, 0].square())
        assert float(heard[row, 1:].square().sum()) / direct == pytest.approx(expected, rel=0.1)
    # 30 dB less after half the time: mean power around 0 and around T60 / 2
    early, late = heard[0, 1:400].square().mean(), heard[0, 4000:4400].square().mean()
    assert 10 * float(torch.log10(early / late)) == pytest.approx(30.0, abs=2.0)


def test_half_of_the_copies_are_in_no_room() -> None:
    drawn = pipeline(room=0.4).sample(torch.zeros(2000, LENGTH), generator())["room"]["seconds"]
    assert 0.4 < float((drawn == 0).float().mean()) < 0.6
    assert 0.39 < float(drawn.max()) <= 0.4


def test_a_copy_is_replayed_bit_for_bit_and_without_parameters_it_is_the_clip() -> None:
    view, waves = pipeline(), tones()
    params = view.sample(waves, generator())
    assert set(params) == {"room", "noise"}
    assert torch.equal(view.apply(waves, params), view.apply(waves, params))
    assert torch.equal(view.apply(waves, {}), PREPARE.plain(waves))
    assert view.apply(waves, params).shape == (6, 1, 8, PREPARE.front.frames)
    alone = {name: {key: value[2:3] for key, value in part.items()} for name, part in params.items()}
    torch.testing.assert_close(view.apply(waves[2:3], alone), view.apply(waves, params)[2:3], rtol=1e-4, atol=1e-4)


def test_draws_of_the_noise_do_not_depend_on_the_room() -> None:
    waves = tones()
    with_room, without = pipeline().sample(waves, generator()), pipeline(room=0.0).sample(waves, generator())
    assert set(without) == {"noise"}
    assert all(torch.equal(value, without["noise"][name]) for name, value in with_room["noise"].items())


def test_strengths_for_the_audit() -> None:
    view, waves = pipeline(room=0.2), tones()
    assert isinstance(view, AdjustableView)
    params = view.sample(waves, generator())
    only_noise = {"noise": params["noise"]}
    full = view.waves(waves, only_noise) - waves
    torch.testing.assert_close(
        view.scaled("noise", 0.5).waves(waves, only_noise) - waves, full / 2, atol=1e-5, rtol=1e-3
    )
    assert torch.equal(view.scaled("noise", 0.0).waves(waves, only_noise), waves)
    assert view.scaled("room", 0.0).sample(waves, generator()).keys() == {"noise"}
    assert view.scaled("room", 2.0).noise.room == 0.4
    assert view.drawn_by("noise") != view.scaled("noise", 2.0).drawn_by("noise")
    assert view.drawn_by("room") == {"room": 0.2}
    assert view.drawn_by("crop") is None
    with pytest.raises(ValueError, match="magnitudes: got -1"):
        view.scaled("noise", -1.0)


def test_figures_draw_the_noisy_copy_and_not_the_clean_one() -> None:
    views = noisy_views("clean-noisy", PREPARE, Noise(), {"voices": VOICES})
    waves = tones()
    assert views.studied is views.pipelines[1]
    clean, noisy = views.draw(waves, generator())
    assert torch.equal(clean, views.plain(waves))
    assert not torch.allclose(noisy, clean, atol=0.1)
    both = noisy_views("noisy", PREPARE, Noise(), {"voices": VOICES})
    assert both.pipelines[0] is both.pipelines[1]


def test_without_clips_there_is_no_babble_and_without_kinds_no_noise() -> None:
    view = NoisyPipeline(PREPARE, Noise(noises="babble+white"))
    assert [KINDS[kind] for kind in view.kinds] == ["white"]
    assert "noise" not in NoisyPipeline(PREPARE, Noise(noises="babble")).sample(tones(), generator())


def test_recordings_of_a_folder_are_taken_one_at_a_time() -> None:
    recordings = torch.randn(2, LENGTH, generator=generator(3))
    view = NoisyPipeline(PREPARE, Noise(noises="./hum/", room=0.0), recordings=recordings)
    drawn = view.sample(tones(), generator())["noise"]
    expected = recordings[int(drawn["clip"][0, 0]) % 2].roll(-int(drawn["shift"][0, 0]))
    torch.testing.assert_close(view._noise(drawn)[0], expected)


def test_silent_noise_adds_nothing_and_a_silent_clip_stays_silent() -> None:
    waves = tones(2)
    waves[1] = 0
    noise = torch.stack([torch.zeros(LENGTH), torch.ones(LENGTH)])
    assert torch.equal(with_noise(waves, noise, torch.zeros(2), rms(waves)), waves)


def test_the_bank_is_chosen_by_its_seed_without_silent_clips() -> None:
    waves = tones(5)
    waves[3] = 0
    bank = bank_of_waves(ArraySource(waves), 0)
    assert len(bank) == 4
    torch.testing.assert_close(rms(bank), torch.ones(4))
    assert torch.equal(bank, bank_of_waves(ArraySource(waves), 0))
    with pytest.raises(ValueError, match="noises: array has no clip with a sound in it"):
        bank_of_waves(ArraySource(torch.zeros(3, LENGTH)), 0)


def test_words_and_numbers_that_cannot_be() -> None:
    with pytest.raises(
        ValueError, match=r"noises: got 'whit', wanted white, pink, babble or a folder.*did you mean 'white'"
    ):
        check_kinds(noise_of({"noises": "pink+whit"}))
    check_kinds(noise_of({"noises": "pink+./whit/"}))
    with pytest.raises(ValueError, match="snr_low, snr_high: got 9 and 3"):
        noise_of({"snr_low": 9, "snr_high": 3})
    with pytest.raises(ValueError, match="voices: got 0"):
        noise_of({"voices": 0})
    assert noise_of({"snr_low": -5}).snr_low == -5
