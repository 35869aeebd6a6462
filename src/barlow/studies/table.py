"""The studies by name, each with the line that lists it. No torch until one is loaded."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barlow.studies.study import Study

STUDIES: dict[str, str] = {
    "diagonalization": (
        "a random backbone and a closed-form linear projector make C the identity; what gradient descent reaches"
    ),
    "batch_size": "what a finite batch adds to the loss, how asymmetric C is, and the floors, against the formulas",
    "duality": "feature-contrastive equals sample-contrastive up to diagonal terms; what the pairs n = m do",
    "normalization": (
        "whether it takes the Pearson normalisation for the backbone to learn: a grid, predictions P1 to P5, P7 and P8"
    ),
    "projector": (
        "width and depth of the projector against its share of the loss's fall and the invariance of z and of h"
    ),
    "room": "the same where an untrained network has much to gain: clothes anywhere on a canvas, judged by accuracy",
    "speakers": (
        "whether Barlow Twins between clips and noisy copies helps to recognise speakers in noise; --data recordings/"
    ),
}
"""The module of each study in this folder -> what it asks."""


def load_study(name: str) -> "Study":
    """Import and return the study of a name in `STUDIES`."""
    study: Study = import_module(f"barlow.studies.{name}").STUDY
    return study
