"""A run that starts from another one, and a run with something around its method."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import barlow
from barlow.cli.flags import parse_pretrain, typed_numbers
from barlow.report.record import command_of
from barlow.report.run_folder import read_run
from barlow.runs.folder import RecipeChangedError
from barlow.seams import Method, Terms, inside
from barlow.training.checkpoint import load_checkpoint
from tests.applications.continual.tiny import PICTURES, QUIET, method, pictures


def trained(out: Path, seed: int = 0, **more: Any) -> barlow.Run:
    return barlow.pretrain(pictures(seed, 32), out=out, machine=QUIET, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_checkpoint(folder / "checkpoints" / "last.ckpt")["method"]
    return found


class Pull(barlow.Around):
    """A penalty with a weight of its own, which keeps what it was given."""

    began: dict[str, torch.Tensor]

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        self.scale = nn.Parameter(torch.ones(2))
        Pull.began = {name: value.clone() for name, value in method.state_dict().items()}

    def forward(self, views: Any) -> Terms:
        terms = self.method(views)
        penalty = 1e-2 * sum((w.square().sum() for w in self.parameters()), torch.zeros(()))
        return Terms(terms.total + penalty, {**terms.parts, "pull": penalty})

    def figures(self) -> dict[str, float]:
        return {"scale": float(self.scale.detach().mean())}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("start")


@pytest.fixture(scope="module")
def first(root: Path) -> barlow.Run:
    return trained(root / "first", **PICTURES)


@pytest.fixture(scope="module")
def second(root: Path, first: barlow.Run) -> barlow.Run:
    """It starts from the first one, on other pictures, with a penalty around its method."""
    return trained(root / "second", 1, start_from=first.folder, wrap=Pull)


def test_a_run_begins_with_the_weights_and_heads_of_another_and_by_its_numbers(
    first: barlow.Run, second: barlow.Run
) -> None:
    assert all(torch.equal(value, Pull.began[name]) for name, value in weights(first.folder).items())
    assert any(name.startswith("projector") for name in Pull.began)
    assert second.recipe == first.recipe
    assert second.facts["mean"] == first.facts["mean"], "the network sees other data as it has learned to"
    assert second.facts["start_from"] == str(first.folder.resolve())
    assert any(not torch.equal(value, weights(first.folder)[n]) for n, value in weights(second.folder).items())


def test_what_is_around_a_method_is_trained_told_and_kept_beside_it(first: barlow.Run, second: barlow.Run) -> None:
    state = load_checkpoint(second.folder / "checkpoints" / "last.ckpt")
    assert state["method"].keys() == weights(first.folder).keys()
    assert list(state["around"]) == ["scale"]
    assert state["around"]["scale"].max() < 1
    files = read_run(second.folder, arrays=False)
    assert "pull" in files.names("step", "parts")
    assert "scale" in files.names("probe", "figures")
    assert barlow.open_run(second.folder).embed(pictures(2, 4)).shape[0] == 4
    assert "wrap=<Pull>" in command_of(files)
    assert "start_from=" in command_of(files)


def test_the_method_is_found_through_everything_around_it() -> None:
    plain = nn.Linear(2, 2)
    assert inside(plain) is plain
    own = method()
    outer = Pull(Pull(own))
    assert inside(outer) is own
    assert outer.backbone is own.backbone
    assert outer.figures() == {"scale": 1.0}
    assert barlow.Around(Pull(own)).figures() == {"scale": 1.0}


def test_the_same_call_is_the_same_run_and_one_without_its_start_or_its_penalty_is_refused(
    first: barlow.Run, second: barlow.Run
) -> None:
    again = trained(second.folder, 1, start_from=first.folder, wrap=Pull)
    assert again.finished
    with pytest.raises(RecipeChangedError, match="wrap was 'Pull', now ''"):
        trained(second.folder, 1, start_from=first.folder)
    with pytest.raises(RecipeChangedError, match="start_weights was"):
        trained(second.folder, 1, recipe=second.recipe, wrap=Pull)


def test_a_run_goes_on_where_its_start_is_gone(root: Path, first: barlow.Run, second: barlow.Run) -> None:
    shutil.copytree(second.folder, root / "moved")
    assert trained(root / "moved", 1, start_from=root / "nowhere", wrap=Pull).finished


@pytest.mark.usefixtures("as_users_call_it")
def test_a_start_that_cannot_be_is_refused(root: Path, first: barlow.Run) -> None:
    with pytest.raises(ValueError, match=r"start_from: .*first' holds another network: backbone\..* there and .* here"):
        trained(root / "wider", 1, start_from=first.folder, width=4)
    with pytest.raises(ValueError, match=r"start_from: got .*nowhere', wanted the folder of a run"):
        trained(root / "new", 1, start_from=root / "nowhere")
    grey = barlow.ArraySource(torch.zeros(32, 1, 12, 12, dtype=torch.uint8), name="grey")
    with pytest.raises(ValueError, match="grey has images with 1 channel, wanted 3"):
        barlow.pretrain(grey, out=root / "grey", machine=QUIET, start_from=first.folder)
    with pytest.raises(ValueError, match=r"wrap: gave a TwoViews, wanted a barlow\.Around"):
        trained(root / "bare", wrap=lambda own: own, **PICTURES)
    unfinished = root / "unfinished"
    shutil.copytree(first.folder, unfinished)
    journal = (unfinished / "journal.jsonl").read_text().splitlines(keepends=True)
    (unfinished / "journal.jsonl").write_text("".join(line for line in journal if '"finish"' not in line))
    with pytest.raises(ValueError, match="unfinished' has not finished"):
        trained(root / "new", 1, start_from=unfinished)


def test_the_command_takes_the_numbers_of_the_run_that_it_starts_from(first: barlow.Run) -> None:
    words = ["pictures/", "--start-from", str(first.folder), "--epochs", "3"]
    flags = parse_pretrain(words)
    assert (flags.numbers.width, flags.numbers.epochs) == (2, 3)
    assert typed_numbers(words, flags) == {"epochs": 3}
