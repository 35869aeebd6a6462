"""Features of many samples go to the disk as they are computed, and become a file at the end; a killed call goes on."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from barlow.data.bad_samples import left_out
from barlow.data.order import batches_of
from barlow.evaluation.features import feature_batches
from barlow.formats import printable
from barlow.runs.embeddings import check_suffix, provenance_of, read_embeddings, write_embeddings
from barlow.seams import Source
from barlow.training.progress import Progress

BATCHES_AT_ONCE = 8
"""Batches between two records of how far the work is: what a kill can lose."""


@dataclass(frozen=True)
class Part:
    """What one of several processes embeds: samples that follow each other, into a file of its own."""

    number: int
    of: int

    def positions(self, num_samples: int) -> range:
        """Return the samples of this process: all processes together have each once."""
        return range(num_samples * self.number // self.of, num_samples * (self.number + 1) // self.of)

    def path(self, path: Path) -> Path:
        """Return the file of this process: photos-00001-of-00004.parquet."""
        return path.with_name(f"{path.stem}-{self.number:05d}-of-{self.of:05d}{path.suffix}")


def part_of_process() -> Part | None:
    """Return the part of this process where torchrun, or whoever sets RANK and WORLD_SIZE, has started several."""
    number, of = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return Part(int(number), int(of)) if number.isdecimal() and of.isdecimal() and int(of) > 1 else None


@dataclass(frozen=True)
class Embedded:
    """A file of features: where it is, how many rows it has, and which samples have none.

    Attributes:
        path: the file, which names all of them.
        num_rows: samples that have features.
        skipped: why others have none, by name.
        left_out: a sentence that counts them and names the first, "" where there are none.
    """

    path: Path
    num_rows: int
    skipped: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""

    @property
    def h(self) -> Tensor:
        """(n, d) features, read from the file."""
        return read_embeddings(self.path).h

    @property
    def names(self) -> Sequence[str]:
        """Names of the rows, read from the file."""
        return read_embeddings(self.path).names

    @property
    def missing(self) -> Mapping[str, str]:
        """Why, by name, samples have no row: the same as `skipped`."""
        return self.skipped


def embed_to_file(
    path: Path,
    represent: Callable[[Any], Tensor],
    source: Source,
    *,
    plain: Callable[[Any], Any],
    batch_size: int,
    provenance: Mapping[str, Any],
    part: Part | None = None,
    unit: str = "samples",
    quiet: bool = True,
) -> Embedded:
    """Write the features of a source, or of a part of it, to a file, holding no more than some batches in memory.

    Until it is whole, the rows are in `path` + ".rows", and how far they go in `path` + ".rows.json". A call with the
    same provenance takes them up, and the file has the bytes of one that was not interrupted. Otherwise as `extract`.
    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    own, step = range(len(source)) if part is None else part.positions(len(source)), BATCHES_AT_ONCE * batch_size
    provenance = {**provenance, "part": [part.number, part.of]} if part else provenance
    with _open_rows(path, {**provenance, "batch_size": batch_size, "num_samples": len(source)}) as rows:
        done = max(rows.done, own.start)
        with Progress("embedding", len(own), start=done - own.start, unit=unit, quiet=quiet) as progress:
            progress.update(done - own.start)
            for start in range(done, own.stop, step):
                positions = range(start, min(start + step, own.stop))
                _compute(rows, represent, source, positions, plain, batch_size, progress, own.start)
        if not rows.num_rows:
            raise ValueError(f"source: {source.name} gave no sample that could be read, of {len(own)} asked for")
        indices = np.setdiff1d(np.arange(own.start, own.stop), np.array(list(rows.skipped), dtype=np.int64))
        skipped = {printable(source.describe(position)): why for position, why in rows.skipped.items()}
        labels = None if source.labels is None else source.labels[torch.from_numpy(indices)].tolist()
        write_embeddings(
            path,
            rows.array(),
            names=_names(source, indices, rows.path),
            labels=labels,
            class_names=source.class_names if labels is not None else (),
            provenance={**provenance, "skipped": skipped},
            columns={name: values[indices] for name, values in getattr(source, "columns", {}).items()},
        )
    rows.remove()
    return Embedded(path, rows.num_rows, skipped, left_out(source, rows.skipped))


def _compute(
    rows: "_Rows",
    represent: Callable[[Any], Tensor],
    source: Source,
    positions: range,
    plain: Callable[[Any], Any],
    batch_size: int,
    progress: Progress,
    first: int,
) -> None:
    """Append the rows of some samples, and note how far that goes."""
    missing = set(positions)
    for h, indices in feature_batches(represent, source, positions, plain=plain, batch_size=batch_size):
        rows.append(h)
        missing -= set(indices.tolist())
        progress.update(int(indices[-1]) + 1 - first, samples=len(indices))
    rows.note(positions.stop, {one: source.bad.get(one, "it came without a reason") for one in sorted(missing)})
    progress.update(positions.stop - first)


def _names(source: Source, indices: np.ndarray, rows: Path) -> np.ndarray:
    """Names of samples, as an array that lies on the disk: of a million paths it takes several hundred megabytes."""
    longest = max(len(printable(source.describe(int(index)))) for index in indices)
    names = np.memmap(
        rows.with_name(rows.name + ".names"), dtype=f"<U{max(longest, 1)}", mode="w+", shape=(len(indices),)
    )
    for chunk in batches_of(range(len(indices)), 4096, len(indices)):
        names[chunk] = [printable(source.describe(int(indices[place]))) for place in chunk]
    return names


@dataclass
class _Rows:
    """Rows of float32 on the disk, and a line of JSON for every few batches of them.

    Attributes:
        done: positions of the source that are dealt with.
        skipped: why, by position, of those without a row.
    """

    path: Path
    file: IO[bytes]
    notes: IO[str]
    done: int = 0
    num_rows: int = 0
    width: int = 0
    skipped: dict[int, str] = field(default_factory=dict)

    def append(self, h: Tensor) -> None:
        """Write some rows behind the others."""
        self.file.write(h.contiguous().numpy().tobytes())
        self.num_rows, self.width = self.num_rows + len(h), h.shape[1]

    def note(self, done: int, skipped: Mapping[int, str]) -> None:
        """Say that the rows are complete up to a position: on the disk before it is said."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.done, self.skipped = done, self.skipped | dict(skipped)
        record = {"done": done, "rows": self.num_rows, "width": self.width, "skipped": list(skipped.items())}
        self.notes.write(json.dumps(record) + "\n")
        self.notes.flush()

    def array(self) -> np.ndarray:
        """Return all rows, mapped."""
        return np.memmap(self.path, dtype=np.float32, mode="r", shape=(self.num_rows, self.width))

    def remove(self) -> None:
        """Remove what was needed only until the file was whole."""
        for file in (self.path.with_name(self.path.name + ".names"), self.path, _notes_of(self.path)):
            with suppress(PermissionError):  # on Windows, as long as it is mapped
                file.unlink(missing_ok=True)


def _notes_of(rows: Path) -> Path:
    return rows.with_name(rows.name + ".json")


@contextmanager
def _open_rows(path: Path, asked: Mapping[str, Any]) -> Iterator[_Rows]:
    """Take up the rows of an earlier call that asked for the same, or begin anew."""
    place = path.with_name(path.name + ".rows")
    kept = _records(_notes_of(place), asked)
    last = kept[-1] if kept else {"done": 0, "rows": 0, "width": 0}
    with place.open("r+b" if kept else "wb") as file, _notes_of(place).open("w", encoding="utf-8") as notes:
        file.truncate(4 * last["rows"] * last["width"])  # what came after the last record is computed again
        file.seek(0, os.SEEK_END)
        notes.writelines(json.dumps(record) + "\n" for record in [asked, *kept])
        notes.flush()
        skipped = {int(position): why for record in kept for position, why in record["skipped"]}
        yield _Rows(place, file, notes, last["done"], last["rows"], last["width"], skipped)


def _records(notes: Path, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The whole records of an earlier call, none where it asked for something else or its rows are gone."""
    rows = notes.with_name(notes.name.removesuffix(".json"))
    if not notes.is_file() or not rows.is_file():
        return []
    found = []
    for line in notes.read_text(encoding="utf-8").split("\n")[:-1]:  # behind the last end of line nothing is whole
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    if not found or found[0] != json.loads(json.dumps(asked)):
        return []
    size = rows.stat().st_size
    return [record for record in found[1:] if 4 * record["rows"] * record["width"] <= size]


def weights_digest(network: nn.Module) -> str:
    """Return a name that only networks with the same weights and statistics share."""
    return digest_of_weights(network.state_dict())


def digest_of_weights(weights: Mapping[str, Tensor]) -> str:
    """Return a name that only the same tensors under the same names have."""
    mixed = hashlib.blake2b(digest_size=16)
    for name, tensor in weights.items():
        values = tensor.detach().cpu().contiguous()
        mixed.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        mixed.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return mixed.hexdigest()


def free_path(folder: Path, name: str, data: Mapping[str, Any], part: Part | None = None) -> Path:
    """Return where features of some data go: NAME.npz, or NAME-2.npz where that is a file of other data, and so on.

    A part of them goes into a Parquet file.
    """
    number, suffix = 1, ".npz" if part is None else ".parquet"
    while True:
        path = folder / (f"{name}{suffix}" if number == 1 else f"{name}-{number}{suffix}")
        path = path if part is None else part.path(path)
        if not path.exists() or provenance_of(path).get("data") == data:
            return path
        number += 1
