"""What `load_source` was asked for: one object that goes from there to every kind of data."""

from dataclasses import dataclass
from pathlib import Path

from barlow.data.bad_samples import MOST_BAD
from barlow.data.labels import LabelChoice
from barlow.data.memory import Progress
from barlow.images.data.decode import DECODE_SIZE
from barlow.images.data.pixels import TELL, Reading


@dataclass(frozen=True)
class LoadOptions:
    """The arguments of `load_source` other than the data, under the same names; `reading` is made of the last ones."""

    split: str = "train"
    labels: LabelChoice = "auto"
    data_root: Path | None = None
    download: bool = False
    channels: int = 0
    decode_size: int = DECODE_SIZE
    num_workers: int | None = None
    memory_budget: int | None = None
    min_samples: int = 2
    progress: Progress | None = None
    reading: Reading = TELL
    most_bad: float = MOST_BAD

    def __post_init__(self) -> None:
        if self.channels not in (0, 1, 3):
            raise ValueError(f"channels: got {self.channels}, wanted 1 (grey), 3 (RGB) or 0 (as the images are)")
        if self.decode_size < 0:
            raise ValueError(f"decode_size: got {self.decode_size}, wanted at least 0")
