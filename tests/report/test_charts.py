"""Places, ticks, smoothing and thinning; and what the charts draw from them."""

import doctest
import math
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from barlow import formats
from barlow.report.charts import (
    Band,
    Bar,
    Line,
    Mark,
    Step,
    bar_chart,
    histogram,
    line_chart,
    log_chart,
    spectrum_chart,
    waterfall,
    waterfall_scale,
)
from barlow.report.evidence import MOST_BINS, heat_map, normal_counts, root_mean_square, without_empty_ends
from barlow.report.plot import MAX_POINTS, Scale, kept_apart, scale_for, smooth, thin, wants_log
from tests.report.html_page import Page

numbers = st.floats(-1e6, 1e6, allow_nan=False)


def test_the_examples_of_the_number_formats_hold() -> None:
    assert doctest.testmod(formats).failed == 0
    assert doctest.testmod(formats).attempted > 0


@given(st.lists(numbers, min_size=1, max_size=20))
def test_every_value_has_its_place_and_ticks_lie_in_the_range(values: list[float]) -> None:
    scale = scale_for(values)
    assert all(0.0 <= scale.place(value) <= 1.0 for value in values)
    assert scale.low <= min(values) <= max(values) <= scale.high
    ticks = [value for value, _ in scale.ticks()]
    slack = 1e-6 * (scale.high - scale.low)
    assert 1 <= len(ticks) <= 12
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1000.0), (3e-7, 0.2), (20.0, 90.0), (70.0, 80.0), (1e-30, 1e30)])
def test_a_logarithmic_scale_has_round_ticks_and_equal_ratios(low: float, high: float) -> None:
    scale = Scale(low, high, log=True)
    assert 2 <= len(scale.ticks()) <= 8
    assert scale.place(math.sqrt(low) * math.sqrt(high)) == pytest.approx(0.5)
    assert scale.place(-1.0) == 0.0


def test_a_logarithmic_axis_is_chosen_for_large_positive_ranges_only() -> None:
    assert wants_log([1.0, 100.0])
    assert not wants_log([1.0, 10.0])
    assert not wants_log([0.0, 100.0])
    assert not wants_log([])


def test_a_moving_average_keeps_constants_lines_and_length() -> None:
    np.testing.assert_allclose(smooth(np.full(500, 3.0)), 3.0)
    line = np.arange(500.0)
    np.testing.assert_allclose(smooth(line)[:480], line[:480])
    rough = np.random.default_rng(0).normal(size=500)
    assert smooth(rough).std() < 0.5 * rough.std()


def test_thinning_keeps_ends_order_and_the_worst_spike() -> None:
    x = np.arange(10_000.0)
    y = np.sin(x / 500)
    y[7_777] = 40.0
    a, b = thin(x, y)
    assert len(a) <= MAX_POINTS
    assert (np.diff(a) > 0).all()
    assert b.max() == 40.0
    np.testing.assert_array_equal(b, y[a.astype(int)])


@given(st.lists(st.floats(0, 200), max_size=10))
def test_labels_keep_their_gap_and_their_order(places: list[float]) -> None:
    moved = kept_apart(places, 15.0, 0.0, 200.0)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= 15.0 - 1e-9).all()
    assert not moved or (min(moved) >= -1e-9 and max(moved) <= 200.0 + 1e-9)


def test_a_line_chart_names_its_curves_and_its_floor() -> None:
    x = np.arange(1.0, 100.0)
    chart = line_chart(
        "Loss", [Line("a", x, 1000 / x), Line("b", x, x)], x_name="epochs", log=True, floor=Mark("floor 7", 7.0)
    )
    found = Page(chart)
    assert found.problems == []
    assert "logarithmic" in found.text
    assert all(name in found.words for name in ("a", "b", "floor 7", "epochs"))


def test_a_line_chart_draws_higher_values_higher() -> None:
    chart = line_chart("y", [Line("a", np.array([0.0, 1.0]), np.array([0.0, 5.0]))], x_name="x")
    match = re.search(r'class="line c1" d="M(\S+) (\S+)L(\S+) (\S+)"', chart)
    assert match
    x0, y0, x1, y1 = (float(value) for value in match.groups())
    assert x0 < x1
    assert y0 > y1  # SVG counts downwards


def test_charts_without_data_are_empty() -> None:
    nothing = np.array([])
    assert line_chart("y", [Line("a", nothing, nothing)], x_name="x") == ""
    assert bar_chart("y", []) == ""
    assert histogram("y", np.array([0.0, 1.0]), np.array([0.0]), x_name="x") == ""


def test_the_length_of_a_bar_is_its_value() -> None:
    chart = bar_chart("Accuracy", [("10 labels", [Bar("trained", 0.931, "93.1% ± 0.8", error=0.008)])])
    assert 'width="93.10%"' in chart
    assert 'x1="92.30%" x2="93.90%"' in chart
    assert "93.1% ± 0.8" in Page(chart).words


def test_one_point_is_a_chart_too() -> None:
    assert Page(line_chart("y", [Line("a", np.array([2.0]), np.array([3.0]))], x_name="x")).problems == []


def test_what_chance_gives_is_the_normal_distribution() -> None:
    edges = np.linspace(-0.1, 0.1, 21)
    counts = np.histogram(np.random.default_rng(0).normal(scale=0.02, size=200_000), bins=edges)[0]
    expected = normal_counts(edges, 0.02, 200_000.0)
    assert expected.sum() == pytest.approx(200_000, rel=1e-4)
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected.max())


def test_the_size_of_binned_values_is_that_of_the_values() -> None:
    values = np.random.default_rng(0).normal(scale=0.011, size=100_000)
    counts, edges = np.histogram(values, bins=np.linspace(-1, 1, 201))  # bins nearly as wide as the values
    assert root_mean_square(edges, counts.astype(float)) == pytest.approx(0.011, rel=0.02)


def test_a_histogram_keeps_every_count_when_it_is_cut_to_size() -> None:
    edges = np.linspace(-1, 1, 401)
    for values in ([0.003, 0.018], [-0.999, 0.999], [-0.3]):
        counts = np.histogram(values, edges)[0].astype(float)
        shorter, joined = without_empty_ends(edges, counts)
        assert joined.sum() == len(values)
        assert len(joined) == len(shorter) - 1 <= MOST_BINS
        assert shorter[0] <= -max(np.abs(values)) <= max(np.abs(values)) <= shorter[-1]


def test_a_heat_map_is_blue_above_zero_orange_below_and_clear_at_zero() -> None:
    import base64
    import io

    from PIL import Image

    matrix = np.array([[1.0, 0.5], [-0.5, 0.0]])
    source = re.search(r"base64,([^\"]+)", heat_map("C", matrix, unit="features"))
    assert source
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.group(1)))))
    assert pixels[0, 1, 2] > pixels[0, 1, 0]
    assert pixels[1, 0, 0] > pixels[1, 0, 2]
    assert pixels[:, :, 3].tolist() == [[255, 255], [255, 0]]


# --- Charts of an audit: where bars and curves lie, which is what a reader takes from them.


def spans(drawn: str) -> list[tuple[float, float]]:
    """Return where the bars begin and end, in percent of the width."""
    found = re.findall(r'<rect class="bar [^"]*" x="([\d.]+)%" width="([\d.]+)%"', drawn)
    return [(float(x), float(x) + float(width)) for x, width in found]


def test_each_bar_of_a_waterfall_begins_where_the_last_one_ended() -> None:
    drawn = waterfall("loss", [Step("a", 4.0), Step("b", 6.0), Step("c", -5.0), Step("all", 5.0, total=True)])
    assert spans(drawn) == [(0.0, 40.0), (40.0, 100.0), (50.0, 100.0), (0.0, 50.0)]
    assert [word for word in Page(drawn).words if word in ("+4", "+6", "−5", "5")][-4:] == ["+4", "+6", "−5", "5"]


def test_a_waterfall_holds_what_goes_below_zero() -> None:
    (first, second) = spans(waterfall("loss", [Step("a", -2.0), Step("b", 8.0)]))
    assert first == (0.0, 25.0)
    assert second == (0.0, 100.0)


def test_two_waterfalls_on_one_scale_draw_equal_losses_equally_long() -> None:
    small, large = [Step("a", 1.0)], [Step("a", 1.0), Step("b", 3.0)]
    scale = waterfall_scale([small, large])
    assert spans(waterfall("A", small, scale=scale))[0] == spans(waterfall("B", large, scale=scale))[0] == (0.0, 25.0)


def test_a_part_of_nothing_stays_visible_and_no_steps_draw_nothing() -> None:
    assert spans(waterfall("loss", [Step("floor", 0.0), Step("b", 1.0)]))[0][1] > 0.1
    assert waterfall("loss", []) == ""
    assert Page(waterfall("loss", [Step("floor", 0.0)])).problems == []


def test_a_spectrum_has_its_band_around_the_curve_and_its_levels_at_their_height() -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([0.8, 0.5, 0.2])
    band = Band(x, y - 0.1, y + 0.1)
    drawn = spectrum_chart(
        "rho", [Line("plug-in", x, y)], x_name="k", bands=[band], levels=[Mark("edge", 0.5, "quiet")]
    )
    outline = re.search(r'class="band c1" d="M([^"]*)Z"', drawn)
    curve = re.search(r'class="line c1" d="M([^"]*)"', drawn)
    level = re.search(r'class="line dashed quiet" x1="0" x2="100%" y1="([\d.]+)"', drawn)
    assert outline
    assert curve
    assert level
    points = [tuple(map(float, point.split())) for point in outline.group(1).split("L")]
    middle = [tuple(map(float, point.split())) for point in curve.group(1).split("L")]
    for (x_high, high), (x_low, low), (x_curve, y_curve) in zip(points[:3], points[:2:-1], middle, strict=True):
        assert x_high == x_low == x_curve
        assert high < y_curve < low
        assert y_curve == pytest.approx((high + low) / 2, abs=0.11)
    assert float(level.group(1)) == pytest.approx(middle[1][1], abs=0.11)


def test_equal_ratios_take_equal_room_on_a_logarithmic_axis() -> None:
    drawn = log_chart("floor", [Line("a", np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0]))], x_name="D")
    path = re.search(r'class="line c1" d="M([^"]*)"', drawn)
    assert path
    assert [float(point.split()[0]) for point in path.group(1).split("L")] == [0.0, 500.0, 1000.0]


def test_points_that_a_logarithmic_axis_cannot_hold_are_left_out() -> None:
    x, y = np.array([0.0, 1.0, 2.0, 4.0, 8.0]), np.array([5.0, 0.0, np.nan, 1.0, 2.0])
    drawn = log_chart("floor", [Line("a", x, y)], x_name="D")
    assert "nan" not in drawn
    assert drawn.count("<circle") == 2
    assert log_chart("floor", [Line("a", x[:3], y[:3])], x_name="D") == ""


def test_the_mark_of_the_run_is_on_the_axis_even_beyond_the_curves() -> None:
    line = Line("a", np.array([1.0, 10.0]), np.array([1.0, 2.0]))
    drawn = log_chart("floor", [line], x_name="D", here=Mark("now 100", 100.0))
    assert re.search(r'class="upright quiet" x1="100.00%"', drawn)
    path = re.search(r'class="line c1" d="M([^"]*)"', drawn)
    assert path
    assert [float(point.split()[0]) for point in path.group(1).split("L")] == [0.0, 500.0]
