"""The numbers of an audit: flags of the command, keyword arguments of the function. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from barlow.arguments import check_fields
from barlow.errors import did_you_mean

OBJECTS = ("views", "projector", "modality", "name")
"""What the function takes beside these numbers; named where an unknown number is meant for one of them."""
FEWEST_IMAGES = 64
"""Fewer tell nothing; of a slow network so many are looked at even where they take longer than they should."""
NO_VARIANCE_BOUND = ("raw", "covariance")
"""Normalisations that leave the total variance free: C is P B P^T and only the rank of B counts (Theorem 1), so that a
projector alone makes C the identity (equations 3-6)."""


@dataclass(frozen=True)
class AuditSettings:
    """What decides the figures of an audit beside its subject, data and views. The string under each field is its help.

    audit.json has these names with what came to be used, such as the samples that were looked at and the width of the
    projector; "seconds" is there the time that the audit took.
    """

    width: int = 0
    """Width D of the embedding for floors and waterline; 0: that of the projector, else of the features."""
    redundancy_weight: float = 0.0
    """Weight lambda for them; 0: that of the run, else the default."""
    normalization: str = ""
    """Normalisation of the loss: pearson, scalar, raw, ...; empty: that of the run or of an official checkpoint."""
    batch_size: int = 0
    """Batch size N of the loss and its floor; 0: that of the run."""
    num_images: int = 0
    """Samples to look at; 0: as many as fit into the time, 64 to 8,192."""
    num_views: int = 8
    """Views of each; the null edge falls about as one over their number."""
    seconds: float = 60.0
    """About how long the whole audit may take; what there is no time for is left out and said."""
    untrained: bool = False
    """Audit the network of a run as it was before training."""
    mlp: bool = True
    """Fit an MLP to measure the projector's share: for a seventh of the time, and up to half a minute."""
    weights: str = "default"
    """Weights of a model by name: default (the library's own), a file, or none."""
    arch: str = ""
    """Network of a checkpoint, by name (vit_small_patch16_224); empty: told from a ResNet's weights."""
    prefix: str = ""
    """Where it stands in the file (teacher.backbone; a dot: at the top); empty: where most of it is found."""
    image_size: int = 0
    """Side of the views in pixels; 0: that of the run, or of the pictures, at most 224."""
    data_root: Path | None = None
    """Folder of the named data sets."""
    white_level: int | float = 0
    """The pixel value that is white (1, 255, 4095, 65535); 0: that of the run, else told from the data."""
    channels_axis: str = ""
    """Of arrays of images: first (1) or last (-1); empty: told by their shape."""
    accelerator: str = "auto"
    """auto, cpu, cuda or mps. A callable computes where you have put it."""
    seed: int = 0
    """Seed of the views."""
    quiet: bool = True
    """No progress on the terminal."""

    def __post_init__(self) -> None:
        """Refuse what is no number or no word where the field is one."""
        check_fields(self)

    def check(self) -> None:
        """Refuse numbers that cannot be, before anything is read.

        Raises:
            ValueError: names the number, what came and what is wanted.
        """
        for argument, value, least in (
            ("num_views", self.num_views, 2),
            ("num_images", self.num_images or FEWEST_IMAGES, FEWEST_IMAGES),
        ):
            if value < least:
                raise ValueError(f"{argument}: got {value}, wanted at least {least}")


def with_numbers(settings: AuditSettings, numbers: Mapping[str, Any]) -> AuditSettings:
    """Return the settings with some fields changed; None leaves one as it is. An unknown one is refused."""
    known = [one.name for one in fields(AuditSettings)]
    for name in numbers:
        if name not in known:
            raise ValueError(f"{name}: an audit has no such setting{did_you_mean(name, [*known, *OBJECTS])}")
    given = {name: value for name, value in numbers.items() if value is not None}
    if "data_root" in given:
        given["data_root"] = Path(given["data_root"])
    return replace(settings, **given)
