"""How noisy the copies of clips are, as numbers and words of a recipe. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noise:
    """What the views "clean-noisy" and "noisy" draw.

    Attributes:
        snr_low: lowest ratio of signal to noise in decibels.
        snr_high: highest one; every ratio between has the same probability.
        noises: kinds with + between, each with the same probability: white, pink, babble (of clips of the training
            data), and folders of recordings of noise, such as "white+noise/".
        voices: clips that babble is made of.
        room: longest reverberation time in seconds; half of the copies are in no room. 0: none is.
    """

    snr_low: float = 0.0
    snr_high: float = 20.0
    noises: str = "white+pink+babble"
    voices: int = 5
    room: float = 0.3

    @property
    def kinds(self) -> list[str]:
        """The kinds one by one."""
        return self.noises.split("+")
