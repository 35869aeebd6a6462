"""A run knows its data: it finds them from everywhere and after a move, and takes no others for them."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import barlow
from barlow.audits.subjects import open_subject
from barlow.cli import main
from barlow.data.arrays import ArraySource
from barlow.runs.folder import RecipeChangedError
from barlow.runs.identity import ENOUGH_FOR_ONE, digest_of, identity_of, is_known, samples_differ
from barlow.seams import Batch
from tests.runs.test_pretrain import tiny

NUMBERS = {"recipe": "vicreg-small-grey", "epochs": 1, "batch_size": 16, "image_size": 8}


def write_pictures(folder: Path, number: int, seed: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for count in range(number):
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{count}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of the same name and number, and a run that learned from the one by a relative path."""
    place = tmp_path_factory.mktemp("places")
    for number, name in enumerate(("one", "two")):
        for kind in "ab":
            write_pictures(place / name / "pics" / kind, 16, 10 * number + ord(kind))
    before = Path.cwd()
    os.chdir(place / "one")
    try:
        tiny("pics", Path("run"), **NUMBERS)
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, to be moved about, where the path that the run was started with leads nowhere."""
    shutil.copytree(trained, tmp_path / "places")
    recipe = tmp_path / "places" / "one" / "run" / "recipe.json"
    recipe.write_text(recipe.read_text().replace(str(trained), str(tmp_path / "gone")))
    monkeypatch.chdir(tmp_path / "places" / "two")
    return tmp_path / "places"


def test_the_path_of_the_data_means_the_same_from_everywhere(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = barlow.open_run(trained / "one" / "run").facts
    assert facts["path"] == str(trained / "one" / "pics")
    assert facts["path_from_here"] == str(Path("..") / "pics")
    monkeypatch.chdir(trained / "two")
    assert barlow.open_run(trained / "one" / "run").own_data() == str(trained / "one" / "pics")


def test_run_and_data_are_moved_together_and_every_command_finds_them(place: Path) -> None:
    run = barlow.open_run(place / "one" / "run")
    assert run.evaluate(keep=False).evaluation["classes"] == ["a", "b"]
    subject = open_subject(run.folder)
    assert subject.source is not None
    assert subject.source.describe(0) == str(place / "one" / "pics" / "a" / "0.png")
    assert run.embed_to_file().num_rows == 32
    assert barlow.resume(run.folder).finished


def test_other_data_of_the_same_name_and_number_are_refused_with_what_differs(place: Path) -> None:
    shutil.rmtree(place / "one" / "pics")
    shutil.copytree(place / "two" / "pics", place / "one" / "pics")
    run = barlow.open_run(place / "one" / "run")
    differs = r"other data: 32 of the 32 samples looked at are others"
    looked = rf"looked for them in .*gone/one/pics \(nothing is there\) and in .*places/one/pics \({differs}"
    for use in (run.evaluate, run.own_data, run.embed_to_file, lambda: open_subject(run.folder)):
        with pytest.raises(ValueError, match=looked):
            use()
    with pytest.raises(ValueError, match=r"--data PATH on the command line, open_run\(folder, data="):
        barlow.resume(run.folder)
    with pytest.raises(ValueError, match=differs):
        barlow.resume(run.folder, data=place / "two" / "pics")
    with pytest.raises(RecipeChangedError, match="32 of the 32 samples looked at are others"):
        tiny(place / "two" / "pics", run.folder, **NUMBERS)


@pytest.mark.parametrize("way", ["pretrain", "resume", "evaluate", "positional"])
def test_data_with_another_name_are_taken_where_they_are_the_same_and_found_again(way: str, place: Path) -> None:
    folder, new = place / "one" / "run", place / "photographs"
    (place / "one" / "pics").rename(new)
    with pytest.raises(ValueError, match="learned from 32 images called 'pics'; looked for them in"):
        barlow.open_run(folder).evaluate()
    words = {
        "resume": ["pretrain", "--resume", str(folder), "--data", str(new), "--quiet"],
        "evaluate": ["evaluate", str(folder), "--data", str(new), "--no-keep"],
    }
    if way == "pretrain":
        assert tiny(new, folder, **NUMBERS).finished
    elif way == "positional":
        score = barlow.open_run(folder).evaluate(new, keep=False)
        assert score.evaluation["test_seen_in_pretraining"] is True
        return
    else:
        with pytest.raises(SystemExit, match="0"):
            main(words[way])
    facts = json.loads((folder / "recipe.json").read_text())["data"]
    assert (facts["name"], facts["path"]) == ("pics", str(new))
    assert barlow.open_run(folder).own_data() == str(new)


def test_the_place_without_resume_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["pretrain", "--data", "photos"])
    assert "data: got --data photos without --resume; wanted barlow pretrain photos" in capsys.readouterr().err


def test_a_folder_from_before_samples_were_looked_at_is_found_and_told_by_its_statistics(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "one" / "run"
    content = json.loads((folder / "recipe.json").read_text())
    for key in ("identity", "path_from_here"):
        del content["data"][key]
    (folder / "recipe.json").write_text(json.dumps(content | {"data": content["data"] | {"path": "pics"}}))
    monkeypatch.setattr("barlow.runs.own_data.places", lambda where, modality: [str(place / "two" / "pics")])
    with pytest.raises(ValueError, match=r"two/pics \(other data: mean of the data was"):
        barlow.open_run(folder).evaluate()
    monkeypatch.undo()
    monkeypatch.chdir(place / "one")
    assert barlow.open_run(folder).own_data() == str(place / "one" / "pics")
    assert tiny("pics", folder, **NUMBERS).finished
    assert is_known(barlow.open_run(folder).facts)


def test_names_that_differ_behind_a_dot_have_two_run_folders(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from barlow.runs.pretrain import _default_folder

    monkeypatch.chdir(trained)
    assert _default_folder("photos.v1") != _default_folder("photos.v2")
    assert _default_folder("photos.v1") == Path("runs/photos.v1")
    before = Path("runs/photos")
    before.mkdir(parents=True)
    (before / "recipe.json").write_text(json.dumps({"recipe": {}, "data": {"name": "photos.v1"}}))
    assert _default_folder("photos.v1") == before
    assert _default_folder("photos.v2") == Path("runs/photos.v2")


def test_the_home_folder_is_meant_by_a_tilde_everywhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place / "one"))
    run = barlow.open_run("~/run")
    assert run.folder == place / "one" / "run"
    assert run.embed_to_file("~/pics", "~/h.npz").path == place / "one" / "h.npz"
    assert len(barlow.read_embeddings("~/h.npz")) == 32
    with pytest.raises(SystemExit, match="0"):
        main(["embed", "~/run", "--out=~/again.npz"])
    assert (place / "one" / "again.npz").exists()
    assert tiny("~/pics", Path("~/run"), **NUMBERS).folder == run.folder
    with pytest.raises(ValueError, match=r"out: got '~/h.npz/run', but '.*h\.npz' is a file"):
        tiny("~/pics", Path("~/h.npz/run"), **NUMBERS)
    assert not Path("~").exists()


# --- What identity is made of.


def source_of(values: torch.Tensor) -> ArraySource:
    return ArraySource(values)


def test_identity_is_that_of_the_samples_wherever_they_lie(tmp_path: Path) -> None:
    values = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    facts = {"identity": identity_of(source_of(values))}
    assert is_known(facts)
    assert samples_differ(facts, {"identity": identity_of(source_of(values.clone()))}) == ""
    assert samples_differ(facts, {"identity": identity_of(source_of(-values))}) == (
        "32 of the 32 samples looked at are others"
    )
    assert digest_of(facts["identity"], 100) != digest_of(facts["identity"], 101)
    assert samples_differ(facts, {}) == samples_differ({}, facts) == ""


def test_one_sample_of_many_may_have_broken_and_of_few_none() -> None:
    for number in (ENOUGH_FOR_ONE, ENOUGH_FOR_ONE - 1):
        values = torch.randn(number, 3)
        other = values.clone()
        other[0] += 1
        before, now = ({"identity": identity_of(source_of(one))} for one in (values, other))
        assert bool(samples_differ(before, now)) == (number < ENOUGH_FOR_ONE)


def test_samples_that_are_others_each_time_tell_nothing_and_chance_is_left_alone() -> None:
    class Random(ArraySource):
        def _batches(self, chunks: list[list[int]]):  # type: ignore[no-untyped-def, override]
            for chunk in chunks:
                yield Batch(torch.rand(len(chunk), 3), torch.tensor(chunk))

    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    assert not is_known({"identity": identity_of(Random(torch.zeros(20, 3)))})
    assert torch.equal(torch.rand(1), wanted)


def test_a_folder_has_the_hashes_of_its_files_and_an_empty_one_tells_nothing(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "one" / "pics", tmp_path / "pics")
    before = {"identity": identity_of(barlow.load_source(trained / "one" / "pics"))}
    moved = barlow.load_source(tmp_path / "pics", memory_budget=0)
    assert before == {"identity": identity_of(moved)}
    (tmp_path / "pics" / "a" / "0.png").write_bytes(b"")
    now = identity_of(moved)
    assert (now["sizes"][0], now["hashes"][0]) == (0, "")
    assert samples_differ(before, {"identity": now}) == ""
