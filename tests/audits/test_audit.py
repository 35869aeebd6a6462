"""The audit against data of known truth, and its ways in and out."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import barlow
from barlow.audits.audit import Audit, audit, open_audit
from barlow.data.arrays import ArraySource
from barlow.figures import Figures, Verdict
from barlow.images.data.shapes import ShapesSource, shape_views
from barlow.seams import Views
from tests.audits.figures import neutral
from tests.audits.shift import Shift
from tests.audits.small_run import small_run

small_audit = partial(audit, num_images=300, num_views=3)
tiny_audit = partial(audit, num_images=128, num_views=2)


def centroid(pictures: Tensor) -> Tensor:
    """Where the light is: a feature of position alone."""
    side = pictures.shape[-1]
    light: Tensor = (pictures - pictures.amin(dim=(1, 2, 3), keepdim=True))[:, 0] + 1e-6
    axis = torch.linspace(-1, 1, side)
    total = light.sum(dim=(1, 2))
    found: Tensor = torch.stack([(light.sum(dim=1) @ axis) / total, (light.sum(dim=2) @ axis) / total], dim=1)
    return found


def gaussian_views(share: float, n: int = 400, k: int = 4, d: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(n, 1, d, generator=generator) * (1 - share) ** 0.5
    noise = torch.randn(n, k, d, generator=generator) * share**0.5
    features: Tensor = image + noise
    return features


def named(found: Audit, name: str) -> Verdict | None:
    return next((verdict for verdict in found.verdicts if verdict.name == name), None)


def test_a_backbone_that_sees_position_only_is_found_out_on_shapes() -> None:
    source = ShapesSource(600).as_factors()
    found = small_audit(centroid, source, views=shape_views())
    assert found.figures["quantities"]["augmentation_share"]["value"] > 0.95  # the kind says nothing of the position
    effects = {row["name"]: row["total_effect"] for row in found.figures["augmentations"]}
    assert effects["position"] > 0.9
    assert all(effect < 0.1 for name, effect in effects.items() if name != "position")
    verdict = named(found, "augmentation_share")
    assert verdict is not None
    assert verdict.level == "warning"
    assert "position" in verdict.sentence


def test_the_same_backbone_is_invariant_where_position_is_not_drawn_anew() -> None:
    source = ShapesSource(600).as_factors()
    found = small_audit(centroid, source, views=shape_views(redraw=("brightness",)))
    assert found.figures["quantities"]["augmentation_share"]["value"] < 0.02
    assert min(found.spectrum["plug_in"]) > 0.95
    verdict = named(found, "augmentation_share")
    assert verdict is None or verdict.level == "good"


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_features_that_exist_already_give_the_share_they_were_made_with(share: float) -> None:
    found = audit(gaussian_views(share), redundancy_weight=0.05)
    quantity = found.figures["quantities"]["augmentation_share"]
    assert abs(quantity["value"] - share) < 4 * quantity["error"]
    assert found.figures["subject"]["kind"] == "features"
    mean = found.figures["quantities"]["mean_correlation"]
    assert abs(mean["value"] - (1 - share)) < 0.05
    assert found.figures["spectrum"]["num_above_edge"] == 6


def vectors(n: int = 200) -> ArraySource:
    return ArraySource(torch.randn(n, 4, generator=torch.Generator().manual_seed(0)))


SAME = Shift(0.3)


def warnings_of(target: object, views: Views) -> str:
    return " | ".join(tiny_audit(target, vectors(), views=views).figures["warnings"])


def test_warnings_name_chance_and_different_pipelines_and_are_silent_without_them() -> None:
    same = Views((SAME, SAME))

    def batchwise(view: Tensor) -> Tensor:
        return view - view.mean(dim=0)

    assert "others of its batch" in warnings_of(batchwise, same)
    assert "its chance counts" in warnings_of(lambda view: view + 0.1 * torch.randn_like(view), same)
    assert "different pipelines" in warnings_of(lambda view: view, Views((SAME, Shift(1.0))))
    assert warnings_of(lambda view: view, same) == ""


def test_too_few_images_are_warned_of() -> None:
    few = audit(gaussian_views(0.3, n=40, d=30))
    assert any("mostly chance" in warning for warning in few.figures["warnings"])
    enough = audit(gaussian_views(0.3, n=400, d=6))
    assert not any("mostly chance" in warning for warning in enough.figures["warnings"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    return small_run(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="module")
def of_run(run: barlow.Run) -> Audit:
    return barlow.audit(run, num_views=4)


def test_the_loss_of_a_run_is_taken_apart_without_a_rest(of_run: Audit, run: barlow.Run) -> None:
    loss = of_run.figures["loss"]
    assert sum(part["value"] for part in loss["parts"]) == pytest.approx(loss["batch"])
    recipe = run.recipe
    floor = barlow.batch_floor(recipe.batch_size, 32, float(recipe.options["redundancy_weight"]))
    assert loss["floor"] == pytest.approx(floor)
    assert floor <= loss["limit"]
    assert (loss["limit_error"] > 0, loss["limit_cross_fit"]) == (True, None)
    assert loss["complete"] < loss["start"]
    journal = (run.folder / "journal.jsonl").read_text().splitlines()
    last = [json.loads(line)["loss"] for line in journal if '"step"' in line and "loss" in line][-1]
    assert 0.5 * last < loss["batch"] < 2 * last  # what training showed, in evaluation mode


def kinds(part: Any) -> Any:
    """What is there, by key: numbers, lists or nothing. Of a list of records the first."""
    if isinstance(part, dict):
        return {key: kinds(value) for key, value in part.items()}
    if isinstance(part, list) and part and isinstance(part[0], dict):
        return [kinds(row) for row in part]
    number = isinstance(part, (int, float)) and not isinstance(part, bool)
    return "number" if number else type(part).__name__


def test_the_figures_that_verdicts_are_tested_on_are_those_of_an_audit(of_run: Audit) -> None:
    real, made_up = kinds(of_run.figures), kinds(neutral())
    assert made_up.keys() <= real.keys()
    for part in ("settings", "quantities", "spectrum", "loss", "projector_share"):
        assert made_up[part] == real[part], part
    for part in ("layers", "augmentations"):
        for row in made_up[part]:
            assert row.items() <= real[part][-1].items(), part


def test_the_projectors_share_is_measured_on_the_untrained_backbone(of_run: Audit) -> None:
    share = of_run.figures["projector_share"]
    assert share["start"] == pytest.approx(of_run.figures["loss"]["start"])
    assert share["end"] == pytest.approx(of_run.figures["loss"]["complete"])
    for kind in ("linear", "mlp"):
        assert share[kind]["loss"] < share["start"]
        expected = (share["start"] - share[kind]["loss"]) / (share["start"] - share["end"])
        assert share[kind]["share"] == pytest.approx(expected)
    assert [layer["name"] for layer in of_run.figures["layers"]][-3:] == ["h", "projector.1", "z"]


def test_an_audit_is_saved_opened_and_put_on_a_page(of_run: Audit, tmp_path: Path) -> None:
    page = of_run.save(tmp_path / "audit")
    assert "Invariance spectrum" in page.read_text(encoding="utf-8")
    again = open_audit(page.parent)
    assert again.figures == json.loads(json.dumps(of_run.figures))
    written = Figures.from_json(again.figures).to_json()
    assert {part: content for part, content in again.figures.items() if content != written[part]} == {}
    assert again.verdicts == of_run.verdicts
    assert again.verdicts
    with pytest.raises(ValueError, match=r"folder: no audit\.json"):
        open_audit(tmp_path)


def test_the_same_call_gives_the_same_figures(run: barlow.Run) -> None:
    first, second = (tiny_audit(run, mlp=False).figures for _ in range(2))
    assert first["quantities"] == second["quantities"]
    assert first["loss"] == second["loss"]


def test_a_run_is_audited_as_it_was_before_training(of_run: Audit, run: barlow.Run) -> None:
    before = tiny_audit(run, untrained=True)
    assert before.figures["subject"]["name"].endswith("untrained")
    assert before.figures["loss"]["complete"] > of_run.figures["loss"]["complete"]
    assert before.figures["projector_share"] is None
    with pytest.raises(ValueError, match="untrained: only of a run"):
        audit(gaussian_views(0.3), untrained=True)


def test_what_changed_between_two_audits_is_said(of_run: Audit, run: barlow.Run) -> None:
    untrained = tiny_audit(lambda view: view.flatten(1)[:, :16], ArraySource(torch.rand(200, 1, 8, 8)))
    changed = barlow.compare_audits(untrained, of_run)
    assert any(row.name == "augmentation_share" for row in changed.rows)
    assert changed.sentences


def test_arguments_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="num_views: got 1"):
        audit(gaussian_views(0.3), num_views=1)
    with pytest.raises(ValueError, match=r"data: .* has no data of its own"):
        audit("timm:resnet18")
    with pytest.raises(ValueError, match=r"features: got torch.int64 of shape \(3, 4\)"):
        audit(torch.ones(3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="target: got int"):
        audit(3, vectors(), views=Views((SAME, SAME)))
