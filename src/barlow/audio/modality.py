"""Sound as a `Modality`: all that the core knows of recordings."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.audio.data.load import accepts, load_clips, splits
from barlow.audio.front_end import FrontEnd, as_options, front_end, noise, strengths
from barlow.audio.hear import export_hear
from barlow.audio.listed import listed
from barlow.audio.networks.build import PREFIX, build_network, check_name
from barlow.audio.noise_options import Noise
from barlow.audio.show import Show
from barlow.audio.views.bars import BARS
from barlow.audio.views.exported import PlainClip
from barlow.audio.views.log_mel import QUIETEST, Prepare, prepare_of, rms
from barlow.audio.views.named import VIEWS, audio_views, bank_of, transforms_of
from barlow.audio.views.noisy import VIEWS as NOISY, bank_of_waves, check_kinds, folders_in, noisy_views
from barlow.data.order import evenly_spaced
from barlow.recipes import MADE_FOR_KIND, OWN, RECIPES, Recipe, recipe_for
from barlow.seams import Facts, Modality, Preparation, Pretrained, Source, Views

MEASURED_CLIPS = 2000
"""Clips behind loudness, mean and deviation: enough for either to a hundredth."""
CLIPS_GO_IN = "inside: mono clips (N, window) in [-1, 1] at front_end.sample_rate go in"
"""What a file of ONNX says that has the front end in it."""


def facts(source: Source) -> Facts:
    """Return front end, loudness (median root mean square of clips), mean and deviation of the log-mels of all bands.

    Clips are brought to the loudness, log-mels normalised by the statistics, wherever they come from.
    """
    order = evenly_spaced(len(source), MEASURED_CLIPS)
    first = next(iter(source.batches(order[:2], 2)), None)
    if first is not None and first.samples[0].ndim != 1:  # views of the user's own, which are no clips any more
        return {}
    front = _front(getattr(source, "reading", {}), source)
    sizes = torch.cat([rms(batch.samples) for batch in source.batches(order, 256)])
    loud = sizes[sizes > QUIETEST]
    loudness = float(loud.median()) if len(loud) else 0.0
    prepare = Prepare(front, loudness, 0.0, 1.0)
    total, squares, number = 0.0, 0.0, 0
    for batch in source.batches(order, 256):
        values = prepare(batch.samples).double()
        total, squares = total + float(values.sum()), squares + float(values.square().sum())
        number += values.numel()
    mean = total / number
    std = max((squares / number - mean**2) ** 0.5, 1e-6)
    kept = {"loudness": [loudness], "mean": [mean], "std": [std]}
    return {"input_shape": [1, front.mels, front.frames], **kept, **getattr(source, "reading", {})}


def suits(source: Source, facts: Facts) -> None:
    """Refuse clips that were not read as those of a run: of another rate, or of another length."""
    reading = getattr(source, "reading", {}).get("front_end")
    if reading and facts.get("front_end") and dict(reading) != dict(facts["front_end"]):
        differ = [name for name, value in reading.items() if value != facts["front_end"].get(name)]
        raise ValueError(f"data: {source.name} was read with another {', '.join(differ)} than the network was made for")


def views(recipe: Recipe, facts: Facts, memory: Mapping[str, Tensor] | None = None) -> Views:
    """Build the pipelines that the recipe names, with the clips of `memory` to mix in."""
    if recipe.views in NOISY:
        return noisy_views(recipe.views, prepare_of(facts), noise(recipe.modality_options), memory or {})
    bank = None if not memory else memory.get("bank")
    return audio_views(recipe.views, prepare_of(facts), strengths(recipe.modality_options), bank)


def memory(recipe: Recipe, facts: Facts, source: Source) -> Mapping[str, Tensor]:
    """Return the clips that views mix in: part of a run, for a later one of the same data may read them otherwise."""
    if recipe.views in NOISY:
        return _noises(noise(recipe.modality_options), facts, source, recipe.seed)
    if "mixup" not in transforms_of(recipe.views):
        return {}
    return {"bank": bank_of(source, prepare_of(facts), strengths(recipe.modality_options).bank, recipe.seed)}


def _noises(asked: Noise, facts: Facts, source: Source, seed: int) -> dict[str, Tensor]:
    """Clips to make noise of: of the training data for babble, and of folders."""
    folders = folders_in(asked)
    recordings = [
        bank_of_waves(load_clips(folder, facts=facts, labels="none", min_samples=1), seed) for folder in folders
    ]
    found = {"recordings": torch.cat(recordings)} if recordings else {}
    return found | ({"voices": bank_of_waves(source, seed)} if "babble" in asked.kinds else {})


def backbone(recipe: Recipe, facts: Facts) -> nn.Module:
    """Build the network that the recipe names; its weights follow from torch's generator."""
    front = front_end(facts["front_end"])
    return build_network(recipe.backbone, front, width=recipe.width, pretrained=recipe.pretrained == "default")


def names(recipe: Recipe) -> None:
    """Refuse views, networks and numbers that do not exist, before data are read."""
    front_end(recipe.modality_options)
    strengths(recipe.modality_options)
    check_kinds(noise(recipe.modality_options))
    if not recipe.views.startswith(OWN) and recipe.views not in NOISY:
        transforms_of(recipe.views)
    if not recipe.backbone.startswith(OWN):
        check_name(recipe.backbone)
    if recipe.pretrained not in ("", "default"):
        raise ValueError(f"pretrained: got {recipe.pretrained!r}, wanted '' or 'default' for networks of sound")


def recipe(name: str | None, data: Any) -> Recipe:
    """Return a recipe by name; a method's name alone stands for `audio-small` with its loss."""
    if name in RECIPES:
        return RECIPES[name]()
    made = recipe_for(name, otherwise=MADE_FOR_KIND["audio"])
    return made if made.views in (*VIEWS, *NOISY) else replace(made, views="audio")  # many crops are of pictures


def pretrained(
    target: Any, facts: Facts, recipe: Recipe, *, kind: str, weights: str = "default", **_: Any
) -> Pretrained:
    """Open a network of timm by name, on one channel; files of weights of other projects are not read."""
    if kind != "model":
        raise ValueError(f"subject: got {str(target)!r}, wanted a run or timm:NAME: weights in files are not read")
    network = build_network(str(target), front_end(facts["front_end"]), width=64, pretrained=weights == "default")
    notes = [] if weights else ["the network has no weights: it is audited as it was initialised"]
    return Pretrained(network.eval(), None, facts, untrained=not weights, notes=notes)


def example(recipe: Recipe, facts: Facts) -> Float[Tensor, "2 1 m t"]:
    """Return network input for export."""
    return torch.zeros(2, *facts["input_shape"])


def preparation(recipe: Recipe, facts: Facts) -> Preparation | None:
    """Say how clips become network input; None where the run had views of its own.

    Raw samples are (N, window) float32 in [-1, 1], mono, at the sample rate of the run: files are decoded and resampled
    by whoever has them.
    """
    if "mean" not in facts:
        return None
    prepare = prepare_of(facts)
    words = {"preprocessing": CLIPS_GO_IN, "front_end": as_options(prepare.front), "window": prepare.front.window}
    words |= {"loudness": prepare.loudness, "mean": prepare.mean, "std": prepare.std}
    generator = torch.Generator().manual_seed(0)
    clips = [0.1 * torch.randn(number, prepare.front.window, generator=generator) for number in (2, 1, 5)]
    clips[2][:, : prepare.front.window // 3] = 0  # a short clip in silence
    return Preparation(words, PlainClip(prepare), {}, [(one, one, 1e-3) for one in clips])


def show(facts: Facts) -> Show | None:
    """Return what makes pictures and sound of views; None where views of the user's own normalise as they like."""
    return Show(prepare_of(facts)) if "mean" in facts else None


def _front(reading: Mapping[str, Any], source: Source) -> FrontEnd:
    if "front_end" not in reading:
        raise ValueError(
            f"data: {source.name} does not say how its clips were read, wanted a source of barlow.load_clips"
        )
    return front_end(reading["front_end"])


AUDIO = Modality(
    name="audio",
    noun="clip",
    load=load_clips,
    accepts=accepts,
    splits=splits,
    facts=facts,
    suits=suits,
    recipe=recipe,
    views=views,
    memory=memory,
    backbone=backbone,
    names=names,
    libraries=(PREFIX,),
    pretrained=pretrained,
    bars=BARS,
    show=show,
    example=example,
    exports={"hear": export_hear},
    preparation=preparation,
    listed=listed,
    windows=True,
    statistics=("mean", "std", "loudness"),
    reading=("front_end",),
)
"""Sound: folders of recordings; AudioNTT and networks of timm on one channel."""
