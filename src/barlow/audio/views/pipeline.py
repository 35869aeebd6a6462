"""One pipeline of sound: `AudioPipeline` draws what happens to each clip and makes it happen, on log-mels.

The order is fixed: reverberation, mixup, noise, crop, shift, fader, gain (mixup, crop and fader as in BYOL-A and Audio
Barlow Twins). Every transform draws from a generator of its own, seeded from the one that is passed in, so no
transform's draws depend on another one or on whether that is used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.audio.front_end import Strengths
from barlow.audio.views import transforms
from barlow.audio.views.log_mel import Prepare
from barlow.errors import unknown
from barlow.seams import Params, to_device

TRANSFORMS = ("reverb", "mixup", "noise", "crop", "shift", "fader", "gain")
"""In the order in which they are applied; new ones go to the end, so that the seeds before them stay what they are."""
STRENGTHS: dict[str, dict[str, float]] = {
    "reverb": {"reverb": 0.0},
    "mixup": {"mixup": 0.0},
    "noise": {"noise": 0.0},
    "crop": {"crop_low": 1.0, "crop_high": 1.0},
    "shift": {"shift": 0.0},
    "fader": {"fader": 0.0},
    "gain": {"gain": 0.0},
}
"""Transform -> its magnitudes among the fields of `Strengths`, and the value that changes nothing."""


@dataclass(frozen=True)
class AudioPipeline:
    """A distribution over views of clips: a `View`, of waves (N, t) or of what `Prepare` made of them.

    Attributes:
        prepare: from clips to log-mels.
        names: transforms of `TRANSFORMS` that happen.
        strengths: their magnitudes.
        bank: (K, mels, frames) normalised log-mels of training clips to mix in, of those that could not be read
            minus infinity, which adds nothing; None: there is no mixup.
    """

    prepare: Prepare
    names: tuple[str, ...]
    strengths: Strengths = field(default_factory=Strengths)
    bank: Tensor | None = field(default=None, repr=False, compare=False)

    parts: ClassVar[Mapping[str, Mapping[str, tuple[str, float]]]] = {}
    joined: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in TRANSFORMS:
                raise unknown("views", name, TRANSFORMS)

    def scaled(self, transform: str, magnitude: float) -> "AudioPipeline":
        """Return the pipeline with one transform weaker or stronger: each strength v becomes v_0 + m (v - v_0)."""
        if transform not in STRENGTHS:
            raise unknown("transform with a magnitude", transform, STRENGTHS)
        if not 0 <= magnitude < float("inf"):
            raise ValueError(f"magnitudes: got {magnitude}, wanted 0 or more")
        changed = {}
        for name, neutral in STRENGTHS[transform].items():
            value = (1 - magnitude) * neutral + magnitude * getattr(self.strengths, name)
            if (transform == "crop" and value <= 0) or (transform in ("mixup", "noise") and value >= 1):
                raise ValueError(f"magnitudes: got {magnitude}, which makes {name} {value:.3g}")
            changed[name] = value
        return replace(self, strengths=replace(self.strengths, **changed))

    def drawn_by(self, transform: str) -> Mapping[str, Any] | None:
        """Return the numbers that a transform is drawn by, None for one that no pipeline has."""
        if transform not in STRENGTHS:
            return None
        return {name: getattr(self.strengths, name) for name in STRENGTHS[transform]}

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        """Draw the parameters of one view of each clip, by transform; looks only at their number.

        Generator and parameters are on the CPU, whatever the batch is on: a seed means the same views everywhere.
        """
        seeds = torch.randint(2**63 - 1, (len(TRANSFORMS),), generator=generator).tolist()
        drawn: dict[str, dict[str, Tensor]] = {}
        for name, seed in zip(TRANSFORMS, seeds, strict=True):
            if name in self.names and not (name == "mixup" and self.bank is None):
                drawn[name] = _DRAWS[name](self, len(batch), torch.Generator().manual_seed(seed))
        return drawn

    def apply(self, batch: Tensor, params: Params) -> Float[Tensor, "n 1 m f"]:
        """Make the views that `params` describes, (N, 1, mels, frames) float32, on the device of the batch."""
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            x = self.prepare(batch)
            here = to_device(dict(params), x.device)
            for name in TRANSFORMS:
                if name in here:
                    x = self._applied(name, x, here[name])
            return x[:, None]

    def _applied(self, name: str, x: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        prepare = self.prepare
        if name == "mixup":
            if self.bank is None:
                raise ValueError("views: mixup has no clips to mix in, wanted a pipeline with a bank")
            other = self.bank.to(x.device).index_select(0, drawn["clip"])
            return transforms.mixup(x, other, drawn["share"])
        if name == "noise":
            return transforms.noisy(x, drawn["noise"], drawn["share"])
        if name == "crop":
            canvas = int(drawn["canvas"][0])
            box = (drawn[part] for part in ("top", "left", "height", "width"))
            return transforms.resized_crops(x, canvas, *box)
        if name == "shift":
            return transforms.shifted(x, drawn["frames"])
        if name == "fader":
            return transforms.fader(x, drawn["first"], drawn["last"])
        if name == "gain":
            return transforms.louder(x, drawn["decibels"], prepare.std)
        seconds = prepare.front.hop / prepare.front.sample_rate
        return transforms.reverberant(x, drawn["seconds"], seconds, prepare.mean, prepare.std)

    def _draw_mixup(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        assert self.bank is not None
        share = self.strengths.mixup * torch.rand(n, generator=generator)
        return {"share": share, "clip": torch.randint(len(self.bank), (n,), generator=generator)}

    def _draw_noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        share = self.strengths.noise * torch.rand(n, generator=generator)
        shape = (n, self.prepare.front.mels, self.prepare.front.frames)
        return {"share": share, "noise": torch.randn(shape, generator=generator)}

    def _draw_crop(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Sides as shares of the spectrogram, cut where the canvas ends; any place with the same probability."""
        low, high = self.strengths.crop_low, self.strengths.crop_high
        mels, frames = self.prepare.front.mels, self.prepare.front.frames
        canvas = max(frames, int(high * frames))
        sides, places = torch.rand(2, n, generator=generator), torch.rand(2, n, generator=generator)
        sizes = low + (high - low) * sides
        height = (sizes[0] * mels).floor().clamp(1, mels)
        width = (sizes[1] * frames).floor().clamp(1, canvas)
        top, left = (places[0] * (mels - height + 1)).floor(), (places[1] * (canvas - width + 1)).floor()
        box = {"top": top, "left": left, "height": height, "width": width, "canvas": torch.full((n,), float(canvas))}
        return {name: value.to(torch.int64) for name, value in box.items()}

    def _draw_shift(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        share = self.strengths.shift * (2 * torch.rand(n, generator=generator) - 1)
        return {"frames": (share * self.prepare.front.frames).round().to(torch.int64)}

    def _draw_fader(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        ends = self.strengths.fader * (2 * torch.rand(2, n, generator=generator) - 1)
        return {"first": ends[0], "last": ends[1]}

    def _draw_gain(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"decibels": self.strengths.gain * (2 * torch.rand(n, generator=generator) - 1)}

    def _draw_reverb(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"seconds": self.strengths.reverb * torch.rand(n, generator=generator)}


_DRAWS: dict[str, Callable[[AudioPipeline, int, torch.Generator], dict[str, Tensor]]] = {
    name: getattr(AudioPipeline, f"_draw_{name}") for name in TRANSFORMS
}
