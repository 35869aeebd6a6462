"""The sentences say what the numbers say: gains, losses of accuracy, noise, and what is not known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barlow.report.run_folder import RunFiles, read_run
from barlow.report.words import (
    epochs,
    excess,
    last_epoch,
    made_worse,
    nothing_learnt,
    seconds_of_training,
    sentences,
    subtitle,
    without_labels,
)
from tests.report.synthetic_run import DIGITS, FLOOR, few, records, summary, write_run


def run_with(tmp_path: Path, trained: dict[str, Any]) -> RunFiles:
    figures = summary()
    for row in figures["evaluation"]["rows"]:
        if row["features"] == "trained":
            row |= trained
    return read_run(write_run(tmp_path, figures=figures, arrays={}))


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        (0.931, "untrained 85.9%: training added 7.2 points."),
        (0.801, "untrained 85.9%: training cost 5.8 points."),
        (0.865, "untrained 85.9%: 0.6 points between trained and untrained is within the spread of the draws."),
    ],
)
def test_a_gain_a_loss_and_noise_are_told_apart(mean: float, said: str, tmp_path: Path) -> None:
    assert sentences(run_with(tmp_path, {"few_labels": few(mean, 0.008)}))[1].endswith(said)


def test_the_final_loss_is_the_mean_of_the_last_epoch(tmp_path: Path) -> None:
    journal = records()
    losses = [record["loss"] for record in journal if record["event"] == "step"]
    run = read_run(write_run(tmp_path, journal=journal, arrays={}))
    assert last_epoch(run, "loss") == pytest.approx(sum(losses[-20:]) / 20)
    assert excess(run) == pytest.approx(sum(losses[-20:]) / 20 - FLOOR)


def test_a_floor_of_zero_is_said_and_not_called_a_limit(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, journal=records(floor=0.0), arrays={}))
    assert sentences(run)[0].endswith("at this batch size its floor is 0.")
    assert "no network" not in sentences(run)[0]


def test_the_error_of_the_test_data_is_one_binomial_standard_error(tmp_path: Path) -> None:
    said = sentences(run_with(tmp_path, {"linear": 0.9}))[2]
    assert "reaches 90.0% (untrained 94.8%, raw pixels 96.2%)" in said
    assert "359 test samples fix that to about ± 1.6 points" in said  # sqrt(.9 * .1 / 359) = .0158


def test_features_of_one_dimension_are_called_close_to_collapse(tmp_path: Path) -> None:
    figures = summary()
    figures["label_free"]["effective_rank"] = 1.3
    run = read_run(write_run(tmp_path, figures=figures, arrays={}))
    assert "1.3 effective dimensions of 128 (untrained 9.2), close to collapse" in sentences(run)[3]


def test_the_pause_before_a_resume_is_no_training_time(tmp_path: Path) -> None:
    journal: list[dict[str, Any]] = [
        {"event": "start", "time": 0.0, "steps_per_epoch": 1},
        {"event": "step", "time": 10.0, "step": 1, "loss": 1.0},
        {"event": "resume", "time": 5000.0, "step": 1},
        {"event": "finish", "time": 5004.0, "step": 2, "seconds": 4.0},
    ]
    run = read_run(write_run(tmp_path, journal=journal, figures={}, arrays={}))
    assert seconds_of_training(run) == 14.0


def test_evaluations_after_the_end_are_no_training_time(tmp_path: Path) -> None:
    journal: list[dict[str, Any]] = [
        {"event": "start", "time": 0.0, "steps_per_epoch": 1},
        {"event": "resume", "time": 5000.0, "step": 0},
        {"event": "finish", "time": 5004.0, "step": 2, "seconds": 4.0},
        {"event": "evaluation", "time": 5010.0, "seconds": 6.0},
        {"event": "evaluation", "time": 9000.0, "rows": [], "seconds": 5.0},
    ]
    run = read_run(write_run(tmp_path, journal=journal, figures={}, arrays={}))
    assert seconds_of_training(run) == 4.0


def test_an_unfinished_run_says_how_far_it_came(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, journal=records()[:101], figures={}, arrays={}))
    assert epochs(run) == "4.9 of 30 epochs"
    assert "this run stands at" in sentences(run)[0]


def test_a_projector_without_a_width_gives_no_claim_about_features(tmp_path: Path) -> None:
    recipe = replace(DIGITS, projector="none")
    run = read_run(write_run(tmp_path, journal=records(recipe), arrays={}, recipe=recipe))
    assert sentences(run)[0].startswith("The loss began at")


def test_samples_that_are_no_pictures_are_not_called_images_and_their_network_goes_by_its_class(tmp_path: Path) -> None:
    recipe = replace(DIGITS, backbone="own:Recurrent", views="own:Crops")
    journal = records(recipe)
    del journal[0]["data"]["image_shape"]
    run = read_run(write_run(tmp_path, journal=journal, arrays={}, recipe=recipe))
    assert subtitle(run).startswith("Recurrent, 2.8 million parameters, pretrained without labels on 1,438 samples,")
    assert "between samples, the rest between views of one sample" in sentences(run)[3]


# --- A run that was in vain says so, and one that was not does not.


GOOD = {
    "mean_correlation": 0.8,
    "mean_correlation_untrained": 0.5,
    "directions_above_chance": 40.0,
    "backbone_limit": 20.0,
    "backbone_limit_untrained": 60.0,
}


def test_a_run_that_became_more_invariant_has_learnt() -> None:
    assert nothing_learnt(GOOD) == ""
    assert nothing_learnt({}) == ""


def test_no_direction_beyond_chance_is_nothing_whatever_the_untrained_network_had() -> None:
    said = nothing_learnt(GOOD | {"directions_above_chance": 0.0})
    assert said.startswith("Nothing was learnt")
    assert "agreement of the strongest directions 0.8, untrained 0.5" in said


@pytest.mark.parametrize(
    ("changed", "in_vain"),
    [
        ({"mean_correlation": 0.49, "backbone_limit": 61.0}, True),
        ({"mean_correlation": 0.49}, False),  # fewer directions agree, and those better: the limit fell
        ({"backbone_limit": 61.0}, False),
        ({"mean_correlation": 0.5, "backbone_limit": 60.0}, True),
    ],
)
def test_features_that_agree_no_better_than_before_are_said_to(changed: dict[str, float], in_vain: bool) -> None:
    assert nothing_learnt(GOOD | changed).startswith("Training has not helped") == in_vain


def test_methods_without_a_limit_are_judged_by_the_agreement_alone() -> None:
    figures = {name: value for name, value in GOOD.items() if "limit" not in name}
    assert nothing_learnt(figures) == ""
    assert nothing_learnt(figures | {"mean_correlation": 0.4})


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "Learnt: two views"),
        ({"mean_correlation": 0.53, "backbone_limit": 59.0}, "Barely learnt: two views"),
        ({"mean_correlation": 0.53, "backbone_limit": 30.0}, "Learnt: two views"),
        ({"mean_correlation": 0.4, "backbone_limit": 61.0}, "Training has not helped"),
        ({"directions_above_chance": 0.0}, "Nothing was learnt"),
    ],
)
def test_what_came_of_a_run_is_said_without_labels(changed: dict[str, float], verdict: str) -> None:
    assert without_labels(GOOD | {"backbone_limit_untrained": 60.0} | changed).startswith(verdict)
    assert without_labels({}) == ""


def test_a_page_leads_to_the_audit_and_calls_a_falling_rank_normal(tmp_path: Path) -> None:
    figures = summary()
    figures["label_free"] |= GOOD | {"effective_rank": 19.0, "effective_rank_untrained": 74.0}
    said = sentences(read_run(write_run(tmp_path, figures=figures, arrays={})))
    assert said[0].startswith("Learnt: ")
    assert "`barlow audit`" in said[-1]
    assert any("fewer than before, as is normal" in sentence for sentence in said)
    figures["label_free"] |= {"effective_rank": 80.0}
    risen = sentences(read_run(write_run(tmp_path / "risen", figures=figures, arrays={})))
    assert not any("as is normal" in sentence for sentence in risen)


@pytest.mark.parametrize(
    ("trained", "before", "said"),
    [
        (0.80, 0.86, "Pretraining made the weights worse: 86.0% as they were, 80.0% now"),
        (0.855, 0.86, ""),  # within the spread of the draws
        (0.90, 0.86, ""),
    ],
)
def test_weights_that_became_worse_are_said_first_and_plainly(
    trained: float, before: float, said: str, tmp_path: Path
) -> None:
    figures = summary()
    means = {"trained": trained, "untrained": before}
    for row in figures["evaluation"]["rows"][:2]:
        row["few_labels"] = few(means[row["features"]], 0.01)
    run = read_run(write_run(tmp_path, figures=figures, arrays={}))
    assert made_worse(run) == ""  # it started from nothing
    run = replace(run, recipe={**run.recipe, "pretrained": "default"})
    assert made_worse(run).startswith(said)
    assert bool(made_worse(run)) == bool(said)
    assert (sentences(run)[0] == made_worse(run)) == bool(said)
    assert "weights as they were 86.0%" in " ".join(sentences(run))
