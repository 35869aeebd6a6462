"""Checkpoints whose network has to be named, and losses that the file does not tell."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from barlow.audits.audit import Audit, audit
from barlow.audits.objective import objective
from barlow.audits.settings import AuditSettings
from barlow.audits.subjects import Subject, open_subject
from barlow.cli.commands import main
from barlow.data.arrays import ArraySource
from barlow.images.networks.backbones import build_backbone
from barlow.images.views.pipeline import ImagePipeline
from barlow.methods.barlow_twins import REDUNDANCY_WEIGHT
from barlow.methods.heads import projector
from barlow.recipes import Recipe
from barlow.seams import Params, Views
from barlow.theory.floors import batch_floor

PICTURES = torch.randint(0, 256, (80, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
WIDTH = 24


def under(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in network.state_dict().items()}


def two_networks(name: str, **numbers: Any) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student, teacher = (build_backbone(name, image_size=32, **numbers).eval() for _ in range(2))
    return student, teacher


def assert_same_features(subject: Subject, network: nn.Module) -> None:
    assert subject.trained is not None
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert network(x).std() > 1e-3
        torch.testing.assert_close(subject.trained.backbone(x), network(x), rtol=1e-4, atol=1e-5)


def test_the_errors_of_a_transformer_in_two_copies_say_what_to_pass_and_passing_it_loads_the_one(
    tmp_path: Path,
) -> None:
    student, teacher = two_networks("test_vit")
    path = tmp_path / "dino.pth"
    content = {"student": under("module.backbone.network.", student.network)}  # type: ignore[arg-type]
    torch.save(content | {"teacher": under("backbone.network.", teacher.network)}, path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^arch: the network cannot be told from .*wanted: arch=, such as"):
        open_subject(path, PICTURES)
    with pytest.raises(ValueError, match=r"^prefix: .*wanted: one of student\.backbone\.network, teacher\.backbone"):
        open_subject(path, PICTURES, arch="test_vit")
    assert_same_features(open_subject(path, PICTURES, arch="test_vit", prefix="teacher.backbone.network"), teacher)
    assert_same_features(open_subject(path, PICTURES, arch="test_vit", prefix="student.backbone.network"), student)
    with pytest.raises(ValueError, match=r"pos_embed: \(1, 5, 64\) there, .*; wanted: image_size= of its images"):
        open_subject(path, PICTURES, arch="test_vit", prefix="teacher.backbone.network", image_size=48)


def test_the_command_takes_a_network_and_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student, teacher = two_networks("resnet10", width=8)
    path = tmp_path / "twice.pth"
    torch.save({**under("student.", student.network), **under("teacher.", teacher.network)}, path)  # type: ignore[arg-type]
    np.save(tmp_path / "pictures.npy", PICTURES.movedim(1, -1).numpy())
    words = ["audit", str(path), str(tmp_path / "pictures.npy"), "--num-images", "64", "--num-views", "2", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "wanted: one of student, teacher" in capsys.readouterr().err
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main([*words, "--prefix", "teacher", "--arch", "resnet81"])
    assert ended.value.code == 2
    assert "resnet81" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*words, "--prefix", "teacher", "--out", str(out)])
    assert ended.value.code == 0
    said = json.loads((out / "audit.json").read_text())["warnings"]
    assert any("names under 'teacher'" in warning for warning in said)


def official(path: Path, *, norm: bool) -> Path:
    """A file as facebookresearch/barlowtwins writes it; without the norm of the loss: as facebookresearch/vicreg."""
    network, _ = two_networks("resnet10", width=8)
    state = under("module.backbone.", network.network)  # type: ignore[arg-type]
    state |= under("module.projector.", projector(f"{WIDTH}-{WIDTH}", 64))
    if norm:
        state["module.bn.running_mean"] = torch.zeros(WIDTH)
    torch.save({"epoch": 3, "model": state}, path)
    return path


def audited(path: Path, **numbers: Any) -> Audit:
    view = ImagePipeline(size=32, mean=(0.5,) * 3, std=(0.25,) * 3, noise=0.1)
    return audit(path, PICTURES, views=view, num_images=64, num_views=2, **numbers)


def of_the_loss(found: Audit) -> list[str]:
    return [warning for warning in found.figures["warnings"] if "not taken apart" in warning]


def test_the_loss_of_an_official_checkpoint_is_taken_apart_once_the_batch_size_is_told(tmp_path: Path) -> None:
    path = official(tmp_path / "checkpoint.pth", norm=True)
    found = audited(path)
    assert found.figures["settings"]["normalization"] == "pearson"
    assert found.figures["loss"] is None
    (warning,) = of_the_loss(found)
    assert "pass batch_size, and redundancy_weight" in warning
    found = audited(path, batch_size=32, redundancy_weight=0.0051)
    assert of_the_loss(found) == []
    loss = found.figures["loss"]
    assert loss["start"] is None
    assert loss["floor"] == pytest.approx(batch_floor(32, WIDTH, 0.0051))
    assert sum(part["value"] for part in loss["parts"]) == pytest.approx(loss["batch"])
    assert found.figures["subject"]["recipe"] == {"projector": f"{WIDTH}-{WIDTH}"}  # with a hidden layer
    assert [part["name"] for part in loss["parts"]] == ["floor", "backbone limit", "projector gap", "sampling bias"]


def test_the_loss_of_a_checkpoint_that_is_no_barlow_twins_is_left_alone_unless_asked_for(tmp_path: Path) -> None:
    path = official(tmp_path / "model.pth", norm=False)
    found = audited(path, batch_size=32)
    assert "official VICReg" in found.figures["warnings"][0]
    assert found.figures["settings"]["normalization"] is None
    assert found.figures["loss"] is None
    assert of_the_loss(found) == []
    assert audited(path, batch_size=32, normalization="scalar").figures["loss"]["normalization"] == "scalar"


class Noise:
    """A view that adds a number to every feature."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {"noise": {"value": torch.randn(batch.shape, generator=generator)}}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch + params["noise"]["value"] if "noise" in params else batch


def of_a_callable(projector: nn.Module | None = None, **numbers: Any) -> Audit:
    source = ArraySource(torch.randn(200, 6, generator=torch.Generator().manual_seed(0)))
    views = Views((Noise(), Noise()))
    return audit(lambda x: x, source, views=views, projector=projector, num_images=200, num_views=2, **numbers)


def test_the_loss_of_a_callable_is_taken_apart_where_normalisation_and_batch_size_are_told() -> None:
    head = nn.Linear(6, 4).eval()
    assert of_a_callable(head).figures["loss"] is None
    assert of_the_loss(of_a_callable(head)) == []
    assert "batch size" in of_the_loss(of_a_callable(head, normalization="pearson"))[0]
    assert "no projector" in of_the_loss(of_a_callable(None, normalization="pearson", batch_size=50))[0]
    found = of_a_callable(head, normalization="whiten", batch_size=4)
    assert found.figures["loss"] is None
    assert "to whiten 4 outputs takes more than the 4 samples" in of_the_loss(found)[0]
    loss = of_a_callable(head, normalization="covariance", batch_size=200, redundancy_weight=0.3).figures["loss"]
    whole = of_a_callable(head, normalization="covariance", batch_size=200, redundancy_weight=0.9).figures["loss"]
    assert loss["batch"] < whole["batch"]  # the lambda that was asked for
    assert loss["parts"]


def test_a_normalisation_that_is_none_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match=r"normalization.*persson.*pearson"):
        audit("no such folder", normalization="persson")


def test_what_is_asked_for_goes_before_the_run_and_the_run_before_the_defaults() -> None:
    recipe = Recipe(options={"normalization": "raw", "redundancy_weight": 0.3}, batch_size=64)
    of_run = objective(Subject("run", "run", recipe=recipe), AuditSettings())
    assert (of_run.normalization, of_run.redundancy_weight, of_run.batch_size) == ("raw", 0.3, 64)
    settings = AuditSettings(normalization="pearson", redundancy_weight=0.1, batch_size=8)
    asked = objective(Subject("run", "run", recipe=recipe), settings)
    assert (asked.normalization, asked.redundancy_weight, asked.batch_size) == ("pearson", 0.1, 8)
    assert asked.recipe is not None
    assert asked.recipe.options == {"normalization": "pearson", "redundancy_weight": 0.1}
    other = objective(Subject("run", "run", recipe=Recipe(method="simclr", batch_size=64)), AuditSettings())
    assert (other.normalization, other.redundancy_weight, other.recipe) == ("", REDUNDANCY_WEIGHT, None)
