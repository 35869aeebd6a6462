"""Views and networks of sound by name, a line on each."""

from barlow.audio.views.named import VIEWS
from barlow.audio.views.noisy import VIEWS as NOISY
from barlow.audio.views.pipeline import TRANSFORMS

NETWORKS = {
    "audiontt": "the network of BYOL-A and Audio Barlow Twins; width 64 as published",
    "audiontt-small": "the same without dropout and with a narrow MLP, in minutes on a CPU",
    "tdnn": "x-vectors: a time-delay network, for speakers",
    "timm:NAME": "any network of timm, on one channel: timm:resnet18",
}
"""Name -> what it is: our own, and the way to those of timm."""


def listed(what: str, word: str) -> dict[str, str]:
    """Return views or networks by name, those with the word in it."""
    found = NETWORKS if what == "networks" else _views()
    return {name: line for name, line in found.items() if word in name}


def _views() -> dict[str, str]:
    named = {name: f"2 alike: {', '.join(names) or 'nothing happens'}" for name, names in VIEWS.items()}
    return named | NOISY | {"A+B": f"2 alike, of transforms by name: {', '.join(TRANSFORMS)}"}
