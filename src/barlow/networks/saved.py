"""A backbone in a folder: `backbone.safetensors`, and the `config.json` from which it is built again.

Where the network is timm's own, unmodified, `config.json` is also what timm reads, so that the folder itself
loads with `timm.create_model("local-dir:<folder>", pretrained=True)`: timm looks for model.safetensors first,
then takes the one safetensors file that is there, whatever its name (timm 1.0.16 and later).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from barlow.networks.backbones import Backbone, BackboneRecord, rebuild_backbone

WEIGHTS = "backbone.safetensors"
CONFIG = "config.json"


def save_backbone(
    folder: Path | str,
    backbone: nn.Module,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> None:
    """Save the weights of a backbone and what is needed to build it again.

    Each file is written aside and then renamed.

    Args:
        folder: made if need be.
        backbone: a `Backbone`; of any other module only the weights are kept.
        mean: per channel, what was subtracted from images in [0, 1]; None where nobody knows.
        std: per channel, by what they were then divided.

    Raises:
        ValueError: `mean` or `std` is not one number per channel.
    """
    folder = Path(folder)
    config: dict[str, Any] = {}
    if isinstance(backbone, Backbone):
        record = backbone.record
        _check_channels(record, mean, std)
        if record.library == "timm" and record.stem == "imagenet":
            config = timm_config(record, record.architecture, record.arguments, mean=mean, std=std)
        config["backbone"] = asdict(record)
        write_weights(folder / WEIGHTS, backbone.network)
    else:
        config["backbone"] = None
        write_weights(folder / WEIGHTS, backbone)
    config["normalization"] = {"mean": _plain(mean), "std": _plain(std)}
    write_config(folder / CONFIG, config)


def load_backbone(folder: Path | str, module: nn.Module | None = None) -> nn.Module:
    """Build the backbone that `save_backbone` left in a folder, weights included.

    Args:
        folder: with `backbone.safetensors` and `config.json`.
        module: the network to fill where it was the user's own; None: it is built from its record.

    Returns:
        A `Backbone`, or `module`, in eval mode.

    Raises:
        ValueError: a file is missing or not what it should be, or the weights do not fit the network.
    """
    folder = Path(folder)
    record = _read_record(folder)
    if module is None:
        if record is None:
            raise ValueError(f"module: {str(folder)!r} has weights of your own network; wanted: that network")
        module = rebuild_backbone(record)
    try:
        target = module.network if isinstance(module, Backbone) else module
        target.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"folder: the weights in {str(folder)!r} do not fit the network: {error}") from error
    return module.eval()


def timm_config(
    record: BackboneRecord,
    architecture: str,
    arguments: Mapping[str, Any],
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> dict[str, Any]:
    """Describe a network without classifier as timm's folders do.

    Args:
        record: of the network; its channels, image size and number of features are written down.
        architecture: timm's name for it.
        arguments: what timm's constructor has to be given besides.
        mean: per channel, of images in [0, 1]; None leaves it to timm's default.
        std: per channel, likewise.

    Returns:
        The content of `config.json`.

    Raises:
        ValueError: `mean` or `std` is not one number per channel.
    """
    size = [record.in_channels, record.image_size, record.image_size]
    pretrained: dict[str, Any] = {"input_size": size}
    published = timm.get_pretrained_cfg(architecture)
    if published is not None:
        # timm needs these to give the weights another number of channels, or a new classifier.
        pretrained["first_conv"] = published.first_conv
        pretrained["classifier"] = published.classifier
        pretrained["fixed_input_size"] = published.fixed_input_size
    _check_channels(record, mean, std)
    pretrained |= {} if mean is None else {"mean": _plain(mean)}
    pretrained |= {} if std is None else {"std": _plain(std)}
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": record.num_features,
        "model_args": dict(arguments),
        "pretrained_cfg": pretrained,
    }


def write_weights(path: Path, network: nn.Module) -> None:
    """Write the weights of a network as safetensors, aside first; makes the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.part")
    # safetensors wants memory of its own and in order, which channels_last weights are not.
    layout = torch.contiguous_format
    save_file({n: t.detach().cpu().clone(memory_format=layout) for n, t in network.state_dict().items()}, aside)
    aside.replace(path)


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration as JSON, aside first."""
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    aside.replace(path)


def _read_record(folder: Path) -> BackboneRecord | None:
    for path in (folder / WEIGHTS, folder / CONFIG):
        if not path.is_file():
            raise ValueError(f"folder: {str(folder)!r} has no {path.name}; wanted: what save_backbone left")
    try:
        saved = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["backbone"]
        return None if saved is None else BackboneRecord(**saved)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"folder: {str(folder / CONFIG)!r} holds no record of a backbone: {error}") from error


def _check_channels(record: BackboneRecord, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    for argument, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != record.in_channels:
            raise ValueError(f"{argument}: {len(values)} came for {record.in_channels} channels")


def _plain(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
