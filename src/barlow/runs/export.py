"""A backbone as an ONNX file, compared before it counts; timm's folders belong to images."""

import copy
import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from barlow.files import durable_path
from barlow.seams import Preparation

TOLERANCE = 1e-4
"""Largest difference allowed between exported and own features, as a fraction of the largest feature."""
OUTPUT = "features"
"""Name of the output in an ONNX file."""
INSIDE = "inside: uint8 samples of any size go in"
OUTSIDE = "outside: the input is what the rest of this metadata makes of a sample"
"""What a file says of the way from samples to the input of its network."""
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""What the extra `barlow[onnx]` installs."""


def export_onnx(
    backbone: nn.Module,
    example: Tensor,
    path: Path | str,
    *,
    input_name: str = "images",
    metadata: Mapping[str, Any] | None = None,
    output_name: str = OUTPUT,
) -> None:
    """Write a backbone as one ONNX file, from "images" (N, ...) to "features" (N, d) for any N.

    Before the file appears, onnxruntime has given the same features for batches of three sizes, to 1e-4 of
    the largest feature.

    Args:
        backbone: any module from a batch to (N, d).
        example: a batch (N, ...) as the network sees it, that is, normalised.
        path: of the file; its folder is made if need be.
        input_name: of the input in the file.
        metadata: what the user of the file has to know, by name; kept in it as JSON, with the names of input and
            output.
        output_name: of the output in the file.

    Raises:
        ValueError: the extra `barlow[onnx]` is missing, or the network as ONNX does not give its features.
    """
    _check_packages()
    network, shape = _frozen(backbone), tuple(example.shape[1:])
    who = _name_of(backbone)
    said = {} if metadata is None else {**metadata, "preprocessing": OUTSIDE}
    with durable_path(Path(path).expanduser()) as aside:
        # two samples: it takes a batch of one for a constant
        _write_onnx(network, _noise(2, shape), aside, (input_name, output_name), {0: "n"}, said, who)
        with torch.no_grad():
            same = all(_close(network(x), _by_onnxruntime(aside, x)) for x in (_noise(n, shape) for n in (1, 2, 5)))
        if not same:
            raise ValueError(f"to: {who} gives other features as 'onnx' than before (more than {TOLERANCE} apart)")


def export_prepared_onnx(
    backbone: nn.Module,
    known: Preparation,
    embed: Callable[[Tensor], Tensor],
    path: Path | str,
    *,
    input_name: str = "images",
    metadata: Mapping[str, Any] | None = None,
    output_name: str = OUTPUT,
) -> None:
    """Write a backbone and what makes its input as one ONNX file, from raw samples to "features" (N, d).

    Before the file appears, onnxruntime has given the features of `embed` (samples of a `Source` -> (N, d)) for every
    one of the examples.

    Raises:
        ValueError: as `export_onnx`.
    """
    _check_packages()
    assert known.module is not None
    network, who = nn.Sequential(known.module, _frozen(backbone)).eval(), _name_of(backbone)
    with durable_path(Path(path)) as aside:
        said = {"preprocessing": INSIDE, **known.metadata, **(metadata or {})}
        axes = {0: "n", **known.axes}
        _write_onnx(network, known.examples[0][0], aside, (input_name, output_name), axes, said, who)
        if not all(_close(embed(own), _by_onnxruntime(aside, raw), allowed) for raw, own, allowed in known.examples):
            raise ValueError(f"to: {who} with its preprocessing gives other features as 'onnx' than Run.embed")


def _check_packages() -> None:
    missing = [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"to: 'onnx' needs {', '.join(missing)}; wanted: pip install 'barlow[onnx]'")


def _name_of(backbone: nn.Module) -> str:
    return str(getattr(getattr(backbone, "record", None), "architecture", type(backbone).__name__))


def _write_onnx(
    network: nn.Module,
    example: Tensor,
    path: Path,
    names: tuple[str, str],
    axes: Mapping[int, str],
    metadata: Mapping[str, Any],
    who: str,
) -> None:
    try:
        with warnings.catch_warnings():
            # The exporter warns about its own insides; what comes out is compared anyway.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (example,),
                input_names=names[:1],
                output_names=names[1:],
                dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in axes.items()},),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
            program.model.metadata_props.update(words | {"input": names[0], "output": names[1]})
            program.save(path, external_data=False)
    except Exception as error:  # of many kinds, and each means that this network is beyond the exporter
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"to: {who} cannot be written as 'onnx': {reason}") from error


def _by_onnxruntime(path: Path, samples: Tensor) -> Tensor:
    """Return the features that onnxruntime gives."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it prints its warnings past Python
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {session.get_inputs()[0].name: samples.numpy()})
    return torch.from_numpy(features)


def _frozen(backbone: nn.Module) -> nn.Module:
    """Return a copy in eval mode, in float32, on the CPU, in the usual layout."""
    return copy.deepcopy(backbone).eval().float().cpu().to(memory_format=torch.contiguous_format)


def _noise(num_samples: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(num_samples, *shape, generator=torch.Generator().manual_seed(0))


def _close(wanted: Tensor, got: Tensor, tolerance: float = TOLERANCE) -> bool:
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= tolerance * wanted.abs().max())
