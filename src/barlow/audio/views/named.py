"""Views of sound by name, and the clips that they mix in."""

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.audio.front_end import Strengths
from barlow.audio.views.log_mel import Prepare
from barlow.audio.views.noisy import VIEWS as NOISY
from barlow.audio.views.pipeline import TRANSFORMS, AudioPipeline
from barlow.data.order import hash_seed
from barlow.errors import unknown
from barlow.seams import Source, Views

VIEWS: dict[str, tuple[str, ...]] = {
    "audio": ("mixup", "crop", "fader"),
    "plain": (),
}
"""Name -> transforms. "audio" are those of BYOL-A and Audio Barlow Twins; others go by their transforms, as in
"mixup+crop+shift"."""
BANK_SEED = 0xBA4C
"""Of the choice of clips to mix in."""


def transforms_of(name: str) -> tuple[str, ...]:
    """Return the transforms of views by name, or by transforms with "+" between; ValueError for others."""
    if name in VIEWS:
        return VIEWS[name]
    names = tuple(name.split("+"))
    for one in names:
        if one not in TRANSFORMS:
            raise unknown("views", one, [*VIEWS, *NOISY, *TRANSFORMS])
    return names


def audio_views(name: str, prepare: Prepare, strengths: Strengths, bank: Tensor | None) -> Views:
    """Return two views drawn in the same way, and the plain one.

    Without a bank there is no mixup: of views for a network that was trained elsewhere there is none.
    """
    names = transforms_of(name)
    if "mixup" in names and bank is not None and bank.shape[1:] != (prepare.front.mels, prepare.front.frames):
        raise ValueError(
            f"bank: got {tuple(bank.shape)}, wanted clips of {prepare.front.mels} x {prepare.front.frames}"
        )
    pipeline = AudioPipeline(prepare, names, strengths, bank if "mixup" in names else None)
    return Views((pipeline, pipeline), plain=prepare.plain, prepare=prepare)


def bank_of(source: Source, prepare: Prepare, most: int, seed: int) -> Float[Tensor, "k m f"]:
    """Return normalised log-mels of a seeded choice of clips of a source: the middle of each.

    The same for the same source and seed, on every process and after a kill; a clip that cannot be read is minus
    infinity, so that no other one takes its number.
    """
    number = min(most, len(source))
    generator = torch.Generator().manual_seed(hash_seed(seed, BANK_SEED))
    order = torch.randperm(len(source), generator=generator)[:number]
    bank = torch.full((number, prepare.front.mels, prepare.front.frames), -torch.inf)
    place = torch.full((len(source),), -1)
    place[order] = torch.arange(number)
    for batch in source.batches(order.tolist(), 256):
        bank[place[batch.indices]] = prepare(batch.samples)
    return bank
