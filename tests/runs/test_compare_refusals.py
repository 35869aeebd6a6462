"""One recipe that cannot run leaves the others alone, and table, page and terminal say why.

Also: the machine that was named reaches every run.
"""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from torch import nn

import barlow
from barlow.cli.commands import main
from barlow.recipes import Recipe
from barlow.runs import compare as module, timing as calibration
from barlow.runs.folder import RecipeChangedError
from barlow.runs.timing import SECONDS, Calibration
from barlow.training.machine import Machine
from tests.runs.test_compare import PLAIN, TINY, WIDE, compare, costs

DATA = Path("digits")


class Trainer:
    """Stands for `pretrain`: notes what it is asked for, refuses one recipe, learns nothing."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.asked: list[tuple[str, int]] = []
        self.machines: list[Machine] = []

    def __call__(self, data: str, *, recipe: Recipe, out: Path, machine: Machine, **_: Any) -> barlow.Run:
        self.asked.append((recipe.name, recipe.seed))
        self.machines.append(machine)
        if recipe.name == self.refused:
            raise ValueError("projector: got '1-1', wanted wider")
        return barlow.Run(out, recipe, nn.Identity(), barlow.Views(()), finished=True)


def refuse_wide(recipe: Recipe, data: str, data_root: str | None) -> Calibration:
    """As a process of its own says it."""
    if recipe.name == "wide":
        raise ValueError("recipe wide: batch_size: got 99, wanted less")
    return costs(recipe, data, data_root)


def test_a_recipe_that_its_calibration_refuses_is_left_out_with_its_reason_and_tried_again_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, out = Trainer(), tmp_path / "new"
    monkeypatch.setattr(module, "pretrain", trainer)
    recipes = (WIDE, replace(PLAIN, epochs=7), replace(TINY, name="third"))
    found = compare(DATA, out, recipes, images=0, calibrate=refuse_wide)
    assert found.finished
    assert trainer.asked == [("plain", 0), ("third", 0), ("plain", 1), ("third", 1)]
    rows = {row["name"]: row for row in found.table["rows"]}
    reason = "batch_size: got 99, wanted less"
    assert rows["wide"]["failed"] == {"0": reason, "1": reason}
    assert rows["plain"]["failed"] == rows["third"]["failed"] == {}
    assert rows["third"]["images"] == 7 * 96  # those of the first recipe that can run
    page = found.page.read_text()
    assert f"wide, seeds 0, 1: {reason}" in page
    assert "Every run sees 672 samples" in page
    assert list(json.loads((out / "plan.json").read_text())["arms"]) == ["plain", "third"]
    compare(DATA, out, recipes, images=0)
    assert ("wide", 0) in trainer.asked


def test_a_recipe_that_is_refused_when_it_is_trained_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(refused="plain")
    monkeypatch.setattr(module, "pretrain", trainer)
    found = compare(DATA, tmp_path / "new")
    assert trainer.asked == [("plain", 0), ("wide", 0), ("plain", 1), ("wide", 1)]
    assert found.finished
    assert [len(row["failed"]) for row in found.table["rows"]] == [2, 0]
    assert "plain, seeds 0, 1: projector: got &#x27;1-1&#x27;, wanted wider" in found.page.read_text()


def test_a_comparison_that_an_older_version_began_goes_on_where_a_recipe_has_gained_a_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that the plan does not know has its default there: a recipe that has another value is refused."""
    monkeypatch.setattr(module, "pretrain", Trainer())
    path = compare(DATA, tmp_path / "new").folder / "plan.json"
    plan = json.loads(path.read_text())
    for arm in plan["arms"].values():
        del arm["asked"]["warmup_start"]
    path.write_text(json.dumps(plan))
    assert compare(DATA, tmp_path / "new").finished
    with pytest.raises(RecipeChangedError, match=r"plain: warmup_start was 0.0, now 0.5"):
        compare(DATA, tmp_path / "new", (replace(PLAIN, warmup_start=0.5), WIDE))


def test_when_no_recipe_can_run_the_call_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    def refuse(recipe: Recipe, *_: Any) -> Calibration:
        raise ValueError(f"recipe {recipe.name}: width: got {recipe.projector}")

    def no_data(*_: Any) -> Calibration:
        raise ValueError("data: got 'digits'")

    with pytest.raises(ValueError, match=r"^plain: width: got 16-16; wide: width: got 32-32$"):
        compare(DATA, tmp_path / "new", calibrate=refuse)
    with pytest.raises(ValueError, match=r"^data: got 'digits'$"):
        compare(DATA, tmp_path / "new", calibrate=no_data)
    assert not (tmp_path / "new").exists()


def test_the_accelerator_of_the_command_reaches_calibration_and_runs_on_one_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, calibrated = Trainer(refused="digits"), []

    def measure(recipe: Recipe, data: str, root: str | None, *, accelerator: str, **how: object) -> Calibration:
        calibrated.append((accelerator, how["seconds"]))
        return costs(recipe, data, root)

    monkeypatch.setattr(module, "pretrain", trainer)
    monkeypatch.setattr(module, "calibrate_apart", measure)
    command = ["compare", "digits", "--recipes", "digits", "--seeds", "2", "--images", "96", "--quiet"]
    with pytest.raises(SystemExit) as status:
        main([*command, "--accelerator", "cpu", "--out", str(tmp_path / "new")])
    assert status.value.code == 0
    assert calibrated == [("cpu", SECONDS)]  # once: no budget of time hangs on it
    assert trainer.machines == [Machine(accelerator="cpu", devices="1", quiet=True)] * 2
    assert "digits, seeds 0, 1: projector: got '1-1', wanted wider\n" in capsys.readouterr().out
    given = Machine(accelerator="mps", devices="8", num_nodes=2, log_to="tensorboard", quiet=True)
    compare(DATA, tmp_path / "other", machine=given)
    assert trainer.machines[2:] == [replace(given, devices="1", num_nodes=1)] * 4


def test_a_process_of_its_own_calibrates_on_the_accelerator_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(command: list[str], **given: Any) -> CompletedProcess[str]:
        monkeypatch.setattr("sys.stdin", StringIO(given["input"]))
        try:
            calibration.main()
        except ValueError as error:
            return CompletedProcess(command, 1, "", f"Traceback\nValueError: {error}\n")
        raise AssertionError("calibrated on something else")

    monkeypatch.setattr("barlow.runs.timing.subprocess.run", here)
    with pytest.raises(ValueError, match=r"^recipe plain: accelerator: got 'gpuu', wanted one of auto"):
        calibration.calibrate_apart(PLAIN, "digits", None, seconds=0.0, accelerator="gpuu")


def test_an_option_that_one_of_the_recipes_does_not_have_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recipe simclr: redundancy_weight: simclr has no such option; it has temp"):
        compare(DATA, tmp_path / "new", ("digits", "simclr"), redundancy_weight=3)
    with pytest.raises(ValueError, match=r"recipe plain: temperature: barlow_twins has no such option"):
        compare(DATA, tmp_path / "new", options={"temperature": 0.2})
    assert not (tmp_path / "new").exists()


def test_numbers_that_a_comparison_settles_itself_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"seed: got 3, wanted seeds=\[3\]"):
        compare(DATA, tmp_path / "new", seed=3)
    with pytest.raises(ValueError, match="epochs: got 5 beside minutes or images"):
        compare(DATA, tmp_path / "new", epochs=5)
    assert not (tmp_path / "new").exists()
