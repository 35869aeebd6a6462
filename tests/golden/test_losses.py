"""Every loss and its gradient on fixed embeddings are what they were."""

import numpy as np
import pytest

from tests.golden.measured import DATA, Value, kept, loss_values

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
"""Of the largest number in a gradient, where another processor adds up in another order."""
METHODS = (
    "barlow_twins",
    "simclr",
    "swav",
    "simsiam",
    "vicreg",
    "vicregl",
    "wmse",
    "optimal_projector",
    "byol",
    "sigreg",
)


def kept_values() -> dict[str, Value]:
    losses = kept("losses.json")
    with np.load(DATA / "gradients.npz") as gradients:
        return {name: Value(found["total"], found["parts"], gradients[name]) for name, found in losses.items()}


THEN = kept_values()


@pytest.fixture(scope="module")
def now() -> dict[str, Value]:
    return loss_values()


def test_every_method_has_its_values(now: dict[str, Value]) -> None:
    assert now.keys() == THEN.keys()
    assert {name.split("-")[0] for name in THEN} == set(METHODS)


@pytest.mark.parametrize("name", THEN)
def test_losses_and_gradients_are_what_they_were_to_the_bit(
    name: str, now: dict[str, Value], where_they_were_made: None
) -> None:
    assert now[name].total == THEN[name].total
    assert now[name].parts == THEN[name].parts
    assert now[name].gradient.dtype == THEN[name].gradient.dtype
    assert now[name].gradient.tobytes() == THEN[name].gradient.tobytes()


@pytest.mark.parametrize("name", THEN)
def test_losses_and_gradients_are_what_they_were_but_for_rounding(name: str, now: dict[str, Value]) -> None:
    tolerance = TOLERANCE[name.rsplit("-", 1)[1]]
    largest = max(1.0, *map(abs, THEN[name].parts.values()))
    assert now[name].total == pytest.approx(THEN[name].total, rel=0, abs=tolerance * largest)
    assert now[name].parts == pytest.approx(THEN[name].parts, rel=0, abs=tolerance * largest)
    size = float(np.abs(THEN[name].gradient).max())
    assert size > 0
    np.testing.assert_allclose(now[name].gradient, THEN[name].gradient, rtol=0, atol=tolerance * size)
