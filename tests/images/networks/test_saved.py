"""A saved backbone is the same network in another process, without the rest of the run."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.networks.saved import load_backbone, save_backbone


def trained(name: str, **options: Any) -> Backbone:
    """Return a backbone whose every tensor differs from what a new one would have."""
    torch.manual_seed(3)
    backbone = build_backbone(name, **options)
    with torch.no_grad():
        for tensor in backbone.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) / 10)
    return backbone.eval()


def features(backbone: nn.Module, in_channels: int = 3, size: int = 32) -> torch.Tensor:
    images = torch.randn(2, in_channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        h: torch.Tensor = backbone(images)
    return h


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet10", {"width": 8, "in_channels": 1}),
        ("timm:resnet18", {}),
        ("torchvision:squeezenet1_1", {"in_channels": 2}),
        ("test_vit", {}),
    ],
)
def test_a_saved_backbone_gives_the_same_features(name: str, options: dict[str, int], tmp_path: Path) -> None:
    backbone = trained(name, image_size=32, **options)
    save_backbone(tmp_path / "new" / "folder", backbone)
    loaded = load_backbone(tmp_path / "new" / "folder")
    assert isinstance(loaded, Backbone)
    assert loaded.record == backbone.record
    assert not loaded.training
    channels = options.get("in_channels", 3)
    assert torch.equal(features(loaded, channels), features(backbone, channels))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "backbone.safetensors",
        "config.json",
    ]


def test_channels_last_weights_are_saved(tmp_path: Path) -> None:
    backbone = trained("resnet10", width=8, image_size=32)
    wanted = features(backbone)
    save_backbone(tmp_path, backbone.to(memory_format=torch.channels_last))
    torch.testing.assert_close(features(load_backbone(tmp_path)), wanted)


def test_the_folder_of_a_timm_network_is_a_folder_of_timm(tmp_path: Path) -> None:
    backbone = trained("resnet18", image_size=32, stem="imagenet", in_channels=2)
    save_backbone(tmp_path, backbone, mean=(0.1, 0.2), std=(0.3, 0.4))
    (tmp_path / "last.ckpt").write_bytes(b"the rest of the run")
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).eval()
    assert torch.equal(features(loaded, 2), features(backbone, 2))
    seen: Any = loaded.pretrained_cfg
    assert list(seen["input_size"]) == [2, 32, 32]
    assert (seen["mean"], seen["std"]) == ([0.1, 0.2], [0.3, 0.4])


def test_normalisation_is_kept_for_every_network(tmp_path: Path) -> None:
    save_backbone(tmp_path, trained("resnet10", width=8, image_size=32), mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 3.0])
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["normalization"] == {"mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize("name", ["resnet10", "resnet18", "torchvision:resnet18"])
def test_a_network_that_is_not_timms_does_not_claim_to_be(name: str, tmp_path: Path) -> None:
    save_backbone(tmp_path, build_backbone(name, image_size=32, stem="small"))
    assert "architecture" not in json.loads((tmp_path / "config.json").read_text())


@pytest.mark.parametrize(("argument", "name"), [("mean", "test_vit"), ("std", "test_vit"), ("mean", "resnet10")])
def test_normalisation_has_one_number_per_channel(argument: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: 1 came for 3 channels"):
        save_backbone(tmp_path, build_backbone(name, image_size=32), **{argument: [0.5]})
    assert not list(tmp_path.iterdir())


def test_a_network_of_ones_own_is_filled(tmp_path: Path) -> None:
    module, other = nn.Linear(3, 4), nn.Linear(3, 4)
    save_backbone(tmp_path, module)
    assert load_backbone(tmp_path, other) is other
    assert torch.equal(other.weight, module.weight)
    with pytest.raises(ValueError, match=r"^module: .*your own network; wanted: that network"):
        load_backbone(tmp_path)
    with pytest.raises(ValueError, match=r"^folder: the weights in .* do not fit"):
        load_backbone(tmp_path, nn.Linear(4, 4))


def test_a_folder_without_a_backbone_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no backbone.safetensors"):
        load_backbone(tmp_path)
    save_backbone(tmp_path, build_backbone("resnet10", width=8, image_size=32))
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(ValueError, match=r"config\.json' holds no record of a backbone"):
        load_backbone(tmp_path)
    (tmp_path / "config.json").write_text("no JSON")
    with pytest.raises(ValueError, match=r"config\.json' holds no record of a backbone"):
        load_backbone(tmp_path)


def test_a_broken_file_of_weights_is_one_sentence(tmp_path: Path) -> None:
    save_backbone(tmp_path, build_backbone("resnet10", width=8, image_size=32))
    (tmp_path / "backbone.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"^folder: the weights in .* do not fit"):
        load_backbone(tmp_path)
