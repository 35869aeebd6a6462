"""The methods by name: every option is one method's own, and what a method does not have is refused."""

from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
from torch import nn

import barlow
from barlow.methods.heads import HeadSpec
from barlow.methods.table import METHODS, builder_of, options_in, options_of
from barlow.recipes import Recipe
from barlow.seams import Method, Terms

WITHOUT_LAMBDA = [name for name in METHODS if name != "barlow_twins"]


def refused(method: str, options: dict[str, Any], own: Any = None) -> str:
    with pytest.raises(ValueError, match=":") as caught:
        builder_of(Recipe(method=method, options=options), own)
    return str(caught.value)


@pytest.mark.parametrize("method", WITHOUT_LAMBDA)
@pytest.mark.parametrize(("option", "value"), [("redundancy_weight", 3), ("normalization", "raw")])
def test_what_barlow_twins_alone_has_is_refused_by_the_others_with_what_they_have(
    method: str, option: str, value: Any
) -> None:
    has = ", ".join(f"{name}={default}" for name, default in options_of(method).items())
    if option in options_of(method):  # Barlow Twins is a part of it
        assert (method, option) == ("speakers", "redundancy_weight")
        return
    assert refused(method, {option: value}).startswith(f"{option}: {method} has no such option; it has {has}")


@pytest.mark.parametrize("method", METHODS)
def test_the_defaults_of_a_method_are_values_that_it_takes(method: str) -> None:
    recipe = Recipe(method=method, options=options_of(method))
    assert builder_of(recipe) is METHODS[method]
    assert options_in(Recipe(method=method)) == options_in(recipe) == options_of(method)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("simclr", {"temprature": 0.2}, "it has temperature=0.1; did you mean 'temperature'?"),
        ("simclr", {"temperature": "warm"}, "temperature: got 'warm', wanted a number"),
        ("simclr", {"temperature": True}, "temperature: got True, wanted a number"),
        ("simsiam", {"bottleneck": 0.5}, "bottleneck: got 0.5, wanted a whole number"),
        ("vicregl", {"local_projector": 64}, "local_projector: got 64, wanted a word"),
        ("barlow_twins", {"normalization": "persson"}, "normalization: got 'persson', wanted one of pearson,"),
        ("vicreg", {"convention": "officious"}, "convention: got 'officious', wanted one of official, paper"),
        ("barlow_twin", {}, "method: got 'barlow_twin', wanted one of"),
    ],
)
def test_values_that_no_run_could_have_are_refused_before_anything_is_built(
    method: str, options: dict[str, Any], message: str
) -> None:
    assert message in refused(method, options)


class Mine(Method):
    """A method of one's own with options of every kind."""

    def __init__(
        self,
        backbone: nn.Module,
        head: barlow.HeadSpec,
        num_features: int,
        power: float = 2.0,
        *,
        kind: Literal["sum", "mean"] = "mean",
    ) -> None:
        super().__init__(backbone, head.build(num_features))
        self.power, self.kind = power, kind

    def forward(self, views: Sequence[Any]) -> Terms:
        a, b = (self.projector(self.represent(view)) for view in views)
        return Terms((a - b).abs().pow(self.power).mean())


def needs_a_number(backbone: nn.Module, head: HeadSpec, num_features: int, *, power: float) -> Method:
    return Mine(backbone, head, num_features, power)


def test_what_a_builder_takes_after_three_arguments_are_its_options() -> None:
    assert options_of(Mine) == {"power": 2.0, "kind": "mean"}
    assert builder_of(Recipe(method="own:Mine", options={"power": 1}), Mine) is Mine
    assert refused("own:Mine", {"powr": 1}, Mine) == (
        "powr: Mine has no such option; it has power=2.0, kind=mean; did you mean 'power'?"
    )
    assert "kind: got 'median', wanted one of sum, mean" in refused("own:Mine", {"kind": "median"}, Mine)
    assert "missing a required" in refused("own:needs_a_number", {}, needs_a_number)
    assert "it has power" in refused("own:needs_a_number", {"powr": 1}, needs_a_number)
    method = builder_of(Recipe(method="own:needs_a_number", options={"power": 3}), needs_a_number)
    assert method(nn.Identity(), HeadSpec("2"), 4, power=3)([torch.ones(3, 4)] * 2).total == 0


def test_a_method_of_ones_own_has_to_be_there_and_to_be_what_builds_it() -> None:
    assert "wanted the class or function itself" in refused("own:Mine", {})
    assert "open_run(folder, method=Mine)" in refused("own:Mine", {})
    built = Mine(nn.Identity(), HeadSpec("2"), 4)
    assert refused("own:Mine", {}, built) == (
        "method: got a Mine, wanted the class or a function that builds the method"
    )

    def too_few(backbone: nn.Module) -> Method:
        return built

    assert "too_few(backbone, head, num_features, **options)" in refused("own:too_few", {}, too_few)
