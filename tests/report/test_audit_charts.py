"""Charts of an audit: where bars and curves lie, which is what a reader takes from them."""

import re

import numpy as np
import pytest

from barlow.report.audit_charts import Band, Step, log_chart, spectrum_chart, waterfall, waterfall_scale
from barlow.report.charts import Line, Mark
from tests.report.html_page import Page


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
