"""Weights from files arrive whole, or the reason why not does."""

import argparse
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

from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.networks.foreign import load_foreign
from barlow.images.networks.weights import load_weights, read_states

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
        lambda state: {"state_dict": prefixed(state, "student.net.")},
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


@pytest.mark.parametrize("entry", ["state_dict", "model"])
def test_of_several_places_the_usual_one_is_taken_and_others_have_to_be_named(
    entry: str, state: State, tmp_path: Path
) -> None:
    other = {name: value + 1 for name, value in state.items()}
    torch.save({"ema": other, entry: state}, tmp_path / "weights.pth")
    assert same(small(pretrained=str(tmp_path / "weights.pth")).network, state)
    torch.save({"student": state, "teacher": other}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"^pretrained: .* in several places, student, teacher; .*load_foreign"):
        small(pretrained=str(tmp_path / "weights.pth"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^pretrained: got .*nowhere.pth', wanted '', 'default' or the path"):
        small(pretrained=str(tmp_path / "nowhere.pth"))
    with pytest.raises(ValueError, match=r"^pretrained: got 'defualt', .*did you mean 'default'"):
        small(pretrained="defualt")
    with pytest.raises(ValueError, match=r"^path: got .*nowhere.pth', which is no file"):
        load_foreign(tmp_path / "nowhere.pth")


def test_weights_of_the_library_need_its_own_network() -> None:
    with pytest.raises(ValueError, match=r"^pretrained: got 'default', .*publishes weights for resnet10 of width 8"):
        small(pretrained="default")
    with pytest.raises(ValueError, match=r"^stem: got 'small', wanted 'imagenet': pretrained='default' would lose"):
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


OPEN: dict[str, Callable[[Path], object]] = {
    "path": load_foreign,
    "pretrained": lambda path: small(pretrained=str(path)),
}
BOTH = pytest.mark.parametrize("argument", OPEN)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def pickled(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@BOTH
@pytest.mark.parametrize("save", [torch.save, pickled])
def test_a_malicious_pickle_is_refused_and_does_nothing(
    save: Callable[[object, Path], None], argument: str, tmp_path: Path
) -> None:
    content = {"state_dict": {"conv1.weight": torch.zeros(2)}, "callbacks": Harmful(tmp_path / "harm")}
    save(content, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=rf"^{argument}: .*bad.pth'"):
        OPEN[argument](tmp_path / "bad.pth")
    assert not (tmp_path / "harm").exists()
    with (tmp_path / "bad.pth").open("rb") as file:  # the trap works where it is stepped on
        if save is pickled:
            pickle.load(file)
        else:
            torch.load(file, weights_only=False)
    assert (tmp_path / "harm").exists()


def test_a_refused_file_says_how_to_save_it_safely_and_that_way_works(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": state, "hyper_parameters": argparse.Namespace(lr=0.1)}, tmp_path / "epoch.ckpt")
    with pytest.raises(ValueError, match=r"argparse.Namespace.*nothing of it was read.*If you trust") as raised:
        read_states(tmp_path / "epoch.ckpt")
    advice = str(raised.value).split("wrote it: ")[1].split(" (for a whole module")[0]
    exec(advice.replace("'epoch", f"'{tmp_path}/epoch").replace("'weights", f"'{tmp_path}/weights"), {"torch": torch})
    assert same(small(pretrained=str(tmp_path / "weights.pth")).network, state)


@BOTH
@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("text.pth", lambda path: path.write_text("weights"), "neither safetensors nor a torch file of plain tensors"),
        ("text.safetensors", lambda path: path.write_text("weights"), "neither safetensors nor a torch file"),
        ("empty.pt", lambda path: path.write_bytes(b""), "neither safetensors nor a torch file of plain tensors"),
        ("numbers.pt", lambda path: torch.save({"epoch": 3}, path), "holds no tensors by name, but a dict"),
        ("nothing.pt", lambda path: torch.save({}, path), "holds no tensors by name, but a dict"),
        ("list.pt", lambda path: torch.save([torch.zeros(2)], path), "holds no tensors by name, but a list"),
        ("folder", lambda path: path.mkdir(), "which is a folder, wanted a file of weights"),
    ],
)
def test_files_of_other_kinds_are_refused(
    argument: str, name: str, write: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=rf"^{argument}: .*{reason}"):
        OPEN[argument](tmp_path / name)
