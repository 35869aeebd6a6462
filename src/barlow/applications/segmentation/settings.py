"""What a segmentation is asked to do, as numbers. No torch."""

from dataclasses import dataclass
from typing import Literal

from barlow.arguments import check_fields
from barlow.errors import unknown

Normalise = Literal["image", "dataset"]
ARMS = ("pretrained", "scratch", "frozen")
"""pretrained: everything is fine-tuned from the encoder of the run; scratch: the same network with fresh weights, the
same images, steps and windows; frozen: the encoder of the run stays as it is, but for the statistics of BatchNorm."""
ALL = 0
"""Number of labelled images that stands for all there are."""


@dataclass(frozen=True)
class SegmentSettings:
    """How networks are fine-tuned on masks, and compared; the string under each field is its help."""

    labels: tuple[str, ...] = ("5", "10", "20")
    """Numbers of labelled training images; "all" for all of them."""
    seeds: int = 3
    """Seeds 0, 1, ...: each draws other labelled images, other first weights of what is fresh, other windows."""
    arms: tuple[str, ...] = ARMS
    """What is compared: pretrained, scratch, frozen."""
    steps: int = 600
    """Steps of fine-tuning; fewer than about 600 do not reach a threshold on easy pictures."""
    batch_size: int = 8
    """Windows per step."""
    window: int = 128
    """Side of the windows in pixels, of the image as it is seen (short_side)."""
    short_side: int = 0
    """Images are seen shrunk to this short side; masks come back at full size. 0: as they are."""
    normalise: Normalise = "image"
    """image: the contrast of every picture is stretched by itself, in every arm; dataset: mean and deviation only."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; warm-up over a twentieth, then a cosine to 0."""
    weight_decay: float = 1e-4
    """Weight decay of the weight matrices."""
    test_share: float = 0.2
    """Share of the images that is kept for the test where the folder has no test split."""
    masks: str = ""
    """Name of the folder of masks, where there are several kinds."""
    unlabelled: tuple[str, ...] = ()
    """Values or colours (#rrggbb) of pixels that nobody labelled: left out of losses and scores."""

    def __post_init__(self) -> None:
        """Refuse what cannot be, before data are read."""
        check_fields(self)
        self.label_counts()
        for name, least in (("seeds", 1), ("steps", 1), ("batch_size", 1), ("window", 16), ("short_side", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least {least}")
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share: got {self.test_share}, wanted a share between 0 and 1")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(f"learning_rate: got {self.learning_rate}, wanted a number above 0")
        for arm in self.arms:
            if arm not in ARMS:
                raise unknown("arms", arm, ARMS)
        if not self.arms:
            raise ValueError(f"arms: got none, wanted some of {', '.join(ARMS)}")

    def label_counts(self) -> list[int]:
        """Return the numbers of labelled images, each once, in the order given; `ALL` for all."""
        found = []
        for word in self.labels:
            if word != "all" and not (word.isdigit() and int(word) >= 1):
                raise ValueError(f"labels: got {word!r}, wanted numbers of images such as 5 10 20, or all")
            found.append(ALL if word == "all" else int(word))
        if not found:
            raise ValueError("labels: got none, wanted numbers of images such as 5 10 20, or all")
        return list(dict.fromkeys(found))
