"""A run of a second or two: 400 pictures without labels in a file, so that nothing is evaluated."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import barlow


def small_run(folder: Path, **numbers: Any) -> barlow.Run:
    """Pretrain on pictures of digits in `folder`/pictures.npy; the run is `folder`/run."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = (load_digits().images[:400] * 15.9).astype(np.uint8)
    np.save(folder / "pictures.npy", pictures)
    given: dict[str, Any] = {
        "recipe": "digits",
        "epochs": 3,
        "width": 4,
        "projector": "32-32",
        "precision": "32-true",
    } | numbers
    machine = barlow.Machine(quiet=True)
    return barlow.pretrain(str(folder / "pictures.npy"), out=folder / "run", machine=machine, **given)
