"""A method of one's own goes through pretraining, resuming, embedding and the audit, and is recorded by its name."""

import json
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import barlow
from barlow.evaluation.arms import evaluate_arms
from barlow.report.record import command_of
from barlow.report.run_folder import read_run
from barlow.runs.folder import RecipeChangedError
from barlow.training.journal import read_journal
from barlow.training.machine import Machine
from tests.runs.test_pretrain import tiny, two_kinds

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_method.py"
EXAMPLES: dict[str, Any] = runpy.run_path(str(EXAMPLE))
SpectralContrastive: Any = EXAMPLES["SpectralContrastive"]


class Renamed(SpectralContrastive):  # type: ignore[misc]
    """The same under another name."""


def images() -> torch.Tensor:
    return two_kinds(96, 0)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    return tiny(images(), tmp_path_factory.mktemp("own") / "run", method=SpectralContrastive, options={"radius": 2})


def test_the_loss_of_the_example_is_the_double_sum_of_its_paper() -> None:
    z_a, z_b = torch.randn(2, 5, 3, dtype=torch.float64)
    terms = EXAMPLES["spectral_contrastive_loss"](z_a, z_b)
    pairs = [(n, m) for n in range(5) for m in range(5)]
    alignment = -2 * sum(float(z_a[n] @ z_b[n]) for n in range(5)) / 5
    others = sum(float(z_a[n] @ z_b[m]) ** 2 for n, m in pairs if n != m) / 20
    assert float(terms.total) == pytest.approx(alignment + others)
    assert {name: float(part) for name, part in terms.parts.items()} == pytest.approx(
        {"alignment": alignment, "others": others}
    )


def test_it_is_recorded_by_its_name_with_all_of_its_options(run: barlow.Run) -> None:
    written = json.loads((run.folder / "recipe.json").read_text())
    assert written["recipe"]["method"] == "own:SpectralContrastive"
    assert written["recipe"]["options"] == {"radius": 2}  # nothing is left of the recipe's own method
    assert written["data"]["objects"] == {"method": "SpectralContrastive"}
    parts = next(r for r in read_journal(run.folder / "journal.jsonl") if r["event"] == "step")["parts"]
    assert set(parts) == {"alignment", "others"}
    command = command_of(read_run(run.folder))
    assert command.startswith("barlow.pretrain(data, recipe='digits', ")
    assert "method=<SpectralContrastive>" in command
    assert "options={'radius': 2}" in command
    page = (run.folder / "report.html").read_text()
    assert "SpectralContrastive on" in page
    assert "own:SpectralContrastive on" not in page


def test_defaults_are_recorded_too_so_that_a_change_of_them_is_noticed(tmp_path: Path) -> None:
    given: dict[str, Any] = {"method": SpectralContrastive, "epochs": 1}
    assert tiny(images(), tmp_path / "run", **given).recipe.options == {"radius": 1.0}
    assert tiny(images(), tmp_path / "run", options={"radius": 1.0}, **given).finished
    with pytest.raises(RecipeChangedError, match=r"options\.radius was 1\.0, now 3\.0"):
        tiny(images(), tmp_path / "run", options={"radius": 3.0}, **given)


def test_the_same_call_goes_on_and_another_class_is_refused_with_both_names(run: barlow.Run) -> None:
    again = tiny(images(), run.folder, method=SpectralContrastive, options={"radius": 2})
    assert again.finished
    assert [r["event"] for r in read_journal(run.folder / "journal.jsonl")].count("finish") == 1
    with pytest.raises(RecipeChangedError, match=r"method was 'own:SpectralContrastive', now 'own:Renamed'"):
        tiny(images(), run.folder, method=Renamed, options={"radius": 2})
    with pytest.raises(ValueError, match="was given its data and method as an object; call pretrain again"):
        barlow.resume(run.folder)
    with pytest.raises(ValueError, match="method: got 'own:SpectralContrastive', wanted the class or function itself"):
        tiny(images(), run.folder, recipe=run.recipe)


def test_features_need_only_the_backbone_and_the_audit_asks_for_the_method(run: barlow.Run) -> None:
    opened = barlow.open_run(run.folder)
    torch.testing.assert_close(opened.embed(images()), run.embed(images()))
    look: dict[str, Any] = {"num_images": 64, "num_views": 4, "seconds": 1.0, "mlp": False}
    with pytest.raises(ValueError, match=r"open_run\(folder, method=SpectralContrastive\)"):
        barlow.audit(opened, images(), **look)
    with_method = barlow.open_run(run.folder, method=SpectralContrastive)
    found = [barlow.audit(one, images(), **look) for one in (run, with_method)]
    for audit in found:
        layers = [(layer["name"], layer["num_features"]) for layer in audit.figures["layers"]]
        assert layers[-2:] == [("projector.1", 16), ("z", 16)]
        assert audit.figures["settings"]["width"] == 16
    with pytest.raises(ValueError, match=r"method: got Renamed, but the run in .* trained with own"):
        barlow.open_run(run.folder, method=Renamed)


@pytest.mark.usefixtures("as_users_call_it")
def test_what_is_no_method_is_refused_before_the_folder_is_the_runs(tmp_path: Path) -> None:
    def no_method(backbone: nn.Module, head: barlow.HeadSpec, num_features: int) -> nn.Module:
        return nn.Sequential(backbone, head.build(num_features))

    for wrong, message in (
        (no_method, "method: no_method made a Sequential, wanted a barlow.Method"),
        (3, "method: got a int, wanted the class or a function"),
        (SpectralContrastive(nn.Identity(), barlow.HeadSpec("2"), 4), "got a SpectralContrastive, wanted the class"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny(images(), tmp_path / "run", method=wrong)
    with pytest.raises(ValueError, match="radius: got 'wide', wanted a number"):
        tiny("no such data", tmp_path / "run", method=SpectralContrastive, options={"radius": "wide"})
    assert not (tmp_path / "run").exists()


def test_the_example_learns_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert EXAMPLE.read_text().count("\n") < 45
    monkeypatch.setattr("barlow.evaluation.scores.evaluate_arms", partial(evaluate_arms, draws=1))
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "run")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    rows = json.loads((tmp_path / "run" / "summary.json").read_text())["evaluation"]["rows"]
    assert rows[0]["linear"] > rows[1]["linear"] + 0.03
    assert f"trained: linear {rows[0]['linear']:.3f}" in capsys.readouterr().out
    assert barlow.open_run(tmp_path / "run").recipe.options == {"radius": 3.0}


def test_a_recipe_by_name_may_be_trained_with_another_method_by_name(tmp_path: Path) -> None:
    run = tiny(images(), tmp_path / "run", method="simclr", options={"temperature": 0.3}, epochs=1)
    assert (run.recipe.method, run.recipe.options) == ("simclr", {"temperature": 0.3})
    assert barlow.pretrain(images(), recipe=run.recipe, out=run.folder, machine=Machine(quiet=True)).finished
