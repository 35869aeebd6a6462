"""The published image pipelines as data, by name.

`image_views("byol", size=224, channels=3)` is what the network of a run sees. A pipeline for one channel is
the same without saturation, hue and gray, which do not exist there. The official codes round to uint8 after
every transform, because PIL does; here nothing is rounded after the crop.

Mean and deviation of a pipeline are those of its source, for calls like the one above. A run does not use them: it
normalises by the statistics of its own data, which it measures first and keeps in `recipe.json`.
"""

import functools
from collections.abc import Callable
from dataclasses import replace

from barlow.choices import unknown
from barlow.views.located import LocatedPipeline
from barlow.views.multicrop import multi_crop, sizes_in_proportion
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import Views

# Statistics of the training images, in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SWAV_STD = (0.228, 0.224, 0.225)  # so in the codes of SwAV and VICRegL
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
# For any other number of channels: the whole range becomes [-2, 2].
OTHER_MEAN, OTHER_STD = 0.5, 0.25

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

_STRONG = replace(_COLOUR, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=(0.5,))
"""The same with the colours of SimCLR at strength 1 (Chen et al. 2020, appendix A), which SwAV takes over."""

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
"""Our own choice: changes that leave a digit what it is; a shift of 1/8 is one pixel of an 8 x 8 digit."""


def _byol() -> tuple[ImagePipeline, ...]:
    """Barlow Twins and BYOL, same sources: the two pipelines differ in blur and solarisation only."""
    return (
        replace(_COLOUR, blur=(1.0,), solarize=(0.0,)),
        replace(_COLOUR, blur=(0.1,), solarize=(0.2,)),
    )


def _byol_iid() -> tuple[ImagePipeline, ...]:
    """The two pipelines of BYOL, drawn per sample and view with equal chances: exchangeable views."""
    either = replace(_COLOUR, blur=(1.0, 0.1), solarize=(0.0, 0.2))
    return (either, either)


def _cifar() -> tuple[ImagePipeline, ...]:
    """solo-learn's "asymmetric" recipe of Barlow Twins on CIFAR: no blur, solarisation in the second view."""
    base = replace(_COLOUR, mean=CIFAR10_MEAN, std=CIFAR10_STD)
    return (base, replace(base, solarize=(0.2,)))


def _cifar_symmetric() -> tuple[ImagePipeline, ...]:
    """Like `cifar` with the pipeline drawn per sample and view, which is solarising with 0.1 in both."""
    both = replace(_COLOUR, mean=CIFAR10_MEAN, std=CIFAR10_STD, solarize=(0.1,))
    return (both, both)


def _small_grey() -> tuple[ImagePipeline, ...]:
    """Digits and characters: no crop that loses strokes, no flip, which would change what they say."""
    return (_SMALL_GREY, _SMALL_GREY)


def _small_grey_flip() -> tuple[ImagePipeline, ...]:
    """Clothes and other things that may be mirrored: strong changes of light and noise, no crop.

    Chosen on 5,000 training pictures of Fashion-MNIST that were not trained on: crops of 40% or 60% of the area
    lose what tells a dress from a coat, and weak changes of light leave brightness as the easiest feature.
    """
    both = replace(_SMALL_GREY, flip=0.5, rotation=10.0, translation=0.1, shear=5.0, gain=0.8, shift=0.3, noise=0.2)
    return (both, both)


def _cifar_strong() -> tuple[ImagePipeline, ...]:
    """solo-learn's "symmetric" recipe of SimCLR, SwAV and others on CIFAR."""
    both = replace(_STRONG, size=32, mean=CIFAR10_MEAN, std=CIFAR10_STD)
    return (both, both)


def _swav() -> tuple[ImagePipeline, ...]:
    """Two of 224, six of 96 pixels: facebookresearch/swav, scripts/swav_800ep_pretrain.sh and multicropdataset.py."""
    base = replace(_STRONG, interpolation="bilinear", std=SWAV_STD)
    large = replace(base, crop_scale=(0.14, 1.0))
    return multi_crop(large, large, small=replace(base, size=96, crop_scale=(0.05, 0.14)))


def _swav_cifar() -> tuple[ImagePipeline, ...]:
    """Two of 32 and six of 18 pixels: solo-learn, scripts/pretrain/cifar-multicrop."""
    base = replace(_STRONG, size=32, mean=CIFAR10_MEAN, std=CIFAR10_STD, blur=(0.0,))
    large = replace(base, crop_scale=(0.2, 1.0), brightness=0.6, contrast=0.6, saturation=0.6)
    small = replace(base, size=18, crop_scale=(0.08, 0.5), blur=(0.1,), solarize=(0.1,))
    return multi_crop(large, replace(large, solarize=(0.2,)), small=small)


def _swav_small_grey() -> tuple[ImagePipeline, ...]:
    """Ours, untuned: two of `small-grey-flip` at 28 pixels and six crops of it at 18.

    Not at 14: a ResNet with the ImageNet stem then strides over maps of one pixel, where torch's bf16 convolutions
    (oneDNN, CPU) return weight gradients that are not numbers.
    """
    large, _ = _small_grey_flip()
    return multi_crop(large, large, small=replace(large, size=18, crop_scale=(0.2, 0.6)))


def _wmse(num_views: int) -> tuple[ImagePipeline, ...]:
    """W-MSE on ImageNet-100: htdt/self-supervised, datasets/. There the colours change before the crop."""
    return (_STRONG,) * num_views


def _wmse_cifar(num_views: int) -> tuple[ImagePipeline, ...]:
    """W-MSE on CIFAR, STL-10 and Tiny ImageNet: same repository, its own CIFAR-10 deviations."""
    base = replace(_COLOUR, mean=CIFAR10_MEAN, std=(0.2023, 0.1994, 0.2010), saturation=0.4, gray=0.1)
    return (replace(base, crop_scale=(0.2, 1.0)),) * num_views


def _simclr() -> tuple[ImagePipeline, ...]:
    """google-research/simclr at jitter strength 1; there pixels stay in [0, 1] and jitter order is random."""
    return (_STRONG, _STRONG)


def _simclr_cifar() -> tuple[ImagePipeline, ...]:
    """google-research/simclr, README for CIFAR-10: jitter strength 0.5, no blur."""
    both = replace(_COLOUR, mean=CIFAR10_MEAN, std=CIFAR10_STD, saturation=0.4)
    return (both, both)


def _simsiam() -> tuple[ImagePipeline, ...]:
    """facebookresearch/simsiam, the views of MoCo v2; there the flip comes after the blur."""
    both = replace(_COLOUR, crop_scale=(0.2, 1.0), interpolation="bilinear", saturation=0.4, blur=(0.5,))
    return (both, both)


def _simsiam_cifar() -> tuple[ImagePipeline, ...]:
    """Chen & He 2021, appendix D: as on ImageNet, without blur."""
    both = replace(_simsiam()[0], mean=CIFAR10_MEAN, std=CIFAR10_STD, blur=(0.0,))
    return (both, both)


def _cifar_vicreg() -> tuple[ImagePipeline, ...]:
    """solo-learn's recipe of VICReg on CIFAR: scripts/pretrain/cifar/vicreg.yaml."""
    both = replace(_COLOUR, mean=CIFAR10_MEAN, std=CIFAR10_STD, crop_scale=(0.2, 1.0), solarize=(0.1,))
    return (both, both)


def _vicregl() -> tuple[ImagePipeline, ...]:
    """facebookresearch/VICRegL, for ResNet-50: the colours of Barlow Twins, the deviations of SwAV."""
    first, second = _byol()
    return (replace(first, std=SWAV_STD), replace(second, std=SWAV_STD))


def _vicregl_small_grey() -> tuple[ImagePipeline, ...]:
    """Ours, untuned: `small-grey-flip` with a crop in place of the affine map, because only a crop has a box."""
    light, _ = _small_grey_flip()
    both = replace(light, crop_scale=(0.6, 1.0), rotation=0.0, translation=0.0, zoom=(1.0, 1.0), shear=0.0)
    return (both, both)


VIEWS: dict[str, Callable[[], tuple[ImagePipeline, ...]]] = {
    "byol": _byol,
    "byol-iid": _byol_iid,
    "cifar": _cifar,
    "cifar-symmetric": _cifar_symmetric,
    "small-grey": _small_grey,
    "small-grey-flip": _small_grey_flip,
    "cifar-strong": _cifar_strong,
    "swav": _swav,
    "swav-cifar": _swav_cifar,
    "swav-small-grey": _swav_small_grey,
    "wmse": functools.partial(_wmse, 2),
    "wmse-4": functools.partial(_wmse, 4),
    "wmse-cifar": functools.partial(_wmse_cifar, 2),
    "wmse-cifar-4": functools.partial(_wmse_cifar, 4),
    "simclr": _simclr,
    "simclr-cifar": _simclr_cifar,
    "simsiam": _simsiam,
    "simsiam-cifar": _simsiam_cifar,
    "cifar-vicreg": _cifar_vicreg,
    "vicregl": _vicregl,
    "vicregl-cifar": _cifar_vicreg,
    "vicregl-small-grey": _vicregl_small_grey,
}

LOCATED = frozenset({"vicregl", "vicregl-cifar", "vicregl-small-grey"})
"""Views that say where in the picture they were taken."""


def image_views(
    name: str,
    *,
    size: int,
    channels: int,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Views:
    """Return the pipelines `name`, for images of `channels` channels and views of `size` pixels.

    The plain view resizes the largest central square, bilinear as in the official evaluation, and normalises.

    Args:
        name: a key of `VIEWS`.
        size: side of the first view in pixels; views that are smaller at the source are so here, in proportion.
        channels: of the images.
        mean: per channel; default: the data set of the recipe for three channels, else 1/2.
        std: per channel; default: likewise, else 1/4.

    Raises:
        ValueError: if there are no views of this name, or mean and std do not have `channels` entries.
    """
    if name not in VIEWS:
        raise unknown("views", name, VIEWS)
    for label, value in (("mean", mean), ("std", std)):
        if value is not None and len(value) != channels:
            raise ValueError(f"{label} has {len(value)} entries; the images have {channels} channels")
    made = VIEWS[name]()
    sizes = sizes_in_proportion(made, size)
    pipelines = tuple(_for_channels(p, s, channels, mean, std) for p, s in zip(made, sizes, strict=True))
    plain = ImagePipeline(size=size, mean=pipelines[0].mean, std=pipelines[0].std, interpolation="bilinear")
    located = tuple(LocatedPipeline(p) for p in pipelines) if name in LOCATED else pipelines
    return Views(pipelines=located, plain=functools.partial(plain.apply, params={}))


def _for_channels(
    pipeline: ImagePipeline,
    size: int,
    channels: int,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
) -> ImagePipeline:
    """Fit a pipeline to the size and the channels of a run."""
    fitting = len(pipeline.mean) == channels
    mean = mean or (pipeline.mean if fitting else (OTHER_MEAN,) * channels)
    std = std or (pipeline.std if fitting else (OTHER_STD,) * channels)
    if channels == 3:
        return replace(pipeline, size=size, mean=mean, std=std)
    return replace(pipeline, size=size, mean=mean, std=std, saturation=0.0, hue=0.0, gray=0.0)
