"""Weights from files arrive whole, or the reason why not does."""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from barlow.networks.backbones import Backbone, build_backbone
from barlow.networks.pretrained import load_weights, read_weights

State = dict[str, Tensor]


def small(**options: Any) -> Backbone:
    return build_backbone("resnet10", **{"width": 8, "image_size": 32, **options})


@pytest.fixture
def state() -> State:
    torch.manual_seed(7)
    return {name: value.clone() for name, value in small().network.state_dict().items()}


def same(network: nn.Module, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: prefixed(state, "module."),
        lambda state: prefixed(state, "backbone."),
        lambda state: prefixed(state, "module.backbone.network."),
        lambda state: {"model": prefixed(state, "module.backbone."), "epoch": 3},
        lambda state: {"state_dict": OrderedDict(state), "arch": "resnet10"},
        lambda state: prefixed(state, "module.backbone.") | {"module.projector.0.weight": torch.zeros(2)},
        lambda state: state | {"fc.weight": torch.zeros(2), "fc.bias": torch.zeros(2)},
        lambda state: {name: value for name, value in state.items() if "num_batches" not in name},
    ],
)
def test_weights_are_found_under_the_names_that_scripts_give_them(
    wrap: Callable[[State], dict[str, object]], state: State, tmp_path: Path
) -> None:
    torch.save(wrap(state), tmp_path / "weights.pth")
    assert same(small(pretrained=str(tmp_path / "weights.pth")).network, state)


def test_safetensors_are_read(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    assert same(small(pretrained=str(tmp_path / "weights.safetensors")).network, state)


def test_a_prefix_is_taken_off_whole_and_not_letter_by_letter(tmp_path: Path) -> None:
    network = nn.Sequential(OrderedDict(mole=nn.Linear(2, 2)))  # all its letters are letters of "module."
    state = {"module.mole.weight": torch.ones(2, 2), "module.mole.bias": torch.ones(2)}
    torch.save(state, tmp_path / "weights.pth")
    load_weights(network, tmp_path / "weights.pth")
    assert torch.equal(network.get_parameter("mole.weight"), torch.ones(2, 2))


def test_a_network_whose_own_names_start_like_a_prefix_keeps_them(tmp_path: Path) -> None:
    network = nn.Sequential(OrderedDict(backbone=nn.Linear(2, 2)))
    torch.save({"backbone.weight": torch.ones(2, 2), "backbone.bias": torch.ones(2)}, tmp_path / "weights.pth")
    load_weights(network, tmp_path / "weights.pth")
    assert torch.equal(network.get_parameter("backbone.weight"), torch.ones(2, 2))


def test_missing_weights_are_listed(state: State, tmp_path: Path) -> None:
    for name in ("layer4.0.conv2.weight", "bn1.bias"):
        del state[name]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(
        ValueError, match=r"^pretrained: .*lacks 2 of the .*: bn1.bias, layer4.0.conv2.weight; the file has"
    ):
        small(pretrained=str(tmp_path / "weights.pth"))


def test_weights_of_another_stem_or_width_are_refused_with_their_shapes(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"conv1.weight: \(8, 3, 3, 3\) in the file, \(8, 3, 7, 7\) wanted"):
        small(pretrained=str(tmp_path / "weights.pth"), stem="imagenet")
    with pytest.raises(ValueError, match=r"another stem, width or image size\?.* and \d+ more"):
        small(pretrained=str(tmp_path / "weights.pth"), width=16)


def test_weights_that_the_network_does_not_know_are_left_out_with_a_warning(state: State, tmp_path: Path) -> None:
    torch.save(state | {"layer5.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.warns(UserWarning, match=r"1 weights of weights.pth were left out: layer5.weight"):
        backbone = small(pretrained=str(tmp_path / "weights.pth"))
    assert same(backbone.network, state)


def test_rgb_weights_read_grey_images_as_they_read_their_rgb_copy(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pth")
    rgb, grey = (small(pretrained=str(tmp_path / "weights.pth"), in_channels=c).eval() for c in (3, 1))
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(grey(images), rgb(images.expand(2, 3, 32, 32)))


def test_rgb_weights_are_repeated_for_more_channels(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pth")
    weight = small(pretrained=str(tmp_path / "weights.pth"), in_channels=6).network.get_parameter("conv1.weight")
    torch.testing.assert_close(weight, state["conv1.weight"].repeat(1, 2, 1, 1) / 2)


class Harmful:
    """Leaves a folder behind when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("harmful.pth", lambda path: path.write_bytes(pickle.dumps({"conv1.weight": Harmful(path.parent / "mark")}))),
        ("text.pth", lambda path: path.write_text("weights")),
        ("empty.pth", lambda path: path.write_bytes(b"")),
        ("text.safetensors", lambda path: path.write_text("weights")),
        ("object.pth", lambda path: torch.save({"model": Harmful(path.parent / "mark")}, path)),
    ],
)
def test_files_of_other_kinds_are_refused_and_never_unpickled(
    name: str, write: Callable[[Path], object], tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=r"^pretrained: .*neither safetensors nor a torch file of plain tensors"):
        read_weights(tmp_path / name)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.zeros(2)], {}])
def test_a_file_without_named_tensors_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        read_weights(tmp_path / "weights.pth")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^pretrained: no file .*nowhere.pth.*'default'"):
        small(pretrained=str(tmp_path / "nowhere.pth"))


def test_weights_of_the_library_need_its_own_network() -> None:
    with pytest.raises(ValueError, match=r"^pretrained: nobody publishes weights for resnet10 of width 8"):
        small(pretrained="default")
    with pytest.raises(ValueError, match=r"^stem: 'small' would lose the first layer of pretrained='default'"):
        build_backbone("resnet18", pretrained="default", stem="small")


def test_torchvision_fills_its_network_and_keeps_the_stem_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    published = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights, "get_state_dict", lambda *_, **__: published.state_dict()
    )  # instead of the download
    grey = build_backbone("torchvision:resnet18", pretrained="default", image_size=32, in_channels=1).eval()
    assert grey.record.stem == "imagenet"
    published.fc = nn.Identity()
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(grey(images), published.eval()(images.expand(2, 3, 32, 32)))


def test_timm_is_asked_for_its_weights_by_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    create = timm.create_model

    def without_download(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
        asked.append((name, pretrained))
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", without_download)
    build_backbone("test_resnet.r160_in1k", pretrained="default", image_size=32)
    build_backbone("test_resnet", image_size=32)
    assert asked == [("test_resnet.r160_in1k", True), ("test_resnet", False)]
