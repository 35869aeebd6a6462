"""The studies by name, each with the line that lists it. No torch until one is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barlow.studies.study import Study


@dataclass(frozen=True)
class Listed:
    """A study in the list.

    Attributes:
        line: what it asks, in one line.
        load: imports and returns it.
    """

    line: str
    load: Callable[[], "Study"]


def _diagonalization() -> "Study":
    from barlow.studies.diagonalization import STUDY

    return STUDY


def _batch_size() -> "Study":
    from barlow.studies.batch_size import STUDY

    return STUDY


def _duality() -> "Study":
    from barlow.studies.duality import STUDY

    return STUDY


def _normalization() -> "Study":
    from barlow.studies.normalization import STUDY

    return STUDY


def _projector() -> "Study":
    from barlow.studies.projector import STUDY

    return STUDY


STUDIES: dict[str, Listed] = {
    "diagonalization": Listed(
        "a random backbone and a closed-form linear projector make C the identity; what gradient descent reaches",
        _diagonalization,
    ),
    "batch_size": Listed(
        "what a finite batch adds to the loss, how asymmetric C is, and the floors, against the formulas", _batch_size
    ),
    "duality": Listed(
        "feature-contrastive equals sample-contrastive up to diagonal terms; what the pairs n = m do", _duality
    ),
    "normalization": Listed(
        "whether it takes the Pearson normalisation for the backbone to learn: a grid, predictions P1 to P5, P7 and P8",
        _normalization,
    ),
    "projector": Listed(
        "width and depth of the projector against its share of the loss's fall and the invariance of z and of h",
        _projector,
    ),
}
