"""Views of the user's own: what the network sees without them, and whose fault it is when it cannot take them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import barlow
from barlow.data.each_sample import EachSample
from barlow.images.modality import IMAGES
from barlow.modalities import SAMPLES
from barlow.runs.own_views import check_input, first_samples, own_views, with_plain
from barlow.seams import Batch, Views
from barlow.training.machine import Machine

PICTURES = torch.randint(0, 256, (24, 3, 10, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
COMPOSE = v2.Compose([
    v2.RandomResizedCrop(8), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)
])  # fmt: skip


class Flip:
    """A view that always casts to floats, as one may forget to say of the network's input."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> barlow.Params:
        return {"flip": {"on": torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5}}

    def apply(self, batch: Tensor, params: barlow.Params) -> Tensor:
        batch = batch.float() / 255
        return torch.where(params["flip"]["on"], batch.flip(3), batch) if "flip" in params else batch


class FlipOfBytes(Flip):
    def apply(self, batch: Tensor, params: barlow.Params) -> Tensor:
        return batch.flip(3) if "flip" in params else batch


class HalfSize(Flip):
    def apply(self, batch: Tensor, params: barlow.Params) -> Tensor:
        return batch[..., ::2, ::2].float() if "flip" in params else batch


NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.usefixtures("as_users_call_it")
def test_one_pipeline_stands_for_both_views_and_transforms_of_one_sample_are_wrapped() -> None:
    flip = Flip()
    assert own_views(flip).pipelines == (flip, flip)
    a, b = own_views((COMPOSE, flip)).pipelines
    assert a == EachSample(COMPOSE)
    assert b is flip
    assert own_views(Views((COMPOSE, flip))).pipelines == (a, b)
    for wrong in (Flip, 3, ("byol", "byol")):
        with pytest.raises(ValueError, match=r"views: got .* wanted a name, a View .*, a transform of one sample"):
            own_views(wrong)  # type: ignore[arg-type]


def test_without_augmentation_a_pipeline_is_applied_without_its_transforms() -> None:
    views, said = with_plain(IMAGES, own_views(Flip()), PICTURES[:2])
    assert torch.equal(views.plain(PICTURES), PICTURES.float() / 255)
    assert said == ""
    kept = Views((Flip(),) * 2, plain=lambda batch: batch.float())
    assert with_plain(IMAGES, kept, PICTURES[:2])[0].plain is kept.plain


def test_without_augmentation_a_transform_of_pictures_is_its_size_and_its_normalisation() -> None:
    views, said = with_plain(IMAGES, own_views(COMPOSE), PICTURES[:2])
    plain = views.plain(PICTURES)
    assert plain.shape == (24, 3, 8, 8)
    restored = plain * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert (restored.mean((2, 3)) - PICTURES.float().mean((2, 3)) / 255).abs().max() < 0.05
    assert "squares of 8 pixels, normalised as the transform does" in said
    bare = v2.Compose([v2.RandomCrop(8), v2.ToDtype(torch.float32, scale=True)])
    views, said = with_plain(IMAGES, own_views(bare), PICTURES[:2])
    assert 0 <= views.plain(PICTURES).min() < views.plain(PICTURES).max() <= 1
    assert "no Normalize" in said
    with pytest.raises(ValueError, match=r"views: Compose changes one sample at a time .* plain="):
        with_plain(SAMPLES, own_views(COMPOSE), PICTURES[:2])


def test_views_that_the_network_cannot_take_are_named_and_not_the_network() -> None:
    for view, message in (
        (FlipOfBytes(), r"views: FlipOfBytes gives a torch.uint8 tensor \(2, 3, 10, 10\), wanted floats"),
        (HalfSize(), r"views: without augmentation the network is given a torch.uint8 .*, from a view a torch.float32"),
    ):
        views, _ = with_plain(IMAGES, own_views(view), PICTURES[:2])
        with pytest.raises(ValueError, match=message) as raised:
            check_input(NETWORK, views, PICTURES[:2])
        assert "bias type" not in str(raised.value)
    views, _ = with_plain(IMAGES, own_views(Flip()), PICTURES[:2])
    assert check_input(NETWORK, views, PICTURES[:2]) == 4


def test_a_run_with_torchvisions_transform_and_a_network_by_name(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {"backbone": "resnet10", "width": 4, "projector": "8-8", "epochs": 1, "batch_size": 8}
    machine = Machine(quiet=True)
    pictures = PICTURES.to(torch.int32) * 16
    run = barlow.pretrain(pictures, views=COMPOSE, out=tmp_path / "run", machine=machine, **numbers)
    assert run.finished
    assert run.recipe.image_size == 8
    assert run.facts["white_level"] == {"integer": 4095}
    assert run.facts["image_shape"] == [3, 8, 8]
    dim = pictures[:5] // 8
    torch.testing.assert_close(run.embed(dim), run.embed(torch.cat([dim, pictures]))[:5], atol=1e-5, rtol=1e-5)
    assert any("squares of 8 pixels" in line for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines())


@dataclass(frozen=True)
class Points:
    """Samples that are no tensor."""

    x: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: Any) -> "Points":
        return Points(self.x.to(device))


class Given:
    """A source whose batches hold what it was given."""

    name, labels, class_names = "given", None, ()

    def __init__(self, batch: Any) -> None:
        self.batch, self.bad = batch, dict[int, str]()

    def __len__(self) -> int:
        return 8

    def describe(self, index: int) -> str:
        return str(index)

    def batches(self, order: Any, batch_size: int) -> Any:
        return iter([self.batch] if self.batch is not None else [])


class Unmovable(Points):
    def to(self, device: Any) -> "Points":
        raise RuntimeError("stays here")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (None, "data: Given gave none of its first samples"),
        (torch.zeros(2, 3), r"data: Given.batches gives Tensor, wanted barlow.Batch"),
        (Batch(Points(torch.zeros(3, 1)), torch.arange(2)), "gives Points of length 3 for 2 indices"),
        (Batch(7, torch.arange(2)), r"gives int as samples: .*; wanted len, \[positions\] and .to\(device\)"),
        (Batch(Unmovable(torch.zeros(2, 1)), torch.arange(2)), "gives Unmovable as samples: stays here; wanted len"),
    ],
)
def test_samples_that_break_the_contract_are_refused_before_the_folder_is_claimed(
    batch: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        barlow.pretrain(Given(batch), views=Flip(), backbone=NETWORK, out=tmp_path / "run", machine=Machine(quiet=True))
    assert not (tmp_path / "run").exists()


def test_samples_that_keep_the_contract_are_returned() -> None:
    points = Points(torch.zeros(2, 1))
    assert first_samples(Given(Batch(points, torch.arange(2)))) is points  # type: ignore[arg-type]
