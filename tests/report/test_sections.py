"""The table of evaluations that were kept: what was measured of which data, the last one where it was repeated."""

from pathlib import Path
from typing import Any

import pytest

from barlow.report.page import write_report
from barlow.report.run_folder import read_run
from barlow.report.sections import kept_evaluations
from tests.report.html_page import Page
from tests.report.synthetic_run import few, records, write_run


def evaluated(name: str, *, file: str = "", path: str = "", protocol: str = "ours", **trained: Any) -> dict[str, Any]:
    row = {"knn": 0.9, "linear": 0.8, "few_labels": few(0.7, 0.01)}
    rows = [{"features": "trained", **row, **trained}, {"features": "untrained", **row, "linear": 0.55}]
    file = file or f"evaluations/{name}-{protocol}.json"
    data = {"name": name, "path": path}
    return {"event": "evaluation", "data": data, "protocol": protocol, "rows": rows, "seconds": 5.0, "file": file}


def table_of(folder: Path, *found: dict[str, Any]) -> str:
    run = read_run(write_run(folder, journal=[*records(), {"event": "evaluation", "seconds": 2.0}, *found]))
    return Page(kept_evaluations(run)).text


def test_each_evaluation_has_a_row_with_the_untrained_network_beside_it(tmp_path: Path) -> None:
    tuned = [{"fraction": 0.01, "accuracy": 0.42}, {"fraction": 0.1, "accuracy": 0.84}]
    said = table_of(
        tmp_path, evaluated("birds"), evaluated("cats", protocol="published", sgd_linear=0.66, finetune=tuned)
    )
    assert "birds" in said
    assert "ours" in said
    assert "published" in said
    assert "80.0% (55.0%)" in said
    assert "70.0% ± 1.0 (70.0% ± 1.0)" in said
    assert "66.0%" in said
    assert "1%: 42.0%" in said
    assert "10%: 84.0%" in said


def test_columns_are_those_that_were_measured(tmp_path: Path) -> None:
    said = table_of(tmp_path, evaluated("birds"))
    assert "nearest neighbours (kNN)" in said
    assert "10 labels per class" in said
    assert "SGD" not in said
    assert "fine-tuned" not in said


def test_of_the_same_file_the_last_counts_and_data_of_one_name_are_told_apart(tmp_path: Path) -> None:
    said = table_of(
        tmp_path,
        evaluated("birds", path="/a/birds", linear=0.11),
        evaluated("birds", path="/b/birds", linear=0.22, file="evaluations/birds-ours-2.json"),
        evaluated("birds", path="/a/birds", linear=0.33),
    )
    assert "11.0%" not in said
    assert "/b/birds" in said
    assert "/a/birds" in said
    assert "33.0%" in said


@pytest.mark.parametrize(
    "broken", [{"rows": 3}, {"rows": [3, {}]}, {"data": None}, {"rows": [{"features": "trained"}]}]
)
def test_a_record_that_is_not_whole_leaves_the_page_whole(broken: dict[str, Any], tmp_path: Path) -> None:
    journal = [*records(), evaluated("<birds>") | broken, evaluated("cats")]
    page = Page.of(write_report(write_run(tmp_path, journal=journal)))
    assert page.problems == []
    assert "cats" in page.text


def test_the_table_follows_the_evaluation_of_the_run_and_is_left_out_without_rows(tmp_path: Path) -> None:
    assert table_of(tmp_path / "none") == ""
    page = Page.of(write_report(write_run(tmp_path / "one", journal=[*records(), evaluated("birds")])))
    assert page.ids[:3] == ["evaluation", "kept", "loss"]
