"""What is exported gives the features that it gave before, or is not exported."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import timm
import torch
from torch import Tensor, nn

from barlow.export import export_onnx, export_timm
from barlow.networks.backbones import Backbone, build_backbone
from barlow.networks.saved import load_backbone, save_backbone

RGB = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def trained(name: str, **options: Any) -> Backbone:
    """Return a backbone whose every tensor differs from what a new one would have."""
    torch.manual_seed(3)
    torch.set_num_threads(1)
    backbone = build_backbone(name, **options)
    with torch.no_grad():
        for tensor in backbone.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) / 10)
    return backbone


def noise(num_samples: int, in_channels: int, size: int) -> Tensor:
    return torch.randn(num_samples, in_channels, size, size, generator=torch.Generator().manual_seed(1))


# --- timm


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


# --- ONNX


def onnx_features(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape[1:]) for i in session.get_inputs()] == [("images", list(images.shape[1:]))]
    return torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet10", {"width": 8, "image_size": 32, "in_channels": 1}), ("test_vit", {"image_size": 32})],
)
def test_onnxruntime_gives_the_same_features_for_any_batch(
    name: str, options: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    backbone = trained(name, **options).to(memory_format=torch.channels_last)
    channels = backbone.record.in_channels
    export_onnx(backbone, noise(1, channels, 32), tmp_path / "new" / "backbone.onnx")
    assert backbone.training
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["backbone.onnx"]
    assert capfd.readouterr() == ("", "")
    for num_samples in (1, 4):
        images = noise(num_samples, channels, 32)
        with torch.no_grad():
            wanted = backbone.eval()(images)
        assert wanted.abs().max() > 0.1
        torch.testing.assert_close(onnx_features(tmp_path / "new" / "backbone.onnx", images), wanted, atol=1e-4, rtol=0)


def test_a_network_for_something_else_than_images_is_exported(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv1d(3, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    series = torch.randn(2, 3, 32)
    export_onnx(module, series, tmp_path / "series.onnx")
    with torch.no_grad():
        torch.testing.assert_close(onnx_features(tmp_path / "series.onnx", series), module(series))


class Unsteady(nn.Module):
    """Gives other features at every call, so no file can hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.flatten(1) * self.calls


class Untraceable(nn.Module):
    """Decides by its data, which a graph cannot."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if images.sum().item() > 0 else -images.flatten(1)


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Unsteady(), "gives other features"), (Untraceable(), "cannot be written as 'onnx': ")],
)
def test_a_file_that_would_be_wrong_is_not_left_behind(module: nn.Module, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^to: {type(module).__name__} {reason}"):
        export_onnx(module, torch.ones(2, 1, 4, 4), tmp_path / "backbone.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(ValueError, match=r"^to: 'onnx' needs onnxruntime; wanted: pip install 'barlow\[onnx\]'$"):
        export_onnx(nn.Flatten(), torch.ones(2, 1, 4, 4), tmp_path / "backbone.onnx")
