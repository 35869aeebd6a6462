"""A backbone in a folder: `backbone.safetensors`, and the `config.json` from which it is built again.

Where the network is timm's own, unmodified, `config.json` is also what timm reads, so that the folder itself
loads with `timm.create_model("local-dir:<folder>", pretrained=True)`: timm looks for model.safetensors first,
then takes the one safetensors file that is there, whatever its name (timm 1.0.16 and later).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
from torch import nn

from barlow.errors import did_you_mean, unknown
from barlow.files import read_json, require_own, write_json
from barlow.images.networks.backbones import STEMS, Backbone, BackboneRecord, rebuild_backbone
from barlow.images.networks.libraries import architectures
from barlow.images.networks.unet import is_unet
from barlow.images.views.geometry import Fit
from barlow.images.views.published import PLAIN_INTERPOLATION
from barlow.training.weights import WEIGHTS, read_weights, write_weights

CONFIG = "config.json"
CROP_MODES: dict[Fit, str] = {"square": "center", "whole": "squash"}
"""What timm calls the two ways to see an image that is not square."""
ARGUMENTS = {
    "timm": {"in_chans": int, "img_size": int, "dynamic_img_size": bool},
    "torchvision": {
        "zero_init_residual": bool,
        "aux_logits": bool,
        "init_weights": bool,
        "image_size": int,
        "input_size": list,
    },
    "barlow": {},
}
"""What a `config.json` may pass to the constructor of a library: what `construct_network` passes, and nothing else.

A folder comes from anywhere, and timm's constructor also opens files (`checkpoint_path`) and asks the network
(`hf-hub:` names).
"""


def save_backbone(
    folder: Path | str,
    backbone: nn.Module,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    fit: Fit = "square",
) -> None:
    """Save the weights of a backbone and what is needed to build it again.

    Each file is durable: the old one or the whole new one. Of a module that is no `Backbone` only the weights are
    saved. `mean` and `std`, per channel, are what was subtracted from images in [0, 1] and by what they were then
    divided; None: unknown. `fit` is what of an image that is not square the network sees.
    """
    folder = Path(folder)
    config: dict[str, Any] = {}
    if isinstance(backbone, Backbone):
        record = backbone.record
        _check_channels(record, mean, std)
        if record.library == "timm" and record.stem == "imagenet":
            config = timm_config(record, record.architecture, record.arguments, mean=mean, std=std, fit=fit)
        config["backbone"] = asdict(record)
        write_weights(folder / WEIGHTS, backbone.network)
    else:
        config["backbone"] = None
        write_weights(folder / WEIGHTS, backbone)
    config["normalization"] = {"mean": _plain(mean), "std": _plain(std)}
    write_json(folder / CONFIG, config)


def load_backbone(folder: Path | str, module: nn.Module | None = None) -> nn.Module:
    """Build the backbone that `save_backbone` left in a folder, weights included, in eval mode.

    `module` is the network to fill where it was the user's own; None: it is built from its record.
    """
    folder = Path(folder)
    record = _read_record(folder)
    if module is None:
        if record is None:
            raise ValueError(f"module: {str(folder)!r} has weights of your own network; wanted: that network")
        module = rebuild_backbone(record)
    read_weights(folder / WEIGHTS, module.network if isinstance(module, Backbone) else module)
    return module.eval()


def timm_config(
    record: BackboneRecord,
    architecture: str,
    arguments: Mapping[str, Any],
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    fit: Fit = "square",
) -> dict[str, Any]:
    """Return the content of `config.json` with which timm loads a network without classifier, and makes its input.

    `arguments` go to timm's constructor; where `mean` and `std` are None, timm's default holds. The rest is the plain
    view in timm's words: no zoom, its filter, and for `fit` the central square or all of the image, squeezed.
    """
    size = [record.in_channels, record.image_size, record.image_size]
    pretrained: dict[str, Any] = {
        "input_size": size,
        "interpolation": PLAIN_INTERPOLATION,
        "crop_pct": 1.0,
        "crop_mode": CROP_MODES[fit],
    }
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


def _read_record(folder: Path) -> BackboneRecord | None:
    for path in (folder / WEIGHTS, folder / CONFIG):
        require_own(path, folder)
        if not path.is_file():
            raise ValueError(f"folder: {str(folder)!r} has no {path.name}; wanted: what save_backbone left")
    try:
        saved = read_json(folder / CONFIG)["backbone"]
        return None if saved is None else _known(BackboneRecord(**saved))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"folder: {str(folder / CONFIG)!r} holds no record of a backbone: {error}") from error


def _known(record: BackboneRecord) -> BackboneRecord:
    """Refuse a record of anything but a network that a library has by name, built with arguments of our own."""
    if record.library not in ARGUMENTS:
        raise unknown("library", record.library, ARGUMENTS)
    own_unet = record.library == "barlow" and is_unet(record.architecture)  # of any width
    if record.architecture not in (known := architectures(record.library)) and not own_unet:
        near = did_you_mean(record.architecture, known)
        raise ValueError(f"architecture: got {record.architecture!r}, wanted a network of {record.library}{near}")
    if record.stem not in STEMS:
        raise unknown("stem", record.stem, STEMS)
    for name in ("in_channels", "image_size", "width", "num_features"):
        _require_count(name, getattr(record, name))
    allowed = ARGUMENTS[record.library]
    for name, value in dict(record.arguments).items():
        if name not in allowed:
            raise ValueError(f"arguments: got {name!r} for {record.library}, wanted none but {', '.join(allowed)}")
        for one in value if allowed[name] is list and isinstance(value, list) else [value]:
            _require_count(f"arguments: {name}", one, flag=allowed[name] is bool)
    return record


def _require_count(name: str, value: object, *, flag: bool = False) -> None:
    if not isinstance(value, int) or isinstance(value, bool) != flag or value < (0 if flag else 1):
        raise ValueError(f"{name}: got {value!r}, wanted {'true or false' if flag else 'a whole number from 1'}")


def _check_channels(record: BackboneRecord, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    for argument, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != record.in_channels:
            raise ValueError(f"{argument}: {len(values)} came for {record.in_channels} channels")


def _plain(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
