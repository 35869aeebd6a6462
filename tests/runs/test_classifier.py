"""A classifier fine-tuned or on frozen features, beside what it has to beat, and as other programs take it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import barlow
from barlow.cli.commands import COMMANDS
from barlow.evaluation.finetune import EarlyStopped, FinetuneNumbers, finetune_early
from barlow.runs import classifier as module
from barlow.runs.classifier import Trained
from barlow.runs.features import write_to_label
from barlow.training.machine import Machine
from barlow.training.weights import read_weights

CLASSES = ("0", "1", "7")


def pictures(folder: Path, first: int, number: int) -> Path:
    digits = load_digits()
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for place, picture in enumerate(digits.images[digits.target == int(name)][first : first + number]):
            large = np.kron(np.uint8(picture * 15), np.ones((3, 3), dtype=np.uint8))
            Image.fromarray(large).save(folder / name / f"{place:02d}.png")
    return folder


QUICK = (FinetuneNumbers(epochs=4, batch_size=16, learning_rate=0.05, head_learning_rate=0.1),)


@pytest.fixture(scope="module", autouse=True)
def in_little_time() -> Iterator[None]:
    """One rate, a few epochs, and a fifth held out in the place of all in turn: the way is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "finetune_early", partial(finetune_early, candidates=QUICK))
        patch.setattr(module, "FEW_TUNED", 20)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    """A run on 60 digits in class folders; 30 others lie in test/."""
    folder = tmp_path_factory.mktemp("classifier")
    pictures(folder / "test", 100, 10)
    machine = Machine(accelerator="cpu", quiet=True)
    numbers: dict[str, Any] = {"epochs": 2, "batch_size": 32, "width": 8, "image_size": 24}
    data = pictures(folder / "data", 0, 20)
    return barlow.pretrain(data, recipe="small-grey", out=folder / "run", machine=machine, **numbers)


@pytest.fixture(scope="module")
def tuned(run: barlow.Run) -> Trained:
    return run.sampled().classify(run.folder.parent / "tuned", finetune=True, test=run.folder.parent / "test")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(barlow.open_run(folder).backbone.state_dict())


def test_fine_tuning_stands_beside_frozen_from_scratch_and_raw(run: barlow.Run, tuned: Trained) -> None:
    assert list(tuned.scores) == ["trained", "untrained", "raw pixels", "fine-tuned", "from scratch"]
    for score in tuned.scores.values():
        assert score["num_samples"] == 12  # a fifth, the same for all
        assert score["test"]["num_samples"] == 30
    assert tuned.scores["fine-tuned"]["test"]["accuracy"] > 0.6
    page = (tuned.folder / "classifier.html").read_text()
    assert "fine-tuned from scratch" in page
    assert f"barlow export {tuned.folder} --to onnx" in page
    assert "from which nothing was learnt here" in page
    assert json.loads((tuned.folder / "classifier.json").read_text())["finetuned"] is True


def test_the_folder_holds_the_network_that_was_tuned_and_the_run_the_one_it_had(
    run: barlow.Run, tuned: Trained
) -> None:
    before, after = weights(run.folder), weights(tuned.folder)
    assert before.keys() == after.keys()
    assert not all(torch.equal(before[name], after[name]) for name in before)
    read_weights(run.folder / "checkpoints" / "backbone.safetensors", run.backbone.network)  # type: ignore[arg-type]
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.backbone.state_dict().items())


def test_predictions_are_those_of_the_tuned_network(run: barlow.Run, tuned: Trained) -> None:
    found = barlow.predict(tuned.folder, run.folder.parent / "test")
    right = [found.class_names[c] == Path(name).parent.name for c, name in zip(found.classes, found.names, strict=True)]
    assert np.mean(right) == pytest.approx(tuned.scores["fine-tuned"]["test"]["accuracy"])
    noise = torch.randint(256, (20, 1, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert float(barlow.predict(tuned.folder, noise).unknown.float().mean()) > float(found.unknown.float().mean())


def test_no_fit_sees_the_labels_by_which_it_is_scored(run: barlow.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tuning gets four fifths of the labels in each of five turns, then all of them."""
    asked = []

    def spy(network: nn.Module, source: Any, positions: torch.Tensor, **_: Any) -> EarlyStopped:
        asked.append(set(positions.tolist()))
        return EarlyStopped(nn.Sequential(network, nn.Linear(64, 3)).eval(), QUICK[0], 1)

    monkeypatch.setattr(module, "finetune_early", spy)
    monkeypatch.setattr(module, "FEW_TUNED", 100)
    made = run.sampled().classify(run.folder.parent / "again", finetune=True)
    assert {score["num_samples"] for score in made.scores.values()} == {60}  # each label is held out once
    everything = set(range(60))
    turns, final, scratch = asked[:5], asked[5], asked[6:]
    assert [len(one) for one in turns] == [48] * 5
    assert set.union(*(everything - one for one in turns)) == everything
    assert final == everything
    assert scratch == turns


@pytest.mark.parametrize("kind", ["frozen", "tuned"])
def test_other_programs_give_the_probabilities_with_the_names_of_the_classes(
    kind: str, run: barlow.Run, tuned: Trained, tmp_path: Path
) -> None:
    model = tuned.folder if kind == "tuned" else run.sampled().classify(tmp_path / "model").folder
    assert COMMANDS["export"]([str(model), "--to", "onnx", "--out", str(tmp_path / "c.onnx")]) == 0
    raw = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 1), dtype=np.uint8)
    wanted = barlow.predict(model, torch.from_numpy(raw).movedim(-1, 1)).probabilities
    session = onnxruntime.InferenceSession(str(tmp_path / "c.onnx"), providers=["CPUExecutionProvider"])
    (got,) = session.run(["probabilities"], {"images": raw})
    assert np.abs(got - wanted.numpy()).max() < 1e-3
    words = session.get_modelmeta().custom_metadata_map
    assert json.loads(words["class_names"]) == list(CLASSES)
    assert words["preprocessing"].startswith("inside")


def test_timm_opens_a_classifier_with_its_head_and_the_names_of_the_classes(run: barlow.Run, tmp_path: Path) -> None:
    """Its ResNets are of the published width."""
    machine = Machine(accelerator="cpu", quiet=True)
    numbers: dict[str, Any] = {"epochs": 1, "batch_size": 30, "width": 64, "image_size": 24}
    wide = barlow.pretrain(run.facts["path"], recipe="small-grey", out=tmp_path / "run", machine=machine, **numbers)
    model = wide.sampled().classify(tmp_path / "model").folder
    raw = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 1), dtype=np.uint8)
    wanted = barlow.predict(model, torch.from_numpy(raw).movedim(-1, 1)).probabilities
    assert COMMANDS["export"]([str(model), "--to", "timm", "--out", str(tmp_path / "timm")]) == 0
    loaded: Any = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    assert loaded.num_classes == 3
    assert loaded.pretrained_cfg["label_names"] == list(CLASSES)
    opened = barlow.open_run(model)
    with torch.no_grad():
        view = opened.views.plain(torch.from_numpy(raw).movedim(-1, 1))
        assert (loaded(view).softmax(1) - wanted).abs().max() < 1e-3
    features = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True, num_classes=0).eval()
    with torch.no_grad():
        torch.testing.assert_close(features(view), opened.backbone(view), rtol=1e-3, atol=1e-3)


def test_a_classifier_is_not_exported_where_a_head_has_no_place(tuned: Trained, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="to: got 'smp', wanted one of timm, onnx"):
        barlow.open_run(tuned.folder).export("smp", tmp_path / "smp")


def test_labels_that_were_chosen_are_said_to_be_no_random_sample(run: barlow.Run, tmp_path: Path) -> None:
    of = run.sampled()
    by_name = {name: Path(name).parent.name for name in of.embeddings.names}

    def notes(labels: dict[str, str] | None, **how: Any) -> str:
        return " ".join(of.classify(tmp_path / "model", labels=labels, **how).notes)

    drawn = dict(list(by_name.items())[::2])
    assert "whether these samples were drawn by chance cannot be told" in notes(drawn)
    chosen = of.to_label(20)
    said = notes({name: by_name[name] for name in chosen})
    assert "100% of these samples were chosen by `barlow label`" in said
    assert "--test DATA measures on labelled data of your own" in said
    assert "--test" not in notes({name: by_name[name] for name in chosen}, test=run.folder.parent / "test")
    assert "chance" not in notes(None)  # labels of the data are all of them


def test_test_samples_of_a_class_without_a_label_count_as_wrong(run: barlow.Run, tmp_path: Path) -> None:
    of = run.sampled()
    labels = {name: Path(name).parent.name for name in of.embeddings.names if "/7/" not in name}
    made = of.classify(tmp_path / "model", labels=labels, test=run.folder.parent / "test")
    assert made.scores["trained"]["test"]["num_samples"] == 30
    assert made.scores["trained"]["test"]["accuracy"] <= 2 / 3
    assert any("10 of classes without a label count as wrong" in note for note in made.notes)


def test_test_data_without_the_classes_are_refused(run: barlow.Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"test: .* has no labels, wanted class folders or labels"):
        run.sampled().classify(tmp_path / "model", test=run.folder.parent / "test" / "0")
    labels = tmp_path / "labels.csv"
    write_to_label(labels, [], {name: "a" if "/0/" in name else "b" for name in run.sampled().embeddings.names})
    words = [run.folder, "--quiet", "--labels", labels, "--test", run.folder.parent / "test", "--out", tmp_path / "m"]
    with pytest.raises(ValueError, match=r"test: test has the classes 0, 1, 7, wanted a, b"):
        COMMANDS["classify"](list(map(str, words)))
