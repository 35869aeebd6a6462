"""The files of a run: what is written is read again, and a run that changed is refused by the names of its fields."""

import json
import os
from pathlib import Path

import pytest

from barlow.recipes import Recipe
from barlow.report.run_folder import RunFiles, read_run
from barlow.runs.folder import (
    VERSIONS,
    RecipeChangedError,
    RunFolder,
    recipe_differences,
    started_with,
    training_time,
)
from barlow.writers import LOCK

FACTS = {"name": "digits", "num_samples": 1200, "image_shape": [1, 8, 8], "mean": (0.3,), "path": "digits"}
STATISTICS = ("mean", "std")


def begin(where: RunFolder, recipe: Recipe) -> None:
    """Start a run and take its first step."""
    where.start(recipe, FACTS)
    where.journal.write_text(json.dumps({"event": "start"}) + "\n" + json.dumps({"event": "step", "step": 1}) + "\n")


def test_what_was_started_can_be_read_again_versions_included(tmp_path: Path) -> None:
    where = RunFolder(tmp_path / "run")
    recipe = Recipe(epochs=7, views="cifar")
    where.start(recipe, FACTS)
    assert where.recipe() == recipe
    assert where.data()["image_shape"] == [1, 8, 8]
    written = json.loads((where.path / "recipe.json").read_text())
    assert set(VERSIONS) < set(written["versions"])
    assert not where.finished()
    assert where.summary() == {}


def test_the_same_recipe_on_the_same_data_may_go_on(tmp_path: Path) -> None:
    where = RunFolder(tmp_path)
    begin(where, Recipe())
    before = (tmp_path / "recipe.json").read_bytes()
    where.start(Recipe(), FACTS | {"mean": (0.30000001,), "path": "./digits"}, statistics=STATISTICS)
    assert (tmp_path / "recipe.json").read_bytes() == before


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "recipe.json' is empty, wanted what pretrain wrote"),
        ('{"recipe": {"epo', "recipe.json' is no JSON .*, wanted what pretrain wrote: put it back from a copy"),
        ("{}", "recipe.json' has no recipe and data, wanted"),
        ("[1, 2]", "recipe.json' has no recipe and data, wanted"),
        ('{"recipe": 3, "data": {}}', "recipe.json' has no recipe and data, wanted"),
        ('{"recipe": {"epochs": "many"}, "data": {}}', "recipe.json': epochs: got 'many', wanted a number"),
        ('{"recipe": {"batch_size": null}, "data": {}}', "recipe.json': batch_size: got None, wanted a whole number"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused_by_the_name_of_its_file(
    written: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "recipe.json").write_text(written)
    with pytest.raises(ValueError, match=f"folder: '.*{message}"):
        RunFolder(tmp_path).recipe()


def test_a_changed_recipe_or_other_data_name_the_fields(tmp_path: Path) -> None:
    where = RunFolder(tmp_path)
    begin(where, Recipe())
    changed = Recipe(epochs=101, options={"redundancy_weight": 0.1})
    with pytest.raises(RecipeChangedError) as caught:
        where.start(changed, FACTS | {"num_samples": 1300})
    for part in ("epochs was 100, now 101", "redundancy_weight was 0.005, now 0.1", "num_samples was 1200, now 1300"):
        assert part in str(caught.value)
    assert "learning_rate" not in str(caught.value)


def test_a_run_that_took_no_step_binds_nobody(tmp_path: Path) -> None:
    where = RunFolder(tmp_path)
    where.start(Recipe(final_learning_rate=2.0), FACTS)
    where.start(Recipe(), FACTS, write=False)  # another process than the first
    assert where.recipe().final_learning_rate == 2.0
    where.start(Recipe(), FACTS)
    assert where.recipe() == Recipe()
    where.checkpoints.mkdir()
    (where.checkpoints / "last.ckpt").touch()
    with pytest.raises(RecipeChangedError):
        where.start(Recipe(epochs=3), FACTS)


def test_a_corrected_source_is_no_change_and_other_pixels_are(tmp_path: Path) -> None:
    where = RunFolder(tmp_path)
    begin(where, Recipe(source="section 4"))
    where.start(Recipe(source="section 4.1", published="73.2"), FACTS | {"mean": (0.302,)}, statistics=STATISTICS)
    with pytest.raises(RecipeChangedError, match=r"mean of the data was \[0.3\] \(digits\), now \[0.31\] \(b\)"):
        where.start(Recipe(), FACTS | {"mean": (0.31,), "path": "b"}, statistics=STATISTICS)


def test_a_folder_without_a_run_and_a_recipe_from_the_future_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wanted a run folder with recipe\.json"):
        RunFolder(tmp_path / "nothing").recipe()
    RunFolder(tmp_path).write("recipe.json", {"recipe": {"epochs": 3, "warp": 9}, "data": {}, "versions": {}})
    with pytest.raises(ValueError, match="unknown fields: warp"):
        RunFolder(tmp_path).recipe()


def test_training_time_leaves_out_the_time_between_sittings(tmp_path: Path) -> None:
    records = [
        {"event": "start", "time": 0.0, "total_steps": 4, "recipe": {"batch_size": 10}},
        {"event": "step", "time": 2.0, "step": 2},
        {"event": "resume", "time": 1000.0, "step": 2},
        {"event": "step", "time": 1003.0, "step": 4},
        {"event": "finish", "time": 1003.0, "step": 4},
        {"event": "evaluation", "time": 1050.0},
    ]
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert training_time(path) == {"pretrain_seconds": 5.0, "samples_per_second": 8.0}


def test_the_folder_and_the_page_read_the_same_files_and_a_broken_line_stops_neither(tmp_path: Path) -> None:
    where = RunFolder(tmp_path)
    assert where.files() == RunFiles(tmp_path)
    begin(where, Recipe())
    with where.journal.open("a") as journal:
        journal.write('{"event": "st\n{"event": "finish", "step": 1}\n')
    where.write("summary.json", {"label_free": {"effective_rank": 3.0}})
    assert where.begun()
    assert where.finished()
    assert where.summary() == read_run(tmp_path).summary == {"label_free": {"effective_rank": 3.0}}
    assert list(where.files().unreadable) == ["journal.jsonl: line 3 could not be read (1 in all)"]


def test_equal_recipes_have_no_differences_whatever_json_made_of_their_tuples() -> None:
    assert recipe_differences({"widths": [1, 2], "epochs": 3}, {"widths": (1, 2), "epochs": 3}) == []


def test_each_changed_new_or_vanished_field_is_named_with_both_values() -> None:
    old = {"method": "simclr", "epochs": 10, "gone": None, "seed": 0}
    new = {"method": "barlow_twins", "epochs": 10, "seed": 0, "added": "absent"}
    assert recipe_differences(old, new) == [
        "method was 'simclr', now 'barlow_twins'",
        "added was absent, now 'absent'",
        "gone was None, now absent",
    ]


def test_fields_that_decide_no_number_may_change() -> None:
    assert recipe_differences({"workers": 2, "seed": 0}, {"workers": 8, "seed": 0}, may_change=["workers"]) == []


def test_the_error_for_a_changed_recipe_names_the_fields_and_the_way_out() -> None:
    error = RecipeChangedError(recipe_differences({"epochs": 10}, {"epochs": 20}))
    assert isinstance(error, ValueError)
    assert error.differences == ["epochs was 10, now 20"]
    assert "epochs was 10, now 20" in str(error)
    assert "start anew in another folder" in str(error)


@pytest.mark.parametrize("name", ["recipe.json", "journal.jsonl", "checkpoints", "checkpoints/last.ckpt"])
def test_a_run_folder_whose_files_lead_out_of_it_is_refused(name: str, tmp_path: Path) -> None:
    where = RunFolder(tmp_path / "run")
    begin(where, Recipe())
    where.checkpoints.mkdir()
    (where.checkpoints / "last.ckpt").touch()
    where.require_own_files()
    elsewhere = (where.path / name).rename(tmp_path / "elsewhere")
    (where.path / name).symlink_to(elsewhere)
    with pytest.raises(
        ValueError, match=r"folder: .* in .*run' is a link out of it, to .*elsewhere, wanted a file of its"
    ):
        where.require_own_files()
    if "." in name and "/" not in name:
        assert list(where.files().unreadable) == [f"{name} is a link out of it, to {elsewhere}, and is not read"]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    where = RunFolder(tmp_path)
    begin(where, Recipe())
    where.journal.unlink()
    os.mkfifo(where.journal)
    assert list(where.files().unreadable) == ["journal.jsonl is a pipe, a socket or a device, and is not read"]
    with pytest.raises(ValueError, match=r"journal\.jsonl in .* is a pipe"):
        where.require_own_files()


def test_a_folder_with_nothing_but_a_lock_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    assert started_with(tmp_path, "plan.json", {}, "a comparison") == {}
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match="holds something else"):
        started_with(tmp_path, "plan.json", {}, "a comparison")
