"""The null edge without torch is that of the theory, and the number of samples that is advised does what is said."""

import subprocess
import sys

import pytest

from barlow.audits.verdicts.limits import MOST_IMAGES, images_for, null_edge
from barlow.audits.verdicts.table import verdicts
from barlow.theory.intraclass import wachter_edge
from tests.audits.figures import neutral

SIZES = [(64, 200, 2), (64, 1000, 2), (64, 1000, 8), (512, 5000, 4), (32, 40, 2), (7, 8, 16)]


@pytest.mark.parametrize(("num_features", "num_images", "num_views"), SIZES)
def test_the_edge_is_that_of_the_theory(num_features: int, num_images: int, num_views: int) -> None:
    expected = wachter_edge(num_features, num_images, num_views)
    assert null_edge(num_features, num_images, num_views) == pytest.approx(expected, abs=1e-12)


def test_the_edge_meets_the_noted_numbers_and_is_one_where_nothing_can_be_known() -> None:
    assert [round(null_edge(64, n, k), 3) for n, k in ((200, 2), (1000, 2), (1000, 8))] == [0.733, 0.352, 0.074]
    assert null_edge(64, 64, 2) == 1.0


@pytest.mark.parametrize(("num_features", "num_views", "wanted"), [(64, 2, 0.2), (64, 8, 0.2), (512, 4, 0.05)])
def test_the_images_asked_for_are_enough_and_half_of_them_are_not(
    num_features: int, num_views: int, wanted: float
) -> None:
    found = images_for(num_features, num_views, wanted)
    assert found is not None
    assert null_edge(num_features, found, num_views) <= wanted < null_edge(num_features, found // 2, num_views)


def test_more_images_than_anyone_has_are_not_asked_for() -> None:
    assert images_for(2048, 2, 1e-3) is None
    assert images_for(2048, 2, 0.9, start=MOST_IMAGES) == MOST_IMAGES


def advice(top: float) -> str:
    """What is advised after 200 samples and 2 views of 64 features of that best correlation on other samples."""
    spectrum = {
        "edge": 0.733,
        "plug_in": [0.7] * 64,
        "error": [0.01] * 64,
        "cross_fit": [top] * 64,
    }
    changes = {"settings.num_images": 200, "settings.num_views": 2, "spectrum": spectrum}
    found = next(verdict for verdict in verdicts(neutral(changes)) if verdict.name == "too_few_images")
    assert found.level == "warning"
    return found.advice


def test_both_ways_to_more_evidence_are_named_with_numbers_that_do() -> None:
    said = advice(0.4)  # the edge is to come under 0.2
    assert "3,200 samples with 2 views each, or 200 samples with 8 views each" in said
    assert null_edge(64, 3200, 2) <= 0.2 < null_edge(64, 1600, 2)
    assert null_edge(64, 200, 8) <= 0.2


def test_without_any_invariance_on_other_images_no_number_is_promised() -> None:
    assert "no invariance" in advice(0.0)


def test_verdicts_and_comparison_need_no_torch() -> None:
    code = "import sys, barlow.audits.verdicts.table, barlow.audits.comparison; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
