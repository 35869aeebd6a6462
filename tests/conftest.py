"""What all tests share: the data folder beside the repository, and type checks switched off on demand."""

import os
from collections.abc import Iterator
from pathlib import Path

# One thread, here and in the processes that tests start: the tensors are tiny, and two pools of threads on two
# busy cores wait for each other far longer than they work. Before torch is imported, or it has no effect.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from jaxtyping import config

# The same examples in every run: a property that fails does so here and in CI, and not once in a hundred runs.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the repository; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the data folder {SHARED_DATA.parent.name}/{SHARED_DATA.name} beside the repository")
    return SHARED_DATA


@pytest.fixture
def as_users_call_it() -> Iterator[None]:
    """Without the run-time type checks of the test suite, so that the library's own errors are seen."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
