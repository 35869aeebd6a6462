"""A backbone as an ONNX file, compared before it counts, and features in a file; timm's folders belong to images."""

import copy
import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.errors import did_you_mean
from barlow.files import durable_file, durable_path

TOLERANCE = 1e-4
"""Largest difference allowed between exported and own features, as a fraction of the largest feature."""
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""What the extra `barlow[onnx]` installs."""
SUFFIXES = (".npz", ".parquet")
"""Of files of features."""


def export_onnx(backbone: nn.Module, example: Tensor, path: Path | str, *, input_name: str = "images") -> None:
    """Write a backbone as one ONNX file, from "images" (N, ...) to "features" (N, d) for any N.

    Before the file appears, onnxruntime has given the same features for batches of three sizes, to 1e-4 of
    the largest feature.

    Args:
        backbone: any module from a batch to (N, d).
        example: a batch (N, ...) as the network sees it, that is, normalised.
        path: of the file; its folder is made if need be.
        input_name: of the input in the file.

    Raises:
        ValueError: the extra `barlow[onnx]` is missing, or the network as ONNX does not give its features.
    """
    missing = [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"to: 'onnx' needs {', '.join(missing)}; wanted: pip install 'barlow[onnx]'")
    network, shape = _frozen(backbone), tuple(example.shape[1:])
    who = getattr(getattr(backbone, "record", None), "architecture", type(backbone).__name__)
    with durable_path(Path(path)) as aside:
        try:
            _write_onnx(network, shape, aside, input_name)
        except Exception as error:  # of many kinds, and each means that this network is beyond the exporter
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"to: {who} cannot be written as 'onnx': {reason}") from error
        if not all(_gives_the_same(network, aside, _noise(n, shape)) for n in (1, 2, 5)):
            raise ValueError(f"to: {who} gives other features as 'onnx' than before (more than {TOLERANCE} apart)")


def _write_onnx(network: nn.Module, shape: tuple[int, ...], path: Path, input_name: str) -> None:
    with warnings.catch_warnings():
        # The exporter warns about its own insides; what comes out is compared anyway.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (_noise(2, shape),),  # two samples: it takes a batch of one for a constant
            path,
            input_names=[input_name],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _gives_the_same(network: nn.Module, path: Path, images: Tensor) -> bool:
    """Tell whether onnxruntime gives the features that the network gives."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it prints its warnings past Python
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        return _close(network(images), torch.from_numpy(features))


def _frozen(backbone: nn.Module) -> nn.Module:
    """Return a copy in eval mode, in float32, on the CPU, in the usual layout."""
    return copy.deepcopy(backbone).eval().float().cpu().to(memory_format=torch.contiguous_format)


def _noise(num_samples: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(num_samples, *shape, generator=torch.Generator().manual_seed(0))


def _close(wanted: Tensor, got: Tensor) -> bool:
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= TOLERANCE * wanted.abs().max())


def write_embeddings(
    path: Path | str,
    h: Float[Tensor, "n d"],
    *,
    names: Sequence[str],
    labels: Sequence[int] | Sequence[str] | None = None,
) -> None:
    """Write the features of n samples as the suffix of the path says, durably.

    ".npz" holds the arrays h (n, d) float32, names (n,) and, where there are labels (numbers or names of classes),
    labels (n,). ".parquet" holds the columns name, label (likewise) and h, a list of d float32 per row. A sample's name
    is its path, or its number.
    """
    path = Path(path)
    check_suffix(path)
    for argument, values in (("names", names), ("labels", labels)):
        if values is not None and len(values) != len(h):
            raise ValueError(f"{argument}: {len(values)} came for {len(h)} samples")
    rows = h.detach().float().cpu().numpy()
    with durable_file(path) as file:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(file, rows, names, labels)


def check_suffix(path: Path | str) -> None:
    """Refuse a file that `write_embeddings` cannot write, before the features are computed."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        hint = did_you_mean(suffix, SUFFIXES)
        raise ValueError(f"path: the suffix of {str(path)!r} is neither {' nor '.join(SUFFIXES)}{hint}")


def _write_npz(
    file: IO[bytes], rows: np.ndarray, names: Sequence[str], labels: Sequence[int] | Sequence[str] | None
) -> None:
    arrays: Any = {"h": rows, "names": np.array(list(names), dtype=str)}
    np.savez(file, **arrays if labels is None else arrays | {"labels": np.array(list(labels))})


def _write_parquet(
    file: IO[bytes], rows: np.ndarray, names: Sequence[str], labels: Sequence[int] | Sequence[str] | None
) -> None:
    columns = {"name": pa.array(list(names), pa.string())}
    if labels is not None:
        columns["label"] = pa.array(list(labels))
    columns["h"] = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    pq.write_table(pa.table(columns), file)
