"""Every verdict appears when its one figure changes, goes away on the other side, and is careful in between."""

import json
import math
import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings, strategies as st

from barlow.audits.verdicts.table import CHECKS, answers, verdicts
from barlow.figures import Figures, Level, MissingFigureError, Verdict, needed
from tests.audits.figures import neutral, quantity

Changes = dict[str, Any]
DEEP = {"subject.recipe.projector": "2048-2048-32"}
FREE = {"loss.limit": 0.0, "loss.limit_cross_fit": 0.0, "loss.limit_error": 0.0, "loss.limit_cross_fit_error": 0.0}
RAW = {"settings.normalization": "raw", "loss.normalization": "raw", **FREE}


def active(count: float, low: float, high: float) -> dict[str, Any]:
    return {
        "spectrum.num_active": count,
        "spectrum.num_active_cross_fit": low,
        "spectrum.num_active_range": {"value": low, "low": low, "high": high},
    }


ALL_BUT_3 = active(29.0, 29.0, 29.0)
FEW_ACTIVE = active(25.0, 24.0, 26.0)
UNSURE_ACTIVE = active(25.0, 18.0, 30.0)
ONE_PROVEN = {"spectrum.between_rank": {"value": 1, "low": 1, "high": 2}}
COLLAPSED = {**quantity("effective_rank", 1.2, 0.1), **ONE_PROVEN}
NOT_COLLAPSED = {**quantity("effective_rank", 2.5, 0.1), **ONE_PROVEN}
DOMINATED = quantity("effective_rank", 1.2, 0.1)
Z_INVARIANT = quantity("augmentation_share_z", 0.04, 0.005)
CONDITIONED = quantity("condition_number", 9e3, 1e3)
A_LAW = quantity("alpha_r_squared", 0.95, 0.05)
SKEWED = quantity("skew_share", 0.15, 0.01)


def mlp(share: float, error: float | None) -> Changes:
    return {"projector_share.mlp": {"loss": 3.8, "share": share, "error": error}}


def bias(value: float) -> Changes:
    return {"loss.parts": [{"name": "floor", "value": 0.0}, {"name": "sampling bias", "value": value, "error": 0.03}]}


def skew(z: float) -> Changes:
    return {**SKEWED, **quantity("asymmetry_z", z, None)}


def limits(low: float, high: float) -> Changes:
    return {"loss.limit": (low + high) / 2, "loss.limit_error": (high - low) / 4}


def edge(value: float, error: float = 0.01) -> Changes:
    return {"spectrum.edge": value, "spectrum.plug_in.0": 0.95, "spectrum.error.0": error}


def effect(share: float, error: float | None) -> Changes:
    return {"augmentations.1.total_effect": share, "augmentations.1.total_effect_error": error}


def fall(end: float) -> Changes:
    return {"loss.complete": end}


APPEARS: list[tuple[str, Changes, str, str, Changes]] = [
    # name, what makes it appear, its level, part of its sentence, what makes it go away: just beyond the threshold
    ("projector_share", mlp(0.91, 0.005), "note", "91% [90, 92]", mlp(0.45, 0.02)),
    ("projector_share", mlp(0.55, None), "note", "55% (error not known)", mlp(0.49, None)),
    ("projector_share", mlp(1.05, 0.01), "warning", "105% [103, 107]", mlp(0.4, 0.01)),
    ("loss_fall", fall(22.0), "warning", "3.1% [2.7, 3.5] only, from 22.7 [22.3, 23.1] untrained to 22", fall(20.0)),
    ("loss_fall", fall(25.0), "warning", "has not fallen (−10.1% [−10.5, −9.7]), from", fall(3.0)),
    ("batch_floor", {"loss.floor": 3.4}, "warning", "at 3.5 [3.4, 3.6], 1.03 [1, 1.06] times", {"loss.floor": 1.7}),
    ("batch_floor", {"loss.floor": 3.4}, "warning", "97% [94, 100] of it is the floor", {"loss.floor": 1.7}),
    ("batch_floor", {"loss.floor": 3.8}, "warning", "one of the two is not of this run", {"loss.floor": 0.1}),
    ("sampling_bias", bias(0.8), "warning", "23% [21, 25] of the loss that training shows, 0.8 of 3.5", bias(0.6)),
    ("waterline", FEW_ACTIVE, "warning", "uses only 25 [24, 26] of 32", ALL_BUT_3),
    ("free_loss", RAW, "warning", "in 56 [54, 58] directions (the mean is one)", {"settings.width": 66, **RAW}),
    ("free_loss", {**RAW, "settings.normalization": "covariance"}, "warning", "(covariance), and of the 64 dir", {}),
    ("projector_gap", {"loss.complete": 2.6}, "note", "near its limit", {"loss.complete": 3.0}),
    ("projector_gap", {"loss.complete": 1.8, **DEEP}, "note", "0.735 [0.677, 0.797] times that: a projector with",
     {"loss.complete": 3.1}),
    ("projector_gap", {"loss.complete": 7.2}, "warning", ": 2.94 [2.8, 3.08] times as much", {"loss.complete": 4.5}),
    ("projector_gap", RAW, "warning", "3.2 [3.12, 3.28] of the loss is the pro", {**RAW, "loss.complete": 0.5}),
    ("augmentation_share", quantity("augmentation_share", 0.853, 0.004), "warning", "85.3% [84.5, 86.1]", {}),
    ("augmentation_share", quantity("augmentation_share", 0.04, 0.01), "good", "4% [2, 6]", {}),
    ("solved_augmentations", effect(0.01, 0.002), "good", "Solved: contrast (1% [0.6, 1.4]", effect(0.03, 0.001)),
    ("collapse", COLLAPSED, "warning", "1.2 [1, 1.4]", NOT_COLLAPSED),
    ("dominant_direction", DOMINATED, "note", "1.2 [1, 1.4] effective dimensions; but 55 directions", COLLAPSED),
    ("identical_views", quantity("augmentation_share", 0.0, 0.0), "warning", "0% [0, 0] of the variance", {}),
    ("view_index", quantity("view_index_share", 0.1, 0.01), "warning", "10% [8, 12] of what", {}),
    ("view_scale", quantity("view_scale", 1.5, 0.05), "warning", "1.5 [1.4, 1.6] times", {}),
    ("duplicates", quantity("duplicates", 0.2, None), "warning", "20% of the samples are copies", {}),
    ("too_few_images", {"settings.num_images": 150}, "warning", "most of the spectrum is chance", {}),
    ("low_rank", quantity("effective_rank", 2.8, 0.1), "warning", "2.8 [2.6, 3]", quantity("effective_rank", 3.5, 0.1)),
    ("different_pipelines", skew(40.0), "warning", "15% [13, 17], 40 standard", skew(2.5)),
    ("output_not_backbone", Z_INVARIANT, "note", "is 4% [3, 5] of its variance", {}),
    ("too_few_images", edge(0.98), "warning", "correlation of 0.98 (the null edge)", edge(0.9)),
    ("too_few_images", edge(0.96, 0.1), "warning", "nothing in the spectrum is evidence", edge(0.74, 0.1)),
    ("wide_bracket", limits(6.51, 11.28), "warning", "±27%: 8.89 [6.51, 11.3]", limits(2.1, 2.4)),
    ("condition", quantity("condition_number", 5e4, 1e3), "note", "50,000 [48,000, 52,000]", CONDITIONED),
    ("power_law", quantity("alpha_r_squared", 0.7, 0.02), "note", "no power law (R² = 0.7 [0.66, 0.74])", A_LAW),
]  # fmt: skip

CAREFUL: list[tuple[str, Changes, str]] = [
    ("projector_share", mlp(0.52, 0.03), "52% [46, 58] of the fall"),
    ("loss_fall", {"loss.complete": 20.4, "loss.fall_error": 0.01}, "too close to a tenth to say whether it fell"),
    ("batch_floor", {"loss.floor": 1.76}, "half is within this range"),
    ("sampling_bias", bias(0.72), "about a fifth, and too close to it"),
    (
        "waterline",
        UNSURE_ACTIVE,
        "25 [18, 30] of 32 outputs; the rest would be copies, but the interval allows for near",
    ),
    ("waterline", {**FEW_ACTIVE, **DEEP}, "has hidden layers, which this does not bind"),
    ("waterline", {**FEW_ACTIVE, "settings.normalization": None}, "uses only 25 ["),
    ("free_loss", {**RAW, "settings.width": 55}, "whether they fit, so that its infimum is 0, is open"),
    (
        "free_loss",
        {**RAW, "settings.width": 60, "loss.limit": 1.2},
        "On those its infimum is 1.2, and 0 only if others",
    ),
    ("projector_gap", {"loss.complete": 1.8}, "less than a linear projector such as yours can reach"),
    ("projector_gap", {"loss.complete": 5.0, **limits(2.0, 2.7)}, "too wide a range to blame the projector"),
    ("augmentation_share", quantity("augmentation_share", 0.51, 0.02), "half is within this range"),
    ("collapse", {**quantity("effective_rank", 1.9, 0.2), **ONE_PROVEN}, "close to collapse"),
    ("duplicates", quantity("duplicates", 0.001, None), "0.1% of the samples are copies"),
    ("low_rank", quantity("effective_rank", 3.2, 0.2), "about one in twenty"),
    ("different_pipelines", skew(4.0), "may come from different pipelines"),
    ("output_not_backbone", quantity("augmentation_share_z", 0.19, 0.02), "may be invariant"),
    ("too_few_images", edge(0.9, 0.05), "not clearly above it"),
    ("condition", quantity("condition_number", 1.1e4, 1e3), "no more than likely"),
    ("power_law", quantity("alpha_r_squared", 0.89, 0.01), "hardly a power law"),
]


def named(figures: Changes, name: str) -> Verdict | None:
    return next((verdict for verdict in verdicts(figures) if verdict.name == name), None)


@pytest.mark.parametrize(("name", "changes", "level", "said", "away"), APPEARS)
def test_each_verdict_appears_and_goes_away(name: str, changes: Changes, level: str, said: str, away: Changes) -> None:
    found = named(neutral(changes), name)
    assert found is not None
    assert (found.level, said in found.sentence) == (level, True), found
    gone = named(neutral(away), name)
    assert gone is None or (name == "augmentation_share" and gone.level == "note")


@pytest.mark.parametrize(("name", "changes", "said"), CAREFUL)
def test_what_an_interval_leaves_open_is_said_as_open(name: str, changes: Changes, said: str) -> None:
    found = named(neutral(changes), name)
    assert found is not None
    assert found.level == "note"
    assert said in found.sentence


def test_every_question_is_tested_both_ways_and_carries_its_function_s_name() -> None:
    names = {check.__name__ for check in CHECKS}
    assert {name for name, *_ in APPEARS} == names
    for name, changes, *_ in APPEARS:
        assert named(neutral(changes), name) is not None


@pytest.mark.parametrize("changes", [changes for _, changes, *_ in APPEARS] + [changes for _, changes, _ in CAREFUL])
def test_every_sentence_has_its_number_its_interval_and_what_to_try(changes: Changes) -> None:
    for verdict in verdicts(neutral(changes)):
        assert re.search(r"\d", verdict.sentence), verdict
        assert verdict.sentence.endswith(".")
        assert len(verdict.advice) > 20, verdict
        assert verdict.advice.endswith((".", "labels."))
        assert len(verdict.sentence) < 330
        assert "nan" not in (verdict.sentence + verdict.advice).lower().split()
        interval = re.search(r"\[[^\]]+, [^\]]+\]", verdict.sentence)
        unknown = "(error not known)" in verdict.sentence and '"error": null' in json.dumps(changes)
        assert interval or unknown or verdict.name in ("nothing_wrong", "duplicates"), verdict  # counts
        if verdict.low is not None and verdict.high is not None:
            assert verdict.low <= verdict.value <= verdict.high


def test_neutral_figures_are_called_good_and_any_warning_takes_that_back() -> None:
    found = verdicts(neutral())
    assert [(v.name, v.level) for v in found] == [("augmentation_share", "note"), ("nothing_wrong", "good")]
    for _, changes, level, *_ in APPEARS:
        names = [verdict.name for verdict in verdicts(neutral(changes))]
        assert ("nothing_wrong" not in names) == (level == "warning")


def test_few_figures_are_not_called_good_and_what_was_not_checked_is_said() -> None:
    assert verdicts({}) == []
    assert verdicts({"quantities": {"effective_rank": {"value": 20.0, "error": 0.1}}}) == []
    found = named(neutral({"loss": None, "projector_share": None}), "nothing_wrong")
    assert found is not None
    assert "the 11 of 17 checks" in found.sentence
    assert "batch floor" in found.advice


def test_verdicts_survive_json_and_come_in_the_order_of_their_levels() -> None:
    figures = neutral({**mlp(0.91, 0.005), **FEW_ACTIVE, **effect(0.01, 0.001), **edge(0.98)})
    found = verdicts(json.loads(json.dumps(figures)))
    assert [Verdict(**fields) for fields in json.loads(json.dumps([v.to_dict() for v in found]))] == found
    levels = [get_args(Level).index(verdict.level) for verdict in found]
    assert levels == sorted(levels)
    assert set(levels) == {0, 1, 2}


def places(part: Any, start: str = "") -> list[str]:
    """Every key and every entry of the figures."""
    keys = part.keys() if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    here = [f"{start}{key}" for key in keys]
    deeper = [deep for key in keys for deep in places(part[key], f"{start}{key}.")]
    return here + deeper


PLACES = [place for place in places(neutral()) if not re.search(r"spectrum\.\w+\.([4-9]|\d\d)$", place)]


def without(place: str, figures: Any) -> None:
    *keys, last = place.split(".")
    for key in keys:
        if isinstance(figures, list):
            figures = figures[int(key)] if int(key) < len(figures) else None
        else:
            figures = figures.get(key) if isinstance(figures, dict) else None
    if isinstance(figures, list) and int(last) < len(figures):
        del figures[int(last)]
    elif isinstance(figures, dict):
        figures.pop(last, None)


@given(st.sampled_from([changes for _, changes, *_ in APPEARS] + [{}]), st.sampled_from(PLACES))
@settings(max_examples=150, deadline=None)
def test_a_missing_figure_never_crashes_and_warns_of_nothing_new(changes: Changes, place: str) -> None:
    figures = neutral(changes)
    before = {verdict.name for verdict in verdicts(figures) if verdict.level == "warning"}
    without(place, figures)
    after = {verdict.name for verdict in verdicts(figures) if verdict.level == "warning"}
    assert after <= before


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, math.nan, math.inf, -math.inf, "text", [], {}, True, -1.0, 0.0, 0, [None], 1e300]
)


@given(st.sampled_from([changes for _, changes, *_ in APPEARS]), st.sampled_from(PLACES), JUNK)
@settings(max_examples=200, deadline=None)
def test_figures_of_the_wrong_kind_never_crash(changes: Changes, place: str, junk: Any) -> None:
    figures = neutral(changes)
    try:
        *keys, last = place.split(".")
        part: Any = figures
        for key in keys:
            part = part[int(key)] if isinstance(part, list) else part[key]
        part[int(last) if isinstance(part, list) else last] = junk
    except (KeyError, IndexError, TypeError):
        return  # the changes took that place away
    for verdict in verdicts(figures):
        assert set(json.loads(json.dumps(verdict.to_dict()))) == set(verdict.to_dict())


def test_a_question_without_its_figures_is_not_answered() -> None:
    assert "batch_floor" in answers(Figures.from_json(neutral()))
    assert "batch_floor" not in answers(Figures.from_json(neutral({"loss": None})))
    with pytest.raises(MissingFigureError):
        needed(Figures().loss.batch)


def test_the_waterline_says_which_lambda_or_width_would_do() -> None:
    found = named(
        neutral({**FEW_ACTIVE, "advice": {"redundancy_weight_for_all": 0.11, "width_for_all": 24}}), "waterline"
    )
    assert found is not None
    assert "raise lambda above 0.11 or cut the outputs to 24" in found.advice
    lost = named(
        neutral({**FEW_ACTIVE, "advice": {"redundancy_weight_for_all": None, "width_for_all": 24}}), "waterline"
    )
    assert lost is not None
    assert "lambda above" not in lost.advice
    assert "cut the outputs to 24" in lost.advice
    one = named(neutral({**FEW_ACTIVE, "advice": {"redundancy_weight_for_all": None, "width_for_all": 1}}), "waterline")
    assert one is not None
    assert "outputs to" not in one.advice  # one output has nothing to decorrelate


@pytest.mark.parametrize(
    ("second", "said", "advised"),
    [
        (0.12, "; shift alone or with others makes 27% [25, 29].", "weaken shift;"),
        (0.26, "; shift (27% [25, 29]) and contrast (26% [24, 28]) make most of it.", "weaken shift and contrast;"),
        (0.29, "; contrast (29% [27, 31]) and shift (27% [25, 29]) make", "weaken contrast and shift;"),
        (0.31, "; contrast alone or with others makes 31% [29, 33].", "weaken contrast;"),
    ],
)
def test_a_transform_is_named_alone_only_where_it_is_clearly_ahead(second: float, said: str, advised: str) -> None:
    found = named(neutral(effect(second, 0.01)), "augmentation_share")
    assert found is not None
    assert said in found.sentence
    assert advised in found.advice


def test_who_needs_invariance_is_sent_to_the_first_layer_that_has_it() -> None:
    layers = [
        {"name": "layer4", "augmentation_share": 0.1, "error": 0.01},
        {"name": "h", "augmentation_share": 0.42, "error": 0.01},
        {"name": "projector.1", "augmentation_share": 0.12, "error": 0.01},
        {"name": "z", "augmentation_share": 0.04, "error": 0.01},
    ]
    found = named(neutral({**Z_INVARIANT, "layers": layers}), "output_not_backbone")
    assert found is not None
    assert "take layer projector.1." in found.advice
