"""Noisy copies of clips: a simulated room, then noise at a drawn ratio of signal to noise, on waves; then log-mels.

    y = g (s * r) + 10^(-SNR/20) rms(s) n / rms(n)

r is 1 for the direct sound and then exponentially decaying white noise, 60 dB in the reverberation time T60, with as
much energy as the direct sound at T60 = 0.5 s and in proportion to T60 otherwise; g keeps the energy of the clip. n is
white noise, pink noise (power 1/f), babble (several other clips at one loudness), or a recording of a folder. What is
drawn is among the parameters, so a view can be replayed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.audio.noise_options import Noise
from barlow.audio.views.log_mel import Prepare, rms
from barlow.audio.views.pipeline import AudioPipeline
from barlow.data.order import hash_seed
from barlow.errors import did_you_mean
from barlow.seams import Params, Source, Views, to_device

TRANSFORMS = ("room", "noise")
"""In the order in which they are applied."""
KINDS = ("white", "pink", "babble", "folder")
"""What noise may be: their numbers are among the parameters."""
EQUAL_ENERGY_SECONDS = 0.5
"""T60 at which a room has as much reverberant as direct energy: a metre or two from the speaker in a small room."""
DECAY = 6.908
"""log of 1,000: amplitudes fall by 60 dB in T60."""
SHORTEST = 0.01
"""Reverberation time in seconds below which there is no room."""


VIEWS = {
    "clean-noisy": "the clip as it is, and a noisy copy of it; figures and audits draw the noisy one",
    "noisy": "two noisy copies",
}
"""Names of views -> what they are."""
MOST_CLIPS = 256
"""Clips kept for babble, and recordings of noise."""
BANK_SEED = 0x0BAB
"""Of their choice."""


@dataclass(frozen=True)
class NoisyPipeline:
    """A distribution over noisy copies of clips: a `View` of waves (N, t).

    Attributes:
        prepare: from waves to log-mels.
        noise: which noise, how loud, and how long the rooms ring.
        voices: (K, t) clips of which babble is made, None: there is none.
        recordings: (L, t) noise from a folder, None: there is none.
        louder: factor of the amplitude of the noise, for curves of strength; 0: none.
    """

    prepare: Prepare
    noise: Noise
    voices: Tensor | None = field(default=None, repr=False, compare=False)
    recordings: Tensor | None = field(default=None, repr=False, compare=False)
    louder: float = 1.0

    parts: ClassVar[Mapping[str, Mapping[str, tuple[str, float]]]] = {}
    joined: ClassVar[tuple[str, ...]] = ()

    @property
    def kinds(self) -> list[int]:
        """Numbers of the kinds of noise that there are clips for."""
        without = {"babble": self.voices is None, "folder": self.recordings is None}
        named = ["folder" if name not in KINDS else name for name in self.noise.kinds]
        return [KINDS.index(name) for name in named if not without.get(name, False)]

    def scaled(self, transform: str, magnitude: float) -> "NoisyPipeline":
        """Return the pipeline with louder or quieter noise, or with rooms that ring longer or shorter."""
        if not 0 <= magnitude < float("inf"):
            raise ValueError(f"magnitudes: got {magnitude}, wanted 0 or more")
        if transform == "room":
            return replace(self, noise=replace(self.noise, room=magnitude * self.noise.room))
        return replace(self, louder=magnitude * self.louder)

    def drawn_by(self, transform: str) -> Mapping[str, Any] | None:
        """Return the numbers that a transform is drawn by, None for one that no pipeline has."""
        if transform == "room":
            return {"room": self.noise.room}
        low, high = self.noise.snr_low, self.noise.snr_high
        return {"kinds": self.kinds, "snr": (low, high), "louder": self.louder} if transform == "noise" else None

    def sample(self, batch: Float[Tensor, "n t"], generator: torch.Generator) -> Params:
        """Draw room and noise of each clip; looks only at the number and the length of the clips."""
        n, length = batch.shape
        seeds = torch.randint(2**63 - 1, (len(TRANSFORMS),), generator=generator).tolist()
        of_room, of_noise = (torch.Generator().manual_seed(seed) for seed in seeds)
        drawn: dict[str, dict[str, Tensor]] = {}
        if self.noise.room >= SHORTEST:
            # Half of the copies are in no room.
            seconds = self.noise.room * (2 * torch.rand(n, generator=of_room) - 1).clamp(min=0)
            size = min(length, int(self.noise.room * self.prepare.front.sample_rate) + 1)
            drawn["room"] = {"seconds": seconds, "tail": torch.randn(n, size, generator=of_room)}
        if kinds := self.kinds:
            low, high = self.noise.snr_low, self.noise.snr_high
            count = self.noise.voices
            drawn["noise"] = {
                "snr": low + (high - low) * torch.rand(n, generator=of_noise),
                "kind": torch.tensor(kinds)[torch.randint(len(kinds), (n,), generator=of_noise)],
                "white": torch.randn(n, length, generator=of_noise),
                "clip": torch.randint(2**31, (n, count), generator=of_noise),
                "shift": torch.randint(length, (n, count), generator=of_noise),
            }
        return drawn

    def apply(self, batch: Float[Tensor, "n t"], params: Params) -> Float[Tensor, "n 1 m f"]:
        """Make the copies that `params` describes, as log-mels; without any, the clips as they are."""
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            return self.prepare(self.waves(batch, params))[:, None]

    def waves(self, batch: Float[Tensor, "n t"], params: Params) -> Float[Tensor, "n t"]:
        """Make the same copies as waves, to listen to."""
        here, waves = to_device(dict(params), batch.device), batch.to(torch.float32)
        if "room" in here:
            waves = in_rooms(waves, here["room"]["seconds"], here["room"]["tail"], self.prepare.front.sample_rate)
        if "noise" in here:
            waves = with_noise(waves, self._noise(here["noise"]), here["noise"]["snr"], rms(batch), self.louder)
        return waves

    def _noise(self, drawn: Mapping[str, Tensor]) -> Float[Tensor, "n t"]:
        """The noise of each clip, at any loudness."""
        kind, found = drawn["kind"], drawn["white"].clone()
        for name in (KINDS[number] for number in kind.unique().tolist()):
            rows = kind == KINDS.index(name)
            if name == "pink":
                found[rows] = pink(drawn["white"][rows])
            elif name == "babble":
                assert self.voices is not None
                found[rows] = shifted_sum(self.voices, drawn["clip"][rows], drawn["shift"][rows])
            elif name == "folder":
                assert self.recordings is not None
                found[rows] = shifted_sum(self.recordings, drawn["clip"][rows, :1], drawn["shift"][rows, :1])
        return found


def with_noise(
    waves: Float[Tensor, "n t"],
    noise: Float[Tensor, "n t"],
    snr: Float[Tensor, " n"],
    loudness: Float[Tensor, " n"],
    louder: float = 1.0,
) -> Float[Tensor, "n t"]:
    """Add noise so many decibels below the loudness (root mean square) of each clip; silent noise adds nothing."""
    size = noise.square().mean(dim=1).sqrt()
    gain = louder * loudness * 10 ** (-snr / 20) / size.clamp(min=1e-12)
    return waves + torch.where(size > 0, gain, 0.0)[:, None] * noise


def pink(white: Float[Tensor, "n t"]) -> Float[Tensor, "n t"]:
    """Return white noise with the power 1/f: each frequency divided by its root, the mean taken away."""
    spectrum = torch.fft.rfft(white)
    weights = torch.arange(spectrum.shape[1], device=white.device, dtype=torch.float32).clamp(min=1).rsqrt()
    weights[0] = 0.0
    found: Tensor = torch.fft.irfft(spectrum * weights, n=white.shape[1])
    return found


def shifted_sum(bank: Float[Tensor, "k t"], clip: Tensor, shift: Tensor) -> Float[Tensor, "n t"]:
    """Add up clips of a bank, each begun elsewhere and going round; `clip` (N, V) is any number, taken modulo K."""
    length = bank.shape[1]
    places = torch.arange(length, device=clip.device)
    total = torch.zeros(len(clip), length, device=clip.device)
    here = bank.to(clip.device)
    for voice in range(clip.shape[1]):
        chosen = here[clip[:, voice] % len(here)]
        total += chosen.gather(1, (places[None, :] + shift[:, voice : voice + 1]) % length)
    return total


def in_rooms(
    waves: Float[Tensor, "n t"], seconds: Float[Tensor, " n"], tail: Float[Tensor, "n k"], rate: int
) -> Float[Tensor, "n t"]:
    """Convolve each clip with the response of a room with that T60, made of a white `tail`; its energy stays."""
    time = torch.arange(tail.shape[1], device=waves.device) / rate
    ringing = seconds.clamp(min=SHORTEST)[:, None]
    size = (2 * DECAY / (rate * EQUAL_ENERGY_SECONDS)) ** 0.5  # sum of size^2 exp(-2 DECAY t / T60) is T60 / 0.5
    response = size * tail * torch.exp(-DECAY * time / ringing) * (seconds >= SHORTEST)[:, None]
    response[:, 0] = 1.0
    length = waves.shape[1] + tail.shape[1]
    found: Tensor = torch.fft.irfft(torch.fft.rfft(waves, n=length) * torch.fft.rfft(response, n=length), n=length)
    found = found[:, : waves.shape[1]]
    before, after = waves.square().sum(dim=1), found.square().sum(dim=1)
    return found * torch.where(after > 0, (before / after.clamp(min=1e-20)).sqrt(), 1.0)[:, None]


def at_one_loudness(waves: Float[Tensor, "k t"]) -> Float[Tensor, "k t"]:
    """Return clips whose heard part has root mean square 1; silence stays silent."""
    return waves / rms(waves).clamp(min=1e-8)[:, None]


def noisy_views(name: str, prepare: Prepare, noise: Noise, memory: Mapping[str, Tensor]) -> Views:
    """Return the views of a name in `VIEWS`; without clips in `memory` there is no noise that is made of clips."""
    noisy = NoisyPipeline(prepare, noise, memory.get("voices"), memory.get("recordings"))
    first = AudioPipeline(prepare, ()) if name == "clean-noisy" else noisy
    return Views((first, noisy), plain=prepare.plain, studied_at=1)


def check_kinds(noise: Noise, argument: str = "noises") -> None:
    """Refuse a kind of noise that is none of `KINDS` and no path; whether there is a folder is seen when it is read."""
    for kind in noise.kinds:
        if kind == "folder" or (kind not in KINDS and "/" not in kind):
            known = [name for name in KINDS if name != "folder"]
            raise ValueError(
                f"{argument}: got {kind!r}, wanted {', '.join(known)} or a folder of recordings, such as ./{kind}/"
                f"{did_you_mean(kind, known)}"
            )


def folders_in(noise: Noise) -> list[str]:
    """Return the folders of recordings among the kinds of noise."""
    return [kind for kind in noise.kinds if kind not in KINDS]


def bank_of_waves(source: Source, seed: int, most: int = MOST_CLIPS) -> Float[Tensor, "k t"]:
    """Return a seeded choice of clips at one loudness; those that cannot be read, or are silent, are left out."""
    generator = torch.Generator().manual_seed(hash_seed(seed, BANK_SEED))
    order = torch.randperm(len(source), generator=generator)[:most].tolist()
    clips = [at_one_loudness(batch.samples) for batch in source.batches(order, MOST_CLIPS)]
    found = torch.cat(clips) if clips else torch.zeros(0, 1)
    found = found[found.abs().amax(dim=1) > 0]
    if not len(found):
        raise ValueError(f"noises: {source.name} has no clip with a sound in it")
    return found
