"""The published image pipelines as data, by name.

`image_views("byol", size=224, channels=3)` is what the network of a run sees. A pipeline for one channel is
the same without saturation, hue and gray, which do not exist there. The official codes round to uint8 after
every transform, because PIL does; here nothing is rounded after the crop.

Mean and deviation of a pipeline are those of its source, for calls like the one above. A run does not use them: it
normalises by the statistics of its own data, which it measures first and keeps in `recipe.json`.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import cast, get_args

from barlow.errors import unknown
from barlow.images.views.geometry import Fit, Interpolation
from barlow.images.views.located import LocatedPipeline
from barlow.images.views.pipeline import ImagePipeline
from barlow.seams import Views

# Statistics of the training images, in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SWAV_STD = (0.228, 0.224, 0.225)  # so in the codes of SwAV and VICRegL
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
# For any other number of channels: the whole range becomes [-2, 2].
OTHER_MEAN, OTHER_STD = 0.5, 0.25
PLAIN_INTERPOLATION: Interpolation = "bilinear"
"""Filter of the resize without augmentation; what is exported says so."""


def multi_crop(*large: ImagePipeline, small: ImagePipeline, num_small: int = 6) -> tuple[ImagePipeline, ...]:
    """Return the large pipelines, which a method may look at twice, and behind them `num_small` times the small one.

    A small view costs the share of its pixels: two of 224 and six of 96 cost what three of 224 do. Six of them, and
    large ones first, as `methods/swav.py` relies on: Caron et al. 2020 (SwAV, arXiv 2006.09882), sections 3.3, 4.1. A
    small size has to be below every large one.
    """
    if not large or num_small < 0:
        raise ValueError(f"large, num_small: got {len(large)} and {num_small}, wanted at least 1 and 0")
    if small.size >= min(pipeline.size for pipeline in large):
        sizes = [pipeline.size for pipeline in large]
        raise ValueError(f"small: got a size of {small.size}, wanted less than those of the large pipelines, {sizes}")
    return (*large, *(small,) * num_small)


_COLOUR = ImagePipeline(
    size=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    interpolation="bicubic",
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    gray=0.2,
)
"""What the recipes of Barlow Twins share: facebookresearch/barlowtwins, main.py, class Transform; it follows
BYOL (Grill et al. 2020, appendix B)."""

_CIFAR = replace(_COLOUR, mean=CIFAR10_MEAN, std=CIFAR10_STD)

_STRONG = replace(_COLOUR, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=(0.5,))
"""The same with the colours of SimCLR at strength 1 (Chen et al. 2020, appendix A), which SwAV takes over."""

_CIFAR_STRONG = replace(_STRONG, size=32, mean=CIFAR10_MEAN, std=CIFAR10_STD)

_BYOL = (replace(_COLOUR, blur=(1.0,), solarize=(0.0,)), replace(_COLOUR, blur=(0.1,), solarize=(0.2,)))
"""Barlow Twins and BYOL, same sources: the two pipelines differ in blur and solarisation only."""

_PHOTOGRAPHS = replace(
    _COLOUR,
    crop_scale=(0.25, 1.0),
    jitter=0.9, brightness=0.6, contrast=0.6, saturation=0.8, hue=0.2, gray=0.4, blur=(0.5,),
)  # fmt: skip
"""Ours, for minutes rather than days, see benchmarks/README.md: crops that keep a quarter of the picture, and colours
so strong that two views of one picture cannot be told by their palette."""

_SIMSIAM = replace(_COLOUR, crop_scale=(0.2, 1.0), interpolation="bilinear", saturation=0.4, blur=(0.5,))
"""facebookresearch/simsiam, the views of MoCo v2; there the flip comes after the blur."""

_SWAV = replace(_STRONG, interpolation="bilinear", std=SWAV_STD, crop_scale=(0.14, 1.0))
"""facebookresearch/swav, scripts/swav_800ep_pretrain.sh and multicropdataset.py."""

_SWAV_CIFAR = replace(_CIFAR_STRONG, blur=(0.0,), crop_scale=(0.2, 1.0), brightness=0.6, contrast=0.6, saturation=0.6)
_SWAV_CIFAR_SMALL = replace(_CIFAR_STRONG, size=18, crop_scale=(0.08, 0.5), blur=(0.1,), solarize=(0.1,))
"""Two of 32 and six of 18 pixels: solo-learn, scripts/pretrain/cifar-multicrop."""

_WMSE_CIFAR = replace(
    _COLOUR, mean=CIFAR10_MEAN, std=(0.2023, 0.1994, 0.2010), saturation=0.4, gray=0.1, crop_scale=(0.2, 1.0)
)
"""W-MSE on CIFAR, STL-10 and Tiny ImageNet: htdt/self-supervised, datasets/, with its own CIFAR-10 deviations."""

_CIFAR_VICREG = (replace(_CIFAR, crop_scale=(0.2, 1.0), solarize=(0.1,)),) * 2
"""solo-learn's recipe of VICReg on CIFAR: scripts/pretrain/cifar/vicreg.yaml."""

_SMALL_GREY = ImagePipeline(
    size=28,
    mean=(OTHER_MEAN,),
    std=(OTHER_STD,),
    interpolation="bilinear",
    rotation=15.0,
    translation=0.125,
    zoom=(0.8, 1.2),
    shear=10.0,
    gain=0.4,
    shift=0.1,
    noise=0.1,
)
"""Our own choice for digits and characters, transforms that leave a digit what it is: no crop that loses strokes, no
flip, which would change what they say; a shift of 1/8 is one pixel of an 8 x 8 digit."""

_SMALL_GREY_FLIP = replace(
    _SMALL_GREY, flip=0.5, rotation=10.0, translation=0.1, shear=5.0, gain=0.8, shift=0.3, noise=0.2
)
"""Clothes and other things that may be mirrored: strong changes of light and noise, no crop.

Chosen on 5,000 training images of Fashion-MNIST that were not trained on: crops of 40% or 60% of the area lose what
tells a dress from a coat, and weak changes of light leave brightness as the easiest feature."""

_VICREGL_SMALL_GREY = replace(
    _SMALL_GREY_FLIP, crop_scale=(0.6, 1.0), rotation=0.0, translation=0.0, zoom=(1.0, 1.0), shear=0.0
)
"""Ours, untuned: a crop in place of the affine map, because only a crop has a box."""

_FROM_ABOVE = replace(
    _COLOUR,
    crop_scale=(0.2, 0.8),
    interpolation="bilinear",
    vertical_flip=0.5, quarter_turns=0.75,
    jitter=0.9, brightness=0.6, contrast=0.6, saturation=0.4, hue=0.1, gray=0.2, blur=(0.5,), gain=0.2, shift=0.1,
)  # fmt: skip
"""Ours, untuned, for what has no above and below (cells, tissue, land seen from the air): the crop, the flip and the
quarter turn of BT-Unet, and changes of light, which there are switched off."""

VIEWS: dict[str, tuple[ImagePipeline, ...]] = {
    "byol": _BYOL,
    # The two pipelines of BYOL, drawn per sample and view with equal chances: exchangeable views.
    "byol-iid": (replace(_COLOUR, blur=(1.0, 0.1), solarize=(0.0, 0.2)),) * 2,
    "photographs": (_PHOTOGRAPHS,) * 2,
    "from-above": (_FROM_ABOVE,) * 2,
    # solo-learn's "asymmetric" recipe of Barlow Twins on CIFAR: no blur, solarisation in the second view.
    "cifar": (_CIFAR, replace(_CIFAR, solarize=(0.2,))),
    # The same with the pipeline drawn per sample and view, which is solarising with 0.1 in both.
    "cifar-symmetric": (replace(_CIFAR, solarize=(0.1,)),) * 2,
    "small-grey": (_SMALL_GREY,) * 2,
    "small-grey-flip": (_SMALL_GREY_FLIP,) * 2,
    # solo-learn's "symmetric" recipe of SimCLR, SwAV and others on CIFAR.
    "cifar-strong": (_CIFAR_STRONG,) * 2,
    "swav": multi_crop(_SWAV, _SWAV, small=replace(_SWAV, size=96, crop_scale=(0.05, 0.14))),
    "swav-cifar": multi_crop(_SWAV_CIFAR, replace(_SWAV_CIFAR, solarize=(0.2,)), small=_SWAV_CIFAR_SMALL),
    # Ours, untuned. Not small views of 14: a ResNet with the ImageNet stem then strides over maps of one pixel, where
    # torch's bf16 convolutions (oneDNN, CPU) return weight gradients that are not numbers.
    "swav-small-grey": multi_crop(
        _SMALL_GREY_FLIP, _SMALL_GREY_FLIP, small=replace(_SMALL_GREY_FLIP, size=18, crop_scale=(0.2, 0.6))
    ),
    # W-MSE on ImageNet-100: htdt/self-supervised, datasets/. There the colours change before the crop.
    "wmse": (_STRONG,) * 2,
    "wmse-4": (_STRONG,) * 4,
    "wmse-cifar": (_WMSE_CIFAR,) * 2,
    "wmse-cifar-4": (_WMSE_CIFAR,) * 4,
    # google-research/simclr at jitter strength 1; there pixels stay in [0, 1] and jitter order is random.
    "simclr": (_STRONG,) * 2,
    # google-research/simclr, README for CIFAR-10: jitter strength 0.5, no blur.
    "simclr-cifar": (replace(_CIFAR, saturation=0.4),) * 2,
    "simsiam": (_SIMSIAM,) * 2,
    # Chen & He 2021, appendix D: as on ImageNet, without blur.
    "simsiam-cifar": (replace(_SIMSIAM, mean=CIFAR10_MEAN, std=CIFAR10_STD, blur=(0.0,)),) * 2,
    "cifar-vicreg": _CIFAR_VICREG,
    # facebookresearch/VICRegL, for ResNet-50: the colours of Barlow Twins, the deviations of SwAV.
    "vicregl": tuple(replace(pipeline, std=SWAV_STD) for pipeline in _BYOL),
    "vicregl-cifar": _CIFAR_VICREG,
    "vicregl-small-grey": (_VICREGL_SMALL_GREY,) * 2,
}
"""The pipelines of each name at the size and for the channels of their source."""

LOCATED = frozenset({"vicregl", "vicregl-cifar", "vicregl-small-grey"})
"""Views that say where in the image they were taken."""


def image_views(
    name: str,
    *,
    size: int,
    channels: int,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    fit: str = "square",
) -> Views:
    """Return the pipelines `name`, for images of `channels` channels and views of `size` pixels.

    The plain view resizes the largest central square, or with `fit` "whole" the image, bilinear as in the official
    evaluation, and normalises.

    Args:
        name: a key of `VIEWS`.
        size: side of the first view in pixels; views that are smaller at the source are so here, in proportion.
        channels: of the images.
        mean: per channel; default: that of the source for three channels, else 1/2.
        std: per channel; default: that of the source for three channels, else 1/4.
        fit: "square": images that are not square show their largest central square without augmentation, and crops of
            usual shape; "whole": they are squeezed, so that all of them is seen, and crops are as wide or high as they.

    Raises:
        ValueError: no such fit, no views of this name, or mean and std that do not have `channels` entries.
    """
    if name not in VIEWS:
        raise unknown("views", name, VIEWS)
    if fit not in get_args(Fit):
        raise unknown("fit", fit, get_args(Fit))
    for argument, value in (("mean", mean), ("std", std)):
        if value is not None and len(value) != channels:
            raise ValueError(f"{argument}: got {len(value)} entries, wanted {channels}, one per channel of the images")
    sizes = sizes_in_proportion(VIEWS[name], size)
    seen = cast(Fit, fit)
    published = (replace(pipeline, fit=seen) for pipeline in VIEWS[name])
    pipelines = tuple(_for_channels(p, s, channels, mean, std) for p, s in zip(published, sizes, strict=True))
    first = pipelines[0]
    plain = ImagePipeline(size=size, mean=first.mean, std=first.std, interpolation=PLAIN_INTERPOLATION, fit=seen)
    located = tuple(LocatedPipeline(pipeline) for pipeline in pipelines) if name in LOCATED else pipelines
    return Views(pipelines=located, plain=functools.partial(plain.apply, params={}))


def sizes_in_proportion(pipelines: Sequence[ImagePipeline], size: int) -> list[int]:
    """Return the side of every view for a run of `size` pixels, which is the side of the first one.

    The others keep their ratio to it: pipelines of 224 and 96 pixels become 32 and 14 for a run of 32.
    """
    nominal = pipelines[0].size
    return [max(1, (2 * size * pipeline.size + nominal) // (2 * nominal)) for pipeline in pipelines]


def _for_channels(
    pipeline: ImagePipeline,
    size: int,
    channels: int,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> ImagePipeline:
    fitting = len(pipeline.mean) == channels
    mean = mean or (pipeline.mean if fitting else (OTHER_MEAN,) * channels)
    std = std or (pipeline.std if fitting else (OTHER_STD,) * channels)
    if channels == 3:
        return replace(pipeline, size=size, mean=mean, std=std)
    return replace(pipeline, size=size, mean=mean, std=std, saturation=0.0, hue=0.0, gray=0.0)
