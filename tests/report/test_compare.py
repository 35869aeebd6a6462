"""Several runs on one page."""

from dataclasses import replace
from pathlib import Path

import pytest

from barlow.report.compare import compare_reports
from barlow.report.page import write_report
from tests.report.html_page import Page
from tests.report.synthetic_run import DIGITS, few, records, summary, unfinished_run, write_run


def three_runs(folder: Path) -> list[Path]:
    """Write runs that differ in one field each; the last is the best on few labels."""
    runs = []
    for place, (name, change) in enumerate(
        [("base", {}), ("lambda", {"redundancy_weight": 0.02}), ("seed", {"seed": 7})]
    ):
        recipe = replace(DIGITS, epochs=10, **change)  # type: ignore[arg-type]  # mypy cannot know the fields
        figures = summary()
        figures["evaluation"]["rows"][1]["few_labels"] = few(0.90 + 0.02 * place, 0.008)
        runs.append(write_run(folder / name, journal=records(recipe), figures=figures, arrays={}, recipe=recipe))
    return runs


def test_runs_stand_side_by_side(tmp_path: Path) -> None:
    runs = three_runs(tmp_path)
    write_report(runs[0])
    found = Page.of(compare_reports(runs, tmp_path / "compare.html"))
    assert found.ids == ["figures", "accuracy", "loss", "probes", "recipes"]
    assert found.problems == []
    assert "10 labels per class: seed is first with 94.0% ± 0.8, 2.0 points above lambda." in found.text
    assert "linear probe, all labels: base and lambda are level at 97.9%" in found.text
    assert [reference for reference in found.references if not reference.startswith(("#", "data:"))] == [
        "base/report.html"
    ]


def test_only_the_fields_that_differ_are_shown(tmp_path: Path) -> None:
    page = compare_reports(three_runs(tmp_path), tmp_path / "compare.html").read_text(encoding="utf-8")
    differences = page[page.index('id="recipes"') :]
    assert "<td>0.005</td><td>0.02</td><td>0.005</td>" in differences
    assert "<code>seed</code>" in differences
    assert "<code>batch_size</code>" not in differences


def test_a_small_lead_is_called_noise(tmp_path: Path) -> None:
    figures = summary()
    figures["evaluation"]["rows"][1] |= {"few_labels": few(0.935, 0.008), "linear": 0.983}
    runs = [write_run(tmp_path / "a", arrays={}), write_run(tmp_path / "b", figures=figures, arrays={})]
    said = Page.of(compare_reports(runs, tmp_path / "compare.html")).text
    assert "b is first with 93.5% ± 0.8, 0.4 points above a, within the spread of the draws." in said
    assert "b is first with 98.3%, 0.4 points above a, within one standard error of 359 test samples." in said


def test_other_data_and_unfinished_runs_are_pointed_out(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", journal=records(data_name="photos")), unfinished_run(tmp_path / "b")]
    said = Page.of(compare_reports(runs, tmp_path / "compare.html")).text
    assert "These runs learnt from different data (photos, digits)" in said
    assert "Not finished: b." in said


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name / "run", arrays={}) for name in ("x", "y")]
    found = Page.of(compare_reports(runs, tmp_path / "new" / "compare.html"))
    assert {"x/run", "y/run"} <= set(found.words)
    assert "None: the recipes are equal." in found.text


def test_more_runs_than_colours_are_drawn(tmp_path: Path) -> None:
    journal = records(replace(DIGITS, epochs=2))
    runs = [write_run(tmp_path / f"run{place}", journal=journal, arrays={}, figures={}) for place in range(10)]
    page = compare_reports(runs, tmp_path / "compare.html").read_text(encoding="utf-8")
    assert 'class="line c2 dashed"' in page


def test_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="folders: got none"):
        compare_reports([], tmp_path / "compare.html")
