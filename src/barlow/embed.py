"""Features in a file: one row per sample, for other programs to read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from torch import Tensor

from barlow.choices import did_you_mean

SUFFIXES = (".npz", ".parquet")


def write_embeddings(
    path: Path | str,
    h: Float[Tensor, "n d"],
    *,
    names: Sequence[str],
    labels: Sequence[int] | Sequence[str] | None = None,
) -> None:
    """Write the features of n samples as the suffix of the path says; aside first, then renamed.

    ".npz" holds the arrays h (n, d) float32, names (n,) and, where there are labels, labels (n,). ".parquet"
    holds the columns name, label (likewise) and h, a list of d float32 per row.

    Args:
        path: where to; its folder is made if need be.
        h: features, one row per sample.
        names: what each sample is called: its path, or its number.
        labels: class numbers or class names.

    Raises:
        ValueError: another suffix, or names or labels that are not as many as the rows.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        hint = did_you_mean(path.suffix, SUFFIXES)
        raise ValueError(f"path: the suffix of {str(path)!r} is neither {' nor '.join(SUFFIXES)}{hint}")
    for argument, values in (("names", names), ("labels", labels)):
        if values is not None and len(values) != len(h):
            raise ValueError(f"{argument}: {len(values)} came for {len(h)} samples")
    rows = h.detach().float().cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.part")
    if path.suffix == ".npz":
        _write_npz(aside, rows, names, labels)
    else:
        _write_parquet(aside, rows, names, labels)
    aside.replace(path)


def _write_npz(
    path: Path, rows: np.ndarray, names: Sequence[str], labels: Sequence[int] | Sequence[str] | None
) -> None:
    called = np.array(list(names), dtype=str)
    with path.open("wb") as file:  # given a path, NumPy would add a suffix to it
        if labels is None:
            np.savez(file, h=rows, names=called)
        else:
            np.savez(file, h=rows, names=called, labels=np.array(list(labels)))


def _write_parquet(
    path: Path, rows: np.ndarray, names: Sequence[str], labels: Sequence[int] | Sequence[str] | None
) -> None:
    columns = {"name": pa.array(list(names), pa.string())}
    if labels is not None:
        columns["label"] = pa.array(list(labels))
    columns["h"] = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    pq.write_table(pa.table(columns), path)
