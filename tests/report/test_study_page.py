"""The page of a study: every finding in words, tables, curves on logarithmic axes, and how it was made."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from barlow.report.study_page import Conclusion, Curve, Finding, Plot, StudyRecord, Table, write_study_page
from tests.report.html_page import Page

RECORD = StudyRecord(
    command="barlow study batch_size --data digits --seeds 1 --quick --out runs/x",
    settings={"data": "digits", "seeds": 1, "form": "quick"},
    versions={"torch": "2.9", "barlow": "0.1"},
    seconds={"a-seed0": 61.0, "b-seed0": 4.0},
)
HELD = Finding("C6", "A projector makes C the identity.", "held", "the largest loss is 1e-25.")
FAILED = Finding("C6", "So it does at every width.", "failed", "at D = 256 it is 5.02 < 6 & more.")
TABLE = Table("Losses", "Lower is better.", ["arm", "loss", "loss again"], [["<wide>", 1234.5678, "5.0 ± 0.1"]])
STEPS = [10, 100, 1000]
PLOT = Plot(
    "Loss after k steps",
    "Dashed is the formula.",
    "steps",
    [Curve("measured", STEPS, [8.0, 1.0, 0.01]), Curve("formula", STEPS, [7.0, 1.0, 0.0], "c2", dashed=True)],
    log_x=True,
    log_y=True,
)


def written(path: Path, conclusion: Conclusion) -> Page:
    return Page.of(
        write_study_page(path / "study.html", "What <N> does", "The paper says nothing.", conclusion, RECORD)
    )


def test_a_page_says_what_was_claimed_what_was_found_and_how_to_make_it_again(tmp_path: Path) -> None:
    page = written(tmp_path, Conclusion([HELD, FAILED], [TABLE, PLOT]))
    assert not page.problems
    assert "What <N> does" in page.text
    assert "The paper says nothing." in page.text
    assert "C6 held. A projector makes C the identity. The largest loss is 1e-25." in page.text
    assert "C6 failed. So it does at every width. At D = 256 it is 5.02 < 6 & more." in page.text
    assert "1,235" in page.text
    assert "<wide>" in page.text
    assert RECORD.command in page.text
    assert "2 cells, 1 min 5 s of computing in all" in page.text
    assert "torch 2.9, barlow 0.1" in page.text
    assert {"part-0", "findings", "table-0", "record"} <= set(page.ids)


def test_the_answer_and_a_plot_come_first_and_tables_are_folded(tmp_path: Path) -> None:
    page = written(tmp_path, Conclusion([HELD, FAILED], [TABLE, PLOT, PLOT]))
    source = (tmp_path / "study.html").read_text(encoding="utf-8")
    assert "A projector makes C the identity: held. Of 2 statements in all: 1 held, 1 failed." in page.text
    order = ["part-0", "findings", "part-1", "table-0", "record"]
    assert [name for name in page.ids if name in order] == order
    table = source.partition('id="table-0"')[2].partition("</section>")[0]
    assert table.index("<details>") < table.index("<summary>1 row</summary>") < table.index("<table")
    assert "Nothing is found yet." in written(tmp_path, Conclusion([], [TABLE])).text


def test_a_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    page = written(tmp_path, Conclusion([HELD], [TABLE, PLOT]))
    assert all(reference.startswith(("#", "data:")) for reference in page.references)


def test_points_that_a_logarithmic_axis_cannot_show_are_left_out(tmp_path: Path) -> None:
    written(tmp_path, Conclusion([], [PLOT]))
    source = (tmp_path / "study.html").read_text(encoding="utf-8")
    assert source.count('<path class="line') == 2
    dashed = source.split('class="line c2 dashed" d="')[1].split('"')[0]
    assert dashed.count("L") == 1  # two points of three


def test_places_on_a_logarithmic_axis_are_even_for_even_ratios(tmp_path: Path) -> None:
    written(tmp_path, Conclusion([], [replace(PLOT, log_y=False)]))
    source = (tmp_path / "study.html").read_text(encoding="utf-8")
    path = source.split('class="line c1" d="')[1].split('"')[0]
    x = [float(point.split()[0]) for point in path.removeprefix("M").split("L")]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert 0 < x[0] < x[2] < 1000


@pytest.mark.parametrize(
    "part",
    [
        Table("Empty", "Nothing.", ["a"], []),
        replace(PLOT, title="Empty", curves=[]),
        replace(PLOT, title="Empty", curves=[Curve("none", [1.0], [float("nan")])]),
    ],
)
def test_a_part_without_data_is_not_there(tmp_path: Path, part: Table | Plot) -> None:
    page = written(tmp_path, Conclusion([HELD], [part]))
    assert not page.problems
    assert "Empty" not in page.text


def test_one_point_is_drawn(tmp_path: Path) -> None:
    page = written(tmp_path, Conclusion([HELD], [replace(PLOT, curves=[Curve("one", [64], [1.0])])]))
    assert not page.problems
    assert "Loss after k steps" in page.text


def test_results_keep_what_the_page_rounds() -> None:
    content = json.loads(json.dumps(Conclusion([HELD, FAILED], [TABLE, PLOT]).as_json()))
    assert content["tables"][0]["rows"][0][1] == 1234.5678
    assert [finding["outcome"] for finding in content["verdicts"]] == ["held", "failed"]


def test_a_finding_has_one_of_three_outcomes(as_users_call_it: None) -> None:
    with pytest.raises(ValueError, match="wanted held, failed or undecided"):
        Finding("C6", "It is.", "perhaps", "so it seems.")  # type: ignore[arg-type]
