"""A name becomes a network from (N, 1, mels, frames) to (N, d): AudioNTT, TDNN, or one of timm on one channel."""

from functools import partial
from typing import Any

import timm
from torch import Tensor, nn

from barlow.audio.front_end import FrontEnd
from barlow.audio.networks.audio_ntt import PUBLISHED_HIDDEN, AudioNTT
from barlow.audio.networks.tdnn import TDNN
from barlow.errors import did_you_mean

OWN_NETWORKS = ("audiontt", "audiontt-small", "tdnn")
"""The published AudioNTT, whose first width is 64, one without dropout whose MLP is as wide as its steps, x-vectors."""
PREFIX = "timm:"


class Pooled(nn.Module):
    """A network of timm; a feature map is averaged over its positions."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Return features (N, d)."""
        features: Tensor = self.network(spectrogram)
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def check_name(name: str) -> None:
    """Refuse a network that does not exist: ValueError with the nearest name."""
    if name in OWN_NETWORKS or timm.is_model(name.removeprefix(PREFIX)):
        return
    near = did_you_mean(name.removeprefix(PREFIX), [*OWN_NETWORKS, *timm.list_models()])
    raise ValueError(f"backbone: got {name!r}, wanted {', '.join(OWN_NETWORKS)} or a network of timm{near}")


def build_network(name: str, front: FrontEnd, *, width: int, pretrained: bool = False) -> nn.Module:
    """Build a network by name for spectrograms of a front end; weights follow from torch's generator.

    `width` is the channels of AudioNTT and of the TDNN. Of timm's networks those with a fixed size are built for
    mels x frames, and `pretrained` fills them with timm's own weights, brought to one channel.
    """
    check_name(name)
    if name in OWN_NETWORKS and pretrained:
        raise ValueError(f"pretrained: got 'default', wanted '' or a network of timm: nobody publishes one for {name}")
    if name == "audiontt":
        return AudioNTT(front.mels, width=width, hidden=PUBLISHED_HIDDEN * width // 64)
    if name == "audiontt-small":
        return AudioNTT(front.mels, width=width, hidden=width * (front.mels // 4), dropout=0.0)
    if name == "tdnn":
        return TDNN(front.mels, width=width)
    return _of_timm(name.removeprefix(PREFIX), front, pretrained)


def _of_timm(name: str, front: FrontEnd, pretrained: bool) -> nn.Module:
    make = partial(timm.create_model, name, pretrained=pretrained, num_classes=0, in_chans=1)
    config = timm.get_pretrained_cfg(name)
    sized: dict[str, Any] = {}
    if config is not None and config.fixed_input_size:
        sized = {"img_size": (front.mels, front.frames)}
    try:
        return Pooled(make(**sized))
    except Exception as error:  # a library may raise anything, and every time another size is wanted
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        size = f"{front.mels} x {front.frames}"
        raise ValueError(f"backbone: cannot build timm:{name} for spectrograms of {size}: {reason}") from error
