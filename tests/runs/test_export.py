"""What is exported gives the features that it gave before, or is not exported."""

import importlib.util
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.images.modality import IMAGES
from barlow.images.networks.backbones import Backbone, build_backbone
from barlow.images.views.published import image_views
from barlow.recipes import Recipe
from barlow.runs.embeddings import write_embeddings
from barlow.runs.export import export_onnx
from barlow.runs.folder import RunFolder
from barlow.runs.run import Run

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


# --- What makes network input of images goes with the file


def run_of(folder: Path, channels: int = 3, **numbers: Any) -> Run:
    """Return a run of images as its folder would give it, with a network that was never trained."""
    recipe = Recipe(backbone="resnet10", width=8, image_size=16, **numbers)
    facts = {
        "modality": "images", "noun": "image", "image_shape": [channels, 16, 16], "white_level": 4095,
        "mean": [0.2, 0.5, 0.6][:channels], "std": [0.3, 0.2, 0.1][:channels],
    }  # fmt: skip
    RunFolder(folder).write("recipe.json", {"recipe": asdict(recipe), "data": facts})
    backbone = trained("resnet10", width=8, image_size=16, in_channels=channels).eval()
    return Run(folder, recipe, backbone, IMAGES.views(recipe, facts), modality=IMAGES)  # type: ignore[misc]


def metadata_of(path: Path) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    words = ("fit", "interpolation", "preprocessing", "input", "output")
    return {name: value if name in words else json.loads(value) for name, value in found.items()}


def test_an_onnx_file_says_what_makes_its_input(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", fit="whole")
    assert run.export("onnx", tmp_path / "backbone.onnx") == ()
    found = metadata_of(tmp_path / "backbone.onnx")
    assert found.pop("preprocessing").startswith("outside")
    assert found == {
        "mean": [0.2, 0.5, 0.6], "std": [0.3, 0.2, 0.1], "size": 16, "channels": 3, "white_level": 4095,
        "fit": "whole", "interpolation": "antialiased bilinear", "input": "images", "output": "features",
    }  # fmt: skip


@pytest.mark.parametrize(("fit", "channels"), [("square", 3), ("whole", 1)])
def test_an_onnx_file_with_preprocessing_gives_the_features_of_the_run_for_images_of_any_size(
    fit: str, channels: int, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run", channels, fit=fit)
    run.export("onnx", tmp_path / "whole.onnx", with_preprocessing=True)
    assert metadata_of(tmp_path / "whole.onnx")["preprocessing"].startswith("inside")
    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"), providers=["CPUExecutionProvider"])
    (asked,) = session.get_inputs()
    assert (asked.name, asked.type, asked.shape) == ("images", "tensor(uint8)", ["n", "height", "width", channels])
    for height, width in ((16, 16), (60, 31), (9, 130)):
        raw = torch.randint(256, (3, height, width, channels), dtype=torch.uint8)
        got = torch.from_numpy(session.run(["features"], {"images": raw.numpy()})[0])
        wanted = run.embed(ArraySource(raw.movedim(-1, 1)))
        assert (got - wanted).abs().max() < 0.02 * wanted.abs().max()
        assert wanted.abs().max() > 0.1


def test_a_preprocessing_that_gives_other_features_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run")
    other = image_views("byol", size=16, channels=3, mean=(0.2, 0.5, 0.61), std=(0.3, 0.2, 0.1))
    with pytest.raises(ValueError, match=r"with its preprocessing gives other features as 'onnx' than Run\.embed"):
        replace(run, views=other).export("onnx", tmp_path / "out" / "whole.onnx", with_preprocessing=True)
    assert not list((tmp_path / "out").iterdir())


def test_preprocessing_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    with pytest.raises(ValueError, match=r"^with_preprocessing: got True with to='timm', wanted to='onnx'"):
        run.export("timm", tmp_path / "out", with_preprocessing=True)
    own = replace(run, recipe=replace(run.recipe, views="own:Mine"))
    with pytest.raises(ValueError, match=r"^with_preprocessing: got True, but how images become network input"):
        own.export("onnx", tmp_path / "out.onnx", with_preprocessing=True)


# --- Features come back from the file as they went in, each beside its name.


H = torch.tensor([[1.5, -2.0, 0.1], [0.0, float("inf"), 3.0]])
NAMES = ["a/é.jpg", "b.png"]


@pytest.mark.parametrize("labels", [None, [3, 7], ["cat", "dog"]])
def test_npz_holds_rows_names_and_labels(labels: list[int] | list[str] | None, tmp_path: Path) -> None:
    write_embeddings(tmp_path / "new" / "h.npz", H, names=NAMES, labels=labels)
    with np.load(tmp_path / "new" / "h.npz", allow_pickle=False) as file:
        assert sorted(file) == ["h", "labels", "names"] if labels else ["h", "names"]
        assert file["h"].dtype == np.float32
        np.testing.assert_array_equal(file["h"], H.numpy())
        assert file["names"].tolist() == NAMES
        if labels:
            assert file["labels"].tolist() == labels
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["h.npz"]


@pytest.mark.parametrize("labels", [None, [3, 7], ["cat", "dog"]])
def test_parquet_holds_one_row_per_sample(labels: list[int] | list[str] | None, tmp_path: Path) -> None:
    write_embeddings(tmp_path / "h.parquet", H, names=NAMES, labels=labels)
    table = pq.read_table(tmp_path / "h.parquet")
    assert table.column_names == (["name", "label", "h"] if labels else ["name", "h"])
    assert table.schema.field("h").type == pa.list_(pa.float32(), 3)
    np.testing.assert_array_equal(np.stack(table["h"].to_numpy()), H.numpy())
    assert table["name"].to_pylist() == NAMES
    if labels:
        assert table["label"].to_pylist() == labels
    assert [path.name for path in tmp_path.iterdir()] == ["h.parquet"]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_half_precision_gradients_and_strides_do_not_matter(suffix: str, tmp_path: Path) -> None:
    h = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True).t()
    path = tmp_path / f"h{suffix}"
    write_embeddings(path, h, names=list("abcd"))
    read = np.load(path)["h"] if suffix == ".npz" else np.stack(pq.read_table(path)["h"].to_numpy())
    np.testing.assert_array_equal(read, h.detach().float().numpy())


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_no_samples_make_an_empty_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"h{suffix}"
    write_embeddings(path, torch.zeros(0, 3), names=[], labels=[])
    rows = len(np.load(path)["h"]) if suffix == ".npz" else pq.read_table(path).num_rows
    assert rows == 0


def test_an_existing_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "h.parquet"
    write_embeddings(path, H, names=NAMES)
    before = path.read_bytes()
    both: Any = ["cat", 7]  # no column can hold them
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        write_embeddings(path, H, names=NAMES, labels=both)
    assert path.read_bytes() == before
    write_embeddings(path, H + 1, names=NAMES)
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("name", "end"),
    [("h.csv", "parquet"), ("h.parqet", r"parquet; did you mean '.parquet'\?"), ("h", "parquet")],
)
def test_other_suffixes_are_refused(name: str, end: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^path: the suffix of .*{name}' is neither .npz nor .{end}$"):
        write_embeddings(tmp_path / name, H, names=NAMES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", ["names", "labels"])
def test_names_and_labels_are_as_many_as_rows(argument: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"names": NAMES, argument: list("abc")}
    with pytest.raises(ValueError, match=f"^{argument}: 3 came for 2 samples"):
        write_embeddings(tmp_path / "h.npz", H, **given)
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_text_are_written_with_their_bytes(tmp_path: Path) -> None:
    names = ["k\udce4se.png", "b.png"]
    for suffix in ("npz", "parquet"):
        write_embeddings(tmp_path / f"f.{suffix}", torch.zeros(2, 3), names=names, labels=["\udce4", "b"])
    table = pq.read_table(tmp_path / "f.parquet")
    assert table["name"].to_pylist() == ["k\\xe4se.png", "b.png"]
    assert table["label"].to_pylist() == ["\\xe4", "b"]
    with np.load(tmp_path / "f.npz") as file:
        assert file["names"].tolist() == ["k\\xe4se.png", "b.png"]
