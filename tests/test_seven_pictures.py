"""The seven pictures: the script and the notebook run, the page shows what they make, small and of real runs."""

import json
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import barlow
from barlow.report.run_folder import read_run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "seven-pictures.md"
MOST_BYTES = 100_000


def test_every_picture_of_the_page_is_there_and_small_and_has_its_text() -> None:
    shown = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(shown) == 7
    for text, name in shown:
        assert len(text) > 30
        assert 500 < (PAGE.parent / name).stat().st_size < MOST_BYTES
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("**The paper:**") == page.count("**What is true.**") == 7


def test_the_film_has_the_moments_of_a_run_and_ends_with_a_fuller_diagonal() -> None:
    with Image.open(PAGE.parent / "pictures" / "1-correlation.gif") as film:
        assert getattr(film, "n_frames", 1) > 10


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModuleType]:
    """The cells of the notebook, run with two epochs of a tiny network."""
    folder = tmp_path_factory.mktemp("seven")
    notebook = json.loads((ROOT / "examples" / "seven_pictures.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        patch.chdir(folder)
        display = ModuleType("IPython.display")
        vars(display).update(SVG=lambda filename: Path(filename), Image=lambda filename: Path(filename))
        patch.setitem(sys.modules, "IPython", ModuleType("IPython"))
        patch.setitem(sys.modules, "IPython.display", display)
        small: dict[str, Any] = {
            "width": 4,
            "precision": "32-true",
            "machine": barlow.Machine(quiet=True, accelerator="cpu"),
        }
        pretrain: Any = partial(barlow.pretrain, **small)
        patch.setattr(barlow, "pretrain", pretrain)
        names: dict[str, Any] = {}
        for cell in cells:
            exec(compile(cell.replace("EPOCHS = 24", "EPOCHS = 2"), "notebook", "exec"), names)
    return folder, names["seven"]


def test_the_notebook_makes_the_seven_pictures(made: tuple[Path, ModuleType]) -> None:
    folder, seven = made
    names = [Path(name).name for _, name in re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))]
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == sorted(names)
    assert len(seven.PICTURES) == 7


def test_the_two_sums_of_the_fourth_picture_are_one(made: tuple[Path, ModuleType], tmp_path: Path) -> None:
    folder, seven = made
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = seven.duality(tmp_path)
    left, right = (float(figure) for figure in re.findall(r"[\d.]+\d", said))
    assert left == pytest.approx(right, rel=1e-6)


def test_a_run_keeps_small_corners_of_c_that_its_page_shows(made: tuple[Path, ModuleType]) -> None:
    folder, _ = made
    run = read_run(folder / "runs" / "seven" / "pearson")
    moments = run.moments()
    assert [round(epoch) for epoch, _ in moments] == [1, 2]
    for _, corner in moments:
        assert corner.shape == (32, 32)
        assert np.abs(corner).max() <= 1
        assert corner.diagonal().mean() > np.abs(corner[~np.eye(32, dtype=bool)]).mean()
    assert "data:image/gif;base64," in (run.folder / "report.html").read_text(encoding="utf-8")
    assert len((run.folder / "journal.jsonl").read_bytes()) < MOST_BYTES


def test_a_damaged_moment_is_left_out(made: tuple[Path, ModuleType], tmp_path: Path) -> None:
    lines = (made[0] / "runs" / "seven" / "pearson" / "journal.jsonl").read_text(encoding="utf-8")
    (tmp_path / "journal.jsonl").write_text(re.sub(r'("correlation": ?")\w{8}', r"\1????????", lines, count=1))
    assert len(read_run(tmp_path).moments()) == 1
