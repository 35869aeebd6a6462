"""Raw log-mels: stretched ones do not hear the tempo, centred ones not the colour of the voice."""

import torch

from barlow.audio.views.bars import BARS, STRETCHED_FRAMES, centred, heard, stretched


def clip(values: torch.Tensor, before: int, frames: int) -> torch.Tensor:
    """A clip (M, t) with silence, equal in all bands, around it."""
    found = torch.full((1, 1, values.shape[0], frames), -2.0)
    found[0, 0, :, before : before + values.shape[1]] = values
    return found


def test_silence_around_a_clip_is_told_from_it() -> None:
    values = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    first, length = heard(torch.cat([clip(values, 3, 12), clip(values, 0, 12), torch.full((1, 1, 4, 12), -2.0)]))
    assert first.tolist() == [3, 0, 0]
    assert length.tolist() == [6, 6, 1]


def test_a_slower_clip_is_the_same_stretched() -> None:
    ramp, slow = (torch.linspace(1, 2, frames) * torch.arange(1, 4)[:, None] for frames in (5, 9))
    a, b = stretched(clip(ramp, 1, 12)), stretched(clip(slow, 3, 12))
    torch.testing.assert_close(a, b)
    assert a.shape == (1, 3 * STRETCHED_FRAMES)


def test_the_colour_of_a_voice_is_taken_out() -> None:
    values = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    coloured = values + torch.tensor([1.0, -2.0, 0.5, 3.0])[:, None]
    torch.testing.assert_close(centred(clip(values, 2, 10)), centred(clip(coloured, 2, 10)), rtol=1e-4, atol=1e-5)
    assert list(BARS) == ["raw log-mel", "raw log-mel, stretched", "raw log-mel, mean removed"]
