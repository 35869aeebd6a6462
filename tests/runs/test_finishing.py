"""What follows the last step of a run, and that nothing there comes as a surprise."""

import json
import os
import re
import shutil
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import barlow
from barlow.files import began, write_json
from barlow.report.page import write_report
from barlow.training.journal import Journal, read_journal
from barlow.training.machine import Machine
from barlow.writers import LOCK, FolderTakenError, Writer
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without labels on a file of pictures, made under a mask that lets the group write."""
    folder = tmp_path_factory.mktemp("finished")
    np.save(folder / "pictures.npy", two_kinds(64, 0)[0].numpy())
    before = os.umask(0o002)
    try:
        again(folder)
    finally:
        os.umask(before)
    return folder


def again(folder: Path, **given: Any) -> Any:
    return tiny(folder / "pictures.npy", folder / "run", recipe="vicreg-small-grey", epochs=1, **given)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def test_every_file_of_a_run_has_the_permissions_of_new_files(finished: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (finished / "run").rglob("*")}
    assert modes.pop("checkpoints") == 0o775
    assert len(modes) == 8
    assert set(modes.values()) == {0o664}


@pytest.mark.parametrize("gone", ["checkpoints/backbone.safetensors", "evidence.npz", "report.html", "summary.json"])
def test_the_same_call_makes_whatever_of_the_finish_is_gone_as_it_was(gone: str, copied: Path) -> None:
    run = again(copied).folder  # which notes where the copies of the data are
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    summary = json.loads((run / "summary.json").read_text())
    (run / gone).unlink()
    assert again(copied).finished
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    differing = {path.name for path in before if before[path] != after[path]}
    assert after.keys() == before.keys()
    assert differing <= {"summary.json", "report.html"}, "which hold the seconds that it took"
    assert json.loads((run / "summary.json").read_text())["label_free"] == summary["label_free"]


def test_a_page_that_cannot_be_written_takes_nothing_else_away_and_is_tried_again(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied / "run"
    for name in ("report.html", "summary.json"):
        (run / name).unlink()
    (run / "report.html").mkdir()
    for _ in range(2):  # it is said once
        assert again(copied, machine=Machine()).finished
    assert "label_free" in json.loads((run / "summary.json").read_text())
    assert len(re.findall("The page could not be written: is a directory for .*html", capsys.readouterr().err)) == 1
    (run / "report.html").rmdir()
    summary = (run / "summary.json").read_bytes()
    again(copied)
    assert (run / "report.html").read_text().endswith("</html>\n")
    assert (run / "summary.json").read_bytes() == summary
    assert not list(run.rglob("*.partial"))


def test_a_name_that_is_no_text_stands_on_the_page_with_its_bytes(copied: Path) -> None:
    with Journal(copied / "run" / "journal.jsonl") as journal:
        journal.write("bad_sample", index=3, what="photos/k\udce4se.jpg", reason="half \ud800")
    assert "k\\xe4se.jpg (number 3): half \\ud800" in write_report(copied / "run").read_text(encoding="utf-8")


def test_notes_and_warnings_are_said_once_and_not_at_every_resume(copied: Path) -> None:
    run = copied / "run"
    notes = [r for r in read_journal(run / "journal.jsonl") if r["event"] in ("note", "warning")]
    assert notes
    lines = [line for line in (run / "journal.jsonl").read_text().splitlines() if '"finish"' not in line]
    (run / "journal.jsonl").write_text("\n".join(lines) + "\n")
    assert again(copied).finished  # goes through the loop once more
    records = read_journal(run / "journal.jsonl")
    assert [r for r in records if r["event"] in ("note", "warning")] == notes
    assert sum(r["event"] == "resume" for r in records) == 1


def test_a_second_process_is_refused_before_data_are_read(copied: Path) -> None:
    other = replace(Writer.here(), pid=os.getppid(), began=began(os.getppid()))
    write_json(copied / "run" / LOCK, asdict(other))
    (copied / "pictures.npy").unlink()
    for call in (again, lambda folder: barlow.open_run(folder / "run").evaluate(two_kinds(20, 0)[0])):
        with pytest.raises(FolderTakenError, match=rf"is being written by process {os.getppid()} on "):
            call(copied)


@pytest.mark.parametrize("projector", ["none", "linear"])
def test_a_network_of_ones_own_need_not_tell_how_many_features_it_has(projector: str, tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 6), torch.nn.BatchNorm1d(6))
    run = tiny(two_kinds(32, 0)[0], tmp_path / "run", backbone=network, projector=projector, epochs=1)
    assert run.finished
    found = run.summary["label_free"]
    assert 0 <= found["backbone_limit"] <= 6
    assert found["backbone_limit"] != found["backbone_limit_untrained"]
