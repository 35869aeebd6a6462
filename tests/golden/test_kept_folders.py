"""Folders that were written before still open, embed, report, audit and go on."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import barlow
from barlow.cli import main
from barlow.recipes import up_to_date
from tests.golden.measured import AUDIT, DATA, QUIET, STUDY, digits, kept, made_here, numbers, trained

Copied = Callable[[str], Path]
CLOSE = 1e-3
"""Relative, on another processor; figures of an audit are ratios of sums and ends of intervals."""


WORDS = {
    ": about half, and too close to it to say which": ": half is within this range, which does not say which",
    "To use them all, cut the outputs to 1; audit again after more training, which moves the waterline.": (
        "Raise lambda, cut the outputs, or train the backbone longer; then audit again."
    ),
}
"""What audits said, and what they say in its place."""


def as_said_today(found: Any) -> Any:
    """The same record where only words have changed since: audits speak of samples, and options stand together."""
    if isinstance(found, str):
        for before, today in WORDS.items():
            found = found.replace(before, today)
        return re.sub(r"\bimage(s?)\b", r"sample\1", re.sub(r"\b([Aa])n image\b", r"\1 sample", found))
    if isinstance(found, list):
        return [as_said_today(one) for one in found]
    if isinstance(found, dict):
        if "method" in found and ("redundancy_weight" in found or "options" in found):
            found = {
                "fit": "square",
                "minutes": 0,
                "modality_options": {},
                "lars_trust": 0.001,
                "lars_clip": False,
                **up_to_date(found),
            }  # later fields, and what was before them
        return {name: as_said_today(one) for name, one in found.items()}
    return found


def bytes_of(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}


def test_a_finished_run_opens_and_is_what_it_was(copied: Copied) -> None:
    folder = copied("finished")
    run = barlow.open_run(folder)
    assert run.finished
    assert run.recipe == barlow.Recipe(**up_to_date(kept("finished/recipe.json")["recipe"]))
    assert run.summary == kept("finished/summary.json")
    features, before = run.embed(digits(20), accelerator="cpu").numpy(), np.load(DATA / "finished-features.npy")
    assert features.dtype == before.dtype
    np.testing.assert_allclose(features, before, rtol=0, atol=0 if made_here() else 1e-4)


def test_a_finished_run_that_is_resumed_stays_as_it_is(copied: Copied) -> None:
    folder = copied("finished")
    assert barlow.resume(folder, machine=QUIET).finished
    found, before = bytes_of(folder), bytes_of(DATA / "finished")
    recipe = json.loads(found.pop("recipe.json"))
    assert recipe["data"].pop("identity").keys() == {"sizes", "hashes"}  # which older versions did not keep
    assert recipe == json.loads(before.pop("recipe.json"))
    assert found.pop("report.html")  # the kept folder has none, so it is made
    assert found == before
    assert trained(folder).weights == trained(DATA / "finished").weights


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_a_run_writes_its_page_from_what_its_folder_holds(
    name: str, copied: Copied, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(name)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder)])
    assert ended.value.code == 0
    assert str(folder / "report.html") in capsys.readouterr().out
    page = (folder / "report.html").read_text(encoding="utf-8")
    title = {"finished": "Barlow Twins on digits", "interrupted": "BYOL on digits"}[name]
    assert f"<title>{title}</title>" in page
    if name == "finished":
        assert barlow.open_run(folder).report().read_text(encoding="utf-8") == page
        trained_row = kept("finished/summary.json")["evaluation"]["rows"][0]
        assert f"{100 * trained_row['linear']:.1f}" in page
        assert 'id="spectrum"' in page  # from evidence.npz


def test_a_kept_audit_opens_with_its_verdicts_and_writes_its_page(tmp_path: Path) -> None:
    found = barlow.open_audit(DATA / "audit")
    figures: dict[str, Any] = kept("audit/audit.json")
    assert found.figures == figures
    assert len(found.verdicts) > 2
    assert [verdict.to_json() for verdict in found.verdicts] == as_said_today(figures["verdicts"])
    page = found.to_html(tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "finished" in page
    assert "waterline" in page


def test_an_audit_of_before_opens_too(tmp_path: Path) -> None:
    found = barlow.open_audit(DATA / "audit-before")
    assert len(found.verdicts) > 2
    assert found.spectrum["num_active_cross_fit_error"] is not None  # which an audit of today has a range for
    page = found.to_html(tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "Best linear projector" in page


def test_a_kept_run_is_audited_with_the_figures_that_were_found(copied: Copied) -> None:
    figures = json.loads(json.dumps(barlow.audit(copied("finished"), **AUDIT).figures))
    wanted = kept("audit/audit.json")
    for found in (figures, wanted):
        del found["settings"]["seconds"], found["subject"]["versions"]
    assert figures.keys() == wanted.keys()
    if made_here():
        for part, content in wanted.items():
            assert figures[part] == as_said_today(content), part
    for part in ("quantities", "loss"):
        found, before = numbers(figures[part]), numbers(wanted[part])
        assert before
        assert found == pytest.approx(before, rel=CLOSE, abs=CLOSE), part


def test_a_kept_study_is_carried_out_again_from_its_cells(copied: Copied, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("study")
    cells = bytes_of(folder / "cells")
    assert len(cells) == 3
    (folder / "results.json").unlink()
    with pytest.raises(SystemExit) as ended:
        main([*STUDY, "--out", str(folder)])
    assert ended.value.code == 0
    assert bytes_of(folder / "cells") == cells  # the seconds of each among it: nothing was computed
    assert not (folder / "work").exists()
    results, wanted = json.loads((folder / "results.json").read_text(encoding="utf-8")), kept("study/results.json")
    for part in ("study", "settings", "seconds", "verdicts", "tables"):
        assert results[part] == wanted[part], part
    printed = capsys.readouterr().out
    assert all(verdict["claim"] in printed for verdict in wanted["verdicts"])
    assert (folder / "study.html").exists()
