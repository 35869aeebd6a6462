"""The numbers of the published recipes are those of the table."""

import pytest

from barlow.methods.table import options_of
from barlow.recipes import RECIPES
from tests.recipes.published_numbers import NUMBERS

ROWS = [(recipe, field, value) for recipe, numbers in NUMBERS.items() for field, value in numbers.items()]


@pytest.mark.parametrize(("name", "field", "value"), ROWS, ids=[f"{name}-{field}" for name, field, _ in ROWS])
def test_number_is_the_published_one(name: str, field: str, value: object) -> None:
    recipe = RECIPES[name]()
    options = options_of(recipe.method) | recipe.options
    if field == "momentum_of_target":  # BYOL's option has the name of the optimizer's field
        assert options["momentum"] == value
    elif field in options and field != "momentum":
        assert options[field] == value
    elif isinstance(value, float):
        assert getattr(recipe, field) == pytest.approx(value, rel=1e-12)
    else:
        assert getattr(recipe, field) == value


def test_every_recipe_with_a_published_result_is_in_the_table() -> None:
    assert {name for name, make in RECIPES.items() if make().published} <= NUMBERS.keys()
