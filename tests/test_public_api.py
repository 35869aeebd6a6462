"""The names that users type, frozen: a change here is a change of the API and belongs into CHANGELOG.md."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import barlow
from barlow.methods.table import options_of
from barlow.recipes import MADE_FOR, RECIPES, Recipe, recipe_for, with_numbers
from barlow.training.machine import Machine

NAMES = [
    "Around", "ArraySource", "Audit", "AuditSettings", "BYOLLoss", "BarlowTwinsLoss", "Batch", "CCASSGLoss",
    "Distill", "EWC", "Embeddings", "GraphNetwork", "GraphView", "HeadSpec", "LocatedPipeline", "Machine", "MeanOver",
    "Method", "Modality", "Moments", "OptimalProjectorLoss", "Params", "Preparation", "RECIPES", "Recipe", "Replay",
    "Run", "SIGRegLoss", "SegmentSettings", "SegmentationModel", "Segmented", "SequenceRun", "ShapesSource",
    "SimCLRLoss", "SimSiamLoss", "Source", "SwAVLoss", "Terms", "VICRegLLoss", "VICRegLoss", "View", "Views",
    "WMSELoss", "__version__", "all_mean", "audit", "barlow_twins_loss", "batch_floor", "byol_loss", "cca_ssg_loss",
    "compare_audits", "compare_recipes", "equal_error_rate", "export_onnx", "gather_with_grad", "identity",
    "image_views", "jackknife", "load_clips", "load_foreign", "load_graph", "load_source", "min_dcf", "open_audit",
    "open_run", "optimal_projector_loss", "pearson_floor", "pearson_projector", "predict", "pretrain",
    "pretrain_sequence", "raw_floor", "raw_projector", "read_embeddings", "resume", "segment", "segmentation_loss",
    "shape_views", "sigreg_loss", "simclr_loss", "simsiam_loss", "swav_loss", "theory", "verify_speakers",
    "vicreg_loss", "vicregl_loss", "views_of_items", "water_filling", "welch_bound", "whitened_projector",
    "wmse_loss", "write_shards",
]  # fmt: skip

FLAGS = [
    "name", "source", "published", "image_size", "fit", "views", "modality_options", "backbone", "width",
    "zero_init", "pretrained", "stem",
    "projector", "projector_norm", "projector_activation", "projector_bias", "method", "options", "epochs",
    "minutes", "batch_size", "optimizer", "learning_rate", "bias_learning_rate", "momentum", "lars_trust",
    "lars_clip", "weight_decay",
    "exclude_biases", "constant_part", "warmup_epochs", "warmup_start", "final_learning_rate", "clip_norm",
    "accumulate", "seed", "precision", "channels_last",
]  # fmt: skip


def test_public_names_are_these() -> None:
    assert sorted(barlow.__all__) == NAMES
    assert dir(barlow) == NAMES


SOURCE = Path(barlow.__file__).parent
TEXTS = {
    f"{path.relative_to(SOURCE)}:{node.lineno}": node.value
    for path in sorted(SOURCE.rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
}
"""Messages and docstrings: every string of the source that is more than one word."""


@pytest.mark.parametrize(
    ("place", "named"),
    [(place, named) for place, text in TEXTS.items() for named in re.findall(r"(?<!/)\bbarlow\.\w+(?:\.\w+)*", text)],
)
def test_what_a_message_sends_people_to_is_public(place: str, named: str) -> None:
    _, name, *rest = named.split(".")
    assert name in barlow.__all__, f"{place} names {named}, and barlow.{name} is not public"
    in_theory = (hasattr(barlow.theory, part) or find_spec(f"barlow.theory.{part}") for part in rest)
    assert not rest or (name == "theory" and all(in_theory)), f"{place} names {named}, which is not public"


def test_the_source_names_public_things_at_all() -> None:
    assert any("barlow.MeanOver" in text for text in TEXTS.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_has_a_docstring(name: str) -> None:
    thing = getattr(barlow, name)
    if callable(thing):
        assert thing.__doc__


def test_the_theory_is_reached_by_name() -> None:
    code = "import sys, barlow; assert 'torch' not in sys.modules; print(barlow.theory.batch_floor(256, 8192, 0.0051))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1122, abs=0.5)


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'pretrian'.*pretrain"):
        _ = barlow.pretrian


def test_the_fields_of_a_recipe_are_these() -> None:
    assert [field.name for field in dataclasses.fields(Recipe)] == FLAGS


def test_the_defaults_of_the_method_are_those_of_the_loss() -> None:
    loss = inspect.signature(barlow.barlow_twins_loss).parameters
    assert options_of("barlow_twins") == {name: loss[name].default for name in options_of("barlow_twins")}


def test_fields_of_recipe_and_machine_are_different_flags() -> None:
    assert not {f.name for f in dataclasses.fields(Recipe)} & {f.name for f in dataclasses.fields(Machine)}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_knows_its_name_and_source(name: str) -> None:
    recipe = RECIPES[name]()
    assert recipe.name == name
    assert recipe.source


def test_a_recipe_is_found_by_name_or_by_its_data() -> None:
    assert recipe_for("imagenet").batch_size == 2048
    assert all(recipe_for(None, data).name == name for data, name in MADE_FOR.items())
    assert recipe_for(None, "some/folder").name == "pictures"
    with pytest.raises(ValueError, match=r"recipe: got 'imagnet'.*did you mean 'imagenet'"):
        recipe_for("imagnet")


def test_changing_a_field_that_does_not_exist_names_the_nearest() -> None:
    assert with_numbers(Recipe(), {"epochs": 3}).epochs == 3
    with pytest.raises(ValueError, match=r"epoche: .*did you mean 'epochs'"):
        with_numbers(Recipe(), {"epoche": 3})


def test_a_method_stands_for_its_recipe_made_for_the_data() -> None:
    assert recipe_for("simclr", "photos/").name == "simclr-pictures"
    assert recipe_for("simclr", "fashion-mnist").name == "simclr-small-grey"
    assert recipe_for("barlow_twins", "fashion-mnist").name == "small-grey"
    assert recipe_for("sigreg", "cifar10").name == "sigreg-cifar"


def test_on_digits_a_method_lends_its_loss_to_the_recipe_of_the_data() -> None:
    made, base, lender = recipe_for("simclr", "digits"), recipe_for("digits"), recipe_for("simclr-small-grey")
    assert (made.name, made.method, made.options) == ("simclr-digits", "simclr", lender.options)
    assert (made.views, made.batch_size, made.optimizer) == (base.views, base.batch_size, base.optimizer)
    assert recipe_for("vicregl", "digits").views == "vicregl-small-grey"
