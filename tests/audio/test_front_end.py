"""The numbers of sound: what is left open is told by the recordings, what cannot be is refused by name."""

import pytest

from barlow.audio.front_end import as_options, front_end, settled, strengths
from barlow.recipes import RECIPES


def test_numbers_that_are_not_said_follow_from_the_rate() -> None:
    found = settled(front_end({}), 8000)
    assert (found.sample_rate, found.n_fft, found.hop, found.f_max) == (8000, 512, 160, 3800.0)
    assert settled(front_end({}), 44100).sample_rate == 16000
    assert front_end(as_options(found)) == found


def test_the_published_front_end_makes_96_frames_of_64_bands() -> None:
    found = settled(front_end(RECIPES["audio"]().modality_options), 44100)
    assert (found.mels, found.frames, found.n_fft, found.hop, found.f_max) == (64, 96, 1024, 160, 7800.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hops": 1}, "modality_options: there is no 'hops'|hops"),
        ({"mels": 0}, "mels: got 0"),
        ({"mels": 2.5}, "mels: got 2.5, wanted a whole number"),
        ({"mixup": 1.0}, "mixup: got 1.0, wanted a number from 0 to below 1"),
        ({"fader": "much"}, "fader: got 'much'"),
    ],
)
def test_names_and_numbers_that_cannot_be_are_refused(options: dict[str, object], said: str) -> None:
    def read() -> None:
        front_end(options)
        strengths(options)

    with pytest.raises(ValueError, match=said):
        read()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"f_max": 5000}, "f_min, f_max: got 60 and 5000"),
        ({"seconds": 0.05}, "seconds: got 0.05"),
        ({"longest": 0.5}, "longest: got 0.5"),
    ],
)
def test_numbers_that_do_not_fit_the_rate_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settled(front_end(options), 8000)
