"""The numbers of sound: how a recording becomes a log-mel spectrogram, and how strong its views are. No torch.

They are `modality_options` of a recipe; what is 0 there is told by the recordings, and then stands in `recipe.json`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import log2
from typing import Any

from barlow.audio.noise_options import Noise
from barlow.errors import unknown

LARGEST_AUTOMATIC_RATE = 16_000
"""Hertz; of recordings with a higher rate so much is kept unless told: speech has little above 8 kHz."""
WINDOW_SECONDS, HOP_SECONDS = 0.064, 0.02
"""Length of a frame (Anton et al. 2023: 1,024 values at 16 kHz) and from one to the next, where they are not said."""
HIGHEST_SHARE = 0.475
"""Highest frequency as a share of the rate where it is not said: 3,800 Hz of 8 kHz, below the filters of resamplers."""


@dataclass(frozen=True)
class FrontEnd:
    """From samples of a recording to log-mels.

    Attributes:
        sample_rate: hertz to which recordings are brought; 0: their own, at most 16,000.
        n_fft: values of a frame, which has a Hann window; 0: the power of two next to 64 ms.
        hop: values from one frame to the next; 0: 20 ms.
        mels: bands M.
        f_min: lower end of the lowest band in hertz.
        f_max: upper end of the highest one; 0: 0.475 of the rate.
        seconds: length of what the network sees of a clip; shorter clips get silence around them.
        longest: seconds of a file that count as one clip; longer files are cut into equal parts.
    """

    sample_rate: int = 0
    n_fft: int = 0
    hop: int = 0
    mels: int = 32
    f_min: float = 60.0
    f_max: float = 0.0
    seconds: float = 0.62
    longest: float = 10.0

    @property
    def window(self) -> int:
        """Values of a recording that the network sees at once."""
        return round(self.seconds * self.sample_rate)

    @property
    def frames(self) -> int:
        """Frames T of the spectrogram of so many values: one every hop, the first around the first value."""
        return self.window // self.hop + 1


@dataclass(frozen=True)
class Strengths:
    """How strong the transforms of a view are, where its name has them.

    Attributes:
        mixup: largest share of another clip (Anton et al. 2023: 0.2).
        bank: clips of the training data that are mixed in.
        crop_low: smallest side of the random resized crop, as a share of the spectrogram's (0.6).
        crop_high: largest side; above 1 there is nothing around the spectrogram (1.5).
        fader: largest start and end of the line that is added over time, in standard deviations (1).
        shift: largest circular shift in time, as a share of the spectrogram.
        gain: largest change of level in decibels.
        noise: largest share of white noise.
        reverb: longest reverberation, seconds to fall by 60 dB.
    """

    mixup: float = 0.2
    bank: int = 1024
    crop_low: float = 0.6
    crop_high: float = 1.5
    fader: float = 1.0
    shift: float = 0.25
    gain: float = 6.0
    noise: float = 0.2
    reverb: float = 0.5


LEAST: dict[str, float] = {
    "mels": 1, "bank": 1, "crop_low": 0.05, "seconds": 0.01, "longest": 0.1,
    "snr_low": -100, "snr_high": -100, "voices": 1,
}  # fmt: skip
"""Smallest values of numbers that cannot be 0; all others are 0 or more."""
BELOW_ONE = ("mixup", "noise")
"""Shares of something else, of which 1 would leave nothing of the clip."""


def front_end(options: Mapping[str, Any]) -> FrontEnd:
    """Return what options say of the front end; ValueError for a name or a number that cannot be."""
    found: Any = _of(FrontEnd, options)
    return FrontEnd(**found)


def strengths(options: Mapping[str, Any]) -> Strengths:
    """Return what options say of the views; ValueError for a name or a number that cannot be."""
    found: Any = _of(Strengths, options)
    return Strengths(**found)


def noise(options: Mapping[str, Any]) -> Noise:
    """Return what options say of noisy copies; ValueError for a name, a number or a word that cannot be."""
    found = Noise(**_of(Noise, options))
    if found.snr_low > found.snr_high:
        raise ValueError(f"snr_low, snr_high: got {found.snr_low:g} and {found.snr_high:g}, wanted them rising")
    return found


def settled(asked: FrontEnd, rate: int) -> FrontEnd:
    """Return a front end without zeros, for recordings whose rate is mostly `rate` hertz.

    ValueError: bands above half the rate, a frame longer than what the network sees, or more of it than `longest`.
    """
    rate = asked.sample_rate or min(rate, LARGEST_AUTOMATIC_RATE)
    n_fft = asked.n_fft or 2 ** max(4, round(log2(max(1.0, WINDOW_SECONDS * rate))))
    hop = asked.hop or max(1, round(HOP_SECONDS * rate))
    found = replace(asked, sample_rate=rate, n_fft=n_fft, hop=hop, f_max=asked.f_max or HIGHEST_SHARE * rate)
    if not found.f_min < found.f_max <= rate / 2:
        raise ValueError(
            f"f_min, f_max: got {found.f_min:g} and {found.f_max:g} Hz, wanted them rising and at most {rate / 2:g}, "
            f"half the sample_rate {rate}"
        )
    if found.window < n_fft:
        raise ValueError(
            f"seconds: got {found.seconds:g}, which are {found.window} values at {rate} Hz, wanted at least the "
            f"n_fft {n_fft} of one frame"
        )
    if found.longest < found.seconds:
        raise ValueError(f"longest: got {found.longest:g}, wanted at least the seconds {found.seconds:g}")
    return found


def as_options(found: FrontEnd) -> dict[str, int | float]:
    """Return the numbers by name, as `recipe.json` keeps them."""
    return asdict(found)


def _of(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    known = {one.name: one for one in (*fields(FrontEnd), *fields(Strengths), *fields(Noise))}
    own = {one.name for one in fields(kind)}
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            raise unknown("modality_options", name, known)
        if name in own and isinstance(known[name].default, str):
            found[name] = str(value)
        elif name in own:
            found[name] = _number(name, value, whole=isinstance(known[name].default, int))
    return found


def _number(name: str, value: Any, *, whole: bool) -> int | float:
    least = LEAST.get(name, 0)
    wanted = f"wanted {'a whole number' if whole else 'a number'} from {least:g}" + " to below 1" * (name in BELOW_ONE)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
        raise ValueError(f"{name}: got {value!r}, {wanted}")
    if (whole and value != int(value)) or (name in BELOW_ONE and value >= 1):
        raise ValueError(f"{name}: got {value!r}, {wanted}")
    return int(value) if whole else float(value)
