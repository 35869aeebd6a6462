"""Recipes on the terminal: all of them with their sources, or every number of one."""

from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from barlow.recipes import EVERY, RECIPES, Recipe

TEXTS = ("source", "published")
"""Fields that are sentences: above the table, not in it."""


def print_recipes() -> None:
    """Print every recipe of `RECIPES`, by method: what it trains, and where its numbers come from.

    Names are never cut; in a narrow terminal source and published result go below the name.
    """
    console = Console(highlight=False)
    recipes = {name: make() for name, make in RECIPES.items()}
    for method in dict.fromkeys(recipe.method for recipe in recipes.values()):
        console.print(Text(f"\n{method}", style="bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, recipe in recipes.items():
            if recipe.method == method:
                table.add_row(Text(f"  {name}"), Text(_line(recipe)))
        console.print(table)
    console.print("\nbarlow recipes NAME shows every number of one; a method's name alone takes the one for your data.")


def _line(recipe: Recipe) -> str:
    """What a recipe trains and where it is from, in a sentence or two."""
    batch = "all" if recipe.batch_size == EVERY else recipe.batch_size
    width = f" of width {recipe.width}" if recipe.width != Recipe.width else ""
    what = f"{recipe.backbone}{width}, {recipe.epochs:g} epochs, batch {batch}. From {recipe.source}."
    return what + (f" Published: {recipe.published}." if recipe.published else "")


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
