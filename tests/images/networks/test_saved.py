"""A saved backbone is the same network in another process, without the rest of the run."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.networks.saved import CONFIG, load_backbone, save_backbone


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
    assert (seen["crop_pct"], seen["crop_mode"], seen["interpolation"]) == (1.0, "center", "bilinear")


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
    statistics: Any = {argument: [0.5]}
    with pytest.raises(ValueError, match=f"^{argument}: 1 came for 3 channels"):
        save_backbone(tmp_path, build_backbone(name, image_size=32), **statistics)
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


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    save_backbone(folder, build_backbone("timm:test_resnet", in_channels=1, image_size=32))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"architecture": "hf-hub:somebody/network"},
            "architecture: got 'hf-hub:somebody/network', wanted a network of",
        ),
        ({"architecture": "local-dir:/elsewhere"}, "architecture: got 'local-dir:/elsewhere'"),
        ({"architecture": "resnet18.a1_in1k"}, "architecture: got 'resnet18.a1_in1k'"),
        ({"architecture": "resnet81"}, "did you mean 'resnet"),
        ({"architecture": ["resnet18"]}, "holds no record of a backbone"),
        ({"library": "os"}, "library: got 'os', wanted one of timm, torchvision, barlow"),
        ({"library": "torchvision", "architecture": "resnet18", "arguments": {"weights": "DEFAULT"}}, "got 'weights'"),
        (
            {"arguments": {"in_chans": 1, "checkpoint_path": "/elsewhere.pth"}},
            "arguments: got 'checkpoint_path' for timm",
        ),
        ({"arguments": {"in_chans": 1, "pretrained_cfg_overlay": {"file": "x"}}}, "got 'pretrained_cfg_overlay'"),
        ({"arguments": {"in_chans": "1"}}, "arguments: in_chans: got '1', wanted a whole number from 1"),
        ({"arguments": ["in_chans"]}, "holds no record of a backbone"),
        ({"image_size": -1}, "image_size: got -1"),
        ({"in_channels": True}, "in_channels: got True"),
        ({"stem": "large"}, "stem: got 'large'"),
        ({"width": "8"}, "width: got '8', wanted a whole number"),
        ({"warp": 9}, "holds no record of a backbone"),
    ],
)
@pytest.mark.usefixtures("as_users_call_it")
def test_a_folder_of_others_opens_no_file_asks_no_network_and_builds_only_what_has_a_name(
    changes: dict[str, Any], said: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((small / CONFIG).read_text())
    config["backbone"] |= changes
    (tmp_path / CONFIG).write_text(json.dumps(config))
    (tmp_path / "backbone.safetensors").write_bytes((small / "backbone.safetensors").read_bytes())
    monkeypatch.setattr(timm, "create_model", None)
    with pytest.raises(ValueError, match=said) as caught:
        load_backbone(tmp_path)
    assert str(caught.value).startswith(f"folder: '{tmp_path / CONFIG}' holds no record of a backbone: ")


@pytest.mark.parametrize("name", [CONFIG, "backbone.safetensors"])
def test_a_link_out_of_the_folder_is_not_followed(name: str, small: Path, tmp_path: Path) -> None:
    for file in small.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert isinstance(load_backbone(tmp_path), Backbone)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(small / name)
    with pytest.raises(ValueError, match=rf"folder: {name} in .* is a link out of it"):
        load_backbone(tmp_path)
