"""Log-mels are torchaudio's; every clip has one loudness, alone or in a batch."""

from importlib.util import find_spec

import pytest
import torch

from barlow.audio.front_end import FrontEnd
from barlow.audio.views.exported import PlainClip
from barlow.audio.views.log_mel import EPSILON, Prepare, log_mels, rms

FRONT = FrontEnd(8000, 512, 160, 32, 60.0, 3800.0, 0.62)


def waves(num: int = 3) -> torch.Tensor:
    return torch.randn(num, FRONT.window, generator=torch.Generator().manual_seed(0))


@pytest.mark.skipif(find_spec("torchaudio") is None, reason="torchaudio is not installed")
@pytest.mark.parametrize("front", [FRONT, FrontEnd(16000, 1024, 160, 64, 60.0, 7800.0, 0.95)])
def test_the_values_are_those_of_torchaudio(front: FrontEnd) -> None:
    from torchaudio.transforms import MelSpectrogram

    x = torch.randn(2, front.window, generator=torch.Generator().manual_seed(0))
    theirs = MelSpectrogram(
        front.sample_rate, front.n_fft, hop_length=front.hop, f_min=front.f_min, f_max=front.f_max, n_mels=front.mels
    )
    torch.testing.assert_close(log_mels(x, front), (theirs(x) + EPSILON).log(), rtol=1e-4, atol=1e-4)
    assert log_mels(x, front).shape[2] == front.frames


def test_loudness_does_not_reach_the_network_and_neither_does_silence_around_a_clip() -> None:
    prepare = Prepare(FRONT, 0.05, -5.0, 3.0)
    x = waves()
    x[:, :1000] = 0
    torch.testing.assert_close(prepare(x), prepare(0.01 * x), rtol=1e-4, atol=1e-4)
    assert rms(x)[0] == pytest.approx(float(x[0, 1000:].square().mean().sqrt()), rel=1e-5)
    louder = Prepare(FRONT, 0.0, -5.0, 3.0)
    assert not torch.allclose(louder(x), louder(0.01 * x))


def test_a_silent_clip_is_finite_and_not_made_louder() -> None:
    prepare = Prepare(FRONT, 0.05, -5.0, 3.0)
    assert prepare(torch.zeros(1, FRONT.window)).isfinite().all()
    quiet = torch.full((1, FRONT.window), 1e-5)
    assert float(prepare(quiet).max()) < float(prepare(waves()).max())


def test_a_clip_is_the_same_alone_and_in_a_batch_and_prepared_twice() -> None:
    prepare = Prepare(FRONT, 0.05, -5.0, 3.0)
    x = waves(5)
    together = prepare(x)
    for place in range(5):
        torch.testing.assert_close(prepare(x[place : place + 1])[0], together[place], rtol=1e-5, atol=1e-5)
    assert prepare(together) is together
    with pytest.raises(ValueError, match="batch: got"):
        prepare(x.to(torch.int16))


def test_the_exported_front_end_gives_the_plain_view() -> None:
    prepare = Prepare(FRONT, 0.05, -5.0, 3.0)
    x = waves()
    x[1, :2000] = 0
    x[2] = 0
    torch.testing.assert_close(PlainClip(prepare)(x), prepare.plain(x), rtol=1e-3, atol=1e-3)
