"""The study of a test module, SMALL, carried out once for all its tests, and digits with all of their views."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from barlow.studies.cells import Finished, read_cells
from barlow.studies.images import EnumeratedImages, load_enumerated
from barlow.studies.study import Result
from tests.studies.tiny import FEW, SETTINGS, carried_out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "out"


@pytest.fixture(scope="module")
def result(request: pytest.FixtureRequest, folder: Path) -> Result:
    return carried_out(request.module.SMALL, folder)


@pytest.fixture(scope="module")
def cells(request: pytest.FixtureRequest, folder: Path, result: Result) -> Sequence[Finished]:
    return read_cells(folder, request.module.SMALL.cells(SETTINGS))


@pytest.fixture(scope="session")
def digits() -> EnumeratedImages:
    return load_enumerated("digits", "", **FEW, seed=0)
