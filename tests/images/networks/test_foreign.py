"""Checkpoints of other projects: whatever they call their weights, features are those of what wrote them."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50

from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.networks.foreign import Foreign, ResNetShape, load_foreign, resnet_shapes
from barlow.images.networks.saved import save_backbone
from barlow.methods.barlow_twins import barlow_twins
from barlow.methods.heads import HeadSpec, projector
from barlow.training.checkpoint import save_checkpoint

State = dict[str, Tensor]


def drawn(network: nn.Module, seed: int = 1) -> nn.Module:
    """The network with weights and statistics that no initialisation gives, ready to be used."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            spread = torch.rand(value.shape, generator=generator)
            centred = value.ndim > 1 or name.endswith(("bias", "mean"))
            value.copy_((spread - 0.5) * 2 / max(1, value[0].numel()) ** 0.5 if centred else spread + 0.5)
    return network.eval()


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def numbered(network: nn.Module) -> State:
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


def same_features(loaded: nn.Module, network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected = network(images)
        assert expected.std() > 1e-3
        torch.testing.assert_close(loaded(images), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def written() -> ResNet:
    """The network that somebody trained: torchvision's, without its classifier."""
    network = resnet18()
    network.fc = nn.Identity()
    drawn(network)
    return network


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


HEAD: State = {name: value for name, value in projector("8-8", 512).state_dict().items() if "num_batches" not in name}
"""A projector of two layers: 0.weight, 1.weight, 1.bias, 1.running_mean, 1.running_var, 3.weight."""


Layout = tuple[str, str, Callable[[nn.Module], object], tuple[str, ...], bool]

LAYOUTS: list[Layout] = [
    # layout, prefix, what is saved, what is left over, whether there is a projector
    (
        "official Barlow Twins",
        "model.backbone",
        lambda n: {
            "epoch": 3,
            "model": under("module.backbone.", n.state_dict())
            | under("module.projector.", HEAD)
            | {"module.bn.running_mean": torch.zeros(8)},
            "optimizer": {"state": {0: {"mu": torch.zeros(2)}}, "param_groups": []},
        },
        ("module.bn.running_mean",),
        True,
    ),
    ("timm or torchvision", "", lambda n: n.state_dict(), (), False),
    (
        "timm or torchvision",
        "state_dict",
        lambda n: {"state_dict": OrderedDict(n.state_dict()) | {"fc.weight": torch.zeros(10, 512)}, "arch": "resnet18"},
        ("fc.weight",),
        False,
    ),
    (
        "lightly",
        "state_dict.backbone",
        lambda n: {
            "state_dict": under("backbone.", numbered(n)) | under("projection_head.layers.", HEAD),
            "pytorch-lightning_version": "2.4.0",
            "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(2)}}}],
        },
        (),
        True,
    ),
    (
        "lightly",
        "state_dict.backbone",
        lambda n: {
            "state_dict": under("backbone.", n.state_dict())
            | under("projection_head.layers.", HEAD)
            | under("online_classifier.", {"weight": torch.zeros(10, 512)})
        },
        ("online_classifier.weight",),
        True,
    ),
    (
        "solo-learn",
        "state_dict.backbone",
        lambda n: {
            "state_dict": under("backbone.", n.state_dict())
            | under("momentum_backbone.", {k: torch.zeros_like(v) for k, v in n.state_dict().items()})
            | under("projector.", HEAD)
            | under("classifier.", {"weight": torch.zeros(10, 512)})
        },
        ("momentum_backbone.conv1.weight", "classifier.weight"),
        True,
    ),
    (
        "solo-learn",
        "state_dict.encoder",
        lambda n: {"state_dict": under("encoder.", n.state_dict()) | under("projector.", HEAD)},
        (),
        True,
    ),
    (
        "stable-pretraining",
        "state_dict.backbone",
        lambda n: {
            "state_dict": under("backbone.", n.state_dict())
            | under("projector.", HEAD)
            | under("callbacks_modules.linear_probe.", {"weight": torch.zeros(10, 512)})
        },
        ("callbacks_modules.linear_probe.weight",),
        True,
    ),
    (
        "stable-pretraining",
        "state_dict.model",
        lambda n: {"state_dict": under("model.", n.state_dict()) | under("projector.", HEAD)},
        (),
        True,
    ),
    ("timm or torchvision", "", lambda n: under("module.", n.state_dict()), (), False),
    ("timm or torchvision", "model", lambda n: {"model": under("_orig_mod.module.", n.state_dict())}, (), False),
    ("names under 'net.trunk'", "net.trunk", lambda n: under("net._orig_mod.trunk.", n.state_dict()), (), False),
    ("names under 'teacher'", "weights.teacher", lambda n: {"weights": under("teacher.", n.state_dict())}, (), False),
    ("timm or torchvision", "student.net", lambda n: {"student": {"net": n.state_dict()}}, (), False),
]


@pytest.mark.parametrize(("layout", "prefix", "content", "left", "has_projector"), LAYOUTS)
def test_features_are_the_same_after_the_way_through_a_file(
    layout: str,
    prefix: str,
    content: Callable[[nn.Module], object],
    left: tuple[str, ...],
    has_projector: bool,
    written: ResNet,
    images: Tensor,
    tmp_path: Path,
) -> None:
    torch.save(content(written), tmp_path / "checkpoint.ckpt")
    found = load_foreign(tmp_path / "checkpoint.ckpt", build_backbone("resnet18", image_size=64, stem="imagenet"))
    same_features(found.backbone, written, images)
    assert (found.layout, found.prefix, found.missing) == (layout, prefix, ())
    assert set(left) <= set(found.unmatched)
    assert len(found.unmatched) == (101 if "momentum_backbone.conv1.weight" in left else len(left))
    assert len(found.matched) == 100
    assert (found.projector is not None) == has_projector
    if found.projector is not None:
        assert found.projector.keys() == HEAD.keys()
        assert all(torch.equal(found.projector[name], value) for name, value in HEAD.items())
        projector("8-8", 512).load_state_dict(found.projector, strict=False)
    assert not any(part.training for part in found.backbone.modules())


def test_safetensors_are_read_with_any_of_those_names(written: ResNet, images: Tensor, tmp_path: Path) -> None:
    save_file(under("backbone.", numbered(written)), tmp_path / "weights.safetensors")
    found = load_foreign(tmp_path / "weights.safetensors")
    same_features(found.backbone, written, images)
    assert (found.layout, found.prefix, len(found.unmatched)) == ("lightly", "backbone", 0)


def record_of(found: Foreign) -> tuple[str, int, int, str]:
    assert isinstance(found.backbone, Backbone)
    record = found.backbone.record
    return record.architecture, record.width, record.in_channels, record.stem


def test_the_network_is_told_from_the_file(tmp_path: Path) -> None:
    """Architecture, width, channels and stem, by name and by number; the smallest image that shows a difference."""
    for wanted, size in ((("resnet10", 8, 1, "small"), 32), (("resnet18", 16, 3, "imagenet"), 64)):
        architecture, width, channels, stem = wanted
        network = drawn(build_backbone(architecture, width=width, in_channels=channels, stem=stem, image_size=size))
        assert isinstance(network, Backbone)
        images = torch.randn(2, channels, size, size)
        for state in (network.network.state_dict(), numbered(network.network)):
            torch.save({"state_dict": under("backbone.", state)}, tmp_path / "weights.pt")
            found = load_foreign(tmp_path / "weights.pt", image_size=size)
            assert record_of(found) == wanted
            same_features(found.backbone, network, images)
            assert ("padding 2" in "".join(found.notes)) == (stem == "small")


def test_a_resnet50_is_told_from_its_blocks(tmp_path: Path, images: Tensor) -> None:
    network = resnet50()
    network.fc = nn.Identity()
    drawn(network)
    torch.save({"model": under("module.backbone.", network.state_dict())}, tmp_path / "checkpoint.pth")
    found = load_foreign(tmp_path / "checkpoint.pth", image_size=64)
    assert record_of(found) == ("resnet50", 64, 3, "imagenet")
    same_features(found.backbone, network, images)


def test_names_and_shapes_tell_resnets_apart_and_leave_out_their_cousins() -> None:
    def seen(network: nn.Module, prefix: str = "") -> dict[str, ResNetShape]:
        return resnet_shapes(under(prefix, network.state_dict()))

    with torch.device("meta"):
        from torchvision import models

        assert seen(models.resnet101(), "a.b.") == {"a.b": ResNetShape("resnet101", 64, 3, "imagenet")}
        assert seen(models.resnet34()) == {"": ResNetShape("resnet34", 64, 3, "imagenet")}
        assert seen(models.resnext50_32x4d()) == seen(models.wide_resnet50_2()) == {}
        assert seen(models.mobilenet_v3_small()) == seen(models.vit_b_16()) == {}


def test_numbered_children_without_room_for_an_activation_are_not_taken_for_a_resnet(tmp_path: Path) -> None:
    """Such as lightly's own small ResNets as a Sequential: no ReLU after the first norm, so ours is another network."""
    children = dict(drawn(build_backbone("resnet10", width=8, image_size=32).network).named_children())
    body = nn.Sequential(
        *(children[name] for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "avgpool"))
    )
    torch.save({"state_dict": under("backbone.", body.state_dict())}, tmp_path / "epoch.ckpt")
    with pytest.raises(ValueError, match="arch: the network cannot be told"):
        load_foreign(tmp_path / "epoch.ckpt")
    with pytest.raises(ValueError, match=r"^path: "):
        load_foreign(tmp_path / "epoch.ckpt", build_backbone("resnet10", width=8, image_size=32))
    found = load_foreign(tmp_path / "epoch.ckpt", nn.Sequential(*map(copy.deepcopy, body)))
    same_features(found.backbone, body, torch.randn(2, 3, 32, 32))


def test_our_own_files_are_read(tmp_path: Path) -> None:
    network = build_backbone("resnet10", width=8, image_size=32)
    drawn(network)
    method = barlow_twins(network, HeadSpec("8-8"), 64, redundancy_weight=0.1, normalization="pearson")
    save_checkpoint(tmp_path / "last.ckpt", {"method": method.state_dict(), "random": {"torch": torch.zeros(5)}})
    save_backbone(tmp_path, network)
    images = torch.randn(2, 3, 32, 32)
    for name, prefix in (("last.ckpt", "method.backbone.network"), ("backbone.safetensors", "")):
        found = load_foreign(tmp_path / name)
        same_features(found.backbone, network, images)
        assert (found.prefix, found.missing, found.unmatched) == (prefix, (), ())
    found = load_foreign(tmp_path / "last.ckpt")
    assert found.layout == "barlow"
    assert found.projector is not None
    method.projector.load_state_dict(found.projector, strict=False)


def test_a_network_of_ones_own_is_filled_and_partial_matches_are_listed(tmp_path: Path) -> None:
    def own() -> nn.Module:
        return nn.Sequential(OrderedDict(body=nn.Linear(4, 3), norm=nn.LayerNorm(3), module=nn.Linear(3, 2)))

    writer = drawn(own())
    state = writer.state_dict()
    del state["norm.bias"]
    torch.save({"state_dict": under("net.", state) | {"net.extra.weight": torch.zeros(2)}}, tmp_path / "own.pt")
    network = own().train()
    before = network.get_parameter("norm.bias").clone()
    found = load_foreign(tmp_path / "own.pt", network)
    assert found.backbone is network
    assert (found.missing, found.unmatched) == (("norm.bias",), ("net.extra.weight",))
    assert found.matched == tuple(f"net.{name}" for name in state)
    assert torch.equal(network.get_parameter("module.weight"), writer.get_parameter("module.weight"))
    assert torch.equal(network.get_parameter("norm.bias"), before)


def test_where_a_network_is_there_twice_the_place_has_to_be_named(written: ResNet, tmp_path: Path) -> None:
    other = {name: value + 1 for name, value in written.state_dict().items()}
    torch.save({"student": written.state_dict(), "teacher": other}, tmp_path / "dino.pth")
    with pytest.raises(ValueError, match=r"prefix: .* in several places; wanted: one of student, teacher"):
        load_foreign(tmp_path / "dino.pth", image_size=64)
    found = load_foreign(tmp_path / "dino.pth", image_size=64, prefix="teacher")
    assert isinstance(found.backbone, Backbone)
    assert torch.equal(found.backbone.network.get_parameter("bn1.bias"), other["bn1.bias"])
    with pytest.raises(ValueError, match=r"path: .* has under 'nowhere' 0 of the 100 weights"):
        load_foreign(tmp_path / "dino.pth", arch="resnet18", image_size=64, prefix="nowhere")


def test_a_file_of_another_network_is_refused_with_names_of_both_sides(tmp_path: Path) -> None:
    torch.save({"blocks.0.attn.weight": torch.zeros(2), "norm.weight": torch.zeros(2)}, tmp_path / "vit.pth")
    with pytest.raises(
        ValueError,
        match=r"path: .* has 0 of the 60 weights of BasicResNet: the file has blocks.0.attn.weight, norm.weight; "
        r"the network has conv1.weight, bn1.weight, .* and 55 more",
    ):
        load_foreign(tmp_path / "vit.pth", build_backbone("resnet10", width=8, image_size=32))
    with pytest.raises(ValueError, match=r"arch: the network cannot be told .*none that is known.*blocks.0.attn"):
        load_foreign(tmp_path / "vit.pth")


def test_other_shapes_are_refused_with_both(tmp_path: Path) -> None:
    torch.save(build_backbone("resnet10", width=16, image_size=32).network.state_dict(), tmp_path / "wide.pth")
    with pytest.raises(ValueError, match=r"conv1.weight: \(16, 3, 3, 3\) there, \(8, 3, 3, 3\) here, .* and \d+ more"):
        load_foreign(tmp_path / "wide.pth", build_backbone("resnet10", width=8, image_size=32))
