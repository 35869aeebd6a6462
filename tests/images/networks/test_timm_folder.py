"""A folder that timm loads gives the features that the backbone gives, or is not written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import timm.data
import torch
from PIL import Image
from torch import nn

from barlow.images.data.decode import image_to_tensor
from barlow.images.networks.backbones import build_backbone
from barlow.images.networks.saved import CROP_MODES, load_backbone, save_backbone
from barlow.images.networks.timm_folder import export_timm
from barlow.images.views.geometry import Fit
from barlow.images.views.published import image_views
from tests.runs.test_export import noise, trained

RGB: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"image_size": 64, "stem": "imagenet"}),
        ("timm:test_convnext", {"image_size": 64, "in_channels": 1}),
        ("timm:test_vit", {"image_size": 48}),
        ("torchvision:resnet18", {"image_size": 64, "stem": "imagenet", "in_channels": 2}),
        ("resnet10", {"image_size": 96}),
    ],
)
def test_timm_loads_the_folder_with_identical_features(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    backbone = trained(name, **options)
    channels, size = backbone.record.in_channels, backbone.record.image_size
    export_timm(backbone, tmp_path / "out", mean=[0.5] * channels, std=[0.25] * channels)
    assert backbone.training  # left as it was
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors"]
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=0).eval()
    images = noise(3, channels, size)
    with torch.no_grad():
        assert torch.equal(loaded(images), backbone.eval()(images))
    config = json.loads((tmp_path / "out" / "config.json").read_text())["pretrained_cfg"]
    assert config["input_size"] == [channels, size, size]
    assert (config["mean"], config["std"]) == ([0.5] * channels, [0.25] * channels)


@pytest.mark.parametrize(("fit", "shapes"), [("square", [(64, 64), (100, 100)]), ("whole", [(64, 64), (150, 40)])])
@pytest.mark.parametrize("channels", [1, 3])
def test_timms_own_transform_of_a_picture_gives_the_features_of_the_plain_view(
    fit: Fit, shapes: list[tuple[int, int]], channels: int, tmp_path: Path
) -> None:
    backbone = trained("timm:test_resnet", image_size=64, in_channels=channels).eval()
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels]
    notes = export_timm(backbone, tmp_path, mean=mean, std=std, fit=fit)
    assert len(notes) == (fit == "square")
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).eval()
    consumer: Any = timm.data
    transform = consumer.create_transform(**consumer.resolve_model_data_config(loaded), is_training=False)
    plain = image_views("byol", size=64, channels=channels, mean=mean, std=std, fit=fit).plain
    for width, height in shapes:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).convert("RGB" if channels == 3 else "L")
        with torch.no_grad():
            wanted = backbone(plain(image_to_tensor(picture, channels)[None]))
            got = loaded(transform(picture)[None])
        assert (got - wanted).abs().max() < 0.01 * wanted.abs().max()


def test_timms_way_with_pictures_that_are_not_square_is_said(tmp_path: Path) -> None:
    (note,) = export_timm(trained("timm:test_resnet", image_size=64), tmp_path, **RGB)
    assert note.startswith("of images that are not square timm cuts out the centre after it has resized them")
    assert note.endswith("or train with --fit whole")


def test_an_unknown_normalisation_is_said_and_nothing_is_made_up(tmp_path: Path) -> None:
    (note,) = export_timm(trained("timm:test_resnet", image_size=64), tmp_path, mean=None, std=None)
    assert "how images are normalised is not known" in note
    assert "mean" not in json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]


def test_a_transform_of_timms_that_gives_other_features_is_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CROP_MODES, "whole", "center")
    with pytest.raises(ValueError, match=r"^to: 'timm' cannot hold .*own transform gives features that are \d+% off"):
        export_timm(trained("timm:test_resnet", image_size=64), tmp_path, **RGB, fit="whole")
    assert not list(tmp_path.iterdir())


def test_timm_gives_the_exported_network_a_new_classifier_and_other_channels(tmp_path: Path) -> None:
    export_timm(trained("resnet18", image_size=64, stem="imagenet"), tmp_path, **RGB)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=10, in_chans=1)
    assert loaded(noise(2, 1, 64)).shape == (2, 10)


def test_a_saved_backbone_can_be_exported(tmp_path: Path) -> None:
    save_backbone(tmp_path / "run", trained("test_convnext", image_size=32))
    export_timm(load_backbone(tmp_path / "run"), tmp_path / "out", **RGB)
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "options", "obstacle"),
    [
        ("resnet18", {"image_size": 32}, "no 3x3 stem without pooling"),
        ("resnet10", {"width": 8, "image_size": 96}, "a stem of 64 channels, this one has 8"),
        ("torchvision:squeezenet1_1", {"image_size": 32}, "timm has no squeezenet1_1"),
        ("torchvision:efficientnet_b0", {"image_size": 32}, "timm's efficientnet_b0 has other weights"),
    ],
)
def test_what_timm_cannot_hold_is_refused_with_the_reason(
    name: str, options: dict[str, Any], obstacle: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"^to: 'timm' cannot hold .*{obstacle}.*; wanted: to='onnx'$"):
        export_timm(build_backbone(name, **options), tmp_path, **RGB)
    assert not list(tmp_path.iterdir())


def test_a_network_of_ones_own_is_nothing_for_timm(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^to: 'timm' cannot hold .*Sequential is a network of your own"):
        export_timm(nn.Sequential(nn.Flatten()), tmp_path, **RGB)


def test_a_network_that_was_changed_is_not_passed_off_as_timms(tmp_path: Path) -> None:
    backbone = trained("test_resnet", image_size=64)
    backbone.network.set_submodule("maxpool", nn.AvgPool2d(3, stride=2, padding=1))
    with pytest.raises(ValueError, match="computes other features"):
        export_timm(backbone, tmp_path, **RGB)
    assert not list(tmp_path.iterdir())
