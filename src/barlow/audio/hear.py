"""A run as a module of HEAR 2021 (Holistic Evaluation of Audio Representations): the functions, and the folder with it.

    load_model(path) -> model with sample_rate, scene_embedding_size and timestamp_embedding_size
    get_scene_embeddings(audio, model) -> (n, d)
    get_timestamp_embeddings(audio, model) -> (n, t, d) and the middles of the t windows in milliseconds (n, t)

audio is (n, samples) in [-1, 1] at `sample_rate`. Windows are as long as what the network saw in training, every 50 ms
for timestamps; a scene is the mean of windows half a length apart. They go through the network some at a time, so that
memory does not grow with the length of the recordings, but for what goes in and comes out. The contract:
https://hearbenchmark.com/hear-api.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn.functional import pad

from barlow.audio.data.clips import placed
from barlow.audio.front_end import front_end
from barlow.audio.networks.build import build_network
from barlow.audio.views.log_mel import prepare_of
from barlow.files import durable_file, make_folder, read_json, write_json
from barlow.recipes import OWN, Recipe
from barlow.seams import Facts, check_backbone
from barlow.training.weights import WEIGHTS, read_weights, write_weights

SAMPLE_RATES = (16000, 22050, 44100, 48000)
"""Hertz that HEAR has recordings in; the lowest one that is not below the network's own is asked for."""
PER_SECOND = 20
"""Timestamps: HEAR suggests 50 ms from one to the next at most."""
WINDOWS_AT_ONCE = 256
"""Windows that the network sees together: with 0.95 s at 16 kHz they are 16 MB, and their log-mels as much again."""
MODULE, NUMBERS = "barlow_hear.py", "hear.json"
"""Files of the folder beside the weights: the module, and the network and its front end as numbers."""
SOURCE = '''"""HEAR 2021 API of a network that barlow has trained with recipe {recipe}: hear-validator barlow_hear."""

from pathlib import Path

from {module} import HearModel, get_scene_embeddings, get_timestamp_embeddings, open_hear

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]


def load_model(model_file_path: str = "") -> HearModel:
    """Return the network of a folder that barlow has exported; without a path, of the folder of this file."""
    return open_hear(model_file_path or Path(__file__).parent)
'''


class HearModel(nn.Module):
    """A network with its front end: windows of waves at its own rate -> features.

    Attributes:
        sample_rate: hertz of the audio that the functions are given.
        scene_embedding_size, timestamp_embedding_size: d.
    """

    def __init__(self, backbone: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.backbone = backbone.eval()
        self.prepare = prepare_of(facts)
        self.front = self.prepare.front
        self.sample_rate: int = next(
            (rate for rate in SAMPLE_RATES if rate >= self.front.sample_rate), SAMPLE_RATES[-1]
        )
        width = check_backbone(backbone, torch.zeros(2, 1, self.front.mels, self.front.frames))
        self.scene_embedding_size = self.timestamp_embedding_size = width

    def forward(self, windows: Float[Tensor, "n w"]) -> Float32[Tensor, "n d"]:
        """Return the features of windows at the rate of the front end."""
        features: Tensor = self.backbone(self.prepare.plain(windows))
        return features.float()


def get_scene_embeddings(audio: Float[Tensor, "n t"], model: HearModel) -> Float32[Tensor, "n d"]:
    """Return one embedding per recording: the mean of windows that cover it, half a length apart or a little less.

    A recording that is no longer than a window stands in the middle of silence, as in training; so its embedding is
    that of `Run.embed`.
    """
    waves, window = at_own_rate(audio, model), model.front.window
    waves = torch.stack([placed(wave, window) for wave in waves]) if waves.shape[1] < window else waves
    room = waves.shape[1] - window
    count = 1 + -(-2 * room // window)
    starts = [round(room * number / max(1, count - 1)) for number in range(count)]
    total = torch.zeros(len(waves), model.scene_embedding_size, device=audio.device)
    for features in _features(waves, starts, model):
        total += features.sum(dim=1)
    return total / count


def get_timestamp_embeddings(
    audio: Float[Tensor, "n t"], model: HearModel
) -> tuple[Float32[Tensor, "n s d"], Float32[Tensor, "n s"]]:
    """Return an embedding every 50 ms, of the window around that moment, and the moments in milliseconds.

    The first is at 0 and the last not after the end; beyond the ends there is silence. Places are counted from the
    beginning, so that they do not drift where 50 ms are no whole number of samples.
    """
    waves, front = at_own_rate(audio, model), model.front
    hop = front.sample_rate / PER_SECOND
    count = audio.shape[1] * PER_SECOND // model.sample_rate + 1
    before = front.window // 2
    padded = pad(waves, (before, front.window - before))
    starts = [round(number * hop) for number in range(count)]
    found = torch.cat(list(_features(padded, starts, model)), dim=1)
    times = 1000 / PER_SECOND * torch.arange(count, dtype=torch.float32, device=audio.device)
    return found, times.expand(len(audio), -1).contiguous()


def at_own_rate(audio: Float[Tensor, "n t"], model: HearModel) -> Float32[Tensor, "n own"]:
    """Return recordings at the rate of the network's front end, resampled as files are read; ValueError: no (n, t)."""
    if audio.ndim != 2 or not audio.is_floating_point() or not audio.shape[1]:
        raise ValueError(f"audio: got {audio.dtype} {tuple(audio.shape)}, wanted floats (n, samples) in [-1, 1]")
    if model.sample_rate == model.front.sample_rate:
        return audio.to(torch.float32)
    import soxr

    rows = [
        torch.from_numpy(soxr.resample(wave, model.sample_rate, model.front.sample_rate))
        for wave in audio.to(torch.float32).cpu().numpy()
    ]
    return torch.stack(rows).to(audio.device)


def _features(waves: Tensor, starts: Sequence[int], model: HearModel) -> Iterator[Tensor]:
    """Yield (n, some, d): features of windows of all recordings from `starts` on, some places at a time."""
    model.eval()
    steps = torch.arange(model.front.window, device=waves.device)
    some = max(1, WINDOWS_AT_ONCE // len(waves))
    for begin in range(0, len(starts), some):
        places = torch.tensor(starts[begin : begin + some], device=waves.device)
        windows = waves[:, places[:, None] + steps]
        flat = windows.flatten(0, 1)
        with torch.no_grad():  # not across a yield
            parts = [model(part) for part in flat.split(WINDOWS_AT_ONCE)]
        yield torch.cat(parts).unflatten(0, windows.shape[:2])


def export_hear(backbone: nn.Module, path: Path, recipe: Recipe, facts: Facts) -> Sequence[str]:
    """Write a folder with a module `barlow_hear` that meets the HEAR API, and what it opens; barlow has to be there.

    ValueError: a network or views that came as objects, which only their maker can give again.
    """
    if recipe.backbone.startswith(OWN) or "front_end" not in facts:
        raise ValueError("to: 'hear' wants a network and views of sound by name; this run was given them as objects")
    make_folder(path)
    write_weights(path / WEIGHTS, backbone)
    write_json(path / NUMBERS, {"recipe": asdict(recipe), "data": _of_network(facts)})
    with durable_file(path / MODULE) as file:
        file.write(SOURCE.format(recipe=recipe.name, module=__name__).encode())
    model = open_hear(path)
    noise = torch.rand(1, model.front.window, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        if not torch.allclose(model(noise), backbone(model.prepare.plain(noise)).float(), rtol=1e-4, atol=1e-5):
            raise ValueError("to: the network as 'hear' gives other features than before")
    return (f"hear-validator {Path(MODULE).stem}, with {path} on PYTHONPATH; audio at {model.sample_rate} Hz",)


def _of_network(facts: Facts) -> dict[str, Any]:
    """What of the facts makes network input; not where the data lie."""
    return {name: facts[name] for name in ("front_end", "loudness", "mean", "std", "input_shape")}


def open_hear(folder: str | Path) -> HearModel:
    """Return the network of a folder that `export_hear` wrote; ValueError: there is none, or weights do not fit."""
    path = Path(folder).expanduser()
    if not (path / NUMBERS).is_file():
        raise ValueError(f"model_file_path: got {str(folder)!r}, wanted a folder of barlow export RUN --to hear")
    content: Mapping[str, Any] = read_json(path / NUMBERS)
    recipe, facts = content["recipe"], content["data"]
    network = build_network(recipe["backbone"], front_end(facts["front_end"]), width=int(recipe["width"]))
    read_weights(path / WEIGHTS, network)
    return HearModel(network, facts)
