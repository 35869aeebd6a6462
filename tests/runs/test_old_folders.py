"""Run folders from when lambda and normalisation were fields of every recipe: they open, go on, report and compare."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import barlow
from barlow.recipes import Recipe
from barlow.report.page import write_report
from barlow.report.record import changed_fields, command_of
from barlow.report.run_folder import read_run
from barlow.runs.folder import RecipeChangedError
from tests.runs.test_pretrain import QUIET, tiny, two_kinds


def make_old(folder: Path, **once_fields: Any) -> None:
    """Rewrite recipe and journal of a run as they were written then."""

    def old(recipe: dict[str, Any]) -> dict[str, Any]:
        options = {name: value for name, value in recipe["options"].items() if name not in once_fields}
        return recipe | once_fields | {"options": options}

    written = json.loads((folder / "recipe.json").read_text())
    written["recipe"] = old(written["recipe"])
    (folder / "recipe.json").write_text(json.dumps(written))
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    records = [r | {"recipe": old(r["recipe"])} if "recipe" in r else r for r in records]
    (folder / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    np.save(tmp_path / "pictures.npy", two_kinds(96, 0)[0].numpy())
    return tmp_path / "pictures.npy"


@pytest.mark.parametrize(
    ("recipe", "weight", "shown"), [("simclr", 0.02, False), ("digits", 0.02, False), ("digits", 0.3, True)]
)
def test_an_old_folder_opens_goes_on_and_reports(
    recipe: str, weight: float, shown: bool, pictures: Path, tmp_path: Path
) -> None:
    numbers = {"redundancy_weight": weight} if shown else {}
    recipe = "simclr-small-grey" if recipe == "simclr" else recipe
    run = tiny(pictures, tmp_path / "run", recipe=recipe, epochs=1, **numbers)
    make_old(run.folder, redundancy_weight=weight, normalization="pearson")
    before = (run.folder / "recipe.json").read_bytes()
    assert barlow.open_run(run.folder).recipe == run.recipe
    assert barlow.resume(run.folder, machine=QUIET).finished
    assert tiny(pictures, run.folder, recipe=recipe, epochs=1, **numbers).finished
    write_report(run.folder)
    assert ("--redundancy-weight 0.3" in command_of(read_run(run.folder))) == shown
    assert "normalization" not in command_of(read_run(run.folder))
    assert ("options.redundancy_weight" in changed_fields(read_run(run.folder))) == shown
    assert (run.folder / "recipe.json").read_bytes() == before
    if recipe == "digits":
        with pytest.raises(RecipeChangedError, match=rf"options\.redundancy_weight was {weight}, now 0\.4"):
            tiny(pictures, run.folder, epochs=1, redundancy_weight=0.4)


def test_an_old_folder_is_audited_with_its_own_loss(pictures: Path, tmp_path: Path) -> None:
    run = tiny(pictures, tmp_path / "run", epochs=1, redundancy_weight=0.3, normalization="covariance")
    make_old(run.folder, redundancy_weight=0.3, normalization="covariance")
    found = barlow.audit(run.folder, num_images=64, num_views=4, seconds=1.0, mlp=False).figures
    assert (found["settings"]["redundancy_weight"], found["settings"]["normalization"]) == (0.3, "covariance")


def test_a_default_that_is_said_is_no_change(pictures: Path, tmp_path: Path) -> None:
    run = tiny(pictures, tmp_path / "run", recipe=Recipe(backbone="resnet10"), views="small-grey", epochs=1)
    assert run.recipe.options == {}
    said = {"redundancy_weight": 0.005, "normalization": "pearson", "options": {"bias": "kept"}}
    again = tiny(pictures, run.folder, recipe=Recipe(backbone="resnet10"), views="small-grey", epochs=1, **said)
    assert again.finished
    assert json.loads((run.folder / "recipe.json").read_text())["recipe"]["options"] == {}


def test_a_plan_of_a_comparison_that_is_as_old_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from barlow.runs import compare as module
    from tests.runs.test_compare import compare
    from tests.runs.test_compare_refusals import DATA, Trainer

    monkeypatch.setattr(module, "pretrain", Trainer())
    recipes = ("digits", "simclr")
    path = compare(DATA, tmp_path / "new", recipes).folder / "plan.json"
    plan = json.loads(path.read_text())
    for arm in plan["arms"].values():
        options = {name: value for name, value in arm["asked"]["options"].items() if name != "redundancy_weight"}
        arm["asked"] |= {"redundancy_weight": 0.02, "normalization": "pearson", "options": options}
    path.write_text(json.dumps(plan))
    assert compare(DATA, tmp_path / "new", recipes).finished
    with pytest.raises(RecipeChangedError, match=r"digits: options\.redundancy_weight was 0\.02, now 0\.5"):
        compare(DATA, tmp_path / "new", ("digits",), redundancy_weight=0.5)
    assert asdict(barlow.RECIPES["digits"]())["options"] == {"redundancy_weight": 0.02}
