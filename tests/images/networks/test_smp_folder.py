"""Weights out into segmentation-models-pytorch: its own loader gives our maps."""

from pathlib import Path
from typing import Any

import pytest
import torch

from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.networks.segmenter import Encoder
from barlow.images.networks.smp_folder import export_smp

smp: Any = pytest.importorskip("segmentation_models_pytorch", reason="needs the extra [segmentation]")


def network(name: str, **how: Any) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, image_size=64, **how)


@pytest.mark.parametrize("name", ["resnet18", "timm:test_convnext"])
def test_its_loader_gives_our_maps(tmp_path: Path, name: str) -> None:
    backbone = network(name, **({"stem": "imagenet"} if name == "resnet18" else {}))
    notes = export_smp(backbone, tmp_path / "smp")
    assert sorted(path.name for path in (tmp_path / "smp").iterdir()) == ["config.json", "model.safetensors"]
    model = smp.from_pretrained(tmp_path / "smp").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = Encoder(backbone.eval(), 3)(images), model.encoder(images)
        assert model(images).shape == (1, 1, 64, 64)
    assert torch.allclose(ours[-1], theirs[-1], atol=1e-5)
    assert ("head.norm.weight" in notes[-1]) == (name != "resnet18")


@pytest.mark.parametrize(
    ("name", "how", "reason"),
    [
        ("unet:2", {}, "smp has no encoder like unet:2; barlow segment has a decoder for it"),
        ("resnet10", {"width": 4, "stem": "imagenet"}, "smp's ResNets have a stem of 64 channels, this one has 4"),
        ("resnet18", {"stem": "small"}, "wanted a run with --stem imagenet"),
        ("resnet10", {"stem": "imagenet"}, "smp's resnet10|smp has no resnet10"),
    ],
)
def test_what_it_cannot_hold_is_refused_and_nothing_is_left(
    tmp_path: Path, name: str, how: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=f"^to: 'smp' cannot hold this backbone: .*({reason})"):
        export_smp(network(name, **how), tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
