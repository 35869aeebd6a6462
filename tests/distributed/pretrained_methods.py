"""Short runs of several methods through Fabric and the loop, one after another: here, or in each process of torchrun.

python -m tests.distributed.pretrained_methods PICTURES OUT
"""

import sys
from pathlib import Path
from typing import Any

import barlow
from barlow.training.machine import Machine

NUMBERS: dict[str, Any] = {
    "backbone": "resnet10", "width": 4, "stem": "small", "projector": "16-8", "batch_size": 15, "epochs": 2,
    "precision": "32-true",
}  # fmt: skip
"""Fifteen samples for two processes: eight and seven."""

OPTIONS: dict[str, dict[str, Any]] = {
    # A queue that is full and used from the third step, prototypes that move from the third step on.
    "swav": {"num_prototypes": 12, "queue_length": 30, "queue_start": 0.0, "freeze_prototypes": 0.5},
    "vicregl": {"local_projector": "16-8", "matches": 3, "matches_back": 1},
    "byol": {"momentum": 0.9, "predictor_width": 16},
    "simclr": {},
}
"""Method -> what differs from its small recipe."""


def pretrain_all(pictures: Path, out: Path) -> None:
    """Train every method with as many processes as there are, a run folder each."""
    for method, options in OPTIONS.items():
        run = barlow.pretrain(
            pictures,
            recipe=f"{method}-small-grey",
            out=out / method,
            machine=Machine(quiet=True),
            options=options,
            **NUMBERS,
        )
        assert run.finished, method


if __name__ == "__main__":
    pretrain_all(Path(sys.argv[1]), Path(sys.argv[2]))
