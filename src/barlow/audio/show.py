"""Spectrograms as pictures with axes in seconds and kilohertz, and views as sound, for a page."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from barlow.audio.front_end import FrontEnd
from barlow.audio.views.log_mel import Prepare, mel_bank

WIDTH, HEIGHT = 132, 112
"""Pixels of a spectrogram; with the axes it stays within what a page shows without shrinking."""
LEFT, BOTTOM, RIGHT, TOP = 22, 14, 4, 3
"""Pixels around it for the axes."""
KILOHERTZ = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Where ticks stand, those that lie apart."""
DARKEST, BRIGHTEST = -2.5, 2.5
"""Normalised log-mels that are black and white."""
COLOURS = ((0, 0, 4), (60, 15, 110), (150, 45, 120), (225, 90, 85), (253, 175, 100), (252, 253, 191))
"""From quiet to loud, rising in brightness alone, so that grey prints tell the same."""
GRIFFIN_LIM_STEPS = 24
LARGEST_SAMPLE = 0.9


@dataclass(frozen=True)
class Show:
    """From views to what people see and hear of them.

    Attributes:
        prepare: from clips to log-mels, whose way back is taken.
    """

    prepare: Prepare

    @property
    def rate(self) -> int:
        """Hertz of the waves that `waves` returns."""
        return self.prepare.front.sample_rate

    def __call__(self, view: Float[Tensor, "n 1 m t"]) -> UInt8[Tensor, "n 3 h w"]:
        """Return pictures: time to the right, frequency upwards, loud is bright."""
        pictures = [_picture(one[0].cpu().numpy(), self.prepare.front) for one in view]
        return torch.from_numpy(np.stack(pictures)).movedim(-1, 1)

    def waves(self, samples: Tensor) -> Float[Tensor, "n s"]:
        """Return what is heard of clips (N, t), or of views (N, 1, M, T), whose phases are guessed (Griffin-Lim).

        Each is as loud as it may be: loudness is not what the network sees either.
        """
        found = samples.cpu() if samples.ndim == 2 else self._audible(samples[:, 0].cpu().float())
        return found / found.abs().amax(dim=1, keepdim=True).clamp(min=1e-6) * LARGEST_SAMPLE

    def _audible(self, x: Float[Tensor, "n m t"]) -> Float[Tensor, "n s"]:
        front = self.prepare.front
        bank = mel_bank(front, torch.device("cpu"))
        power = (x * self.prepare.std + self.prepare.mean).exp()
        spread = bank / bank.sum(dim=1, keepdim=True).clamp(min=1e-6)  # each band as evenly as it listens
        magnitude = torch.einsum("mk,nmt->nkt", spread, power).clamp(min=0).sqrt()
        return _griffin_lim(magnitude, front)


def _griffin_lim(magnitude: Float[Tensor, "n k t"], front: FrontEnd) -> Float[Tensor, "n s"]:
    """Return waves with nearly the magnitudes given: phases are those that the last guess had, again and again."""
    window = torch.hann_window(front.n_fft)
    generator = torch.Generator().manual_seed(0)
    phase = 2 * torch.pi * torch.rand(magnitude.shape, generator=generator)
    length = front.hop * (magnitude.shape[2] - 1)
    asked: dict[str, Any] = {"n_fft": front.n_fft, "hop_length": front.hop, "window": window}
    for _ in range(GRIFFIN_LIM_STEPS):
        wave = torch.istft(torch.polar(magnitude, phase), **asked, length=length)
        phase = torch.stft(wave, **asked, return_complex=True).angle()
    return torch.istft(torch.polar(magnitude, phase), **asked, length=length)


def _picture(x: np.ndarray, front: FrontEnd) -> np.ndarray:
    share = np.clip((x[::-1] - DARKEST) / (BRIGHTEST - DARKEST), 0, 1) * (len(COLOURS) - 1)
    low = np.minimum(share.astype(int), len(COLOURS) - 2)
    table = np.array(COLOURS, dtype=np.float64)
    colours = table[low] + (share - low)[..., None] * (table[low + 1] - table[low])
    spectrogram = Image.fromarray(colours.round().astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    page = Image.new("RGB", (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM), "white")
    page.paste(spectrogram, (LEFT, TOP))
    draw = ImageDraw.Draw(page)
    for kilohertz, height in _frequency_ticks(front):
        y = TOP + round((1 - height) * (HEIGHT - 1))
        draw.line((LEFT - 3, y, LEFT - 1, y), fill="black")
        draw.text((LEFT - 5, y), f"{kilohertz:g}".removeprefix("0"), fill="black", anchor="rm", font_size=9)
    draw.text((1, TOP + HEIGHT + 4), "kHz", fill="black", font_size=8)
    for seconds in _time_ticks(front.seconds):
        x_at = LEFT + round(seconds / front.seconds * (WIDTH - 1))
        draw.line((x_at, TOP + HEIGHT, x_at, TOP + HEIGHT + 2), fill="black")
        draw.text((x_at, TOP + HEIGHT + 3), f"{seconds:g}", fill="black", anchor="mt", font_size=9)
    draw.text((LEFT + WIDTH, TOP + HEIGHT + 4), "s", fill="black", anchor="rt", font_size=8)
    return np.asarray(page)


def _frequency_ticks(front: FrontEnd) -> list[tuple[float, float]]:
    """Return (kilohertz, height from 0 to 1) of ticks that lie an eighth of the picture apart."""

    def height(hertz: float) -> float:
        low, high, here = (np.log10(1 + f / 700) for f in (front.f_min, front.f_max, hertz))
        return float((here - low) / (high - low))

    found: list[tuple[float, float]] = []
    for kilohertz in KILOHERTZ:
        place = height(1000.0 * kilohertz)
        if 0 <= place <= 1 and (not found or place - found[-1][1] >= 1 / 8):
            found.append((kilohertz, place))
    return found


def _time_ticks(seconds: float) -> list[float]:
    """Return about four times from 0 on, at 1, 2 or 5 times a power of ten."""
    rough = seconds / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    return [round(float(place * step), 6) for place in range(int(0.93 * seconds / step) + 1)]
