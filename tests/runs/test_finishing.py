"""What follows the last step of a run, and that nothing there comes as a surprise."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from tests.images.data.making import write_folder
from tests.runs.test_pretrain import tiny, two_kinds


def kinds_file(path: Path, **splits: tuple[torch.Tensor, torch.Tensor]) -> Path:
    arrays: dict[str, Any] = {f"{split}_images": images for split, (images, _) in splits.items()}
    arrays |= {f"{split}_labels": labels for split, (_, labels) in splits.items()}
    np.savez(path, **arrays)
    return path


def test_features_of_unlabelled_data_are_evaluated_on_labelled_test_data_alone(tmp_path: Path) -> None:
    test = kinds_file(tmp_path / "test.npz", train=two_kinds(60, 1))
    found = tiny(two_kinds(96, 0)[0], tmp_path / "run", test=test, epochs=1).summary["evaluation"]
    assert (found["train_samples"], found["test_samples"]) == (48, 12)
    assert found["test_seen_in_pretraining"] is False
    assert found["rows"][2]["linear"] > 0.9


def test_of_test_data_with_splits_the_test_split_counts(tmp_path: Path) -> None:
    data = kinds_file(tmp_path / "data.npz", train=two_kinds(96, 0))
    test = kinds_file(tmp_path / "test.npz", train=two_kinds(60, 1), test=two_kinds(30, 2))
    found = tiny(data, tmp_path / "run", test=test, epochs=1).summary["evaluation"]
    assert (found["train_samples"], found["test_samples"]) == (96, 30)


def test_the_data_root_holds_for_test_data_too(tmp_path: Path) -> None:
    for split, number in (("train", 12), ("val", 10)):
        for kind in ("cats", "dogs"):
            write_folder(tmp_path / "root" / "imagenet" / split / kind, number)
    pictures = two_kinds(96, 0)[0].repeat(1, 3, 1, 1)
    run = tiny(pictures, tmp_path / "run", test="imagenet", data_root=tmp_path / "root", image_size=8, epochs=1)
    assert run.summary["evaluation"]["test_samples"] == 20


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("lableled/", "test: there is no 'lableled/', wanted a folder of images"),
        (two_kinds(20, 1)[0], "test: the Tensor given has no labels to evaluate with"),
        (
            two_kinds(20, 1)[0].repeat(1, 2, 1, 1),
            "test: channels: got 1, which images with 2 channels cannot be converted to",
        ),
    ],
)
def test_test_data_that_cannot_be_used_are_refused_before_the_first_step(
    test: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        tiny(two_kinds(96, 0)[0], tmp_path / "run", test=test)
    assert not (tmp_path / "run").exists()


def test_labelled_training_data_ask_for_labelled_test_data_of_the_same_classes(tmp_path: Path) -> None:
    images, labels = two_kinds(96, 0)
    names = np.array(["cat", "dog"])[labels]
    np.savez(tmp_path / "train.npz", images=images, labels=np.where(labels, names, "ant"))
    with pytest.raises(ValueError, match="test: labels: required, but there are none"):
        tiny(tmp_path / "train.npz", tmp_path / "run", test=two_kinds(20, 1)[0])
    np.savez(tmp_path / "test.npz", images=images, labels=names)
    with pytest.raises(ValueError, match="test: class 0 is 'cat', wanted 'ant' as in the training data"):
        tiny(tmp_path / "train.npz", tmp_path / "run", test=tmp_path / "test.npz")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "labels",
    [torch.arange(20), torch.arange(2), 7 * torch.arange(96)],
    ids=["one of each", "two pictures", "targets of a regression"],
)
def test_labels_that_cannot_be_split_are_a_warning_and_the_run_is_finished(
    labels: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, images=two_kinds(len(labels), 0)[0], labels=labels)
    numbers = {"recipe": "vicreg-small-grey", "epochs": 1, "machine": Machine()}
    run = tiny(data, tmp_path / "run", **numbers)
    assert run.finished
    assert run.summary["evaluation"] == {}
    assert run.summary["label_free"]["effective_rank"] > 0
    (warning,) = [r["message"] for r in read_journal(run.folder / "journal.jsonl") if r["event"] == "warning"]
    assert warning.startswith("The labels could not be used, so nothing is evaluated on them: ")
    assert warning in capsys.readouterr().err
    assert warning in (run.folder / "report.html").read_text()
    before = (run.folder / "journal.jsonl").read_bytes()
    assert tiny(data, tmp_path / "run", **numbers).finished
    assert (run.folder / "journal.jsonl").read_bytes() == before


def test_a_test_part_of_one_sample_is_scored_and_evidence_is_taken_from_all(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=two_kinds(5, 0)[0], labels=torch.tensor([0, 0, 0, 1, 1]))
    run = tiny(tmp_path / "data.npz", tmp_path / "run", recipe="vicreg-small-grey", epochs=1)
    assert run.summary["evaluation"]["test_samples"] == 1
    assert int(np.load(run.folder / "evidence.npz")["correlation_num_samples"]) == 5
