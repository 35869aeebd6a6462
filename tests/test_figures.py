"""Figures are read with tolerance and written as they were; intervals are cut, and thresholds only passed in whole."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from barlow.figures import (
    Effect,
    Figures,
    Layer,
    Loss,
    LossParts,
    Measured,
    MissingFigureError,
    Quantities,
    Record,
    Spectrum,
    described,
    needed,
)
from tests.audits.figures import NEUTRAL, neutral
from tests.report.synthetic_figures import feature_figures, figures, poor_figures


@pytest.mark.parametrize(
    ("value", "error", "above"),
    [
        (0.6, 0.04, True),
        (0.6, 0.06, None),
        (0.4, 0.06, None),
        (0.4, 0.04, False),
        (0.51, None, True),
        (0.5, None, False),
    ],
)
def test_a_threshold_is_passed_by_whole_intervals(value: float, error: float | None, above: bool | None) -> None:
    assert Measured(value, error).above(0.5) is above


def test_intervals_are_two_errors_wide_on_either_side_and_cut_to_what_is_possible() -> None:
    share = Measured(0.97, 0.02, 0.0, 1.0)
    assert share.low == pytest.approx(0.93)
    assert share.high == 1.0
    assert (Measured(0.5).low, Measured(0.5).high) == (None, None)


@pytest.mark.parametrize(
    ("measured", "percent", "number"),
    [
        (Measured(0.484, 0.01), "48% [46, 50]", "0.484 [0.464, 0.504]"),
        (Measured(0.4844, 0.002), "48.4% [48, 48.8]", "0.484 [0.48, 0.488]"),
        (Measured(0.484), "48% (error not known)", "0.484 (error not known)"),
        (Measured(0.484, exact=True), "48%", "0.484"),
    ],
)
def test_numbers_are_written_with_their_interval(measured: Measured, percent: str, number: str) -> None:
    assert measured.as_percent() == percent
    assert measured.as_number() == number


def test_only_finite_numbers_are_read() -> None:
    found = Loss.from_json({"complete": 2, "complete_error": math.nan, "start": True, "batch": "3", "num_pairs": None})
    assert found == Loss(complete=Measured(2.0, least=0.0))
    assert Spectrum.from_json({"plug_in": [1, 2.5, None, 4], "error": "text"}) == Spectrum(plug_in=(1.0, 2.5))
    with pytest.raises(MissingFigureError):
        needed(found.start)


def test_a_quantity_is_cut_to_what_is_possible_with_its_error() -> None:
    found = Quantities.from_json({"augmentation_share": {"value": 1.03, "error": 0.02}, "rank": {"value": 8}})
    share, rank = needed(found.augmentation_share), needed(found.rank)
    assert (share.value, share.low, share.high) == (1.0, 0.96, 1.0)
    assert (rank.value, rank.error, rank.exact) == (8.0, None, True)


def test_a_number_stands_beside_its_error_and_what_is_not_finite_is_null() -> None:
    batch, floor = Measured(3.5, 0.1), Measured(0.5, exact=True)
    written = Loss(batch=batch, floor=floor, complete=Measured(math.nan, math.inf)).to_json()
    assert (written["batch"], written["batch_error"], written["floor"]) == (3.5, 0.1, 0.5)
    assert (written["complete"], written["complete_error"], written["start"]) == (None, None, None)
    assert "floor_error" not in written
    assert Layer(augmentation_share=batch).to_json()["error"] == 0.1
    assert LossParts(projector_gap=batch).to_json() == [{"name": "projector gap", "value": 3.5, "error": 0.1}]
    assert Quantities(rank=floor).to_json() == {"rank": {"value": 0.5, "error": None}}


def test_a_part_without_any_figure_is_null_in_the_file_and_empty_when_read() -> None:
    written = Figures().to_json()
    assert written is None
    written = Figures(warnings=("one",)).to_json()
    assert (written["loss"], written["projector_share"], written["layers"]) == (None, None, [])
    assert Figures.from_json(written) == Figures(warnings=("one",))
    assert Figures.from_json(None) == Figures.from_json([]) == Figures.from_json({}) == Figures()


FILES: list[Any] = [dict(NEUTRAL), figures(), poor_figures(), feature_figures()]


def lost(before: Any, after: Any, place: str = "") -> list[str]:
    """Places of what is known in one file and other in another."""
    if isinstance(before, dict) and before:
        return [one for key, value in before.items() for one in lost(value, (after or {}).get(key), f"{place}.{key}")]
    if isinstance(before, list) and before and len(before) == len(after or ()):
        return [one for k, pair in enumerate(zip(before, after, strict=True)) for one in lost(*pair, f"{place}.{k}")]
    return [] if before == after or before in (None, {}, []) else [f"{place}: {before} and {after}"]


@pytest.mark.parametrize("file", FILES)
def test_what_a_file_holds_is_written_again_as_it_was(file: Any) -> None:
    known = [{"level": "note"} if one["level"] == "splendid" else {} for one in file["verdicts"]]
    file = file | {"verdicts": [one | level for one, level in zip(file["verdicts"], known, strict=True)]}
    read = Figures.from_json(json.loads(json.dumps(file)))
    assert lost(file, json.loads(json.dumps(read.to_json(), allow_nan=False))) == []
    assert Figures.from_json(read.to_json()) == read


def test_figures_and_levels_of_a_later_version_are_kept_and_told_last() -> None:
    read = Figures.from_json(figures())
    name, about, value = read.quantities.measured()[-1]
    assert (name, about.title, value) == ("a_quantity_of_the_future", "a quantity of the future", Measured(3.0, 0.1))
    assert not about.compared
    parts = [{"name": "luck", "value": 1.0}, {"name": "floor", "value": 0.0}]
    assert [name for name, *_ in LossParts.from_json(parts).measured()] == ["floor", "luck"]
    assert {verdict.level for verdict in read.verdicts} == {"good", "warning", "note"}


def test_every_quantity_says_what_it_is_and_what_it_does_not_tell_under_a_title_of_its_own() -> None:
    about = described(Quantities).values()
    assert all(one.what.endswith(".") and one.caution.endswith(".") for one in about)
    parts: tuple[type[Record], ...] = (Quantities, Spectrum, LossParts, Effect, Layer)
    titles = [one.label for part in parts for one in described(part).values()]
    assert len({title.lower() for title in titles}) == len(titles)


def test_a_figure_that_is_misspelt_is_refused() -> None:
    with pytest.raises(TypeError, match="augmentation_shar"):
        Quantities(augmentation_shar=Measured(0.5))  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        _ = Figures().loss.bach  # type: ignore[attr-defined]


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, math.nan, -math.inf, True, 0, -1.0, 1e300, "text", "", [None], [{"name": 3}], [[]]]),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(["name", "value", "x", "error"]), one),
)
PLACES = [(part, key) for part, content in NEUTRAL.items() for key in (content if isinstance(content, dict) else [""])]


@given(st.sampled_from(PLACES), JUNK)
@settings(max_examples=100, deadline=None)
def test_whatever_stands_in_a_file_is_read_and_written(place: tuple[str, str], junk: Any) -> None:
    part, key = place
    file = neutral({f"{part}.{key}" if key else part: junk})
    written = json.loads(json.dumps(Figures.from_json(file).to_json(), allow_nan=False))
    assert Figures.from_json(written).to_json() == written
