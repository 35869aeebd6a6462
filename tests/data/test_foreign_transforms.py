"""Transforms of other libraries as views: drawn again from seeds, left out by what is plain, and marked where not."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import barlow
from barlow.audits.sensitivity import bars_of
from barlow.data.arrays import ArraySource
from barlow.data.each_batch import EachBatch
from barlow.data.each_sample import EachSample
from barlow.data.foreign_transforms import Albumentations, as_view
from barlow.images.modality import IMAGES
from barlow.runs.own_views import own_views, with_plain
from barlow.seams import is_replayable, limits_of

PICTURES = torch.randint(0, 256, (24, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def of_torchvision() -> Any:
    return v2.Compose([v2.RandomResizedCrop(8), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True),
                       v2.Normalize(MEAN, STD)])  # fmt: skip


def of_albumentations() -> Any:
    library: Any = pytest.importorskip("albumentations", reason="the extra [albumentations] is not installed")
    return library.Compose([library.RandomResizedCrop((8, 8)), library.HorizontalFlip(p=0.5),
                            library.Normalize(MEAN, STD), library.ToTensorV2()])  # fmt: skip


def of_kornia() -> Any:
    library: Any = pytest.importorskip("kornia.augmentation", reason="the extra [kornia] is not installed")
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return library.AugmentationSequential(library.RandomResizedCrop((8, 8)), library.RandomHorizontalFlip(),
                                          library.Normalize(mean, std))  # fmt: skip


LIBRARIES = {"torchvision": of_torchvision, "albumentations": of_albumentations, "kornia": of_kornia}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_pipeline_of_any_library_is_a_view_that_can_be_drawn_again(library: str) -> None:
    view = as_view(LIBRARIES[library]())
    params = view.sample(PICTURES, torch.Generator().manual_seed(1))
    first = view.apply(PICTURES, params)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert first.shape == (24, 3, 8, 8)
    assert first.dtype == torch.float32
    assert torch.equal(view.apply(PICTURES, params), first)
    other = view.apply(PICTURES, view.sample(PICTURES, torch.Generator().manual_seed(2)))
    assert not torch.equal(other, first)
    assert len({tuple(one.flatten().tolist()) for one in view.apply(PICTURES[:1].expand(24, 3, 12, 12), params)}) > 20
    restored = first * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert -1e-5 <= float(restored.min()) < float(restored.max()) <= 1 + 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", LIBRARIES)
def test_without_it_the_network_sees_whole_pictures_normalised_as_it_does(library: str) -> None:
    views, said = with_plain(IMAGES, own_views(LIBRARIES[library]()), PICTURES[:2])
    plain = views.plain(PICTURES)
    assert plain.shape == (24, 3, 8, 8)
    assert "normalised as the transform does" in said
    assert "draws from a generator of its own" not in said
    restored = plain * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert (restored.mean((2, 3)) - PICTURES.float().mean((2, 3)) / 255).abs().max() < 0.05
    (view, _) = views.pipelines
    assert torch.equal(view.apply(PICTURES, {}), plain)  # so an audit can leave it out
    assert "is one transform to an audit" in limits_of(view)
    assert [bar.transform for bar in bars_of(views, ArraySource(PICTURES, name="pictures"))] == ["transform"]


@pytest.mark.usefixtures("as_users_call_it")
def test_albumentations_that_end_in_bytes_or_grey_pictures_are_floats_from_0_to_1() -> None:
    class Same:
        def __call__(self, *, image: Any) -> dict[str, Any]:
            return {"image": image[:, :, 0] if image.shape[2] == 1 else image}

    grey = PICTURES[0, :1]
    assert torch.equal(Albumentations(Same())(grey), grey.float() / 255)
    assert torch.equal(Albumentations(Same())(PICTURES[0]), PICTURES[0].float() / 255)


@pytest.mark.usefixtures("as_users_call_it")
def test_a_normalisation_that_nobody_can_undo_is_refused() -> None:
    class Normalize:
        normalization = "image"

    with pytest.raises(ValueError, match=r"views: Normalize normalises by 'image', .*plain="):
        IMAGES.plain and IMAGES.plain(Normalize(), torch.zeros(2, 3, 8, 8))


class OfItsOwn(nn.Module):
    """A transform whose generator no seed reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)

    def forward(self, picture: Tensor) -> Tensor:
        return picture.float() / 255 * float(self.generator.uniform(0.5, 1))


def test_one_that_no_seed_reaches_is_marked_and_an_audit_leaves_its_effects_out() -> None:
    views, said = with_plain(IMAGES, own_views(OfItsOwn()), PICTURES[:2])
    assert "OfItsOwn draws from a generator of its own, which no seed reaches" in said
    assert [is_replayable(view) for view in views.pipelines] == [False, False]
    assert "an audit leaves out" in limits_of(views.studied)
    assert bars_of(views, ArraySource(PICTURES, name="pictures")) == []
    assert is_replayable(EachSample(of_torchvision()))


@pytest.mark.usefixtures("as_users_call_it")
def test_a_transform_of_batches_wants_one_size_and_a_view_of_each() -> None:
    different = [PICTURES[0], PICTURES[1, :, :8]]
    view = EachBatch(lambda batch: batch[:1])
    for batch, message in (
        (different, "takes whole batches, and the samples have 2 sizes"),
        (PICTURES, "a view of each"),
    ):
        with pytest.raises(ValueError, match=message):
            view.apply(batch, view.sample(batch, torch.Generator().manual_seed(0)))
    assert torch.equal(EachBatch(nn.Identity()).apply(list(PICTURES[:2]), {}), PICTURES[:2].float() / 255)


@pytest.mark.filterwarnings("ignore")
def test_a_run_with_them_is_audited_with_what_cannot_be_done_said(tmp_path: Any) -> None:
    small: dict[str, Any] = {"backbone": "resnet10", "width": 4, "projector": "8-8", "epochs": 1, "batch_size": 8}
    machine, pictures = barlow.Machine(quiet=True), torch.cat([PICTURES, 255 - PICTURES, PICTURES.flip(3)])[:64]
    run = barlow.pretrain(pictures, views=of_torchvision(), out=tmp_path / "run", machine=machine, **small)
    found = barlow.audit(run, pictures, num_images=64, num_views=2, seconds=5.0, mlp=False, quiet=True).figures
    assert any("views: Compose is one transform to an audit" in line for line in found["warnings"])
    assert [effect["name"] for effect in found["augmentations"]] == ["transform"]
