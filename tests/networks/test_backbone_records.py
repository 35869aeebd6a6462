"""What is written down of a backbone builds it again, or is refused."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from barlow.networks.backbones import BackboneRecord, build_backbone, rebuild_backbone


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet10", {"width": 8, "in_channels": 1, "image_size": 32}),
        ("test_vit", {"image_size": 48, "in_channels": 2}),
        ("torchvision:resnet18", {"image_size": 48, "stem": "imagenet"}),
        ("timm:resnet18", {"image_size": 48}),
    ],
)
def test_a_record_survives_json_and_builds_the_network_again(name: str, options: dict[str, Any]) -> None:
    first = build_backbone(name, **options).eval()
    record = BackboneRecord(**json.loads(json.dumps(asdict(first.record))))
    assert record == first.record
    second = rebuild_backbone(record).eval()
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, record.in_channels, record.image_size, record.image_size)
    with torch.no_grad():
        assert torch.equal(first(images), second(images))


def test_a_record_is_built_with_its_own_arguments() -> None:
    record = build_backbone("test_resnet", image_size=32).record
    deeper = replace(record, arguments={**record.arguments, "layers": [1, 1, 1, 2]})
    assert "layer4.1.conv1.weight" in rebuild_backbone(deeper).network.state_dict()
    assert "layer4.1.conv1.weight" not in rebuild_backbone(record).network.state_dict()


def test_a_record_that_means_another_network_now_is_refused() -> None:
    record = build_backbone("resnet10", width=8, image_size=32).record
    changed = replace(record, num_features=65)
    with pytest.raises(ValueError, match="has 64 features here, 65 when it was recorded"):
        rebuild_backbone(changed)
