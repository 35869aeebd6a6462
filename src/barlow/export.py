"""A backbone for others to use: a folder that timm loads, or an ONNX file, each compared before it counts."""

import copy
import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
from torch import Tensor, nn

from barlow.networks.backbones import Backbone, BackboneRecord
from barlow.networks.basic_resnet import BASIC_RESNETS, PUBLISHED_WIDTH
from barlow.networks.saved import CONFIG, timm_config, write_config, write_weights

TOLERANCE = 1e-4
"""Largest difference allowed between exported and own features, as a fraction of the largest feature."""
TIMM_WEIGHTS = "model.safetensors"
"""The file name that timm prefers in a folder."""
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""What the extra `barlow[onnx]` installs."""


def export_timm(backbone: nn.Module, folder: Path | str, *, mean: Sequence[float], std: Sequence[float]) -> None:
    """Write a folder that `timm.create_model("local-dir:<folder>", pretrained=True, num_classes=0)` loads.

    Before the files appear, timm has built the network from them and given the same features.

    Args:
        backbone: of `build_backbone` or `load_backbone`.
        folder: gets model.safetensors and config.json; made if need be.
        mean: per channel, what is subtracted from images in [0, 1].
        std: per channel, by what they are then divided.

    Raises:
        ValueError: timm has no such network; the message says what is in the way, and what else there is.
    """
    if not isinstance(backbone, Backbone):
        raise _obstacle(f"{type(backbone).__name__} is a network of your own")
    record = backbone.record
    architecture, arguments = _timm_equivalent(record)
    config = timm_config(record, architecture, arguments, mean=mean, std=std)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".export-") as aside:
        write_weights(Path(aside, TIMM_WEIGHTS), backbone.network)
        write_config(Path(aside, CONFIG), config)
        try:
            loaded = timm.create_model(f"local-dir:{aside}", pretrained=True, num_classes=0)
        except Exception as error:  # timm's converters of weights may raise anything on names they do not know
            raise _obstacle(f"timm's {architecture} has other weights than {record.library}'s") from error
        images = _noise(2, (record.in_channels, record.image_size, record.image_size))
        with torch.no_grad():
            same = _close(_frozen(backbone)(images), loaded.eval()(images))
        if not same:
            raise _obstacle(f"timm's {architecture} computes other features than {record.library}'s")
        for file in (TIMM_WEIGHTS, CONFIG):
            Path(aside, file).replace(folder / file)


def export_onnx(backbone: nn.Module, example: Tensor, path: Path | str) -> None:
    """Write a backbone as one ONNX file, from "images" (N, ...) to "features" (N, d) for any N.

    Before the file appears, onnxruntime has given the same features for batches of three sizes, to 1e-4 of
    the largest feature.

    Args:
        backbone: any module from a batch to (N, d).
        example: a batch (N, ...) as the network sees it, that is, normalised.
        path: of the file; its folder is made if need be.

    Raises:
        ValueError: the extra `barlow[onnx]` is missing, or the network as ONNX does not give its features.
    """
    missing = [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"to: 'onnx' needs {', '.join(missing)}; wanted: pip install 'barlow[onnx]'")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    network, shape = _frozen(backbone), tuple(example.shape[1:])
    who = getattr(getattr(backbone, "record", None), "architecture", type(backbone).__name__)
    aside = path.with_name(f"{path.name}.part")
    try:
        _write_onnx(network, shape, aside)
    except Exception as error:  # of many kinds, and each means that this network is beyond the exporter
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"to: {who} cannot be written as 'onnx': {reason}") from error
    if not all(_runs_alike(network, aside, _noise(n, shape)) for n in (1, 2, 5)):
        aside.unlink()
        raise ValueError(f"to: {who} gives other features as 'onnx' than before (more than {TOLERANCE} apart)")
    aside.replace(path)


def _timm_equivalent(record: BackboneRecord) -> tuple[str, dict[str, Any]]:
    """Return timm's name and arguments for a network that may be the same: that is still to be compared."""
    if record.stem == "small":
        raise _obstacle("timm's ResNets have no 3x3 stem without pooling (stem='small')")
    if record.library == "timm":
        return record.architecture, record.arguments
    if record.width != PUBLISHED_WIDTH:
        raise _obstacle(f"timm's ResNets have a stem of {PUBLISHED_WIDTH} channels, this one has {record.width}")
    channels = {"in_chans": record.in_channels}
    if record.library == "barlow":
        return "resnet18", channels | {"layers": list(BASIC_RESNETS[record.architecture])}
    if not timm.is_model(record.architecture):
        raise _obstacle(f"timm has no {record.architecture} ({record.library} has)")
    return record.architecture, channels


def _obstacle(reason: str) -> ValueError:
    return ValueError(f"to: 'timm' cannot hold this backbone: {reason}; wanted: to='onnx'")


def _write_onnx(network: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    with warnings.catch_warnings():
        # The exporter warns about its own insides; what comes out is compared anyway.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (_noise(2, shape),),  # two samples: it takes a batch of one for a constant
            path,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _runs_alike(network: nn.Module, path: Path, images: Tensor) -> bool:
    """Tell whether onnxruntime gives the features that the network gives."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it prints its warnings past Python
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        return _close(network(images), torch.from_numpy(features))


def _frozen(backbone: nn.Module) -> nn.Module:
    """Return a copy in eval mode, in float32, on the CPU, in the usual layout."""
    return copy.deepcopy(backbone).eval().float().cpu().to(memory_format=torch.contiguous_format)


def _noise(num_samples: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(num_samples, *shape, generator=torch.Generator().manual_seed(0))


def _close(wanted: Tensor, got: Tensor) -> bool:
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= TOLERANCE * wanted.abs().max())
