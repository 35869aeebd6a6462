"""Everything that can be audited becomes the same thing: a network, its projector, data, views."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import barlow
from barlow.audits.audit import audit
from barlow.audits.layers import projector_blocks
from barlow.audits.subjects import Subject, is_subject, open_subject, placed
from barlow.cli.commands import main
from barlow.images.networks.backbones import build_backbone
from barlow.methods.heads import mlp_of, projector, widths_of
from tests.audits.small_run import small_run

PICTURES = torch.randint(0, 256, (80, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("audited"), epochs=1).folder


def test_a_run_brings_its_data_views_and_the_network_before_training(folder: Path) -> None:
    subject = open_subject(folder)
    assert subject.kind == "run"
    assert subject.trained is not None
    assert subject.untrained is not None
    assert subject.source is not None
    assert subject.views is not None
    assert subject.trained.projector is not None
    x = subject.views.plain(next(subject.source.batches(range(4), 4)).samples)
    saved = barlow.open_run(folder).backbone
    with torch.no_grad():
        torch.testing.assert_close(subject.trained.backbone(x), saved(x))
        assert not torch.allclose(subject.untrained.backbone(x), saved(x), rtol=0.1)


def test_the_untrained_network_is_the_one_that_training_began_with(tmp_path: Path) -> None:
    subject = open_subject(small_run(tmp_path, epochs=1, learning_rate=1e-30).folder)
    for networks in (subject.trained, subject.untrained):
        assert networks is not None
        assert isinstance(networks.backbone, nn.Module)
    one, other = subject.trained, subject.untrained
    assert one is not None
    assert other is not None
    for ours, theirs in ((one.backbone, other.backbone), (one.projector, other.projector)):
        assert isinstance(ours, nn.Module)
        assert isinstance(theirs, nn.Module)
        for mine, other_weight in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other_weight)


def test_a_model_by_name_without_weights_says_so() -> None:
    subject = open_subject("torchvision:resnet18", PICTURES, weights="")
    assert subject.kind == "model"
    assert "no weights" in subject.notes[0]
    assert subject.views is not None
    assert subject.views.pipelines[0] == subject.views.pipelines[1]  # the paper's, exchangeable


def test_a_checkpoint_of_the_official_code_comes_with_its_projector(tmp_path: Path) -> None:
    network = build_backbone("torchvision:resnet18", image_size=32, stem="imagenet")
    head = projector("24-24", 512)
    state = {f"module.backbone.{name}": value for name, value in network.network.state_dict().items()}
    state |= {f"module.projector.{name}": value for name, value in head.state_dict().items()}
    state["module.bn.running_mean"] = torch.zeros(24)
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "model": state}, path)
    subject = open_subject(path, PICTURES)
    assert subject.kind == "checkpoint"
    assert subject.trained is not None
    assert subject.trained.projector is not None
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(subject.trained.backbone(x), network.eval()(x))
        h = torch.randn(5, 512)
        torch.testing.assert_close(subject.trained.projector(h), head.eval()(h))
    assert "official Barlow Twins" in subject.notes[0]
    assert any("bn.running_mean" in note for note in subject.notes)


def test_an_mlp_is_built_from_its_weights_and_nothing_else_is_taken_for_one() -> None:
    head = projector("8-8-6", 5, bias=True).eval()
    built = mlp_of(dict(head.state_dict()))
    assert built is not None
    h = torch.randn(3, 5)
    torch.testing.assert_close(built.eval()(h), head(h))
    assert mlp_of({"layers.0.weight": torch.zeros(2, 2)}) is None
    assert mlp_of({"0.weight": torch.zeros(2, 2, 3, 3)}) is None
    assert mlp_of({}) is None


def test_the_widths_of_a_head_are_written_as_in_recipes() -> None:
    assert widths_of(projector("8-8-6", 5)) == "8-8-6"
    assert widths_of(nn.Linear(5, 7)) == widths_of(nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7))) == "linear-7"
    assert widths_of(nn.Identity()) == widths_of(None) == ""


def test_words_of_the_command_line_are_told_apart(folder: Path, tmp_path: Path) -> None:
    features, pictures = tmp_path / "features.npy", tmp_path / "pictures.npy"
    np.save(features, np.zeros((4, 2, 3), dtype=np.float32))
    np.save(pictures, np.zeros((4, 1, 8, 8), dtype=np.uint8))
    for word in (str(folder), "timm:resnet18", "torchvision:resnet18", "anything.pth", str(features)):
        assert is_subject(word)
    for word in ("digits", str(tmp_path), str(pictures)):
        assert not is_subject(word)


def test_the_command_audits_two_runs_and_says_what_changed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pages"
    flags = ["--num-images", "128", "--num-views", "2", "--no-mlp", "--quiet", "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(folder), str(folder), *flags])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "audit-comparison.html" in said
    assert (out / "audit-comparison.html").exists()
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(folder), "--num-images", "128", "--num-views", "2", "--no-mlp", "--quiet"])
    assert ended.value.code == 0
    assert (folder / "audit.html").exists()
    summary = barlow.open_run(folder).summary
    assert "augmentation_share" in summary["audit"]["quantities"]


def test_a_command_without_anything_to_audit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["digits"], ["timm:a", "timm:b", "timm:c"]):
        with pytest.raises(SystemExit) as ended:
            main(["audit", *words])
        assert ended.value.code == 2
        assert f"got {' '.join(words)}, wanted one or two of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["audit", "no/such.npy"])
    assert "(there is no file or folder no/such.npy here), wanted one or two of" in capsys.readouterr().err


# --- An audit computes where it is told to, on copies: the user's networks stay where they are.


META = torch.device("meta")
"""A device that every machine has: it knows shapes, and refuses what is elsewhere."""


def test_networks_and_samples_of_a_run_go_to_the_device_and_the_originals_stay(folder: Path) -> None:
    here = open_subject(folder)
    there = placed(here, META)
    assert there.source is not None
    batch = next(there.source.batches([3, 5], 2))
    assert batch.samples.device == META
    assert batch.indices.tolist() == [3, 5]
    assert len(there.source) == 400
    view = torch.zeros(2, 1, 8, 8, device=META)
    for networks in (there.trained, there.untrained):
        assert networks is not None
        assert networks.projector is not None
        h = networks.backbone(view)
        assert h.shape == (2, 32)
        assert h.device == META
        waiting = torch.zeros(2, 32)  # as features do, on the CPU
        assert networks.projector(waiting).device == META
        assert widths_of(networks.projector) == "32-32"
        assert [name for name, _ in projector_blocks(networks.projector)] == ["projector.1", "z"]
    assert here.trained is not None
    assert isinstance(here.trained.backbone, nn.Module)
    assert {parameter.device.type for parameter in here.trained.backbone.parameters()} == {"cpu"}


def test_callables_and_features_are_left_alone(folder: Path) -> None:
    pictures = torch.randint(0, 256, (80, 3, 16, 16), dtype=torch.uint8)
    for target, data in ((lambda view: view.flatten(2).mean(2), pictures), (torch.randn(90, 4, 8), None)):
        subject = open_subject(target, data)
        assert placed(subject, META) is subject
    subject = open_subject(folder)
    assert placed(subject, torch.device("cpu")) is subject


def test_the_device_asked_for_is_where_the_audit_is_placed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def device_of(accelerator: str) -> torch.device:
        asked.append(accelerator)
        return META

    def here_after_all(subject: Subject, device: torch.device) -> Subject:
        asked.append(device)
        return subject

    monkeypatch.setattr("barlow.audits.audit.device_of", device_of)
    monkeypatch.setattr("barlow.audits.audit.placed", here_after_all)
    audit(folder, accelerator="gpu", num_images=64, num_views=2, seconds=0.1, mlp=False)
    assert asked == ["gpu", META]
