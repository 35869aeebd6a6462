"""Recordings made in the tests: tones and noise in every format, and what is wrong with some of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 8000
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "mp3": "MPEG_LAYER_III", "ogg": "VORBIS", "opus": "OPUS"}
"""Ending -> what libsndfile calls its coding."""


def tone(hertz: float = 440.0, seconds: float = 1.0, rate: int = RATE, level: float = 0.3) -> npt.NDArray[np.float32]:
    steps = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * steps)).astype(np.float32)


def write(path: Path, samples: npt.NDArray[np.floating], rate: int = RATE, subtype: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix[1:]
    coded = "OGG" if ending == "opus" else None
    soundfile.write(path, samples, rate, subtype=subtype or FORMATS.get(ending), format=coded)
    return path


def spoken(folder: Path, speakers: Sequence[str] = ("ann", "bob", "cem"), takes: int = 8) -> Path:
    """Three "words", which are tones, of speakers of other loudness: LABEL_GROUP_TAKE.wav."""
    random = np.random.default_rng(0)
    for speaker, level in zip(speakers, np.linspace(0.05, 0.5, len(speakers)), strict=True):
        for word, hertz in (("high", 1800), ("low", 300), ("mid", 800)):
            for take in range(takes):
                sound = tone(hertz * random.uniform(0.9, 1.1), random.uniform(0.2, 0.5), level=level)
                sound += 0.02 * random.standard_normal(len(sound)).astype(np.float32)
                write(folder / f"{word}_{speaker}_{take}.wav", sound)
    return folder
