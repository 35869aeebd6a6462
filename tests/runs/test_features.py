"""From a folder of pictures to what is alike, twice, odd, together, and to a classifier, by commands on a real run."""

import csv
import io
import json
import os
import re
import shutil
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import barlow
from barlow.cli.commands import COMMANDS
from barlow.files import write_json
from barlow.runs.classifier import labelled_rows
from barlow.runs.features import (
    duplicates,
    read_labels,
    sampled,
    similar,
    to_label,
    write_to_label,
)
from barlow.training.machine import Machine
from barlow.writers import FolderTakenError, Writer

CLASSES = ("0", "1", "7")
COPY = "0/copy.png"
BLANK = "7/blank.png"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    """A run on 120 digits in class folders; one of them is there twice, one picture is blank, one file is broken."""
    folder = tmp_path_factory.mktemp("features")
    digits = load_digits()
    for name in CLASSES:
        (folder / "data" / name).mkdir(parents=True)
        for number, picture in enumerate(digits.images[digits.target == int(name)][:40]):
            large = np.kron(np.uint8(picture * 15), np.ones((3, 3), dtype=np.uint8))
            Image.fromarray(large).save(folder / "data" / name / f"{number:02d}.png")
    shutil.copy(folder / "data" / "0" / "05.png", folder / "data" / COPY)
    Image.new("L", (24, 24), 130).save(folder / "data" / BLANK)
    (folder / "data" / "1" / "broken.png").write_bytes(b"no picture")
    machine = Machine(accelerator="cpu", quiet=True)
    numbers: dict[str, Any] = {"epochs": 3, "batch_size": 32, "width": 8, "image_size": 24}
    return barlow.pretrain(folder / "data", recipe="small-grey", out=folder / "run", machine=machine, **numbers)


def named(run: barlow.Run, end: str) -> str:
    return str(run.folder.parent / "data" / end)


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def command(name: str, *words: Any) -> int:
    return COMMANDS[name]([str(word) for word in words])


def test_features_are_computed_once_and_rows_have_their_names(run: barlow.Run) -> None:
    of = run.sampled()
    assert len(of.h) == len(of.embeddings.names) == len(of.positions) == 122
    (file,) = (run.folder / "features").glob("*.npz")
    before = file.stat().st_mtime_ns
    again = sampled(run)
    assert file.stat().st_mtime_ns == before
    assert torch.equal(again.h, of.h)
    assert all(of.source.describe(int(p)) == n for p, n in zip(of.positions, of.embeddings.names, strict=True))
    picture = of.pictures([3])[0]
    assert picture is not None
    assert np.array_equal(picture[:, :, 0], np.asarray(Image.open(of.embeddings.names[3])))


def test_a_copy_is_found_with_the_list_of_what_to_remove(run: barlow.Run, capsys: pytest.CaptureFixture[str]) -> None:
    listed = run.folder.parent / "out.txt"
    assert command("duplicates", run.folder, "--quiet", "--remove-to", listed) == 0
    found = json.loads((run.folder / "features" / "duplicates.json").read_text())
    pair = [named(run, "0/05.png"), named(run, COPY)]
    assert pair in [group["names"] for group in found["groups"]]
    assert named(run, COPY) in listed.read_text().splitlines()
    assert named(run, "0/05.png") not in listed.read_text().splitlines()
    page = (run.folder / "features" / "duplicates.html").read_text()
    assert "copy.png" in page
    assert page.count("data:image/png") >= 2
    assert "groups," in capsys.readouterr().out


def test_the_mild_views_of_the_run_tell_the_threshold(run: barlow.Run) -> None:
    found = duplicates(run.sampled())
    assert len(found.of_views) == 122
    assert found.of_views.median() > found.of_others.median()


def test_the_blank_picture_is_the_first_outlier_and_says_why(run: barlow.Run) -> None:
    assert command("outliers", run.folder, "--quiet", "--most", "5") == 0
    first = json.loads((run.folder / "features" / "outliers.json").read_text())["outliers"][0]
    assert first["name"] == named(run, BLANK)
    assert first["reasons"][0] == "nearly constant: 0% of the usual contrast"


def test_groups_cover_all_samples(run: barlow.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("groups", run.folder, "--quiet", "--number", "3") == 0
    groups = json.loads((run.folder / "features" / "groups.json").read_text())["groups"]
    assert sum(group["size"] for group in groups) == 122
    assert len({name for group in groups for name in group["samples"]}) == 122
    assert "3 groups, as asked for" in capsys.readouterr().out


def test_what_is_like_a_sample_does_not_begin_with_itself_and_like_a_file_does(run: barlow.Run) -> None:
    of = run.sampled()
    by_name = similar(of, "0/05.png", number=3)
    assert by_name.queries == (named(run, "0/05.png"),)
    assert by_name.names[0][0] == named(run, COPY)
    other = run.folder.parent / "other.png"
    shutil.copy(named(run, "0/05.png"), other)
    assert set(similar(of, other, number=2).names[0]) == {named(run, "0/05.png"), named(run, COPY)}
    assert command("similar", run.folder, other, "--quiet") == 0
    assert "like" in (run.folder / "features" / "similar.html").read_text()


def test_what_is_like_a_crop_is_asked_by_a_box_of_a_file_or_of_a_sample(run: barlow.Run) -> None:
    """Of two digits side by side, the box says which; of a name the picture is that of the data."""
    of = run.sampled()
    pair = Image.new("L", (48, 24))
    for place, name in enumerate(("0/05.png", "7/04.png")):
        pair.paste(Image.open(named(run, name)), (24 * place, 0))
    pair.save(run.folder.parent / "pair.png")
    for box, name in (((0.0, 0.0, 0.5, 1.0), "0/05.png"), ((0.5, 0, 1, 1), "7/04.png")):
        found = similar(of, run.folder.parent / "pair.png", number=2, box=box)
        assert named(run, name) in found.names[0]
        assert float(found.similarities[0, 0]) == pytest.approx(1, abs=1e-3)
        assert f"at {' '.join(f'{side:g}' for side in box)}" in found.queries[0]
    whole = similar(of, "7/04.png", number=1, box=(0, 0, 1, 1))
    assert whole.names[0] == (named(run, "7/04.png"),)  # the crop is no sample of the data, so this is found
    assert command("similar", run.folder, run.folder.parent / "pair.png", "--quiet", "--box", 0, 0, 0.5, 1) == 0
    with pytest.raises(ValueError, match=r"box: got .*, wanted left, top, right, bottom, from 0 to 1"):
        similar(of, "7/04.png", box=(0, 0, 24, 24))
    with pytest.raises(ValueError, match="wanted a single picture to cut it from"):
        similar(of, run.folder.parent / "data" / "7", box=(0, 0, 1, 1))


def test_a_name_that_is_none_or_several_is_refused(run: barlow.Run) -> None:
    of = run.sampled()
    with pytest.raises(ValueError, match=r"query: got '0/5.png', which is neither a file nor the name of a sample"):
        similar(of, "0/5.png")
    with pytest.raises(ValueError, match=r"query: 3 samples are called '05.png', wanted a longer part of the path"):
        similar(of, "05.png")


def test_a_filled_csv_is_a_classifier_that_predicts_new_files(
    run: barlow.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, model = run.folder.parent / "asked.csv", run.folder.parent / "model"
    assert command("label", run.folder, "--quiet", "--number", "30", "--out", asked) == 0
    names = [line["name"] for line in lines_of(asked)]
    assert len(set(names)) == 30
    assert read_labels(asked) == {}
    write_to_label(asked, [], {name: f"digit {Path(name).parent.name}" for name in names})
    assert command("classify", run.folder, "--quiet", "--labels", asked, "--out", model) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("trained", "untrained", "raw pixels"))
    assert command("predict", model, run.folder.parent / "data") == 0
    rows = lines_of(model / "predictions.csv")
    right = [f"digit {Path(row['name']).parent.name}" == row["class"] for row in rows]
    assert len(rows) == 122
    assert np.mean(right) > 0.8
    assert "1 could not be read" in capsys.readouterr().out
    for row in rows:
        shares = [float(row[f"p(digit {name})"]) for name in CLASSES]
        assert sum(shares) == pytest.approx(1, abs=2e-4)
        assert float(row["probability"]) == max(shares)


def test_one_picture_a_list_and_names_on_stdin_are_embedded_with_their_names(
    run: barlow.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [named(run, "0/01.png"), named(run, "7/02.png")]
    of = run.sampled()
    rows = of.h[[list(of.embeddings.names).index(path) for path in paths]]
    assert command("embed", run.folder, paths[0]) == 0
    one = barlow.read_embeddings(capsys.readouterr().out.split()[-1])
    assert list(one.names) == paths[:1]
    torch.testing.assert_close(one.h, rows[:1], rtol=1e-4, atol=1e-5)
    (run.folder.parent / "two.txt").write_text("\n".join([*paths, named(run, "1/broken.png")]))
    done = run.embed_to_file(run.folder.parent / "two.txt")
    assert (list(done.names), list(done.missing)) == (paths, [named(run, "1/broken.png")])
    assert done.path.parent == run.folder / "features"
    torch.testing.assert_close(done.h, rows, rtol=1e-4, atol=1e-5)
    assert run.embed(run.folder.parent / "two.txt", names=True).missing == done.missing
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(paths[1:])))
    assert command("embed", run.folder, "-", "--out", run.folder.parent / "stdin.npz") == 0
    assert list(barlow.read_embeddings(run.folder.parent / "stdin.npz").names) == paths[1:]


def test_lists_of_other_samples_do_not_write_over_each_other(run: barlow.Run) -> None:
    first, second = (run.embed_to_file([named(run, name)]) for name in ("0/03.png", "0/04.png"))
    assert first.path != second.path
    assert run.embed_to_file([named(run, "0/03.png")]).path == first.path


def test_features_are_written_by_one_process_at_a_time(run: barlow.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Writer(os.getppid(), socket.gethostname(), "", "elsewhere", "barlow embed")
    (run.folder.parent / "held").mkdir()
    write_json(run.folder.parent / "held" / ".lock", asdict(other))
    monkeypatch.setattr("barlow.runs.run.FOR_OTHERS_SECONDS", 0.0)
    with pytest.raises(FolderTakenError, match=r"held' is being written by process .* \(barlow embed\)"):
        run.embed_to_file(named(run, "0/03.png"), run.folder.parent / "held" / "h.npz")
    assert not (run.folder.parent / "held" / "h.npz").exists()


def test_the_page_of_the_run_leads_on(run: barlow.Run) -> None:
    """Names under neighbours, what is there twice, what fits nowhere, groups, and commands with the folder in them."""
    page = (run.folder / "report.html").read_text()
    parts = {name: part for part in page.split('<section id="')[1:] for name in [part.split('"')[0]]}
    assert ".png</span>" in parts["neighbours"]
    assert {"0/05.png", "0/copy.png"} <= set(re.findall(r"<figcaption>([^<]*)", parts["duplicates"]))
    assert "7/blank.png" in parts["outliers"]
    assert "group 1" in parts["groups"]
    for name in ("map", "similar", "duplicates", "label", "classify", "embed", "audit"):
        assert f"barlow {name} {run.folder}" in parts["next"]
    assert "were looked at" not in page
    assert f"barlow duplicates {run.folder}" in parts["duplicates"]


def test_the_map_has_every_sample_with_its_picture(run: barlow.Run) -> None:
    assert command("map", run.folder, "--quiet") == 0
    page = (run.folder / "features" / "map.html").read_text()
    assert "122 images" in page
    assert all(name in page for name in ("05.png", "copy.png"))
    assert "nearly constant" in page
    assert page.count("data:image") >= 1
    assert "http://" not in page
    assert "https://" not in page


def test_labels_there_are_stay_and_the_choice_goes_on(run: barlow.Run) -> None:
    known, more = run.folder.parent / "known.csv", run.folder.parent / "more.csv"
    write_to_label(known, [], {named(run, "0/01.png"): 'a "zero", round'})
    assert command("label", run.folder, "--quiet", "--number", "5", "--labelled", known, "--out", more) == 0
    assert read_labels(more) == {named(run, "0/01.png"): 'a "zero", round'}
    assert len(lines_of(more)) == 6


def test_labels_go_by_the_ends_of_paths_too(run: barlow.Run) -> None:
    """A csv of one's own has the names of files; whole paths are those of one machine."""
    of = run.sampled()
    ends = {"copy.png": "zero", "0/02.png": "zero", "./data/7/03.png": "seven", named(run, "7/04.png"): "seven"}
    rows, y, classes = labelled_rows(of, ends)
    whole = [named(run, end) for end in ("0/copy.png", "0/02.png", "7/03.png", "7/04.png")]
    assert [of.embeddings.names[row] for row in rows] == whole
    assert [classes[number] for number in y] == ["zero", "zero", "seven", "seven"]
    assert not set(to_label(of, 100, labelled=ends)) & set(whole)  # which were asked for again
    with pytest.raises(ValueError, match="labelled: 1 of 1 names are no samples, the first 'nowhere'"):
        to_label(of, 5, labelled={"nowhere": "zero"})


def test_features_of_a_network_that_learnt_nothing_are_said_to_be(
    run: barlow.Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    summary = json.loads((folder / "summary.json").read_text())
    for chance in (0, 5):
        learnt = {"mean_correlation": 0.5, "mean_correlation_untrained": 0.3, "directions_above_chance": chance}
        write_json(folder / "summary.json", {**summary, "label_free": learnt})
        for words in (("outliers", folder), ("similar", folder, "0/01.png")):
            assert command(*words, "--quiet") == 0
            assert ("Nothing was learnt" in capsys.readouterr().out) == (chance == 0)


def test_a_csv_that_was_filled_in_is_not_written_over(run: barlow.Run) -> None:
    filled = run.folder.parent / "filled.csv"
    write_to_label(filled, [], {named(run, "0/01.png"): "zero"})
    with pytest.raises(ValueError, match=r"has 1 labels that would be lost, wanted --labelled"):
        command("label", run.folder, "--quiet", "--number", "5", "--out", filled)
    assert read_labels(filled) == {named(run, "0/01.png"): "zero"}
    assert command("label", run.folder, "--quiet", "--number", "5", "--labelled", filled, "--out", filled) == 0
    assert read_labels(filled) == {named(run, "0/01.png"): "zero"}
    assert len(lines_of(filled)) == 6


def test_the_folder_of_a_model_can_be_moved_and_needs_no_data(run: barlow.Run, tmp_path: Path) -> None:
    assert command("classify", run.folder, "--quiet", "--out", tmp_path / "model") == 0  # labels of the folders
    (tmp_path / "model").rename(tmp_path / "moved")
    found = barlow.predict(tmp_path / "moved", named(run, "7/03.png"))
    assert found.class_names == CLASSES
    assert found.probabilities.shape == (1, 3)


def test_the_snippet_of_the_page_runs(run: barlow.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/features.md").read_text(encoding="utf-8")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "photos").symlink_to(run.folder)
    (tmp_path / "new").symlink_to(run.folder.parent / "data" / "7")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/features.md", "exec"), names)
    assert named(run, COPY) in [names["of"].embeddings.names[row] for row in names["copies"].to_remove]
    assert names["made"].scores.keys() == {"trained", "untrained", "raw pixels"}
    assert len(names["found"].names) == 41


def test_names_that_are_no_samples_and_too_few_labels_are_refused(run: barlow.Run, tmp_path: Path) -> None:
    def refused(labels: dict[str, str], message: str) -> None:
        write_to_label(tmp_path / "labels.csv", [], labels)
        with pytest.raises(ValueError, match=message):
            command("classify", run.folder, "--quiet", "--labels", tmp_path / "labels.csv", "--out", tmp_path / "model")

    refused({"nowhere.png": "a"}, r"labels: 1 of 1 names are no samples, the first 'nowhere.png', wanted .*\.png'")
    refused({"01.png": "a"}, "labels: 3 samples are called '01.png', wanted a longer part of the path")
    refused(
        {"0/01.png": "a", named(run, "0/01.png"): "b"}, "'0/01.png' and '.*01.png' are one sample, wanted each once"
    )
    refused({named(run, "0/01.png"): "a", named(run, "0/02.png"): "b"}, "wanted two classes, and two of one of them")
    refused({}, "got a csv without a filled line")
    (tmp_path / "bare.csv").write_text("file,class\n")
    with pytest.raises(ValueError, match=r"has the columns .* wanted name and label"):
        read_labels(tmp_path / "bare.csv")
