"""Names become networks from images to (N, d), whatever library has them, and records the same networks again."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from barlow.images.networks.backbones import BackboneRecord, build_backbone, rebuild_backbone
from barlow.images.networks.basic_resnet import BasicResNet


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "library", "num_features"),
    [
        ("test_resnet", "timm", 96),  # small networks that timm has for tests
        ("timm:test_convnext", "timm", 64),
        ("timm:test_vit", "timm", 64),
        ("mobilenet_v3_small", "torchvision", 1024),
        ("torchvision:squeezenet1_1", "torchvision", 512),
        ("torchvision:shufflenet_v2_x0_5", "torchvision", 1024),
        ("resnet10", "barlow", 512),
    ],
)
def test_name_becomes_features(name: str, library: str, num_features: int) -> None:
    backbone = build_backbone(name, image_size=64)
    assert backbone.record.library == library
    assert backbone.num_features == num_features
    features = backbone.eval()(torch.randn(3, 3, 64, 64))
    assert features.shape == (3, num_features)


def test_timm_comes_first_where_both_libraries_have_a_name() -> None:
    assert build_backbone("resnet18", image_size=32).record.library == "timm"
    assert build_backbone("torchvision:resnet18", image_size=32).record.library == "torchvision"


def test_a_tag_for_weights_is_no_part_of_the_architecture() -> None:
    assert build_backbone("test_resnet.r160_in1k", image_size=32).record.architecture == "test_resnet"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet81", "'resnet18' or 'resnet10'"),
        ("vit_tiny", "'vit_tiny_patch16_224'"),
        ("timm:squeezenet1_1", "torchvision:squeezenet1_1"),
        ("torchvision:resnet19", "resnet1"),
        ("hub:resnet18", "timm: or torchvision:"),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^backbone: ") as caught:
        build_backbone(name)
    assert hint in str(caught.value)
    assert name.split(":")[-1] in str(caught.value)


@pytest.mark.parametrize("argument", ["in_channels", "image_size", "width"])
def test_numbers_below_one_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: got 0, wanted at least 1"):
        build_backbone("resnet18", **{argument: 0})  # type: ignore[arg-type]  # all three are int


def test_classifier_goes_with_its_dropout() -> None:
    backbone = build_backbone("mobilenet_v3_small", image_size=32)
    assert not [m for m in backbone.modules() if isinstance(m, nn.Dropout)]
    widths = [m.out_features for m in backbone.modules() if isinstance(m, nn.Linear)]
    assert widths == [1024]  # the layer before the 1000 classes stays: it makes the features


def test_the_norm_before_a_classifier_stays() -> None:
    backbone = build_backbone("torchvision:convnext_tiny", image_size=32)
    assert backbone.num_features == 768
    h = backbone(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(h.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(h.var(1, unbiased=False), torch.ones(2), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("name", "blocks"), [("resnet10", 4), ("resnet18", 8), ("resnet34", 16)])
def test_basic_resnets_come_in_any_width(name: str, blocks: int) -> None:
    network = build_backbone(name, width=8, image_size=32).network
    assert build_backbone(name, width=8, image_size=32).num_features == 64
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert sum(c.kernel_size == (3, 3) for c in convolutions) == 2 * blocks + 1
    assert [convolutions[0].out_channels, convolutions[-1].out_channels] == [8, 64]
    assert max(c.in_channels for c in convolutions) == 64


def test_a_basic_resnet_of_width_64_is_the_published_resnet() -> None:
    torch.manual_seed(0)
    published = torchvision.models.resnet18(weights=None, zero_init_residual=True)
    published.fc = nn.Identity()
    ours = BasicResNet((2, 2, 2, 2), width=64)
    for name, value in published.state_dict().items():
        if value.ndim == 4:
            # the same draw from the same distribution, tensor by tensor
            assert ours.state_dict()[name].std().item() == pytest.approx(value.std().item(), rel=0.05)
        else:
            assert torch.equal(ours.state_dict()[name], value)
    for module in published.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.running_mean = torch.randn_like(module.bias)
    ours.load_state_dict(published.state_dict())
    large, small = torch.randn(2, 3, 96, 96), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours.eval()(large), published.eval()(large))
        # the last maps have 2 x 2 pixels: a matrix product there (`SmallMapConv2d`), equal to rounding
        torch.testing.assert_close(ours(small), published(small))


@pytest.mark.parametrize("name", ["resnet50", "timm:resnet18", "torchvision:resnet18", "test_vit"])
def test_other_networks_have_one_width(name: str) -> None:
    with pytest.raises(ValueError, match=r"^width: got 16 for .*, wanted 64: only resnet10, resnet18, resnet34"):
        build_backbone(name, width=16)


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18", "resnet10"])
def test_small_stem_keeps_the_resolution_of_small_images(name: str) -> None:
    network = build_backbone(name, image_size=32).network
    conv = network.get_submodule("conv1")
    assert isinstance(conv, nn.Conv2d)
    assert (conv.kernel_size, conv.stride, conv.padding, conv.bias) == ((3, 3), (1, 1), (1, 1), None)
    seen = []
    network.get_submodule("layer1").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    network(torch.randn(2, 3, 32, 32))
    assert seen == [(2, conv.out_channels, 32, 32)]


@pytest.mark.parametrize(
    ("name", "stem", "image_size", "chosen"),
    [
        ("resnet10", "auto", 64, "small"),
        ("resnet10", "auto", 65, "imagenet"),
        ("resnet10", "imagenet", 32, "imagenet"),
        ("resnet10", "small", 96, "small"),
        ("test_convnext", "auto", 32, "imagenet"),
        ("torchvision:shufflenet_v2_x0_5", "auto", 64, "imagenet"),
    ],
)
def test_stem_follows_the_size_unless_told(name: str, stem: str, image_size: int, chosen: str) -> None:
    width = 8 if name == "resnet10" else 64
    backbone = build_backbone(name, width=width, stem=stem, image_size=image_size)
    assert backbone.record.stem == chosen
    kernels = [m.kernel_size for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert (kernels[0] == (3, 3)) == (chosen == "small" or "shufflenet" in name)


def test_small_stem_needs_a_resnet() -> None:
    with pytest.raises(ValueError, match=r"^stem: got 'small', wanted .*only a ResNet"):
        build_backbone("test_vit", stem="small", image_size=32)
    with pytest.raises(ValueError, match=r"^stem: got 'smal', wanted .*'small'"):
        build_backbone("resnet10", stem="smal")


@pytest.mark.parametrize(("name", "width"), [("timm:resnet18", 64), ("torchvision:resnet18", 64), ("resnet10", 8)])
def test_residual_branches_start_at_zero(name: str, width: int) -> None:
    network = build_backbone(name, width=width, image_size=32).network
    scales = {n: p for n, p in network.named_parameters() if "layer" in n and "bn2.weight" in n}
    assert len(scales) in (4, 8)
    assert all(not scale.any() for scale in scales.values())
    others = [p for n, p in network.named_parameters() if n.endswith(("bn1.weight", "downsample.1.weight"))]
    assert all((scale == 1).all() for scale in others)


@pytest.mark.parametrize(("name", "width"), [("timm:resnet18", 64), ("torchvision:resnet18", 64), ("resnet10", 8)])
def test_without_zero_init_they_start_at_one_and_nothing_else_changes(name: str, width: int) -> None:
    torch.manual_seed(0)
    closed = build_backbone(name, width=width, image_size=32).network.state_dict()
    torch.manual_seed(0)
    opened = build_backbone(name, width=width, image_size=32, zero_init=False).network.state_dict()
    for key, value in opened.items():
        is_last = "layer" in key and "bn2.weight" in key
        assert torch.equal(value, torch.ones_like(value) if is_last else closed[key]), key


def test_same_seed_gives_the_same_weights() -> None:
    first, second = (seeded("resnet10", seed).state_dict() for seed in (1, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["network.conv1.weight"], seeded("resnet10", 2).state_dict()["network.conv1.weight"])


def seeded(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_backbone(name, width=8, image_size=32)


@pytest.mark.parametrize(
    "name", ["timm:test_vit", "torchvision:mobilenet_v3_small", "torchvision:resnet18", "resnet10"]
)
@pytest.mark.parametrize("in_channels", [1, 5])
def test_images_may_have_other_channels_than_three(name: str, in_channels: int) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, in_channels=in_channels, image_size=32)
    first = next(m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    assert first.in_channels == in_channels
    images = torch.randn(2, in_channels, 32, 32)
    for channel in range(in_channels):  # every channel is read
        other = images.clone()
        other[:, channel] += 1
        assert not torch.equal(backbone.eval()(images), backbone(other))


def test_a_new_first_convolution_is_as_strong_as_the_old() -> None:
    torch.manual_seed(0)
    stds = [
        next(
            m
            for m in build_backbone("torchvision:mobilenet_v3_small", in_channels=c, image_size=32).modules()
            if isinstance(m, nn.Conv2d)
        )
        .weight.std()
        .item()
        for c in (1, 3)
    ]
    assert stds[0] == pytest.approx(stds[1], rel=0.3)


def test_a_transformer_is_built_for_the_image_size_and_takes_others() -> None:
    backbone = build_backbone("vit_tiny_patch16_224", image_size=32).eval()
    assert backbone.record.arguments["img_size"] == 32
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, 192)
    assert backbone(torch.randn(2, 3, 64, 64)).shape == (2, 192)  # multi-crop
    assert build_backbone("test_vit_relpos", image_size=64).record.arguments["img_size"] == 64


@pytest.mark.parametrize(
    ("name", "size", "advice"),
    [("torchvision:squeezenet1_1", 8, "image_size of 224"), ("test_vit", 40, "image_size of 160")],
)
def test_a_size_that_a_network_cannot_read_is_one_sentence(name: str, size: int, advice: str) -> None:
    with pytest.raises(ValueError, match=rf"^backbone: [^\n]*{size}[^\n]*{advice}$"):
        build_backbone(name, image_size=size)


def test_timm_and_torchvision_resnets_share_names_and_features() -> None:
    ours = build_backbone("torchvision:resnet18", image_size=32, stem="imagenet").eval()
    theirs = timm.create_model("resnet18", num_classes=0).eval()
    theirs.load_state_dict(ours.network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))
    assert num_parameters(ours) == num_parameters(theirs)


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
