"""What the tests of golden values share: sums in one order, and copies of the kept folders."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.golden.measured import DATA, made_here, one_thread


@pytest.fixture(autouse=True, scope="session")
def in_one_thread() -> Iterator[None]:
    """Every value is computed as it was when it was kept."""
    with one_thread():
        yield


@pytest.fixture
def where_they_were_made() -> None:
    """Skips a comparison to the bit where another torch or another processor computes."""
    if not made_here():
        pytest.skip("the values were made with another torch or on another processor: compared closely only")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Kept folder by name -> a copy of it that may be written to."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(DATA / name, tmp_path / name))

    return copy
