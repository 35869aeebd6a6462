"""From data to page and back, as a user goes: pretrain, resume, evaluate, embed, export, own modality."""

import json
import runpy
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

import barlow
from barlow.files import write_json
from barlow.runs.folder import RecipeChangedError
from barlow.runs.pretrain import _only_writer, few_note
from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from barlow.writers import LOCK, FolderTakenError, Writer, read_writer

QUIET = Machine(quiet=True)
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_modality.py"


def two_kinds(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures with a bright upper or left half, and which of the two."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    pictures = torch.randint(0, 60, (n, 1, 8, 8), generator=generator)
    pictures[labels == 0, :, :4] += 120
    pictures[labels == 1, :, :, :4] += 120
    return pictures.to(torch.uint8), labels


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    (train, train_y), (test, test_y) = two_kinds(96, 0), two_kinds(40, 1)
    path = tmp_path / "kinds.npz"
    np.savez(path, train_images=train, train_labels=train_y, test_images=test, test_labels=test_y)
    return path


def tiny(data: object, out: Path, **numbers: Any) -> barlow.Run:
    own = isinstance(numbers.get("backbone"), nn.Module)
    given: dict[str, Any] = (
        ({} if own else {"width": 4})
        | {
            "projector": "16-16",
            "epochs": 2,
            "batch_size": 32,
            "precision": "32-true",
        }
        | numbers
    )
    return barlow.pretrain(data, **{"recipe": "digits", "out": out, "machine": QUIET, **given})


def test_a_labelled_file_gives_features_figures_evidence_and_a_page(labelled: Path, tmp_path: Path) -> None:
    run = tiny(labelled, tmp_path / "run")
    assert run.finished
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"recipe.json", "journal.jsonl", "checkpoints", "summary.json", "evidence.npz", "report.html"}
    rows = run.summary["evaluation"]["rows"]
    assert [row["features"] for row in rows] == ["trained", "untrained", "raw pixels"]
    assert rows[2]["linear"] > 0.9
    assert run.summary["evaluation"]["test_samples"] == 40
    assert 1 <= run.summary["label_free"]["effective_rank"] <= 32
    evidence = np.load(run.folder / "evidence.npz")
    assert evidence["views_a"].shape == (8, 8, 8, 1)
    assert evidence["neighbour_images"].shape == (6, 6, 8, 8, 1)
    assert int(evidence["offdiagonal_counts"].sum()) == 16 * 15
    assert int(evidence["correlation_num_samples"]) == 40
    assert evidence["eigenvalues"].shape == evidence["eigenvalues_untrained"].shape == (32,)
    events = [record["event"] for record in read_journal(run.folder / "journal.jsonl")]
    assert events[0] == "start"
    assert events[-1] == "evaluation"
    assert events.count("step") == 6


def test_the_same_call_again_changes_nothing_and_another_recipe_is_refused(labelled: Path, tmp_path: Path) -> None:
    first = tiny(labelled, tmp_path / "run")
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    again = tiny(labelled, tmp_path / "run")
    assert again.finished
    assert {path: path.read_bytes() for path in before} == before
    for ours, theirs in zip(first.backbone.parameters(), again.backbone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(RecipeChangedError, match=r"epochs was 2, now 3"):
        tiny(labelled, tmp_path / "run", epochs=3)


def test_numbers_that_are_refused_do_not_stand_in_the_way_of_better_ones(labelled: Path, tmp_path: Path) -> None:
    for wrong, message in (({"learning_rate": -1.0}, "learning_rate"), ({"epochs": 0}, "epochs")):
        with pytest.raises(ValueError, match=message):
            tiny(labelled, tmp_path / "run", **wrong)
        assert not (tmp_path / "run").exists()
    assert tiny(labelled, tmp_path / "run", epochs=1).finished


def test_an_opened_run_embeds_evaluates_and_writes_what_the_first_had(labelled: Path, tmp_path: Path) -> None:
    run = tiny(labelled, tmp_path / "run")
    opened = barlow.open_run(tmp_path / "run")
    pictures, _ = two_kinds(10, 2)
    torch.testing.assert_close(opened.embed(pictures), run.embed(pictures))
    assert opened.embed(pictures).shape == (10, 32)
    score = opened.evaluate()
    assert score.evaluation["rows"] == run.summary["evaluation"]["rows"]
    assert score.linear == score.row("trained")["linear"]
    assert "few_labels" in repr(score)
    assert opened.write_features(labelled, tmp_path / "features.npz") == 96
    with np.load(tmp_path / "features.npz") as saved:
        torch.testing.assert_close(torch.from_numpy(saved["h"]), opened.embed(labelled))
    opened.export("onnx", tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size > 10_000
    with pytest.raises(ValueError, match="to: got 'tflite'"):
        opened.export("tflite", tmp_path)


def test_a_folder_of_unlabelled_pictures_of_many_sizes_with_a_broken_one_pretrains(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "summer"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(120):
        size = (int(random.integers(20, 40)), int(random.integers(20, 40)), 3)
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    run = tiny(tmp_path / "photos", tmp_path / "run", views="byol-iid", image_size=24)
    assert run.summary["evaluation"] == {}
    assert "invariance_share_untrained" in run.summary["label_free"]
    bad = [record for record in read_journal(run.folder / "journal.jsonl") if record["event"] == "bad_sample"]
    assert [Path(record["what"]).name for record in bad] == ["broken.jpg"]
    assert "broken.jpg" in (run.folder / "report.html").read_text()
    with pytest.raises(ValueError, match="no labels to evaluate with"):
        run.evaluate()


def test_resume_needs_only_the_folder_and_data_given_as_objects_have_to_come_again(
    labelled: Path, tmp_path: Path
) -> None:
    tiny(labelled, tmp_path / "file")
    assert barlow.resume(tmp_path / "file", machine=QUIET).finished
    tiny(two_kinds(64, 0)[0], tmp_path / "tensor")
    with pytest.raises(ValueError, match="was given its data as an object"):
        barlow.resume(tmp_path / "tensor")


class Pooled(nn.Sequential):
    """A network of one's own."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_network_given_as_an_object_is_recorded_by_its_class_and_has_to_come_again(
    labelled: Path, tmp_path: Path
) -> None:
    run = tiny(labelled, tmp_path / "own", backbone=Pooled())
    assert run.recipe.backbone == "own:Pooled"
    page = (run.folder / "report.html").read_text()
    assert "Pooled, " in page
    assert "backbone=&lt;Pooled&gt;" in page
    assert "resnet18" not in page
    with pytest.raises(ValueError, match="was given its backbone as an object; call pretrain again"):
        barlow.resume(tmp_path / "own")
    with pytest.raises(ValueError, match="backbone was 'own:Pooled', now 'own:Sequential'"):
        tiny(labelled, tmp_path / "own", backbone=nn.Sequential(*Pooled()))
    with pytest.raises(ValueError, match="backbone: got 'own:Pooled', wanted the object itself"):
        tiny(labelled, tmp_path / "other", recipe=run.recipe)
    assert tiny(labelled, tmp_path / "own", backbone=Pooled()).finished


@pytest.mark.parametrize("numbers", [{"width": 32}, {"stem": "small"}, {"zero_init": False}, {"pretrained": "default"}])
def test_numbers_of_a_named_network_are_refused_beside_a_network_of_ones_own(
    numbers: dict[str, Any], labelled: Path, tmp_path: Path
) -> None:
    (name,) = numbers
    with pytest.raises(ValueError, match=rf"^{name}: got .* beside a backbone of your own \(Pooled\)"):
        tiny(labelled, tmp_path / "own", backbone=Pooled(), **numbers)
    assert not (tmp_path / "own").exists()


def test_a_resumed_run_is_evaluated_on_the_test_data_it_was_given(labelled: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    images, labels = two_kinds(40, 3)
    np.savez(other, images=images, labels=labels)
    run = tiny(labelled, tmp_path / "run", test=str(other))
    expected = run.summary["evaluation"]
    (run.folder / "summary.json").unlink()
    assert barlow.resume(run.folder, machine=QUIET).summary["evaluation"] == expected
    (run.folder / "summary.json").unlink()
    assert tiny(labelled, run.folder).summary["evaluation"] != expected  # so that the above says something


def test_a_batch_that_the_rate_was_not_chosen_for_is_said(labelled: Path, tmp_path: Path) -> None:
    run = tiny(labelled, tmp_path / "run", batch_size=24)
    notes = [r["message"] for r in read_journal(run.folder / "journal.jsonl") if r["event"] == "note"]
    assert [note for note in notes if note.startswith("batch of 24: the learning rate")]
    own = tiny(labelled, tmp_path / "own", batch_size=24, learning_rate=0.0017)
    notes = [r["message"] for r in read_journal(own.folder / "journal.jsonl") if r["event"] == "note"]
    assert not [note for note in notes if "learning rate" in note]


def test_small_crops_that_the_network_cannot_take_are_refused_before_the_folder_is_the_runs(tmp_path: Path) -> None:
    class OfOneSize(Pooled):
        def forward(self, view: torch.Tensor) -> torch.Tensor:
            if view.shape[-1] != 24:
                raise ValueError(f"wanted 24 pixels, got {view.shape[-1]}")
            h: torch.Tensor = super().forward(view)  # type: ignore[no-untyped-call]
            return h

    images = two_kinds(64, 0)[0].repeat_interleave(3, 2).repeat_interleave(3, 3)
    with pytest.raises(ValueError, match="24 pixels"):
        tiny(
            images,
            tmp_path / "run",
            recipe="swav-small-grey",
            views="swav-small-grey",
            image_size=24,
            backbone=OfOneSize(),
        )
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_other_data_of_the_same_size_are_not_taken_for_those_of_the_run(tmp_path: Path) -> None:
    images = two_kinds(64, 0)[0]
    tiny(images, tmp_path / "run")
    assert tiny(images.clone(), tmp_path / "run").finished
    with pytest.raises(ValueError, match=r"mean of the data was \[.*\], now \["):
        tiny(255 - images, tmp_path / "run")


def test_time_series_pretrain_through_the_public_api_in_under_sixty_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert EXAMPLE.read_text().count("\n") < 60
    out = tmp_path / "series"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(out)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    trained, untrained, raw = (row["linear"] for row in summary["evaluation"]["rows"])
    assert trained > max(untrained, raw) + 0.03
    assert f"trained: linear {trained:.3f}" in printed
    assert (out / "report.html").exists()
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert sum(r["event"] == "step" for r in read_journal(out / "journal.jsonl")) == 160


def test_unknown_recipes_and_fields_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recipe: got 'digit'.*'digits'"):
        barlow.pretrain("digits", recipe="digit", out=tmp_path)
    with pytest.raises(ValueError, match=r"lerning_rat: a Recipe has no such field"):
        barlow.pretrain("digits", out=tmp_path, **{"lerning_rat": 3})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def partly_labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, labels = two_kinds(96, 0)
    path = tmp_path_factory.mktemp("partly") / "partly.npz"
    np.savez(path, images=images, labels=torch.where(torch.arange(96) % 4 == 0, -1, 3 + 87 * labels))
    return path


def test_samples_without_a_label_are_trained_on_and_left_out_of_the_evaluation_which_says_so(
    partly_labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from barlow.report.terminal import print_evaluation

    run = tiny(partly_labelled, tmp_path / "run", epochs=1)
    found = run.summary["evaluation"]
    assert found["classes"] == ["3", "90"]
    assert found["train_samples"] + found["test_samples"] == 72
    note = "24 of 96 samples have no label and are left out of the evaluation"
    assert found["notes"] == [note]
    print_evaluation(run.summary)
    assert note in capsys.readouterr().out.replace("\n", " ")
    assert note in (run.folder / "report.html").read_text()
    assert run.facts["num_samples"] == 96
    embedded = run.embed(partly_labelled, names=True)
    assert embedded.labels is not None
    assert embedded.labels[:4].tolist() == [-1, 1, 0, 1]
    assert embedded.class_names == ("3", "90")


def test_labels_are_dropped_where_nobody_wants_them(partly_labelled: Path, tmp_path: Path) -> None:
    run = tiny(partly_labelled, tmp_path / "run", epochs=1, labels=None)
    assert run.summary["evaluation"] == {}
    (run.folder / "summary.json").unlink()
    assert barlow.resume(run.folder, machine=QUIET).summary["evaluation"] == {}
    with pytest.raises(ValueError, match="was told to use no labels; pass labelled data"):
        run.evaluate()
    assert run.evaluate(partly_labelled, keep=False).evaluation["classes"] == ["3", "90"]
    with pytest.raises(ValueError, match="labels: got 'non', wanted one of auto, required, none; did you mean 'none'"):
        tiny(partly_labelled, tmp_path / "run", labels="non")


@pytest.mark.usefixtures("as_users_call_it")
def test_labels_of_ones_own_are_refused_with_the_way_to_give_them(partly_labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"labels: got a list, wanted one of .*pretrain\(barlow.load_source\(data, labels="
    ):
        tiny(partly_labelled, tmp_path / "run", labels=[0, 1])


@pytest.mark.usefixtures("as_users_call_it")
def test_only_the_first_of_several_processes_holds_the_folder_and_all_are_refused_alike(tmp_path: Path) -> None:
    def process(first: bool, said: str) -> Any:
        return Mock(spec=Fabric, is_global_zero=first, world_size=2, broadcast=lambda mine: said or mine)

    with _only_writer(tmp_path, process(False, "")):
        assert read_writer(tmp_path) is None
        with _only_writer(tmp_path, process(True, "")):
            assert read_writer(tmp_path) == Writer.here()
    write_json(tmp_path / LOCK, asdict(replace(Writer.here(), host="node7")))
    with pytest.raises(FolderTakenError, match="on node7") as caught, _only_writer(tmp_path, process(True, "")):
        pass
    with pytest.raises(FolderTakenError) as told, _only_writer(tmp_path, process(False, str(caught.value))):
        pass
    assert str(told.value) == str(caught.value)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devices": 2}, r"devices: no field of a Recipe, wanted machine=barlow.Machine\(devices=2\)"),
        ({"split": "test"}, r"split: no field of a Recipe, wanted barlow.load_source\(data, split=...\) as the data"),
        ({"lr": 0.1}, "lr: is called learning_rate here"),
        ({"learning_rte": 0.1}, "did you mean 'learning_rate'"),
        ({"temperature": 0.1}, "a number of one method goes into options="),
        ({"batch_size": "32"}, "batch_size: got '32', wanted a whole number"),
        ({"epochs": None}, "epochs: got None, wanted a number"),
        ({"image_size": (32, 64)}, r"image_size: got \(32, 64\), wanted a whole number"),
        ({"width": 0}, "width: got 0, wanted at least 1"),
        ({"pretrained": "no.pth"}, "pretrained: got 'no.pth'"),
    ],
)
def test_names_and_numbers_are_refused_before_data_are_read(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        barlow.pretrain("no/such/folder", **given)


def test_the_help_of_pretrain_lists_the_numbers_that_it_takes() -> None:
    said = barlow.pretrain.__doc__ or ""
    for field in fields(barlow.Recipe):
        assert f"\n        {field.name}: " in said
    assert "learning_rate: float = 0.001: Peak learning rate at the batch size given" in said


def test_too_few_samples_that_can_be_read_are_said_before_training(tmp_path: Path) -> None:
    source = barlow.ArraySource(two_kinds(3, 0)[0], name="few", bad={0: "torn", 2: "burnt"})
    with pytest.raises(
        ValueError, match=r"data: 2 of 3 samples in few .* sample 0 \(torn\).* wanted at least 2 to learn"
    ):
        tiny(source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_of_which_one_sample_is_left_is_no_step(tmp_path: Path) -> None:
    source = barlow.ArraySource(two_kinds(6, 0)[0], bad={0: "torn"})
    run = tiny(source, tmp_path / "run", batch_size=2)
    records = read_journal(run.folder / "journal.jsonl")
    left_out = [r["message"] for r in records if r["event"] == "warning" and "left out" in r["message"]]
    assert len(left_out) == 2  # one of three steps in each epoch
    assert run.finished
    said = [r["message"] for r in records if r["event"] == "note"]
    assert any(message.startswith("6 samples are too few to learn from") for message in said)
    assert few_note(10) == ""


def test_a_checkpoint_of_ours_is_a_file_of_weights_and_carries_the_numbers_of_its_run(tmp_path: Path) -> None:
    pictures = two_kinds(32, 0)[0]
    first = tiny(pictures, tmp_path / "first", epochs=1)
    last = first.folder / "checkpoints" / "last.ckpt"
    carried = torch.load(last, weights_only=True)["recipe"]
    assert (carried["width"], carried["projector"], carried["options.redundancy_weight"]) == (4, "16-16", 0.02)
    second = tiny(pictures, tmp_path / "second", pretrained=str(last), epochs=1, learning_rate=1e-30)
    for name, weight in first.backbone.named_parameters():
        assert torch.equal(weight, second.backbone.get_parameter(name))


def test_a_loss_of_ones_own_loop_goes_backward() -> None:
    z = torch.randn(8, 4, requires_grad=True)
    barlow.barlow_twins_loss(z, z.flip(0), redundancy_weight=0.1).backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
