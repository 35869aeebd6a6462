"""Two audits: what is beyond chance is said and nothing else, the important first, and unequal settings are named."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from barlow.audits.comparison import compare_figures
from barlow.figures import (
    LARGEST,
    SETTINGS,
    Change,
    Changes,
    Loss,
    LossParts,
    ProjectorShare,
    Quantities,
    Spectrum,
    described,
)
from tests.audits.figures import neutral, quantity

Edits = dict[str, Any]


def compared(b: Edits, a: Edits | None = None) -> Changes:
    return compare_figures(neutral(a), neutral(b))


def row(found: Changes, name: str) -> Change:
    (only,) = (row for row in found.rows if row.name == name)
    return only


def test_the_error_of_a_difference_is_that_of_independent_audits() -> None:
    found = row(
        compared(quantity("augmentation_share", 0.36, 0.024), quantity("augmentation_share", 0.42, 0.01)),
        "augmentation_share",
    )
    assert found.difference == pytest.approx(-0.06)
    assert found.error == pytest.approx(math.sqrt(0.01**2 + 0.024**2))
    assert (found.group, found.a, found.b, found.significant, found.fair) == ("quantity", 0.42, 0.36, True, True)


@pytest.mark.parametrize(("value", "significant"), [(0.4484, True), (0.448, False), (0.392, False), (0.3916, True)])
def test_a_change_is_one_beyond_two_errors(value: float, significant: bool) -> None:
    found = compared(quantity("augmentation_share", value, 0.01))
    assert row(found, "augmentation_share").significant is significant
    assert any(said.startswith("Augmentation share of the features") for said in found.sentences) is significant


def test_equal_audits_have_no_change_and_no_caution() -> None:
    found = compared({})
    assert len(found.sentences) == 1
    assert found.sentences[0].startswith("No clear change: none of ")
    assert not any(row.difference for row in found.rows)


def test_every_kind_of_figure_has_its_rows() -> None:
    found = compared({})
    assert {row.group for row in found.rows} == {"quantity", "spectrum", "loss", "augmentation", "layer"}
    names = [row.name for row in found.rows]
    assert len(set(names)) == len(names)
    for name in (
        *("augmentation_share", "view_information", "num_above_edge", "projector_share", "top_correlation"),
        *("num_active", "waterline", "loss complete", "loss part projector gap", "total effect of shift"),
        *("marginal of contrast", "layer h", "layer z"),
    ):
        assert name in names


def test_what_changed_is_said_in_numbers_with_its_interval() -> None:
    (first, *_) = compared(quantity("augmentation_share", 0.3, 0.01)).sentences
    said = "Augmentation share of the features fell from 42.0% to 30.0%, by 12.0 points [9.2, 14.8]."
    assert first == said
    (first, *_) = compared(quantity("effective_rank", 30.0, 0.3)).sentences
    assert first == "Effective rank rose from 24 to 30, by 6 [5, 7]."


def test_the_important_comes_first_and_of_like_things_only_the_largest_changes() -> None:
    transforms = [
        {"name": f"t{k}", "total_effect": 0.3, "total_effect_error": 0.01, "marginal": None} for k in range(5)
    ]
    later = [{**one, "total_effect": 0.3 - 0.05 * k} for k, one in enumerate(transforms)]
    b = {"augmentations": later, **quantity("lidar", 20.0, 0.5), **quantity("augmentation_share", 0.3, 0.01)}
    found = compared(b, {"augmentations": transforms})
    heads = [said.split(" from ")[0] for said in found.sentences]
    effects = [f"Effect in context of t{k} (of all variance) fell" for k in (4, 3, 2)]
    assert heads == ["Augmentation share of the features fell", "LiDAR rose", *effects]
    assert row(found, "total effect of t1").significant


@pytest.mark.parametrize(
    ("changes", "said", "unfair", "still_fair"),
    [
        ({"settings.num_images": 2000}, "samples 4,000 and 2,000;", "num_above_edge", "augmentation_share"),
        ({"settings.num_views": 4}, "views of each sample 8 and 4;", "top_correlation", "effective_rank"),
        ({"settings.num_features": 128}, "backbone (d) 64 and 128;", "effective_rank", "augmentation_share"),
        ({"settings.width": 64}, "outputs of the projector (D) 32 and 64;", "loss complete", "effective_rank"),
        ({"settings.redundancy_weight": 0.005}, "weight (λ) 0.05 and 0.005;", "waterline", "mean_correlation"),
        ({"settings.batch_size": 64}, "batch size (N) 256 and 64;", "loss batch", "loss complete"),
        ({"settings.normalization": "raw"}, "of the loss pearson and raw;", "loss part projector gap", "rank"),
        ({"subject.data": "fashion"}, "the samples differ (digits and fashion)", "augmentation_share", None),
        ({"subject.recipe.views": "cifar"}, "the augmentations differ (byol-iid and cifar)", "layer h", None),
    ],
)  # fmt: skip
def test_unequal_settings_are_named_and_spoil_what_they_move(
    changes: Edits, said: str, unfair: str, still_fair: str | None
) -> None:
    found = compared({**changes, **quantity("effective_rank", 30.0, 0.1)})
    assert found.sentences[0].startswith("Not a fair comparison: ")
    assert said in found.sentences[0]
    assert not row(found, unfair).fair
    if still_fair is None:
        assert not any(row.fair for row in found.rows)
    else:
        assert row(found, still_fair).fair
    rank_told = any("Effective rank rose" in sentence for sentence in found.sentences)
    assert rank_told is row(found, "effective_rank").fair


def test_every_setting_that_spoils_figures_says_so_and_every_figure_depends_on_such_settings() -> None:
    parts = (Quantities, Spectrum, Loss, LossParts, ProjectorShare)
    about = [LARGEST, *(about for part in parts for about in described(part).values())]
    assert {name for one in about for name in one.depends_on} == {name for name, one in SETTINGS.items() if one.moves}
    rows = {row.title for row in compared({}).rows}
    for one in about:
        assert not one.depends_on or any(one.title in title for title in rows), one


def test_a_setting_that_moves_nothing_that_is_there_is_not_mentioned() -> None:
    bare: Edits = {"loss": None, "projector_share": None}
    found = compared({**bare, "settings.batch_size": 64, **quantity("skew_share", math.nan, None)}, bare)
    assert not any("batch size" in said for said in found.sentences)


def test_other_transforms_are_other_augmentations_even_without_a_recipe() -> None:
    bare: Edits = {"subject.recipe": {}}
    found = compared({**bare, "augmentations.1.name": "blur"}, bare)
    assert "the augmentations differ (shift, contrast and shift, blur)" in found.sentences[0]


def test_warnings_that_came_and_went_are_said_only_where_both_could_be_asked() -> None:
    one: Edits = {"spectrum.between_rank": {"value": 1, "low": 1, "high": 1}}
    collapsed = {**quantity("effective_rank", 1.1, 0.05), **one}
    assert compared(collapsed).sentences[0].startswith("New warning. The features vary in 1.1 [1, 1.2]")
    assert compared({}, collapsed).sentences[0].startswith("A warning is gone. Before: The features vary in 1.1")
    softer = compared({**quantity("effective_rank", 1.9, 0.2), **one}, collapsed).sentences[0]
    assert softer.startswith("No longer a warning. The features vary in 1.9")
    unasked = compared({"quantities.effective_rank": None}, collapsed)
    assert not any("warning" in said.lower() for said in unasked.sentences)


def test_losses_are_compared_by_their_errors_and_told_as_open_without_one() -> None:
    found = compared({"loss.complete": 2.9, "loss.limit": 2.4001, "spectrum.waterline": 0.31, "loss.floor": 0.1})
    complete = row(found, "loss complete")
    assert complete.significant
    assert complete.error == pytest.approx(math.hypot(0.04, 0.04))
    assert row(found, "loss part projector gap").error == pytest.approx(math.hypot(0.03, 0.03))
    assert found.sentences[0] == "Complete loss fell from 3.2 to 2.9, by 0.3 [0.187, 0.413]."
    assert (
        found.sentences[-1] == "Differences whose error is not known: waterline 0.3 to 0.31; floor of a batch 0 to 0.1."
    )
    unknown = {"loss.complete_error": None}
    found = compared({"loss.complete": 2.9, **unknown}, unknown)
    assert found.sentences[0].startswith("No clear change")
    assert found.sentences[-1] == "Differences whose error is not known: complete loss 3.2 to 2.9."


def test_a_count_that_no_block_of_images_moves_is_not_called_a_clear_change() -> None:
    found = compared({"spectrum.num_active": 31.0})
    assert row(found, "num_active").significant is None


def test_a_comparison_survives_json() -> None:
    found = compared(quantity("augmentation_share", 0.3, 0.01))
    read = json.loads(json.dumps(found.to_dict()))
    assert Changes(tuple(Change(**fields) for fields in read["rows"]), tuple(read["sentences"])) == found


def test_nothing_in_common_is_said_and_no_rows() -> None:
    found = compare_figures({}, neutral())
    assert found.rows == ()
    assert found.sentences == (
        "No figure can be compared whose error is known in both audits: change and chance cannot be told apart.",
    )


JUNK: st.SearchStrategy[Any] = st.sampled_from([None, math.nan, "text", [], {}, [None], -1.0, [{"name": 3}]])
PARTS = st.sampled_from(sorted([*neutral(), *(f"loss.{key}" for key in neutral()["loss"]), "spectrum.error"]))


@given(PARTS, JUNK, PARTS)
@settings(max_examples=60, deadline=None)
def test_figures_that_are_missing_or_of_the_wrong_kind_never_crash(place: str, junk: Any, gone: str) -> None:
    a, b = neutral({place: junk}), neutral()
    b.pop(gone, None)
    for found in (compare_figures(a, b), compare_figures(b, a)):
        assert found.sentences
        assert all(math.isfinite(row.difference) for row in found.rows)
