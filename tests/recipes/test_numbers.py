"""What editors complete of `barlow.pretrain` are the fields of a Recipe; customary names are answered with ours."""

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

import barlow
from barlow.recipes import OF_THE_RUN, Recipe, recipe_for
from barlow.recipes.numbers import Numbers
from barlow.recipes.recipe import ALSO_CALLED
from barlow.runs.pretrain import pretrain

IN_THE_SIGNATURE = {"views", "backbone", "method"}


def test_the_keywords_have_the_names_and_types_of_the_fields() -> None:
    theirs, ours = get_type_hints(Recipe), get_type_hints(Numbers)
    typed_as_fields = {"redundancy_weight", "normalization"}
    assert {name: ours[name] for name in ours.keys() - typed_as_fields} == {
        name: hint for name, hint in theirs.items() if name not in IN_THE_SIGNATURE
    }
    assert typed_as_fields < ours.keys()
    assert get_type_hints(pretrain).keys() > IN_THE_SIGNATURE


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": 0.1}, "^lr: is called learning_rate here$"),
        ({"epoch": 3}, "^epoch: is called epochs here$"),
        ({"num_epochs": 3}, "^num_epochs: is called epochs here$"),
        ({"bs": 3}, "^bs: is called batch_size here$"),
        ({"arch": "resnet18"}, "^arch: is called backbone here$"),
        ({"model": "resnet18"}, "^model: is called backbone here$"),
        ({"lambda_": 0.1}, "^lambda_: is called redundancy_weight here$"),
        ({"output_dir": "x"}, "^output_dir: is called out here$"),
        ({"dataset": "x"}, "^dataset: is called data here$"),
        ({"device": "cpu"}, r"^device: is called accelerator here, .*machine=barlow.Machine\(accelerator='cpu'\)"),
        ({"gpus": 2}, r"^gpus: is called devices here, .*machine=barlow.Machine\(devices=2\)"),
        ({"workers": 2}, r"^workers: is called num_workers here, .*barlow.load_source\(data, num_workers=...\)"),
        ({"lerning_rate": 2}, "did you mean 'learning_rate'"),
    ],
)
def test_customary_names_are_answered_with_ours(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        barlow.pretrain("no/such", **given)


def test_every_answer_is_a_name_that_there_is() -> None:
    known = {field.name for field in fields(Recipe)} | {"redundancy_weight"}
    assert set(ALSO_CALLED.values()) <= known
    assert not (ALSO_CALLED | OF_THE_RUN).keys() & {*known, *get_type_hints(pretrain)}
    assert recipe_for("digits").name == "digits"
