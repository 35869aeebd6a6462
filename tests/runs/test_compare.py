"""Recipes side by side: budgets, plans, resuming, and what a broken or interrupted run leaves."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import barlow
from barlow.evaluation.arms import evaluate_arms
from barlow.recipes import Recipe
from barlow.report.run_folder import read_run
from barlow.runs import compare as module
from barlow.runs.compare import compare_recipes, epochs_for
from barlow.runs.folder import RecipeChangedError
from barlow.runs.pretrain import pretrain
from barlow.runs.timing import FEWEST, TURNS, Calibration, calibrate, calibrate_apart, calibrate_in_turns, peak_memory
from barlow.training.checkpoint import NonFiniteLossError
from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from barlow.training.order import batches_from
from tests.runs.test_pretrain import two_kinds

QUIET = Machine(quiet=True)
TINY = replace(
    barlow.RECIPES["digits"](), backbone="resnet10", width=4, projector="16-16", precision="32-true", batch_size=32
)
PLAIN = replace(TINY, name="plain")
WIDE = replace(TINY, name="wide", projector="32-32")


def costs(recipe: Recipe, data: str, data_root: str | None) -> Calibration:
    """A calibration without a machine: the wide projector is twice as slow."""
    slow = 2.0 if recipe.projector == "32-32" else 1.0
    return Calibration(slow * 0.2, 10, 0.0, 2**20, 96, recipe.batch_size)


def compare(
    data: Path, out: Path, recipes: tuple[str | Recipe, ...] = (PLAIN, WIDE), **given: Any
) -> module.RecipeComparison:
    settings: dict[str, Any] = {"seeds": 2, "images": 96, "machine": QUIET, "calibrate": costs} | given
    return compare_recipes(data, recipes, out=out, **settings)


def never(*_: Any) -> Calibration:
    raise AssertionError("calibrated again")


@pytest.fixture(scope="module", autouse=True)
def one_draw_of_few_labels() -> Iterator[None]:
    """Five draws cost five times as much and show nothing more here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("barlow.evaluation.scores.evaluate_arms", partial(evaluate_arms, draws=1))
        yield


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (train, train_y), (test, test_y) = two_kinds(96, 0), two_kinds(40, 1)
    path = tmp_path_factory.mktemp("data") / "kinds.npz"
    np.savez(path, train_images=train, train_labels=train_y, test_images=test, test_labels=test_y)
    return path


@pytest.fixture(scope="module")
def finished(kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> module.RecipeComparison:
    return compare(kinds, tmp_path_factory.mktemp("compare") / "new")


def test_every_recipe_and_seed_is_an_ordinary_run_and_the_table_holds_them(finished: module.RecipeComparison) -> None:
    assert finished.finished
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        "compare.html", "compare.json", "plain", "plan.json", "wide",
    ]  # fmt: skip
    rows = {row["name"]: row for row in finished.table["rows"]}
    assert list(rows) == ["plain", "wide", "untrained", "raw pixels"]
    assert json.loads((finished.folder / "compare.json").read_text()) == finished.table
    for name in ("plain", "wide"):
        runs = [barlow.open_run(finished.folder / name / f"seed-{seed}") for seed in (0, 1)]
        assert [run.recipe.seed for run in runs] == rows[name]["seeds"] == [0, 1]
        assert [run.recipe.epochs for run in runs] == [1, 1]
        trained = [run.summary["evaluation"]["rows"][0] for run in runs]
        assert rows[name]["knn"]["values"] == [row["knn"] for row in trained]
        assert rows[name]["few_labels"]["mean"] == pytest.approx(sum(row["few_labels"]["mean"] for row in trained) / 2)
        assert rows[name]["effective_rank"]["values"] == [run.summary["label_free"]["effective_rank"] for run in runs]
        assert rows[name]["seconds"]["values"] == [run.summary["timing"]["pretrain_seconds"] for run in runs]
        assert (rows[name]["images"], rows[name]["peak_memory"]) == (96, 2**20)
    assert "knn" in rows["untrained"]
    assert rows["raw pixels"]["knn"]["std"] == 0.0
    assert finished.page.is_file()


def test_the_same_call_again_trains_nothing_and_a_new_seed_or_recipe_is_added(
    kinds: Path, finished: module.RecipeComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("journal.jsonl")}
    monkeypatch.setattr(module, "pretrain", None)
    again = compare(kinds, finished.folder, calibrate=never)
    assert again.table == finished.table
    monkeypatch.undo()
    more = compare(kinds, finished.folder, (WIDE, PLAIN, replace(TINY, name="third")), seeds=[1])
    assert [row["name"] for row in more.table["rows"]] == ["wide", "plain", "third", "untrained", "raw pixels"]
    assert [row["seeds"] for row in more.table["rows"][:3]] == [[1], [1], [1]]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_settings_or_another_recipe_of_the_name_are_refused(
    kinds: Path, finished: module.RecipeComparison, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"out: .* was started with other settings: images was 96, now 192"):
        compare(kinds, finished.folder, images=192)
    with pytest.raises(RecipeChangedError, match="plain: learning_rate was"):
        compare(kinds, finished.folder, learning_rate=1.0)
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match="holds something else"):
        compare(kinds, tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"minutes": 1.0}, "minutes, images: got 1.0 and 96, wanted one of them"),
        ({"seeds": 0}, r"seeds: got \[\], wanted one or more"),
        ({"seeds": [1, 1]}, r"seeds: got \[1, 1\]"),
        ({"recipes": (PLAIN, PLAIN)}, "recipes: 'plain' is there twice"),
        ({"recipes": (replace(PLAIN, name="a/b"),)}, "recipes: 'a/b' is there twice or is no name"),
        ({"recipes": ()}, r"recipes: got \(\), wanted a list"),
        ({"recipes": ("barlow-twin",)}, "recipe: got 'barlow-twin', wanted one of"),
    ],
)
def test_impossible_arguments_are_named(kinds: Path, given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        compare(kinds, tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_a_budget_is_met_by_steps_at_least_one() -> None:
    cost = Calibration(
        seconds_per_step=0.5, steps=10, probe_seconds=0.0, peak_memory=0, num_samples=1000, batch_size=100
    )
    assert (cost.steps_per_epoch, cost.images_per_epoch) == (10, 1000)
    assert [epochs_for(cost, minutes=m) for m in (0.001, 0.01, 0.083, 0.13, 1.0)] == [0.1, 0.1, 0.9, 1.5, 12]
    assert [epochs_for(cost, images=images) for images in (1, 149, 1000, 1630, 12000)] == [0.1, 0.1, 1, 1.6, 12]
    with_probes = replace(cost, probe_seconds=5.0)
    assert with_probes.seconds(5, 1) == 5 * 5 + 5 * 5
    assert with_probes.seconds(25, 2) == 25 * 5 + 13 * 5  # the last epoch is probed in any case
    assert with_probes.seconds(5.2, 1) == 5.2 * 5 + 6 * 5  # and so is one that is a part
    assert epochs_for(with_probes, minutes=1.0) == 6
    assert epochs_for(with_probes, minutes=1.1) == 6.2  # 31 s and 7 times 5 s


def test_without_a_budget_all_see_what_the_first_recipe_asks_for(
    kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Recipe] = []

    def note(data: str, *, recipe: Recipe, **_: Any) -> Any:
        asked.append(recipe)
        raise NonFiniteLossError("the loss is nan")

    monkeypatch.setattr(module, "pretrain", note)
    big = replace(WIDE, batch_size=40)
    found = compare(kinds, tmp_path / "new", (replace(PLAIN, epochs=7), big), images=0)
    assert [(recipe.name, recipe.epochs, recipe.seed) for recipe in asked] == [
        ("plain", 7, 0), ("wide", 8.5, 0), ("plain", 7, 1), ("wide", 8.5, 1),
    ]  # fmt: skip
    # 7 epochs of 3 steps of 32 are 672 images, and so are 17 steps of 40, two of which are an epoch
    assert found.table["rows"][0]["failed"] == {"0": "the loss is nan", "1": "the loss is nan"}
    assert found.finished
    assert "plain, seeds 0, 1: the loss is nan" in found.page.read_text()


def test_the_time_plan_is_kept_although_the_machine_has_become_faster(
    kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = barlow.Run(tmp_path, TINY, nn.Identity(), barlow.Views(()), finished=False)
    monkeypatch.setattr(module, "pretrain", lambda *_, **__: stopped)
    first = compare(kinds, tmp_path / "new", images=0, minutes=0.1)
    assert not first.finished
    plan = (tmp_path / "new" / "plan.json").read_bytes()
    assert {name: arm["epochs"] for name, arm in json.loads(plan)["arms"].items()} == {"plain": 10, "wide": 5}

    compare(kinds, tmp_path / "new", images=0, minutes=0.1, calibrate=never)
    assert (tmp_path / "new" / "plan.json").read_bytes() == plan


def test_recipes_are_measured_by_turns_and_the_fastest_measurement_of_each_counts(
    kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slow spell within the turns, of another recipe each time, changes no plan."""
    stopped = barlow.Run(tmp_path, TINY, nn.Identity(), barlow.Views(()), finished=False)
    monkeypatch.setattr(module, "pretrain", lambda *_, **__: stopped)
    measured: list[str] = []

    def with_a_slow_spell(recipe: Recipe, data: str, data_root: str | None) -> Calibration:
        measured.append(recipe.name)
        cost = costs(recipe, data, data_root)
        slow = len(measured) in (1, 4)
        return replace(
            cost, seconds_per_step=cost.seconds_per_step * (3 if slow else 1), peak_memory=2**20 * len(measured)
        )

    compare(kinds, tmp_path / "new", images=0, minutes=0.1, calibrate=with_a_slow_spell)
    assert measured == ["plain", "wide"] * TURNS
    arms = json.loads((tmp_path / "new" / "plan.json").read_text())["arms"]
    assert {name: arm["epochs"] for name, arm in arms.items()} == {"plain": 10, "wide": 5}
    assert [arm["calibration"]["peak_memory"] for arm in arms.values()] == [5 * 2**20, 6 * 2**20]


def test_a_measurement_that_is_refused_once_refuses_the_recipe_and_is_not_taken_again() -> None:
    taken: list[str] = []

    def second_time_refused() -> Calibration:
        taken.append("second")
        if len(taken) > 1:
            raise ValueError("no memory")
        return costs(PLAIN, "", None)

    found, refused = calibrate_in_turns({"second": second_time_refused, "fine": partial(costs, PLAIN, "", None)})
    assert list(found) == ["fine"]
    assert refused == {"second": "no memory"}
    assert len(taken) == 2


def test_a_killed_run_goes_on_from_its_checkpoint(kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM after a step of the first run, then the same call: every step of it is taken once."""

    def terminated(*args: Any, **kwargs: Any) -> Any:
        def after_one(*some: Any, **more: Any) -> Iterator[Any]:
            for step, batch in batches_from(*some, **more):
                if step == 1:
                    os.kill(os.getpid(), 15)
                yield step, batch

        with monkeypatch.context() as patch:
            patch.setattr("barlow.training.pretrain.batches_from", after_one)
            return pretrain(*args, **kwargs)

    monkeypatch.setattr(module, "pretrain", terminated)
    stopped = compare(kinds, tmp_path / "new", seeds=1)
    assert not stopped.finished
    assert [row["seeds"] for row in stopped.table["rows"]] == [[], []]
    assert not (tmp_path / "new" / "wide").exists()
    monkeypatch.undo()
    done = compare(kinds, tmp_path / "new", seeds=1)
    assert done.finished
    journal = read_journal(tmp_path / "new" / "plain" / "seed-0" / "journal.jsonl")
    assert [record["step"] for record in journal if record["event"] == "step"] == [1, 2, 3]
    assert any(record["event"] == "resume" for record in journal)


def test_a_calibration_takes_steps_of_the_loop_and_leaves_nothing_behind(
    kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = calibrate(TINY, str(kinds), seconds=0.0)
    assert (found.num_samples, found.batch_size) == (96, 32)
    assert found.steps >= FEWEST
    assert 0.0 < found.seconds_per_step < 1.0
    assert found.probe_seconds > 0.0
    assert list(tmp_path.iterdir()) == []


def test_memory_is_that_of_this_process() -> None:
    before = peak_memory()
    block = bytearray(64 * 2**20)
    assert peak_memory() >= before
    assert before == 0 or before > 50 * 2**20
    del block


def test_a_process_of_its_own_calibrates(kinds: Path) -> None:
    found = calibrate_apart(PLAIN, str(kinds), None, seconds=0.0)
    assert (found.num_samples, found.batch_size) == (96, 32)
    assert found.seconds_per_step > 0.0


def test_a_recipe_that_cannot_run_is_named_by_its_calibration(kinds: Path) -> None:
    with pytest.raises(ValueError, match=r"recipe plain: .*resnet999"):
        calibrate_apart(replace(PLAIN, backbone="resnet999"), str(kinds), None)


def test_the_recipe_differences_on_the_page_name_the_field(finished: module.RecipeComparison) -> None:
    page = finished.page.read_text()
    assert "<code>projector</code>" in page
    assert read_run(finished.folder / "plain" / "seed-0").finished


# --- From weights, beside the weights as they are.


def test_from_weights_from_scratch_and_the_weights_as_they_are_stand_side_by_side(
    kinds: Path, finished: module.RecipeComparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row of the weights is what their own network scores, statistics of BatchNorm included."""
    weights = finished.folder / "plain" / "seed-0" / "checkpoints" / "backbone.safetensors"
    found = compare(kinds, tmp_path / "from", (PLAIN,), start=str(weights), seeds=1)
    rows = {row["name"]: row for row in found.table["rows"]}
    assert {"plain", "plain-from-weights", "raw pixels"} < rows.keys()
    (as_they_are,) = (row for name, row in rows.items() if "weights as they were" in name)
    before = barlow.open_run(finished.folder / "plain" / "seed-0").evaluate(kinds, keep=False)
    assert as_they_are["knn"]["mean"] == pytest.approx(before.knn)
    assert as_they_are["linear"]["mean"] == pytest.approx(before.linear)
    assert rows["plain-from-weights"]["started"]["knn"] == as_they_are["knn"]
    recipes = [barlow.open_run(found.folder / name / "seed-0").recipe for name in ("plain", "plain-from-weights")]
    assert [one.pretrained for one in recipes] == ["", str(weights)]
    assert "plain-from-weights: continued pretraining" in found.page.read_text()
    page = (found.folder / "plain-from-weights" / "seed-0" / "report.html").read_text()
    assert "weights as they were" in page
    assert "same network untrained" not in page


def test_the_weights_of_a_library_come_with_the_first_layer_they_were_trained_with() -> None:
    asked = module._and_from("default", {"one": replace(TINY, backbone="timm:resnet18", stem="small")}, {})
    assert {(name, one.pretrained, one.stem, one.width) for name, one in asked.items()} == {
        ("one", "", "imagenet", 64),
        ("one-from-weights", "default", "imagenet", 64),
    }
    with pytest.raises(ValueError, match="start, pretrained: got both, wanted start='default' alone"):
        module._and_from("default", {"one": TINY}, {"pretrained": "x"})
