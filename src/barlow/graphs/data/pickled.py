"""The pickles of Planetoid, read by a reader that knows numbers and nothing else.

They were written by Python 2 and name classes of NumPy and SciPy. Here every name that may stand in such a file is
listed; any other one is refused, so a file cannot run anything.
"""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np


class Rows:
    """What a file says of a sparse matrix: `data`, `indices`, `indptr` and `_shape`."""

    def __setstate__(self, state: Any) -> None:
        """Keep the arrays, whatever SciPy called the other things."""
        known = state if isinstance(state, dict) else {}
        for name in ("data", "indices", "indptr", "_shape"):
            if name not in known:
                raise pickle.UnpicklingError(f"a sparse matrix without {name}")
            setattr(self, name, known[name])


def _new(kind: Any, base: Any, state: Any) -> Any:
    """Python 2's way of making an object, for sparse matrices alone."""
    if kind is not Rows:
        raise pickle.UnpicklingError(f"an object of {kind!r}")
    return Rows()


def _array(kind: Any, shape: Any, code: Any) -> Any:
    """An empty array, whose values follow."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"an array of {kind!r}")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _number_format(code: Any, *rest: Any) -> Any:
    """A number format; objects would be a way around the list."""
    found = np.dtype(code)
    if found.hasobject:
        raise pickle.UnpicklingError("an array of objects")
    return found


def _bytes(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


ALLOWED: dict[tuple[str, str], Any] = {
    ("scipy.sparse.csr", "csr_matrix"): Rows,
    ("scipy.sparse._csr", "csr_matrix"): Rows,
    ("copy_reg", "_reconstructor"): _new,
    ("copyreg", "_reconstructor"): _new,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "list"): list,
    ("builtins", "list"): list,
    ("collections", "defaultdict"): defaultdict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _number_format,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("_codecs", "encode"): _bytes,
}
"""Module and name -> what stands for it here."""


class NumbersOnly(pickle.Unpickler):
    """Reads what is made of `ALLOWED` alone."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name, or refuse it."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return ALLOWED[module, name]


def read_pickle(path: Path) -> Any:
    """Return what a file holds: arrays, `Rows`, dictionaries and lists. ValueError for anything else."""
    try:
        with path.open("rb") as file:
            return NumbersOnly(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"data: {path} is no file of Planetoid: {error}") from error
