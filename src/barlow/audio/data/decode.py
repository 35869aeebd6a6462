"""Recordings in files: what a header says, and a part of one as mono samples at a rate of our choice.

soundfile decodes (wav, flac, mp3, ogg, opus, ...), soxr resamples; both come with `pip install "barlow[audio]"`.
"""

import importlib.util
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from barlow.data.lost import count
from barlow.data.stored.contents import Content

SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64")
)
"""Endings of files that are read as recordings."""
STARTS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff", b"riff")
"""First bytes of recordings whose names say nothing; frames of mp3 begin with eleven bits that are set."""
PACKAGES = ("soundfile", "soxr")
"""What the extra `barlow[audio]` installs."""
SILENT = 2.0**-15
"""A clip is silent where no sample is larger than this: one step of 16 bits, which dither may have set."""
CLIPPED_IN_A_ROW = 3
"""So many samples in a row at the largest value of the format are clipped; a single one may be a peak."""
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""What libsndfile calls whole numbers of so many bits; all other formats have 1 as their largest value."""
MARGIN_SECONDS = 0.1
"""Read on either side of a part that is resampled, so that its ends do not hear that it is one."""
UNSAID_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0xFFFFFFFF - 36)
"""What programs that write a wav into a pipe leave as the size of its samples."""
SILENT_CLIPS = "silent clips (no sample above 2^-15)"
CLIPPED = "samples clipped (three or more in a row at full scale)"
SHORT_CLIPS = "clips shorter than one frame of the spectrogram"
"""What is counted apart; none of it makes a clip bad."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself: frames (samples of one channel), hertz, channels, and the largest sample."""

    frames: int
    rate: int
    channels: int
    largest: float


def check_packages() -> None:
    """Refuse sound where the packages that read it are missing: ValueError with the line that installs them."""
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f'data: recordings need {" and ".join(missing)}; wanted: pip install "barlow[audio]"')


def is_sound(name: str, start: bytes) -> bool:
    """Whether a stored sample is a recording: by the ending of its name, or where it has none by its first bytes."""
    if name:
        return PurePosixPath(name).suffix.lower() in SUFFIXES
    return start.startswith(STARTS) or (start[:1] == b"\xff" and len(start) > 1 and start[1] & 0xE0 == 0xE0
                                        and start[1] != 0xFF and start[1] != 0xD8)  # fmt: skip


def read_header(content: Content) -> Header:
    """Return what the header of a recording says; ValueError where there is none, or the file is shorter than it."""
    size = len(content) if isinstance(content, bytes) else Path(content).stat().st_size
    if size == 0:
        raise ValueError("the file is empty")
    with _opened(content) as file:
        bits = BITS.get(file.subtype, 0)
        header = Header(file.frames, file.samplerate, file.channels, 1.0 - 2.0 ** (1 - bits) if bits else 1.0)
    said = _said_by_wav(content, size)
    if said and said > header.frames:
        raise ValueError(f"has {header.frames:,} of the {said:,} samples that its header says")
    if header.frames <= 0:
        raise ValueError("a header without samples")
    return header


def read_part(content: Content, header: Header, first: int, frames: int, rate: int) -> npt.NDArray[np.float32]:
    """Return frames `first` to `first + frames` of a file as mono samples in [-1, 1] at `rate` hertz.

    Channels are averaged. Only the part is decoded, and a margin where it is resampled; samples at full scale are
    counted. ValueError: fewer samples than the header says, or NaN or infinite ones.
    """
    import soxr

    margin = 0 if rate == header.rate else round(MARGIN_SECONDS * header.rate)
    begin = max(0, first - margin)
    wanted = min(header.frames, first + frames + margin) - begin
    with _opened(content) as file:
        samples = _decoded(file, begin, wanted)
    if len(samples) < wanted:
        raise ValueError(f"has {begin + len(samples):,} of the {header.frames:,} samples that its header says")
    if not np.isfinite(samples).all():
        raise ValueError("NaN or infinite values")
    inside = samples[first - begin : first - begin + frames]
    count(CLIPPED, num_clipped(inside, header.largest))
    if rate == header.rate:
        return np.ascontiguousarray(inside.mean(axis=1))
    resampled = soxr.resample(samples.mean(axis=1), header.rate, rate)
    start = round((first - begin) * rate / header.rate)
    found = resampled[start : start + length_at(frames, header.rate, rate)]
    return np.ascontiguousarray(found, dtype=np.float32)


def length_at(frames: int, rate: int, other: int) -> int:
    """Return how many samples at another rate last as long as some frames."""
    return frames if rate == other else max(1, round(frames * other / rate))


def num_clipped(samples: npt.NDArray[np.float32], largest: float) -> int:
    """Return how many samples (n, channels) are at full scale together with both, or two, of their neighbours."""
    full = np.abs(samples) >= largest
    if len(full) < CLIPPED_IN_A_ROW or not full.any():
        return 0
    runs = full[:-2] & full[1:-1] & full[2:]
    inside = np.zeros_like(full)
    for shift in range(CLIPPED_IN_A_ROW):
        inside[shift : shift + len(runs)] |= runs
    return int(inside.sum())


def is_silent(samples: npt.NDArray[np.float32] | Tensor) -> bool:
    """Whether nothing is heard: no sample above one step of 16 bits."""
    largest = torch.as_tensor(samples).abs().max()
    return bool(largest <= SILENT)


def _opened(content: Content) -> Any:
    import soundfile

    try:
        return soundfile.SoundFile(BytesIO(content) if isinstance(content, bytes) else content)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"is no recording that can be read: {error.error_string.rstrip('.')}") from error


def _decoded(file: Any, begin: int, wanted: int) -> npt.NDArray[np.float32]:
    import soundfile

    try:
        file.seek(begin)
        found: npt.NDArray[np.float32] = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"breaks off: {error.error_string.rstrip('.')}") from error
    return found


def _said_by_wav(content: Content, size: int) -> int:
    """Frames that the header of a wav promises, 0 where it is none, keeps its word or leaves them open.

    libsndfile reads what is there, without a word.
    """
    with BytesIO(content) if isinstance(content, bytes) else Path(content).open("rb") as file:
        start = file.read(12)
        if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
            return 0
        block = 0
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                open_end = length in UNSAID_SIZES or block == 0
                return 0 if open_end or file.tell() + length <= size else length // block
            body = file.read(length + length % 2)
            if chunk[:4] == b"fmt ":
                block = int.from_bytes(body[12:14], "little")
    return 0
