"""Images as a `Modality`: all that the core knows of them."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from barlow.data.bad_samples import ANY, MOST_BAD
from barlow.errors import unknown
from barlow.images.data.decode import DECODE_SIZE
from barlow.images.data.image_statistics import channel_statistics, image_shape, image_sizes
from barlow.images.data.load import NAMED, load_source, looks_like_images, splits
from barlow.images.data.pixels import OLD_RUN
from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.networks.basic_resnet import single_pixel_convolutions
from barlow.images.networks.foreign import OFFICIAL, Foreign, load_foreign
from barlow.images.networks.libraries import find_network
from barlow.images.networks.listed import networks_listed
from barlow.images.networks.saved import load_backbone, save_backbone
from barlow.images.networks.smp_folder import export_smp
from barlow.images.networks.timm_folder import export_timm
from barlow.images.networks.weights import require_weights
from barlow.images.views.colour import to_pixels
from barlow.images.views.exported import PlainView
from barlow.images.views.in_words import views_listed
from barlow.images.views.located import GeometryOnly
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import IMAGENET_MEAN, IMAGENET_STD, PLAIN_INTERPOLATION, VIEWS, image_views
from barlow.methods.heads import mlp_of
from barlow.recipes import OWN, Recipe, recipe_for
from barlow.recipes.minutes import for_minutes, has_rows, lacks_epochs, usual_minutes
from barlow.seams import Facts, Head, Modality, Preparation, Pretrained, Source, View, Views, check_backbone, flattened

LARGEST_AUTOMATIC_SIZE = 224
"""Side in pixels of the published ImageNet recipes; larger images are cropped and scaled to it unless told."""
LOOKED_AT = 8
"""Images whose channels are counted: the first one that can be read is enough."""
RAW_SIDE = 32
"""Raw images are averaged down to this side at most: 3,072 colour values, as 32 x 32 "tiny images" have."""
AUDIT_VIEWS = "byol-iid"
"""Views of images where nobody says which: the paper's, both drawn in one way, for which its theory is exact."""
UNSEEN_WORTH_A_WORD = 0.02
"""Share of an image outside its central square from which a run says so; less is a border of a few pixels."""
CONVERTED = (1, 3)
"""Numbers of channels to which images are brought where they have others; any other number they have to have."""


# --- data


def load(
    data: Any,
    *,
    recipe: Recipe | None = None,
    facts: Facts | None = None,
    **asked: Any,
) -> Source:
    """Load images as `load_source` does, for training or for the network of a run.

    A recipe of a run that will learn from them decides how large they are decoded; by the facts of a run whose network
    they are for, they are decoded as its training data were, brought to its channels, and any number of them may be
    unreadable.
    """
    channels = _channels(facts)
    # Twice the view: a crop of a quarter of the area keeps its pixels.
    decode_size = 2 * recipe.image_size if recipe and recipe.image_size else DECODE_SIZE
    asked |= {"channels": channels if channels in CONVERTED else 0, "most_bad": MOST_BAD if facts is None else ANY}
    decode_size = int((facts or {}).get("decode_size", decode_size))
    source = load_source(data, decode_size=decode_size, facts=facts, **asked)
    if OLD_RUN in getattr(source, "notes", ()):
        warnings.warn(OLD_RUN, stacklevel=2)
    return source


def facts(source: Source) -> Facts:
    """Return shape, channel statistics, and how the pixels were read.

    Views normalise by the statistics, networks are built for the channels, and whatever the run is given later is read
    in the same way.
    """
    shape = image_shape(source)
    mean, std = channel_statistics(source)
    read: dict[str, Any] = {"white_level": {}, **getattr(source, "reading", {})}
    return {"image_shape": [shape.channels, shape.height, shape.width], "mean": mean, "std": std, **read}


def suits(source: Source, facts: Facts) -> None:
    """Refuse images with another number of channels than the network of a run takes."""
    channels = _channels(facts)
    if channels and (has := image_shape(source, LOOKED_AT).channels) != channels:
        raise ValueError(
            f"data: {source.name} has images with {has} channel{'s' * (has > 1)}, wanted {channels} as the network "
            "was trained on"
        )


def _channels(facts: Facts | None) -> int:
    return int((facts or {}).get("image_shape", [0])[0])


# --- from a recipe to views and a network


def fit(recipe: Recipe, facts: Facts) -> Recipe:
    """Settle the side of the views where the recipe leaves it to the data."""
    _, height, width = facts["image_shape"]
    return replace(recipe, image_size=recipe.image_size or min(height, width, LARGEST_AUTOMATIC_SIZE))


def plan(
    recipe: Recipe, kept: Collection[str], source: Source, seconds_per_sample: Callable[[Recipe], float]
) -> Recipe:
    """Settle what images get in the minutes of a run; recipes made for small data on two cores stay as they are."""
    if not has_rows(recipe):
        minutes = recipe.minutes or usual_minutes(len(source), seconds_per_sample(recipe))
        return replace(recipe, minutes=minutes)
    shape = image_shape(source)
    return for_minutes(
        recipe,
        kept,
        num_samples=len(source),
        short_side=shape.short_side,
        channels=shape.channels,
        seconds_per_sample=seconds_per_sample,
    )


def views(recipe: Recipe, facts: Facts) -> Views:
    """Build the pipelines that the recipe names, normalised by the statistics of its data."""
    return image_views(
        recipe.views,
        size=recipe.image_size,
        channels=_channels(facts),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        fit=recipe.fit,
    )


def notes(recipe: Recipe, source: Source) -> list[str]:
    """Say what of images that are not square is never seen without augmentation."""
    sides = [(min(size), max(size)) for size in image_sizes(source)]
    lost = [1 - short / long for short, long in sides if 1 - short / long >= UNSEEN_WORTH_A_WORD]
    if recipe.fit != "square" or not lost:
        return []
    mean, most = (f"{share:.0%}" for share in (sum(lost) / len(lost), max(lost)))
    up_to = "" if mean == most else f", up to {most},"
    return [
        f"{len(lost)} of {len(sides)} images looked at are not square: features and evaluation see the central square, "
        f"so {mean} of such an image{up_to} is never seen there; --fit whole squeezes whole images to squares"
    ]


def backbone(recipe: Recipe, facts: Facts) -> Backbone:
    """Build the network that the recipe names; its weights follow from torch's generator."""
    return build_backbone(
        recipe.backbone,
        in_channels=_channels(facts),
        image_size=recipe.image_size,
        width=recipe.width,
        stem=recipe.stem,
        pretrained=recipe.pretrained,
        zero_init=recipe.zero_init,
    )


def names(recipe: Recipe) -> None:
    """Refuse views, networks and files of weights that do not exist; objects of the user's own have no names."""
    if recipe.modality_options:
        raise ValueError(f"modality_options: got {', '.join(recipe.modality_options)}, but images have none")
    if not recipe.views.startswith(OWN) and recipe.views not in VIEWS:
        raise unknown("views", recipe.views, VIEWS)
    if recipe.backbone.startswith(OWN):
        return
    find_network(recipe.backbone, recipe.width)
    if recipe.pretrained not in ("", "default"):
        require_weights(Path(recipe.pretrained).expanduser())


def plain(transform: Any, view: Any) -> tuple[Callable[[Any], Any], str]:
    """Return the whole picture at the size of a view, in [0, 1] or normalised as the transform does, and a note on it.

    The mean and the deviation are those of the last part of `transform` that has some, as `v2.Normalize` does.
    """
    if not isinstance(view, Tensor) or view.ndim != 4 or view.shape[2] != view.shape[3]:
        raise ValueError(
            f"views: {type(transform).__name__} gives views of other sizes than one square, wanted one size"
        )
    channels, size = view.shape[1], view.shape[2]
    numbers = [found for part in _parts(transform) if (found := _normalisation(part))]
    mean, std = numbers[-1] if numbers else ((0.0,), (1.0,))
    mean, std = (tuple(value) * max(1, channels // len(value)) for value in (mean, std))
    whole = ImagePipeline(size=size, mean=mean, std=std, interpolation="bilinear")
    scale = "normalised as the transform does" if numbers else "in [0, 1], for the transform has no Normalize"
    note = f"views of your own: without augmentation the network sees squares of {size} pixels, {scale}"
    return partial(whole.apply, params={}), note


def _parts(transform: Any) -> list[Any]:
    inside = getattr(transform, "transforms", None)
    if isinstance(transform, nn.Sequential):
        inside = list(transform.children())
    return [part for one in inside for part in _parts(one)] if isinstance(inside, (list, tuple)) else [transform]


def _normalisation(part: Any) -> tuple[Any, Any] | None:
    """Mean and deviation of a part that normalises, as torchvision, albumentations and kornia keep them."""
    if (how := getattr(part, "normalization", "standard")) != "standard":
        raise ValueError(
            f"views: {type(part).__name__} normalises by {how!r}, of which none can tell what the network sees without "
            "augmentation; wanted barlow.Views((transform,) * 2, plain=...), a function from a batch to network input"
        )
    kept = part.flags if isinstance(getattr(part, "flags", None), dict) else vars(part)
    mean, std = kept.get("mean"), kept.get("std")
    return None if mean is None or std is None else (_numbers(mean), _numbers(std))


def _numbers(value: Any) -> list[float]:
    found: list[float] = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
    return found


def check(recipe: Recipe, network: nn.Module, views: Views, samples: Any, on_cpu: bool) -> None:
    """Try the network on every size of view, small crops among them, and the precision on small maps.

    Refuses a size that the network cannot take, and bf16 on a CPU where its gradients are wrong.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = {p.size: p for p in views.bare().pipelines if isinstance(p, ImagePipeline)}
    crops = [p.apply(samples, p.sample(samples, generator)) for size, p in sizes.items() if size != recipe.image_size]
    for view in crops:
        check_backbone(network, view)
    if not (on_cpu and "bf16" in recipe.precision):
        return
    for view in (views.plain(samples), *crops):
        if names := single_pixel_convolutions(network, view):
            raise ValueError(
                f"precision: got {recipe.precision} on a CPU, where its gradients are wrong for convolutions that see "
                f"a single pixel, as {names[0]} does; wanted precision='32-true', larger images, or stem='small'"
            )


# --- networks in files, and networks from elsewhere


def save(folder: Path, network: nn.Module, recipe: Recipe, facts: Facts) -> None:
    """Save weights and record, with what makes network input of images."""
    save_backbone(folder, network, mean=facts.get("mean"), std=facts.get("std"), fit=recipe.fit)


def to_timm(network: nn.Module, path: Path, recipe: Recipe, facts: Facts, head: Head | None = None) -> list[str]:
    """Write a folder that timm loads, with what makes network input of images, and a classifier where there is one."""
    return export_timm(network, path, mean=facts.get("mean"), std=facts.get("std"), fit=recipe.fit, head=head)


def to_smp(network: nn.Module, path: Path, recipe: Recipe, facts: Facts) -> list[str]:
    """Write a folder that segmentation-models-pytorch loads, and say how its input is normalised."""
    notes = export_smp(network, path)
    if facts.get("mean") is not None:
        mean, std = ([round(float(one), 4) for one in facts[name]] for name in ("mean", "std"))
        notes.append(f"the encoder was trained on images in [0, 1] less a mean of {mean}, divided by {std}")
    return notes


def preparation(recipe: Recipe, facts: Facts) -> Preparation | None:
    """Say how images become network input; None where the run had views of its own.

    Raw samples are (N, H, W, C) uint8, which is what decoders and cameras give.
    """
    if "mean" not in facts or "std" not in facts:
        return None
    mean, std = tuple(map(float, facts["mean"])), tuple(map(float, facts["std"]))
    side, channels = recipe.image_size, _channels(facts)
    white = {} if facts.get("white_level") is None else {"white_level": facts["white_level"]}
    words = {"size": side, "channels": channels, "mean": mean, "std": std, **white, "fit": recipe.fit}
    words["interpolation"] = f"antialiased {PLAIN_INTERPOLATION}"
    module = PlainView(side, mean, std, recipe.fit, PLAIN_INTERPOLATION)
    return Preparation(words, module, {1: "height", 2: "width"}, list(_raw_examples(side, channels)))


def _raw_examples(side: int, channels: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Images of several sizes, as floats, which no resize rounds, and as what files hold, which may be rounded."""
    generator = torch.Generator().manual_seed(0)
    for num, height, width in ((2, 2 * side + 3, side + 5), (1, side, side), (3, side // 2 + 1, 2 * side)):
        raw = torch.randint(256, (num, height, width, channels), generator=generator, dtype=torch.uint8)
        pixels = raw.movedim(-1, 1)
        yield raw, pixels / 255, 1e-4
        yield raw, pixels, 2e-2


def example(recipe: Recipe, facts: Facts) -> Tensor:
    """Return network input for export."""
    shape = facts.get("input_shape") or (_channels(facts), recipe.image_size, recipe.image_size)
    return torch.zeros(2, *shape)


def audit_views(data: Any) -> str:
    """Return the views of an audit of images that no recipe was made for."""
    return AUDIT_VIEWS if recipe_for(None, data).name == "pictures" else ""


def pretrained(
    target: str | Path,
    facts: Facts,
    recipe: Recipe,
    *,
    kind: str,
    weights: str = "default",
    arch: str = "",
    prefix: str | None = None,
) -> Pretrained:
    """Open a network of a library ("timm:resnet50", kind "model") or a file of any project (kind "checkpoint").

    `weights` of a network by name: "default" for the library's own, a file, or "" for none. `arch` and `prefix` say
    which network a checkpoint holds, and where: by default told from its weights, which works for ResNets, and where
    most of it is found.
    """
    if kind == "checkpoint":
        return _of_checkpoint(load_foreign(Path(target), arch=arch, prefix=prefix, image_size=recipe.image_size), facts)
    return _of_library(str(target), facts, recipe.image_size, weights)


def _of_library(name: str, facts: Facts, size: int, weights: str) -> Pretrained:
    network = build_backbone(name, in_channels=_channels(facts), image_size=size, pretrained=weights)
    config = getattr(network.network, "pretrained_cfg", None) or {}
    if weights == "default" and _channels(facts) == len(IMAGENET_MEAN):
        facts = {**facts, "mean": config.get("mean", IMAGENET_MEAN), "std": config.get("std", IMAGENET_STD)}
    notes = [] if weights else ["the network has no weights: it is audited as it was initialised"]
    return Pretrained(network.eval(), None, facts, untrained=not weights, notes=notes)


def _of_checkpoint(found: Foreign, facts: Facts) -> Pretrained:
    notes = [f"read as {found.layout}: {len(found.matched)} tensors matched", *found.notes]
    for what, names in (("not used", found.unmatched), ("not in the file, so untrained", found.missing)):
        if names:
            shown = ", ".join(list(names)[:5]) + (", ..." if len(names) > 5 else "")
            notes.append(f"{len(names)} tensors {what}: {shown}")
    projector = mlp_of(found.projector) if found.projector else None
    if found.projector and projector is None:
        notes.append("its projector is no plain MLP; audited without one")
    if _channels(facts) == len(IMAGENET_MEAN):
        facts = {**facts, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        notes.append("views are normalised by ImageNet's mean and deviation, for the file does not say by which")
    kind = "pearson" if found.layout == OFFICIAL else ""
    return Pretrained(found.backbone, projector, facts, kind, notes=notes)


# --- what stands beside the features, and what a page shows


def pixels(view: Any) -> Float[Tensor, "n d"]:
    """Return raw pixels, averaged down to `RAW_SIDE`: the baseline that every network has to beat."""
    if isinstance(view, Tensor) and view.ndim == 4 and max(view.shape[2:]) > RAW_SIDE:
        height, width = view.shape[2:]
        view = view.cpu()  # Apple's GPUs average only to sides that divide
        view = adaptive_avg_pool2d(view, (min(RAW_SIDE, height), min(RAW_SIDE, width)))
    return flattened(view)


def supervised(views: Views) -> View | None:
    """Return the augmentation of the papers' supervised protocols: the geometry of the run's own views."""
    first = views.bare().pipelines[0]
    return GeometryOnly(first) if isinstance(first, ImagePipeline) else None


def show(facts: Facts) -> Callable[[Tensor], Tensor] | None:
    """Return view -> uint8 images, None where the views have other channels than 1 or 3, or are the user's."""
    if _channels(facts) not in CONVERTED or "mean" not in facts:  # views of the user's own normalise as they like
        return None
    return partial(to_pixels, mean=tuple(facts["mean"]), std=tuple(facts["std"]))


def listed(what: str, word: str) -> Mapping[str, str]:
    """Return views or networks by name, a line on each."""
    return networks_listed(word) if what == "networks" else views_listed(word)


IMAGES = Modality(
    name="images",
    noun="image",
    load=load,
    accepts=looks_like_images,
    splits=splits,
    named=NAMED,
    facts=facts,
    suits=suits,
    plan=plan,
    lacks_epochs=lacks_epochs,
    fit=fit,
    views=views,
    backbone=backbone,
    notes=notes,
    names=names,
    plain=plain,
    check=check,
    save=save,
    open=load_backbone,
    libraries=("timm:", "torchvision:"),
    pretrained=pretrained,
    audit_views=audit_views,
    bars={"raw pixels": pixels},
    supervised=supervised,
    show=show,
    example=example,
    preparation=preparation,
    listed=listed,
    exports={"timm": to_timm, "smp": to_smp},
    with_head=("timm",),
    statistics=("mean", "std"),
    reading=("white_level", "channels_axis", "decode_size"),
)
"""Images: folders, arrays, datasets and named data sets of them; networks of timm and torchvision."""
