"""Files of features: one row per sample beside its name and its class, and what the features come from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from barlow.data.labels import UNKNOWN
from barlow.errors import did_you_mean
from barlow.files import durable_file
from barlow.formats import printable

SUFFIXES = (".npz", ".parquet")
"""Of files of features."""
ROW_GROUP = 4096
"""Rows that are written at a time, so that a file may be larger than the memory."""
METADATA = b"barlow"
"""Where a Parquet file keeps its provenance and the names of its classes."""


@dataclass(frozen=True)
class Embeddings:
    """Features of the samples that could be read.

    Attributes:
        h: (n, d) float32 on the CPU.
        names: of the n samples: their paths, or their numbers.
        labels: (n,) int64 positions in `class_names`, -1 for a sample without a label, or None.
        class_names: names of the classes, empty without labels.
        provenance: what they come from: version, run, recipe, hash of the weights, data.
        skipped: why, by name, of samples that could not be read and have no row.
    """

    h: Float[Tensor, "n d"]
    names: Sequence[str]
    labels: Int64[Tensor, " n"] | None = None
    class_names: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.h)

    @property
    def missing(self) -> Mapping[str, str]:
        """Why, by name, samples have no row: the same as `skipped`."""
        return self.skipped


def read_embeddings(*paths: str | Path) -> Embeddings:
    """Read one or more files of features that `barlow embed` wrote as one: classes of one name are one class.

    Args:
        paths: .npz or .parquet files, whose features are of one network.

    Returns:
        Their rows one after the other; of several files, the provenance of each stands under "files".

    Raises:
        ValueError: no file of features, other widths or weights than in the first file, or labels that are numbers
            without names in one file and names in another.

    Example:
        everything = barlow.read_embeddings("old.npz", "new.parquet")
        cats = everything.h[everything.labels == everything.class_names.index("cat")]
    """
    if not paths:
        raise ValueError("paths: got none, wanted one or more files of features")
    found = [_read(Path(path).expanduser()) for path in paths]
    if len(found) == 1:
        return found[0]
    for path, one in zip(paths[1:], found[1:], strict=True):
        _check_alike(paths[0], found[0], path, one)
    names = tuple(dict.fromkeys(name for one in found for name in one.class_names))
    labelled = any(one.labels is not None for one in found)
    return Embeddings(
        torch.cat([one.h for one in found]),
        tuple(name for one in found for name in one.names),
        torch.cat([_renumbered(one, names) for one in found]) if labelled else None,
        names,
        {"files": [dict(one.provenance) for one in found]},
        {name: why for one in found for name, why in one.skipped.items()},
    )


def _check_alike(first_path: str | Path, first: Embeddings, path: str | Path, other: Embeddings) -> None:
    """Refuse to lay side by side what is of two networks, or has classes that nobody can match."""
    if first.h.shape[1] != other.h.shape[1]:
        raise ValueError(f"paths: {path} has {other.h.shape[1]} features a sample, {first_path} has {first.h.shape[1]}")
    weights = [one.provenance.get("weights") for one in (first, other)]
    if all(weights) and weights[0] != weights[1]:
        runs = [one.provenance.get("run") for one in (first, other)]
        raise ValueError(f"paths: {path} is of another network ({runs[1]}) than {first_path} ({runs[0]})")
    nameless = [p for p, one in ((first_path, first), (path, other)) if one.labels is not None and not one.class_names]
    if len(nameless) == 1:
        raise ValueError(f"paths: the labels in {nameless[0]} are numbers without names; embed its data once more")


def _renumbered(one: Embeddings, names: Sequence[str]) -> Tensor:
    if one.labels is None:
        return torch.full((len(one),), UNKNOWN)
    if not one.class_names:
        return one.labels
    place = {name: number for number, name in enumerate(names)}
    return torch.tensor([place[name] for name in one.class_names] + [UNKNOWN])[one.labels]  # -1 takes the last


def provenance_of(path: Path) -> dict[str, Any]:
    """Return what a file of features says that it comes from; nothing where it is none or does not say."""
    try:
        if path.suffix == ".parquet":
            return dict(json.loads((pq.read_schema(path).metadata or {}).get(METADATA, b"{}")).get("provenance", {}))
        with np.load(path, allow_pickle=False) as file:
            return dict(json.loads(str(file["provenance"])))
    except (OSError, ValueError, KeyError, EOFError, pa.ArrowException):
        return {}


def _read(path: Path) -> Embeddings:
    check_suffix(path, "paths")
    if not path.is_file():
        raise ValueError(f"paths: there is no file {str(path)!r}")
    try:
        content = _read_npz(path) if path.suffix == ".npz" else _read_parquet(path)
        h, names, classes = content["h"], content["names"], tuple(map(str, content.get("class_names", ())))
    except (OSError, ValueError, KeyError, EOFError, pa.ArrowException) as error:
        raise ValueError(f"paths: {str(path)!r} is no file of features: {error}") from error
    labels = content.get("labels")
    if labels is not None and labels.dtype.kind in "UO":  # names, without numbers
        classes = tuple(sorted(set(map(str, labels.tolist()))))
        labels = np.searchsorted(np.array(classes), labels.astype(str))
    provenance = json.loads(str(content.get("provenance", "{}")))
    skipped = provenance.pop("skipped", {})
    numbers = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return Embeddings(torch.from_numpy(h), tuple(map(str, names.tolist())), numbers, classes, provenance, skipped)


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_parquet(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    known = json.loads((table.schema.metadata or {}).get(METADATA, b"{}"))
    width = table.schema.field("h").type.list_size
    flat = np.concatenate([part.values.to_numpy() for part in table["h"].chunks] or [np.zeros(0, np.float32)])
    content: dict[str, Any] = {"h": flat.reshape(-1, width), "names": np.array(table["name"].to_pylist(), dtype=str)}
    if "label" in table.column_names:
        content["labels"] = np.array(table["label"].to_pylist())
    return content | {
        "class_names": known.get("class_names", ()),
        "provenance": json.dumps(known.get("provenance", {})),
    }


def write_embeddings(
    path: Path | str,
    h: Float[Tensor, "n d"] | np.ndarray,
    *,
    names: Sequence[str] | np.ndarray,
    labels: Sequence[int] | Sequence[str] | None = None,
    class_names: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
) -> None:
    r"""Write the features of n samples as the suffix of the path says, durably.

    ".npz" holds the arrays h (n, d) float32, names (n,) and, where there are labels (numbers or names of classes),
    labels (n,); with names of classes also class_names, so that `class_names[labels]` are the names, and with a
    provenance that, as JSON. ".parquet" holds the columns name, label (likewise), class (its name) and h, a list of d
    float32 per row, and the rest as JSON in the metadata of its schema, under "barlow". A sample's name is its path, or
    its number; bytes of it that are no text are written as \xe4. Arrays may be mapped from a disk. `columns` are more
    numbers of each row by name, such as the start and the end of a window in seconds.
    """
    path = Path(path).expanduser()
    check_suffix(path)
    more = dict(columns or {})
    for argument, values in (("names", names), ("labels", labels), *more.items()):
        if values is not None and len(values) != len(h):
            raise ValueError(f"{argument}: {len(values)} came for {len(h)} samples")
    rows = h.detach().float().cpu().numpy() if isinstance(h, Tensor) else h
    shown = names if isinstance(names, np.ndarray) else np.array([printable(name) for name in names], dtype=str)
    about: dict[str, Any] = {"class_names": [printable(name) for name in class_names]} if class_names else {}
    about |= {"provenance": dict(provenance)} if provenance else {}
    with durable_file(path) as file:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(file, rows, shown, labels, about, more)


def check_suffix(path: Path | str, argument: str = "path") -> None:
    """Refuse a file that `write_embeddings` cannot write, before the features are computed."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        hint = did_you_mean(suffix, SUFFIXES)
        raise ValueError(f"{argument}: the suffix of {str(path)!r} is neither {' nor '.join(SUFFIXES)}{hint}")


def _write_npz(
    file: IO[bytes],
    rows: np.ndarray,
    names: np.ndarray,
    labels: Any,
    about: Mapping[str, Any],
    more: Mapping[str, np.ndarray],
) -> None:
    arrays: dict[str, Any] = {"h": rows, "names": names, **more}
    if labels is not None:
        arrays["labels"] = np.array(list(labels))
    if "class_names" in about:
        arrays["class_names"] = np.array(about["class_names"], dtype=str)
    if "provenance" in about:
        arrays["provenance"] = np.array(json.dumps(about["provenance"]))
    np.savez(file, allow_pickle=False, **arrays)


def _write_parquet(
    file: IO[bytes],
    rows: np.ndarray,
    names: np.ndarray,
    labels: Any,
    about: Mapping[str, Any],
    more: Mapping[str, np.ndarray],
) -> None:
    given = None if labels is None else pa.array([printable(one) if isinstance(one, str) else one for one in labels])
    fields = [pa.field("name", pa.string()), *(pa.field(name, pa.float64()) for name in more)]
    fields += [] if given is None else [pa.field("label", given.type)]
    fields += [pa.field("class", pa.string())] if given is not None and "class_names" in about else []
    fields.append(pa.field("h", pa.list_(pa.float32(), rows.shape[1])))
    schema = pa.schema(fields, metadata={METADATA: json.dumps(about)} if about else None)
    with pq.ParquetWriter(file, schema) as writer:
        for part in _row_groups(rows, names, given, about.get("class_names"), schema, more):
            writer.write_table(part)


def _row_groups(
    rows: np.ndarray, names: np.ndarray, labels: Any, classes: Any, schema: Any, more: Mapping[str, np.ndarray]
) -> Iterator[Any]:
    for start in range(0, len(rows), ROW_GROUP):
        here = slice(start, start + ROW_GROUP)
        columns: dict[str, Any] = {"name": pa.array(names[here].tolist(), pa.string())}
        columns |= {name: pa.array(values[here], pa.float64()) for name, values in more.items()}
        if labels is not None:
            columns["label"] = labels[here]
            if classes:
                numbers = labels[here].to_pylist()
                columns["class"] = pa.array([None if n == UNKNOWN else classes[n] for n in numbers], pa.string())
        columns["h"] = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(rows[here])), rows.shape[1])
        yield pa.table(columns, schema=schema)
