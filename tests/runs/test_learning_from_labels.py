"""A method that learns from labels is given those of its batch, and never sees a sample that it is tested on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import barlow
from barlow.data.arrays import ArraySource
from barlow.data.labels import UNLABELLED
from barlow.evaluation.scores import set_aside, split_parts
from barlow.images.modality import IMAGES
from barlow.methods.heads import HeadSpec
from barlow.report.run_folder import read_run
from barlow.seams import Params, Terms, Views

NUM, CLASSES = 60, 3


class AsItIs:
    """A view that changes nothing, so that each sample is known by its values."""

    def sample(self, batch: Tensor, generator: torch.Generator) -> Params:
        return {}

    def apply(self, batch: Tensor, params: Params) -> Tensor:
        return batch


class Noting(barlow.Method):
    """Notes which samples come, and that each comes with its own label."""

    needs_labels: ClassVar[bool] = True
    seen: ClassVar[set[int]] = set()

    def __init__(self, backbone: nn.Module, head: HeadSpec, num_features: int, *, num_classes: int = 0) -> None:
        super().__init__(backbone, nn.Identity())
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, views: Sequence[Tensor], labels: Tensor | None = None) -> Terms:
        assert labels is not None
        places = views[0][:, 0].round().long()
        assert torch.equal(labels, label_of(places))
        self.seen.update(places.tolist())
        known = labels >= 0
        loss = nn.functional.cross_entropy(self.classifier(self.represent(views[0]))[known], labels[known])
        return Terms(loss, {"loss": loss})

    def remark(self, terms: Terms) -> str:
        return "the first step was looked at"


def label_of(places: Tensor) -> Tensor:
    """Every class in turn; the last ten have none."""
    return torch.where(places < NUM - 10, places % CLASSES, -torch.ones_like(places))


def source(labels: bool = True) -> ArraySource:
    places = torch.arange(NUM)
    values = torch.cat([places[:, None].float(), torch.randn(NUM, 3)], dim=1)
    return ArraySource(values, name="numbers", labels=label_of(places) if labels else UNLABELLED)


def learn(folder: Path, data: ArraySource, **more: Any) -> barlow.Run:
    Noting.seen.clear()
    torch.manual_seed(0)
    numbers: dict[str, Any] = {"epochs": 4, "batch_size": 8, "warmup_epochs": 0.0, "projector": "none", **more}
    return barlow.pretrain(
        data, out=folder, method=Noting, backbone=nn.Linear(4, 5), views=Views((AsItIs(), AsItIs())),
        machine=barlow.Machine(accelerator="cpu", quiet=True), **numbers,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    return learn(tmp_path_factory.mktemp("labels") / "run", source())


def test_no_test_sample_is_ever_learnt_from(run: barlow.Run) -> None:
    parts = split_parts(source())
    assert parts is not None
    tested = {int(parts.test.describe(row).split()[-1]) for row in range(len(parts.test))}
    assert len(tested) == 10
    assert Noting.seen == set(range(NUM)) - tested  # those without a label are learnt from, and none of the tested ones
    assert not run.summary["evaluation"]["test_seen_in_pretraining"]


def test_the_page_says_that_test_samples_were_set_aside_and_what_the_first_step_was(run: barlow.Run) -> None:
    page = (run.folder / "report.html").read_text()
    assert "10 test samples were set aside before the first step" in page
    notes = [record["message"] for record in read_run(run.folder).events("note")]
    assert "the first step was looked at" in notes


def test_the_number_of_classes_is_settled_by_the_data_and_kept(run: barlow.Run) -> None:
    assert run.recipe.options == {"num_classes": CLASSES}
    again = learn(run.folder, source())
    assert again.finished
    assert not Noting.seen  # it was finished already, and the recipe is the same one


def test_data_without_labels_and_too_few_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: numbers has no labels, which Noting learns from"):
        learn(tmp_path / "a", source(labels=False))
    with pytest.raises(ValueError, match="num_classes: got 2, but numbers has 3 classes"):
        learn(tmp_path / "b", source(), options={"num_classes": 2})
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_test_part_of_its_own_leaves_all_training_samples(tmp_path: Path) -> None:
    from tests.images.data.making import write_folder

    for name in ("train/a", "train/b", "test/a", "test/b"):
        write_folder(tmp_path / name, 4, size=(4, 4))
    data = barlow.load_source(tmp_path, split="train")
    learnt, parts = set_aside(IMAGES, tmp_path, data)
    assert learnt is data
    assert (len(parts.train), len(parts.test)) == (8, 8)
    assert "8 test samples were set aside" in parts.notes[0]
