"""How good masks are: Dice and IoU per image and over a set, and Hausdorff distances, each with its definition.

P are the pixels of a class in the prediction, G those in the mask; pixels without a label count for neither. Of two
classes only the second counts, of more all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, distance_transform_edt

Mask = npt.NDArray[np.integer[Any]]
DEFINITIONS = {
    "dice": "Dice per image: 2 |P and G| / (|P| + |G|), the mean over the classes that either has in the image, then "
    "over the images; an image in which neither has one counts 1",
    "iou": "IoU per image: |P and G| / |P or G|, averaged in the same way",
    "set_dice": "Dice over the set: pixels of all images together, then the mean over the classes",
    "set_iou": "IoU over the set, in the same way: the mIoU of most papers",
    "accuracy": "share of the labelled pixels that have the right class, of all images together",
    "hausdorff": "Hausdorff distance: the farthest that a border pixel of P lies from G's border or one of G from P's, "
    "in pixels of the image; the mean over classes that both have in the image, then over such images",
    "hausdorff95": "the same with the 95th percentile for the farthest: it forgives single pixels",
}
"""What is measured, by its name in the cells."""


@dataclass(frozen=True)
class ImageScore:
    """One prediction beside its mask.

    Attributes:
        confusion: (K, K) pixels by class of the mask (rows) and of the prediction.
        dice: mean over the classes that either has; nan where no pixel is labelled.
        hausdorff, hausdorff95: in pixels; nan where no class is in both.
    """

    confusion: npt.NDArray[np.int64]
    dice: float
    iou: float
    hausdorff: float
    hausdorff95: float


def score_image(predicted: Mask, truth: Mask, num_classes: int, *, ignored: int = 255) -> ImageScore:
    """Compare a mask (H, W) of classes from 0 with the true one."""
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted: got {predicted.shape}, wanted the size of the mask, {truth.shape}")
    known = truth != ignored
    pairs = truth[known].astype(np.int64) * num_classes + predicted[known].astype(np.int64)
    confusion = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    dice, iou = overlaps(confusion)
    counted = scored_classes(num_classes)
    distances = [hausdorff((predicted == one) & known, (truth == one) & known) for one in counted]
    found = np.asarray([one for one in distances if one is not None])
    far, near = found.mean(0) if len(found) else (np.nan, np.nan)
    return ImageScore(confusion, _mean_or_one(dice, known), _mean_or_one(iou, known), float(far), float(near))


def scored_classes(num_classes: int) -> list[int]:
    """Return the classes that count: of two the second, of more all."""
    return [1] if num_classes == 2 else list(range(num_classes))


def overlaps(confusion: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return Dice and IoU of every class that counts; nan for one that is neither there nor predicted."""
    counted = scored_classes(len(confusion))
    both = np.diag(confusion)[counted].astype(np.float64)
    sizes = (confusion.sum(0) + confusion.sum(1))[counted].astype(np.float64)
    with np.errstate(invalid="ignore"):
        return 2 * both / sizes, both / (sizes - both)


def _mean_or_one(values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> float:
    if not known.any():
        return float("nan")
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else 1.0


def hausdorff(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> tuple[float, float] | None:
    """Return the Hausdorff distance of two sets of pixels and its 95th percentile; None where one is empty.

    A border pixel has a neighbour (of four) outside its set, or lies at the edge of the image. The percentile is that
    of the distances of both borders together.
    """
    if not predicted.any() or not truth.any():
        return None
    borders = [one & ~binary_erosion(one) for one in (predicted, truth)]
    there = distance_transform_edt(~borders[1])[borders[0]]
    back = distance_transform_edt(~borders[0])[borders[1]]
    both = np.concatenate([there, back])
    return float(both.max()), float(np.percentile(both, 95))


def summarise(scores: Sequence[ImageScore]) -> dict[str, Any]:
    """Return the figures of a set by their names in `DEFINITIONS`, and those of every image; nan becomes None."""
    confusion = np.sum([one.confusion for one in scores], axis=0)
    dice, iou = overlaps(confusion)
    per_image = {
        name: [_plain(getattr(one, name)) for one in scores] for name in ("dice", "iou", "hausdorff", "hausdorff95")
    }
    return {
        **{name: _plain(_nanmean(values)) for name, values in per_image.items()},
        "set_dice": _plain(_nanmean(dice)),
        "set_iou": _plain(_nanmean(iou)),
        "accuracy": _plain(float(np.diag(confusion).sum() / max(confusion.sum(), 1))),
        "class_dice": [_plain(float(one)) for one in dice],
        "class_iou": [_plain(float(one)) for one in iou],
        "without_distance": sum(one is None for one in per_image["hausdorff"]),
        "images": per_image,
    }


def _nanmean(values: Sequence[float | None] | npt.NDArray[np.float64]) -> float:
    there = [float(one) for one in values if one is not None and not np.isnan(one)]
    return float(np.mean(there)) if there else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
