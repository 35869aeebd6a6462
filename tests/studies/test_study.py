"""A study as a whole: settings, going on, record, page, command line."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from barlow.cli.commands import main
from barlow.report.study_page import Conclusion, Finding, Table
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.study import Settings, Study, carry_out, command_of
from barlow.studies.table import STUDIES, load_study
from tests.audio.recordings import tone, write
from tests.report.html_page import Page

SETTINGS = Settings(data="digits", data_root="", seeds=2, form="quick")


def halved(work: Path, *, seed: int) -> Metrics:
    return {"half": seed / 2}


def cells(settings: Settings) -> list[Cell]:
    return [Cell(f"seed{seed}", halved, {"seed": seed}) for seed in range(settings.seeds)]


def conclude(found: Sequence[Finished]) -> Conclusion:
    halves = [cell.metrics["half"] for cell in found]
    finding = Finding(
        "H1", "No half is above 0.5.", "held" if max(halves) <= 0.5 else "failed", f"Largest {max(halves)}."
    )
    return Conclusion([finding], [Table("Halves", "Seeds and halves.", ["seed", "half"], list(enumerate(halves)))])


STUDY = Study("Halves", "The paper says that halves are small.", cells, conclude)


def test_a_study_writes_its_record_and_its_page(tmp_path: Path) -> None:
    found = carry_out("halves", STUDY, SETTINGS, tmp_path / "out", jobs=1, quiet=True)
    assert found.conclusion.findings[0].outcome == "held"
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["verdicts"][0]["evidence"] == "Largest 0.5."
    assert results["tables"][0]["rows"] == [[0, 0.0], [1, 0.5]]
    assert results["settings"]["seeds"] == 2
    assert set(results["seconds"]) == {"seed0", "seed1"}
    assert "torch" in results["versions"]
    page = Page.of(found.page)
    assert not page.problems
    assert "H1 held. No half is above 0.5. Largest 0.5." in page.text
    assert found.conclusion.findings[0].sentence == "H1: No half is above 0.5. Held: Largest 0.5."
    assert results["command"] in page.text


def test_more_seeds_may_be_added_and_the_finding_follows_the_numbers(tmp_path: Path) -> None:
    carry_out("halves", STUDY, SETTINGS, tmp_path, jobs=1, quiet=True)
    before = (tmp_path / "cells" / "seed0.json").stat().st_mtime_ns
    found = carry_out("halves", STUDY, replace(SETTINGS, seeds=3), tmp_path, jobs=1, quiet=True)
    assert found.conclusion.findings[0].outcome == "failed"
    assert (tmp_path / "cells" / "seed0.json").stat().st_mtime_ns == before


def test_a_folder_of_other_settings_or_of_something_else_is_refused(tmp_path: Path) -> None:
    carry_out("halves", STUDY, SETTINGS, tmp_path / "out", jobs=1, quiet=True)
    with pytest.raises(ValueError, match="form was 'quick', now 'core'"):
        carry_out("halves", STUDY, replace(SETTINGS, form="core"), tmp_path / "out", quiet=True)
    with pytest.raises(ValueError, match="study was 'halves', now 'thirds'"):
        carry_out("thirds", STUDY, SETTINGS, tmp_path / "out", quiet=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        carry_out("halves", STUDY, SETTINGS, tmp_path / "other", quiet=True)
    with pytest.raises(ValueError, match="seeds: got 0"):
        carry_out("halves", STUDY, replace(SETTINGS, seeds=0), tmp_path / "new", quiet=True)


def test_the_command_of_the_record_makes_the_study_again() -> None:
    settings = Settings("my pictures", "/data", 3, "whole")
    words = "barlow study halves --data 'my pictures' --seeds 3 --data-root /data --whole --out runs/halves"
    assert command_of("halves", settings, Path("runs/halves")) == words
    assert "--core" not in command_of("halves", replace(settings, form="core"), Path("runs/halves"))


def test_the_list_and_the_page_need_no_torch() -> None:
    code = "import sys, barlow.studies.table, barlow.report.study_page; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_list_names_every_study(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["study"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_loads_and_has_cells_of_different_names(name: str, tmp_path: Path) -> None:
    study = load_study(name)
    data = str(write(tmp_path / "tone.wav", tone()).parent) if name == "speakers" else SETTINGS.data
    for form in ("quick", "core", "whole"):
        settings = replace(SETTINGS, form=form, data=data)
        names = [cell.name for cell in study.cells(settings)]
        assert names
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["dualty"], "did you mean 'duality'"), (["duality", "--quick", "--whole"], "wanted one of them")],
)
def test_wrong_words_are_answered_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["study", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
