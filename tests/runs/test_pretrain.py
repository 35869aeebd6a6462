"""From data to page and back, as a user goes: pretrain, resume, evaluate, embed, export, own modality."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import barlow
from barlow.runs.folder import RecipeChangedError
from barlow.training.journal import read_journal
from barlow.training.machine import Machine

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
    with pytest.raises(ValueError, match=r"lr: a Recipe has no such field"):
        barlow.pretrain("digits", lr=3, out=tmp_path)
