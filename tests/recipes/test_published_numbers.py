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


TABLE = {  # Bielak et al. 2022, official code: epochs, warm-up, d, rate, encoder, p_x, p_e
    "gbt-wikics": (1000, 100, 256, 5e-4, "gcn2", 0.1, 0.2),
    "gbt-amazon-computers": (1000, 100, 128, 5e-4, "gcn2", 0.1, 0.4),
    "gbt-amazon-photo": (1000, 100, 256, 1e-4, "gcn2", 0.5, 0.0),
    "gbt-coauthor-cs": (1000, 100, 256, 1e-5, "gcn2", 0.1, 0.5),
    "gbt-coauthor-physics": (1000, 100, 128, 1e-5, "gcn2", 0.4, 0.1),
    "gbt-ogbn-arxiv": (500, 100, 256, 1e-3, "gcn3", 0.0, 0.2),
    "gbt-ppi": (500, 50, 512, 5e-3, "gat", 0.1, 0.1),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_recipe_of_graphs_has_the_numbers_of_its_row(name: str) -> None:
    recipe = RECIPES[name]()
    masks = recipe.modality_options["feature_mask"], recipe.modality_options["edge_drop"]
    row = (recipe.epochs, recipe.warmup_epochs, recipe.width, recipe.learning_rate, recipe.backbone, *masks)
    assert row == TABLE[name]
    assert recipe.options == {"redundancy_weight": 1 / recipe.width}
    assert (recipe.optimizer, recipe.weight_decay, recipe.exclude_biases, recipe.projector) == (
        "adamw",
        1e-5,
        False,
        "none",
    )
    assert recipe.final_learning_rate == 0
