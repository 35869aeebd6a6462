"""How pictures are read: the numbers that `load_source` hands to files and data sets."""

from dataclasses import dataclass

from barlow.data.decode import DECODE_SIZE
from barlow.data.memory import Progress


@dataclass(frozen=True)
class Reading:
    """How pictures are read; it changes neither their order nor their number.

    Attributes:
        channels: 1 or 3; 0: grey where all pictures looked at are grey, else RGB.
        decode_size: cap of the short side in pixels; 0 for no cap.
        num_workers: worker processes; None: one per available core.
        memory_budget: bytes up to which a folder is kept in memory; None: what the machine allows.
        min_samples: fewer samples than this are an error.
        progress: called as (samples read, samples in all) while a folder is read into memory.
    """

    channels: int = 0
    decode_size: int = DECODE_SIZE
    num_workers: int | None = None
    memory_budget: int | None = None
    min_samples: int = 2
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: a number of channels other than 0, 1, 3, or a negative size.
        """
        if self.channels not in (0, 1, 3):
            raise ValueError(f"channels: got {self.channels}, wanted 1 (grey), 3 (RGB) or 0 (as the pictures are)")
        if self.decode_size < 0:
            raise ValueError(f"decode_size: got {self.decode_size}, wanted at least 0")
