"""The page of an audit: every part that was measured is there, what is missing is left out, and nothing is fetched."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barlow.figures import Changes, Effect, Floor, LossParts, Spectrum, described
from barlow.report.audit_page import write_audit_page, write_changes_page
from barlow.report.audit_sections import EFFECT_COLORS, FLOOR_COLORS, PART_COLORS, spectrum_lines
from tests.report.html_page import Page
from tests.report.synthetic_figures import POOR, TRAINED, changes, feature_figures, figures, poor_figures, verdict
from tests.report.test_in_browser import CHROMIUM, PHONE, browse

ALL = ["verdicts", "loss", "spectrum", "augmentations", "strengths", "layers", "floors", "quantities", "settings"]
ONLY_FROM = {
    "subject": [],
    "settings": [],
    "warnings": [],
    "quantities": ["quantities"],
    "spectrum": ["spectrum"],
    "loss": [],
    "floors": ["floors"],
    "advice": [],
    "augmentations": ["augmentations", "strengths"],
    "layers": ["layers"],
    "projector_share": [],
    "verdicts": ["verdicts"],
}
"""The sections that go with each part of the figures; the settings also hold versions, the loss also the share."""
EVIL = """<script>alert("x")</script><img src=x onerror='y'>"""


def page_of(figures: dict[str, Any], tmp_path: Path) -> Page:
    return Page.of(write_audit_page(figures, tmp_path / "audit.html"))


def outside(path: Path) -> list[str]:
    """Return what a page refers to outside of itself."""
    source = path.read_text(encoding="utf-8")
    found = re.findall(r"""https?://|@import|url\(|<iframe|\bfetch\(|XMLHttpRequest|\bimport\(""", source)
    return found + [name for name in Page(source).references if not name.startswith(("#", "data:"))]


def everywhere(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return figures with every value changed."""
    if isinstance(value, dict):
        return {name: everywhere(one, change) for name, one in value.items()}
    return [everywhere(one, change) for one in value] if isinstance(value, list) else change(value)


def test_an_audit_has_every_section_in_the_order_of_the_questions(tmp_path: Path) -> None:
    page = page_of(figures(), tmp_path)
    assert page.ids == ALL
    assert page.problems == []
    assert page_of(poor_figures(), tmp_path).ids == [*ALL[:-1], "warnings", "settings"]


def test_the_pages_refer_to_nothing_outside_themselves(tmp_path: Path) -> None:
    assert outside(write_audit_page(poor_figures(), tmp_path / "audit.html")) == []
    assert (
        outside(write_changes_page(figures(), poor_figures(), Changes(changes(), ("It fell.",)), tmp_path / "c.html"))
        == []
    )


@pytest.mark.parametrize("part", ONLY_FROM)
def test_a_part_that_was_not_measured_is_left_out_and_the_rest_is_shown(part: str, tmp_path: Path) -> None:
    absent = figures()
    del absent[part]
    wrong: list[Any] = [None, "words", [None]]
    for given in (absent, *(figures() | {part: value} for value in wrong)):
        page = page_of(given, tmp_path)
        assert page.ids == [name for name in ALL if name not in ONLY_FROM[part]]
        assert page.problems == []


def test_every_part_is_drawn_from_its_own_figures_alone(tmp_path: Path) -> None:
    for part, sections in ONLY_FROM.items():
        page = page_of({part: figures()[part]}, tmp_path)
        assert page.problems == []
        assert set(sections) <= set(page.ids)


def test_no_figures_at_all_give_a_page_that_says_what_it_is_of(tmp_path: Path) -> None:
    page = page_of({}, tmp_path)
    assert page.ids == []
    assert "Audit of an unnamed subject A network; no labels were used." in page.text
    assert page.problems == []


def test_precomputed_features_show_neither_loss_nor_projector(tmp_path: Path) -> None:
    page = page_of(feature_figures(), tmp_path)
    assert page.ids == ["verdicts", "spectrum", "quantities", "settings"]
    assert "below the waterline" not in page.text
    assert not re.search(r"waterline \d", page.text)  # the mark in the chart
    assert "Outputs per direction" not in page.text
    assert "Precomputed features: 1,438 samples, 8 augmented views of each, 64 features; no labels" in page.text


def test_text_from_figures_is_never_markup(tmp_path: Path) -> None:
    given = everywhere(poor_figures(), lambda value: EVIL if isinstance(value, str) else value)
    given["subject"]["recipe"] = given["subject"]["versions"] = {EVIL: EVIL}
    given["quantities"][EVIL] = {"value": 1.0, "error": None}
    rows = tuple(replace(row, title=EVIL) for row in changes())
    for page in (
        write_audit_page(given, tmp_path / "audit.html"),
        write_changes_page(given, given, Changes(rows, (EVIL,)), tmp_path / "comparison.html"),
    ):
        source = page.read_text(encoding="utf-8")
        assert source.count("<script>") == 1
        assert "<img" not in source
        assert "onerror='y'" not in source
        assert EVIL in Page(source).text
        assert Page(source).problems == []


def test_numbers_that_are_not_finite_leave_the_page_whole(tmp_path: Path) -> None:
    for bad in (math.nan, math.inf, None):

        def spoilt(value: Any, bad: float | None = bad) -> Any:
            return bad if isinstance(value, float) else value

        page = page_of(everywhere(figures(), spoilt), tmp_path)
        assert page.problems == []
        assert not re.search(r"\b(nan|inf|none)\b", page.text, re.IGNORECASE)


def test_verdicts_have_word_sentence_number_interval_and_advice_and_warnings_come_first(tmp_path: Path) -> None:
    said = page_of(figures(), tmp_path).text
    card = "Warning Projector share 0.909 (0.899 to 0.919) 91% [90, 92] of the fall of the loss is within reach of"
    assert card in said
    assert "Note Waterline 25 At λ = 0.005 only 25 of 32 outputs" in said
    assert "Try: Raise λ above 0.0123 or cut D to 24." in said
    assert (
        said.index("Warning Projector share") < said.index("Note Waterline") < said.index("Good Solved augmentations")
    )


def test_everything_that_is_drawn_has_its_colour() -> None:
    for kind, colors in ((LossParts, PART_COLORS), (Floor, FLOOR_COLORS), (Effect, EFFECT_COLORS)):
        assert list(colors) == list(described(kind))


def test_a_level_that_is_not_known_is_shown_as_a_note(tmp_path: Path) -> None:
    assert "Note A level of the future" in page_of(figures(), tmp_path).text


def test_each_level_has_a_colour_of_its_own(tmp_path: Path) -> None:
    colors = []
    for level in ("good", "note", "warning"):
        source = write_audit_page({"verdicts": [verdict(level)]}, tmp_path / "a.html").read_text(encoding="utf-8")
        colors += re.findall(r'<ul class="verdicts"><li class="(c\d)">', source)
    assert len(set(colors)) == 3


def test_the_parts_of_the_loss_are_shown_with_sign_and_meaning_and_add_up(tmp_path: Path) -> None:
    said = page_of({"loss": figures()["loss"]}, tmp_path).text
    for label in ("+2.5", "−0.81", "+0.13", "1.82", "Loss of a batch"):
        assert label in said[: said.index("what it is")]
    assert "Projector gap −0.81 ± 0.04 What this projector leaves beyond the best linear one." in said
    assert "reaches 2.5 to 2.8 over all pairs of views, with about 95% certainty 2.4 to 3." in said
    assert "The complete loss is estimated from 1,438 pairs of views, one of each sample." in said
    assert "scaled as 1/N" not in said


def test_a_limit_of_some_directions_is_called_an_upper_bound(tmp_path: Path) -> None:
    given = figures()
    given["settings"]["num_features"] = 2048
    said = page_of(given, tmp_path).text
    assert "2.4 to 3; at most that, for 64 of 2,048 directions." in said
    assert "Only the 64 strongest directions of 2,048 were looked at." in said
    assert "at most that" not in page_of(figures(), tmp_path).text


def test_a_batch_that_is_too_large_to_measure_is_said_to_be_scaled(tmp_path: Path) -> None:
    given = figures()
    given["settings"]["batch_size"] = 2048
    given["loss"]["batch_measured_at"] = 719
    said = page_of(given, tmp_path).text
    assert "bias of batches of 2,048 was measured in batches of 719, half of the samples, and scaled as 1/N" in said


def test_between_plug_in_and_cross_fit_no_confidence_is_claimed(tmp_path: Path) -> None:
    said = page_of(figures(), tmp_path).text
    assert "should lie between" not in said
    assert "Neither is unbiased, and the truth need not lie between." in said
    lines, bands = spectrum_lines(Spectrum.from_json(figures()["spectrum"]), 64)
    plug_in, cross_fit = (line.y for line in lines)
    assert (bands[0].low < cross_fit - 0.03).all()  # beyond both by two errors
    assert (bands[0].high[1:] > plug_in[1:] + 0.015).all()


def test_what_the_projector_alone_reaches_stands_between_start_and_end(tmp_path: Path) -> None:
    said = page_of({"projector_share": figures()["projector_share"]}, tmp_path).text
    assert (
        "a linear projector reaches 74.5% ± 0.6 and a projector with a hidden layer reaches 90.9% ± 0.5 on the" in said
    )
    for label in ("24.6", "−17.1", "−3.75", "−2.09", "1.69"):
        assert label in said
    alone = page_of(figures() | {"projector_share": None}, tmp_path).text
    assert "How much of that is the projector's work is not known." in alone
    assert "A linear projector alone" not in alone


def test_a_share_that_lies_within_its_error_is_not_said(tmp_path: Path) -> None:
    wide = {"loss": 149.0, "share": -11.4, "error": 16.4}
    share = figures()["projector_share"] | {"linear": wide}
    one = page_of({"projector_share": share}, tmp_path).text
    assert "1,140" not in one
    assert "90.9%" in one
    none = page_of({"projector_share": share | {"mlp": wide}}, tmp_path).text
    assert "is not known: it is within its error" in none


def test_the_spectrum_says_what_is_evidence_what_is_used_and_what_would_use_all(tmp_path: Path) -> None:
    said = page_of(figures(), tmp_path).text
    assert "of 64 directions lie above the null edge of 0.057." in said
    assert "On samples that did not choose them, 49 [46, 52] do." in said
    assert "uses 23 to 25 directions for its 32 outputs; it would use all 32 with a redundancy weight above" in said
    assert "above 0.0123, or one for each output with at most 24 outputs." in said
    assert "null edge 0.057" in said
    assert "waterline 0.372 to 0.392" in said
    poor = page_of(poor_figures(), tmp_path).text
    assert "0 of 64 directions lie above the null edge of 0.352." in poor
    assert "it would use" not in poor


def test_augmentations_are_ordered_by_what_they_do_and_may_exceed_the_distance_of_images(tmp_path: Path) -> None:
    said = page_of({"augmentations": poor_figures()["augmentations"]}, tmp_path).text
    names = ["Random resized crop", "Solarize", "Rotation", "Gaussian blur", "Brightness"]
    places = [said.index(name, said.index("Effect in context")) for name in names]
    assert places == sorted(places)
    assert "128.1% ± 6.4" in said


def test_each_quantity_is_shown_with_what_it_is_and_what_it_does_not_tell(tmp_path: Path) -> None:
    said = page_of(figures(), tmp_path).text
    rank_me = "RankMe 42 ± 0.5 Such a count again, from uncentred features: the mean is one more direction. Its authors"
    assert rank_me in said
    assert "Augmentation share of the features 47.6% ± 0.4 Share of the variance" in said
    assert "A quantity of the future 3 ± 0.1" in said


def test_warnings_are_announced_at_the_top(tmp_path: Path) -> None:
    page = page_of(poor_figures(), tmp_path)
    assert page.text.index("2 warnings about these numbers") < page.text.index("What was found")
    assert "#warnings" in page.references
    assert "about these numbers" not in page_of(figures(), tmp_path).text


def test_a_wide_backbone_gives_a_light_page_and_its_useful_directions(tmp_path: Path) -> None:
    given = figures()
    rho = np.exp(-np.arange(2048) / 30.0)
    wide = {"plug_in": rho, "error": 0.1 * rho, "cross_fit": 0.9 * rho, "budget": rho, "eigenvalues": rho}
    given["spectrum"] |= {name: values.tolist() for name, values in wide.items()}
    given["spectrum"]["num_above_edge"] = 86
    page = write_audit_page(given, tmp_path / "audit.html")
    assert "direction, most invariant first (first 129 of 2048)" in Page.of(page).text
    given["spectrum"]["num_above_edge"] = 2048
    page = write_audit_page(given, tmp_path / "audit.html")
    assert "first 2048" not in Page.of(page).text
    assert page.stat().st_size < 250_000


def test_a_comparison_says_what_changed_first_and_shows_both(tmp_path: Path) -> None:
    out = tmp_path / "new" / "comparison.html"
    changed = Changes(changes(), ("The share fell.",))
    page = Page.of(write_changes_page(poor_figures(), figures(), changed, out))
    assert page.ids == ["spectrum", "augmentations", "layers", "loss", "changes", "settings"]
    assert page.problems == []
    assert page.text.index(f"A {POOR}") < page.text.index(f"B {TRAINED}") < page.text.index("The share fell.")
    assert page.text.index("The share fell.") < page.text.index("Invariance spectra")
    assert "Augmentation share of the features 85.3% 47.6% −37.7 ± 0.6 points yes" in page.text
    assert "Effective rank 46.1 38.2 −7.9 ± 5.1 no" in page.text
    assert "Samples 300 1,438 Views of each sample 2 8" in page.text
    assert "<b>−37.7 ± 0.6 points</b>" in out.read_text(encoding="utf-8")
    assert "Effect in context of random crop 27.2% 57.1% +29.9 points settings differ" in page.text
    assert "<b>−7.9" not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("part", ONLY_FROM)
def test_a_comparison_copes_with_what_only_one_audit_has(part: str, tmp_path: Path) -> None:
    given = figures()
    del given[part]
    for a, b in ((given, figures()), (figures(), given), (given, given), ({}, {})):
        assert Page.of(write_changes_page(a, b, Changes((), ()), tmp_path / "comparison.html")).problems == []


def test_equal_settings_are_not_listed_as_different(tmp_path: Path) -> None:
    page = Page.of(write_changes_page(figures(), figures(), Changes(changes(), ()), tmp_path / "comparison.html"))
    assert "settings" not in page.ids


def test_the_pages_import_no_torch() -> None:
    code = "import sys, barlow.report.audit_page, barlow.report.terminal; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_both_pages_fit_a_phone_and_log_nothing(tmp_path: Path) -> None:
    write_audit_page(poor_figures(), tmp_path / "audit.html")
    write_changes_page(figures(), poor_figures(), Changes(changes(), ("It fell.",)), tmp_path / "comparison.html")
    for name in ("audit", "comparison"):
        frame = tmp_path / f"phone-{name}.html"
        frame.write_text(PHONE.format(name=f"{name}.html"), encoding="utf-8")
        title, console = browse(frame, tmp_path)
        needed, width = (int(value) for value in title.split())
        assert width == 390
        assert needed <= width
        assert console == ""
