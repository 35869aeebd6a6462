"""The page of one run: what is there when the data are, what is left out, and that it needs nothing else."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barlow.recipes import RECIPES
from barlow.report.page import write_report
from barlow.report.record import left_out
from barlow.report.run_folder import read_run
from tests.report.html_page import Page
from tests.report.synthetic_run import DIGITS, evidence, pictures, records, summary, unfinished_run, write_run

ALL = ["evaluation", "loss", "probes", "views", "neighbours", "correlation", "spectrum", "next", "recipe"]
NEEDS = {
    "views": ["views_a"],
    "neighbours": ["neighbour_images"],
    "spectrum": ["eigenvalues", "eigenvalues_untrained"],
    "correlation": ["correlation_block", "correlation_diagonal", "offdiagonal_counts"],
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_run(tmp_path_factory.mktemp("run")))


def test_a_finished_run_has_every_section_in_the_order_of_the_questions(page: Path) -> None:
    assert page.name == "report.html"
    assert Page.of(page).ids == ALL


def test_the_page_is_well_formed(page: Path) -> None:
    assert Page.of(page).problems == []


def test_the_page_refers_to_nothing_outside_itself(page: Path) -> None:
    source = page.read_text(encoding="utf-8")
    assert all(reference.startswith(("#", "data:")) for reference in Page.of(page).references)
    assert not re.search(r"""https?://|@import|url\(|<iframe|\bfetch\(|XMLHttpRequest|\bimport\(""", source)


def test_the_strict_reader_sees_what_is_wrong_with_a_page() -> None:
    assert Page("<p><b>x</p></b>").problems
    assert Page('<p id="a"></p><p id="a"></p>').problems == ["id 'a' twice"]
    assert Page("<div><p>x</p>").problems == ["<div> is never closed"]


def test_the_headline_says_what_the_numbers_mean(page: Path) -> None:
    said = Page.of(page).text
    assert "Barlow Twins on digits" in said
    assert "1,438 images (28 × 28 pixels, 1 channel), 30 epochs in 1 min 12 s on cpu" in said
    assert "With batch 256 and 2,048 features no network can show a loss below 70.9; this run ended at 8" in said
    reach = "On 10 labels per class the features reach 93.1% ± 0.8, raw pixels 89.0%, the same network untrained 85.9%"
    assert reach in said


@pytest.mark.parametrize("section", NEEDS)
def test_a_section_without_its_data_is_left_out(section: str, tmp_path: Path) -> None:
    arrays = {name: array for name, array in evidence().items() if name not in NEEDS[section]}
    found = Page.of(write_report(write_run(tmp_path, arrays=arrays)))
    assert found.ids == [name for name in ALL if name != section]
    assert found.problems == []


def test_only_a_recipe_is_enough_for_a_page(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"method": "barlow_twins", "epochs": 3}), encoding="utf-8")
    found = Page.of(write_report(tmp_path))
    assert found.ids == ["recipe"]
    assert "No step has been recorded yet." in found.text
    assert "0 of 3 epochs" in found.text
    assert found.problems == []


def test_a_run_killed_while_it_wrote_gives_a_page_that_says_so(tmp_path: Path) -> None:
    found = Page.of(write_report(unfinished_run(tmp_path)))
    assert found.ids == ["loss", "probes", "recipe"]
    assert "This run has not finished: 9.75 of 30 epochs done" in found.text
    assert "could not be read" not in found.text
    assert "left out" not in found.text
    assert found.problems == []


def test_a_page_without_labels_says_so_and_shows_what_needs_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path, journal=records(labels=False), figures=summary(labels=False))
    found = Page.of(write_report(folder))
    assert "No labels were given" in found.text
    assert "Effective rank of plain samples 36.9 9.2" in found.text
    assert "kNN" not in found.text
    assert "Accuracy" not in found.text


def test_labels_that_were_not_used_are_not_called_missing(tmp_path: Path) -> None:
    found = Page.of(write_report(write_run(tmp_path, figures=summary(labels=False))))
    assert "The features have not been evaluated on labels" in found.text
    assert "No labels were given" not in found.text


def test_test_samples_that_were_trained_on_are_admitted(tmp_path: Path) -> None:
    figures = summary()
    said = "The test samples themselves, without labels, may have been among those trained on."
    assert said not in Page.of(write_report(write_run(tmp_path, figures=figures))).text
    figures["evaluation"]["test_seen_in_pretraining"] = True
    assert said in Page.of(write_report(write_run(tmp_path, figures=figures))).text


def test_similarities_near_one_are_shown_with_more_digits(tmp_path: Path) -> None:
    arrays = evidence() | {"neighbour_similarities": np.full((6, 5), 0.9987)}
    assert "0.9987" in Page.of(write_report(write_run(tmp_path, arrays=arrays))).text


def test_text_from_a_run_is_never_markup(tmp_path: Path) -> None:
    evil = """<script>alert("x")</script><img src=x onerror='y'>"""
    journal: list[dict[str, Any]] = [*records(DIGITS, data_name=evil)]
    journal[0] |= {"device": evil, "versions": {evil: evil}}
    journal.insert(3, {"event": "warning", "time": 1.7e9, "message": evil})
    journal.insert(3, {"event": "bad_sample", "index": 3, "what": evil, "reason": evil})
    figures = summary()
    figures["evaluation"]["rows"][0]["features"] = evil
    journal[10]["parts"] = {evil: 1.0}
    page = write_report(write_run(tmp_path, journal=journal, figures=figures, recipe=replace(DIGITS, name=evil)))
    source, found = page.read_text(encoding="utf-8"), Page.of(page)
    assert source.count("<script>") == 1
    assert "onerror='y'" not in source
    assert evil in found.text
    assert found.problems == []


def test_incidents_are_listed_and_long_lists_folded(tmp_path: Path) -> None:
    journal = records()
    bad = [{"event": "bad_sample", "index": i, "what": f"{i}.jpg", "reason": "truncated"} for i in range(7)]
    said = [{"event": "warning", "message": "the floor dominates"}] * 3
    journal[40:40] = [*bad, *said, {"event": "resume", "step": 39, "time": 1.7e9}]
    found = Page.of(write_report(write_run(tmp_path, journal=journal)))
    assert "incidents" in found.ids
    assert found.tags.count("details") == 2  # and what the words mean
    assert "7 unreadable samples left out" in found.text
    assert left_out(read_run(tmp_path)) == [
        "7 unreadable samples left out:",
        *(f"  {i}.jpg (number {i}): truncated" for i in range(5)),
        f"  and 2 more, listed in {tmp_path / 'report.html'}",
    ]
    assert "the floor dominates (× 3)" in found.text
    assert "Went on from step 39" in found.text


def test_damaged_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "evidence.npz").write_bytes(b"PK\x03\x04 half a file")
    (tmp_path / "summary.json").write_text('{"evaluation": {', encoding="utf-8")
    found = Page.of(write_report(tmp_path))
    assert found.ids == ["loss", "probes", "next", "incidents", "recipe"]
    assert "evidence.npz could not be read" in found.text
    assert "summary.json could not be read" in found.text


def test_numbers_that_are_not_finite_leave_the_page_whole(tmp_path: Path) -> None:
    journal = records()
    for record in journal[50:60]:
        record["loss"] = float("nan")
    journal[70]["parts"] = None
    journal[71]["floor"] = float("inf")
    figures = summary()
    figures["label_free"]["effective_rank"] = None
    arrays = {**evidence(), "correlation_diagonal": np.full(64, np.nan), "eigenvalues": np.zeros(8)}
    found = Page.of(write_report(write_run(tmp_path, journal=journal, figures=figures, arrays=arrays)))
    assert found.problems == []
    assert "nan" not in re.sub(r"\w*nan\w+|\w+nan\w*", "", found.text.lower()).split()


def test_a_run_without_a_floor_shows_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp_path = tmp_path_factory.mktemp("simclr")  # the page names its folder, which is not to hold the word
    recipe = replace(DIGITS, method="simclr")
    folder = write_run(tmp_path / "run", journal=records(recipe, floor=None), recipe=recipe)
    found = Page.of(write_report(folder))
    assert "SimCLR on digits" in found.text
    assert "The loss began at" in found.text
    assert "floor" not in found.text
    assert "Excess" not in found.text


def test_large_colour_pictures_are_shrunk_and_tiny_ones_kept_sharp(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    large = evidence() | {name: pictures(rng, 3, side=224, channels=3) for name in ("originals", "views_a", "views_b")}
    source = write_report(write_run(tmp_path, arrays=large)).read_text(encoding="utf-8")
    assert source.count("<img ") == 9 + 36 + 1
    assert source.count('<img class="tiny"') == 36 + 1  # the neighbours and the heat map
    assert len(source) < 1_000_000


def test_a_long_journal_stays_a_light_page(tmp_path: Path) -> None:
    recipe = replace(DIGITS, epochs=120)
    page = write_report(write_run(tmp_path, journal=records(recipe), arrays={}, recipe=recipe))
    assert page.stat().st_size < 400_000


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder: got .*, wanted a run folder with recipe.json or journal.jsonl"):
        write_report(tmp_path / "nowhere")


def test_the_command_runs_the_recipe_again(tmp_path: Path) -> None:
    recipe = replace(RECIPES["digits"](), channels_last=False, learning_rate=3e-4, epochs=2)
    journal = records(recipe, data_name="my photos")
    found = Page.of(write_report(write_run(tmp_path, journal=journal, recipe=recipe)))
    command = "barlow pretrain 'my photos' --recipe digits --epochs 2 --learning-rate 0.0003 --no-channels-last"
    assert command in found.text
    journal[0]["data"]["path"] = ""
    found = Page.of(write_report(write_run(tmp_path, journal=journal, recipe=recipe)))
    assert "barlow.pretrain(data, recipe='digits', epochs=2, learning_rate=0.0003, channels_last=False)" in found.text


def test_the_report_imports_no_torch() -> None:
    code = "import sys, barlow.report.page, barlow.report.side_by_side; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_page_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("no space left on device")))
    with pytest.raises(OSError, match="no space left"):
        write_report(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
