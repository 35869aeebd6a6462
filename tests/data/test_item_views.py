"""Data sets whose items are views already: a source and its views, in a run as in a loop of one's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import barlow
from barlow.data.item_views import ViewOfItem
from barlow.seams import limits_of, seeded_batches


class Pairs(Dataset[Any]):
    """((view_a, view_b), label), random in every item."""

    def __init__(self, form: str = "nested") -> None:
        self.targets = [0, 1] * 20
        self.form = form

    def __len__(self) -> int:
        return 40

    def __getitem__(self, position: int) -> Any:
        picture = torch.full((3, 8, 8), float(self.targets[position]))
        a, b = picture + 0.1 * torch.randn(3, 8, 8), picture + 0.1 * torch.randn(3, 8, 8)
        forms: dict[str, Any] = {
            "nested": ((a, b), self.targets[position]),
            "flat": [a, b],
            "one": (a, 3),
            "dict": {"a": a},
        }
        return forms[self.form]


@pytest.mark.parametrize("form", ["nested", "flat"])
def test_the_views_of_an_item_are_the_views_of_its_sample(form: str) -> None:
    source, views = barlow.views_of_items(Pairs(form), num_workers=0)
    assert source.labels.tolist() == Pairs().targets
    (batch,) = seeded_batches(source, range(8), 8, 3)
    (again,) = seeded_batches(source, range(8), 8, 3)
    (others,) = seeded_batches(source, range(8), 8, 4)
    assert torch.equal(batch.samples, again.samples)
    assert not torch.equal(batch.samples, others.samples)
    a, b = views.draw(batch.samples, torch.Generator())
    assert a.shape == b.shape == (8, 3, 8, 8)
    assert not torch.equal(a, b)
    assert torch.equal(views.plain(batch.samples), a)
    assert torch.equal(ViewOfItem(1).picked(list(batch.samples)), b)
    assert "drawn by the data set" in limits_of(views.studied)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(("form", "came"), [("one", "views torch.float32, int"), ("dict", "is a dict, wanted 2 views")])
def test_items_that_are_no_views_are_refused_with_what_is_wanted(form: str, came: str) -> None:
    with pytest.raises(ValueError, match=rf"data: an item .*{came}.*\(\(view_a, view_b\), label\)"):
        barlow.views_of_items(Pairs(form))


def test_a_run_learns_from_them(tmp_path: Path) -> None:
    source, views = barlow.views_of_items(Pairs(), num_workers=0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    run = barlow.pretrain(
        source, views=views, backbone=network, projector="8-8", epochs=2, batch_size=8, out=tmp_path / "run",
        machine=barlow.Machine(quiet=True),
    )  # fmt: skip
    assert run.finished
    h: Tensor = run.backbone(torch.zeros(2, 3, 8, 8))
    assert h.shape == (2, 4)
    assert run.summary["evaluation"]["rows"][0]["knn"] > 0.9
