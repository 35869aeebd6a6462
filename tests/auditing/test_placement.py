"""An audit computes where it is told to, on copies: the user's networks stay where they are."""

from pathlib import Path

import pytest
import torch
from torch import nn

from barlow.auditing.audit import audit
from barlow.auditing.layers import projector_blocks
from barlow.auditing.placement import placed
from barlow.auditing.subjects import Subject, open_subject
from barlow.networks.foreign_heads import widths_of
from tests.auditing.small_run import small_run

META = torch.device("meta")
"""A device that every machine has: it knows shapes, and refuses what is elsewhere."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("audited"), epochs=1).folder


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

    monkeypatch.setattr("barlow.auditing.audit.device_of", device_of)
    monkeypatch.setattr("barlow.auditing.audit.placed", here_after_all)
    audit(folder, accelerator="gpu", num_images=64, num_views=2, seconds=0.1, mlp=False)
    assert asked == ["gpu", META]
