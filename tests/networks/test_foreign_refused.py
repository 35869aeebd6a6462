"""Files that are no checkpoint of the network, or not safe to read, are refused with the reason and the way out."""

import argparse
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import ResNet

from barlow.networks.backbones import build_backbone
from barlow.networks.foreign import load_foreign
from tests.networks.trained_resnets import trained_resnet18


@pytest.fixture(scope="module")
def written() -> ResNet:
    return trained_resnet18()


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


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def pickled(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("save", [torch.save, pickled])
def test_a_malicious_pickle_is_refused_and_does_nothing(save: Callable[[object, Path], None], tmp_path: Path) -> None:
    save(
        {"state_dict": {"conv1.weight": torch.zeros(2)}, "callbacks": Harmful(tmp_path / "harm")}, tmp_path / "bad.pth"
    )
    with pytest.raises(ValueError, match=r"^path: .*bad.pth'"):
        load_foreign(tmp_path / "bad.pth")
    assert not (tmp_path / "harm").exists()
    with (tmp_path / "bad.pth").open("rb") as file:  # the trap works where it is stepped on
        if save is pickled:
            pickle.load(file)
        else:
            torch.load(file, weights_only=False)
    assert (tmp_path / "harm").exists()


def test_a_refused_file_says_how_to_save_it_safely_and_that_way_works(written: ResNet, tmp_path: Path) -> None:
    content = {"state_dict": written.state_dict(), "hyper_parameters": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "epoch.ckpt")
    with pytest.raises(ValueError, match=r"argparse.Namespace.*nothing of it was read.*If you trust") as raised:
        load_foreign(tmp_path / "epoch.ckpt")
    advice = str(raised.value).split("wrote it: ")[1].split(" (for a whole module")[0]
    exec(advice.replace("'epoch", f"'{tmp_path}/epoch").replace("'weights", f"'{tmp_path}/weights"), {"torch": torch})
    assert len(load_foreign(tmp_path / "weights.pth", image_size=64).matched) == 100


def files_of_other_kinds(folder: Path) -> Iterable[tuple[Path, str]]:
    (folder / "text.pth").write_text("weights")
    (folder / "text.safetensors").write_text("weights")
    (folder / "empty.pt").write_bytes(b"")
    torch.save({"epoch": 3}, folder / "nothing.pt")
    torch.save([torch.zeros(2)], folder / "list.pt")
    for name in ("text.pth", "text.safetensors", "empty.pt"):
        yield folder / name, "neither safetensors nor a torch file of plain tensors"
    yield folder / "nothing.pt", "holds no tensors by name, but a dict"
    yield folder / "list.pt", "holds no tensors by name, but a list"
    yield folder / "absent.pt", "there is no file"
    yield folder, "is a folder"


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    for path, reason in files_of_other_kinds(tmp_path):
        with pytest.raises(ValueError, match=rf"^path: .*{reason}"):
            load_foreign(path)
