"""Recipes on the terminal: all of them with their sources, or every number of one."""

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from barlow.recipes import RECIPES, Recipe

TEXTS = ("source", "published")
"""Fields that are sentences: above the table, not in it."""


def print_recipes() -> None:
    """Print every recipe of `RECIPES` with what it trains, its source and its published result."""
    table = Table("recipe", "what", "source", "published", show_lines=True)
    for name, make in RECIPES.items():
        recipe = make()
        what = f"{recipe.method}, {recipe.backbone} w{recipe.width}, {recipe.epochs:g} epochs of {recipe.batch_size}"
        table.add_row(name, what, recipe.source, recipe.published or "-")
    Console().print(table)


def print_recipe(recipe: Recipe) -> None:
    """Print every number of a recipe, and the options of its method with those that the recipe changes."""
    from barlow.methods.table import options_of  # here, because it loads torch and the list does without

    console = Console()
    console.print(f"source: {recipe.source}", f"published: {recipe.published or '-'}", sep="\n", highlight=False)
    fields = {name: value for name, value in asdict(recipe).items() if name not in (*TEXTS, "options")}
    default = asdict(Recipe())
    table = Table("field", "value", "default of a Recipe")
    for name, value in fields.items():
        table.add_row(name, str(value), "" if value == default[name] else str(default[name]))
    console.print(table)
    options = options_of(recipe.method)
    table = Table(f"option of {recipe.method}", "value", "default of the method")
    for name, value in options.items():
        given = recipe.options.get(name, value)
        table.add_row(name, str(given), "" if given == value else str(value))
    if options:
        console.print(table)
