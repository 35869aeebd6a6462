"""The protocols of the papers: their numbers one by one, their steps, and the way to them from a run."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import barlow
from barlow.cli import commands as cli
from barlow.evaluation import published as module, scores
from barlow.evaluation.published import PUBLISHED, PublishedProtocol, published_protocol
from barlow.evaluation.sgd_linear import SgdNumbers, sgd_linear_accuracy
from tests.evaluation.gaussians import as_features, gaussian_classes

USUAL: dict[str, Any] = {
    "epochs": 100,
    "batch_size": 256,
    "momentum": 0.9,
    "nesterov": False,
    "optimizer": "sgd",
    "final_learning_rate": 0.0,
    "weight_decay": 1e-6,
    "init_std": 0.01,
    "augmented": True,
}
ADAM: dict[str, Any] = {
    "epochs": 500,
    "batch_size": 1000,
    "learning_rate": 1e-2,
    "final_learning_rate": 1e-6,
    "optimizer": "adam",
    "weight_decay": 5e-6,
    "augmented": False,
}
LARGE: dict[str, Any] = {"epochs": 90, "batch_size": 4096, "learning_rate": 1.6, "weight_decay": 0.0}

LINEAR: list[tuple[str, dict[str, Any]]] = [
    ("barlow_twins", USUAL | {"learning_rate": 0.3}),  # evaluate.py, --weights freeze
    ("vicreg", USUAL | {"learning_rate": 0.02}),  # README, evaluate.py
    ("vicregl", USUAL | {"learning_rate": 0.02}),  # README, ResNet-50
    ("simsiam", USUAL | LARGE | {"optimizer": "larc"}),  # main_lincls.py --lars, README: lr 0.1 per 256 samples
    ("simclr", USUAL | LARGE | {"nesterov": True, "init_std": 0.0}),  # appendix B.6; README: zero_init_logits_layer
    ("swav", USUAL | {"learning_rate": 0.3}),  # README, eval_linear.py
    # the paper's section 4, eval/sgd.py: 500 epochs of train.py; ExponentialLR from 1e-2 to 1e-6, features kept
    ("wmse", ADAM),
    # configs/eval.py: 80 epochs, Nesterov, 0.2 per 256 samples; main_loop.py: batch 4096
    ("byol", USUAL | LARGE | {"epochs": 80, "learning_rate": 3.2, "nesterov": True}),
]

TWENTY: dict[str, Any] = {"epochs": 20, "batch_size": 256, "weight_decay": 0.0, "nesterov": False, "momentum": 0.9}
FINETUNE: list[tuple[str, float, dict[str, Any]]] = [
    # evaluate.py, --weights finetune, and README
    ("barlow_twins", 0.01, TWENTY | {"learning_rate": 0.005, "head_learning_rate": 0.5, "drops": ()}),
    ("barlow_twins", 0.1, TWENTY | {"learning_rate": 0.005, "head_learning_rate": 0.5, "drops": ()}),
    # README
    ("vicreg", 0.01, TWENTY | {"learning_rate": 0.03, "head_learning_rate": 0.08, "drops": ()}),
    ("vicreg", 0.1, TWENTY | {"learning_rate": 0.01, "head_learning_rate": 0.1, "drops": ()}),
    # README, eval_semisup.py: x 0.2 at 12 and 16
    ("swav", 0.01, TWENTY | {"learning_rate": 0.02, "head_learning_rate": 5.0, "drops": (0.6, 0.8)}),
    ("swav", 0.1, TWENTY | {"learning_rate": 0.01, "head_learning_rate": 0.2, "drops": (0.6, 0.8)}),
    # Chen et al. 2020, appendix B.5: lr 0.05 per 256 samples
    ("simclr", 0.01, {"epochs": 60, "batch_size": 4096, "learning_rate": 0.8, "nesterov": True, "weight_decay": 0.0}),
    ("simclr", 0.1, {"epochs": 30, "batch_size": 4096, "head_learning_rate": 0.8, "nesterov": True, "drops": ()}),
]


@pytest.mark.parametrize(("method", "numbers"), LINEAR, ids=[method for method, _ in LINEAR])
def test_linear_numbers_are_the_published_ones(method: str, numbers: dict[str, Any]) -> None:
    linear = published_protocol(method).linear
    words = {name: value for name, value in numbers.items() if isinstance(value, str)}
    assert {name: getattr(linear, name) for name in words} == words
    assert {name: getattr(linear, name) for name in numbers.keys() - words} == pytest.approx(
        {name: value for name, value in numbers.items() if name not in words}
    )


@pytest.mark.parametrize(("method", "share", "numbers"), FINETUNE, ids=[f"{m}-{share}" for m, share, _ in FINETUNE])
def test_numbers_of_fine_tuning_are_the_published_ones(method: str, share: float, numbers: dict[str, Any]) -> None:
    tuned = published_protocol(method).finetune[share]
    assert {name: getattr(tuned, name) for name in numbers if name != "drops"} == pytest.approx(
        {name: value for name, value in numbers.items() if name != "drops"}
    )
    assert tuned.drops == numbers.get("drops", ())


def test_every_entry_is_held_by_these_tables() -> None:
    assert [method for method, _ in LINEAR] == list(PUBLISHED)
    assert {(method, share) for method, share, _ in FINETUNE} == {
        (method, share) for method, protocol in PUBLISHED.items() for share in protocol.finetune
    }


def test_other_shares_take_the_numbers_of_the_nearest() -> None:
    vicreg = PUBLISHED["vicreg"]
    assert vicreg.numbers_for(0.02) is vicreg.finetune[0.01]
    assert vicreg.numbers_for(1.0) is vicreg.numbers_for(0.05) is vicreg.finetune[0.1]
    with pytest.raises(ValueError, match=r"finetune: got 0.1, wanted none: .*simsiam.* does not fine-tune"):
        PUBLISHED["simsiam"].numbers_for(0.1)


def test_a_method_without_published_numbers_names_those_that_have_them() -> None:
    with pytest.raises(
        ValueError, match=r"protocol: got 'published' for a run of sigreg, wanted .*barlow_twins, vicreg"
    ):
        published_protocol("sigreg")


@pytest.mark.parametrize("optimizer", ["nesterov", "larc", "adam"])
def test_steps_are_those_of_torch_written_out(optimizer: str) -> None:
    """LARC without clip: the gradient becomes 0.001 |p| / |g| times itself unless p is 0, then SGD with momentum."""
    train = as_features(*gaussian_classes(300, 5, 3, distance=2.0))
    test = as_features(*gaussian_classes(20_000, 5, 3, distance=2.0, seed=1))  # so many that small differences show
    assert train.labels is not None
    assert test.labels is not None
    plain = SgdNumbers(epochs=6, batch_size=64, learning_rate=0.1, weight_decay=0.0, seed=7)
    numbers = {
        "nesterov": replace(plain, nesterov=True),
        "larc": replace(plain, optimizer="larc", learning_rate=20.0),
        "adam": replace(plain, optimizer="adam", final_learning_rate=1e-3, weight_decay=0.2),
    }[optimizer]
    generator = torch.Generator().manual_seed(7)
    layer = nn.Linear(5, 3)
    with torch.no_grad():
        layer.weight.copy_(0.01 * torch.randn(3, 5, generator=generator))
        layer.bias.zero_()
    parameters = list(layer.parameters())
    torchs: torch.optim.Optimizer = torch.optim.SGD(
        parameters, numbers.learning_rate, momentum=0.9, nesterov=optimizer == "nesterov"
    )
    schedule: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.CosineAnnealingLR(torchs, 6)
    if optimizer == "adam":
        torchs = torch.optim.Adam(parameters, 0.1, weight_decay=0.2)
        schedule = torch.optim.lr_scheduler.ExponentialLR(torchs, gamma=0.01 ** (1 / 6))
    for _ in range(6):
        for rows in torch.split(torch.randperm(300, generator=generator), 64):
            torchs.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(layer(train.h[rows]), train.labels[rows]))
            for parameter in parameters if optimizer == "larc" else []:
                assert parameter.grad is not None
                if parameter.norm() > 0:
                    parameter.grad.mul_(0.001 * parameter.norm() / parameter.grad.norm())
            torchs.step()
        schedule.step()
    by_hand = float((layer(test.h).argmax(dim=1) == test.labels).double().mean())
    assert sgd_linear_accuracy(train, test, numbers) == by_hand
    assert sgd_linear_accuracy(train, test, plain) != by_hand


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> barlow.Run:
    folder = tmp_path_factory.mktemp("published")
    digits = load_digits()
    pictures = (digits.images[:240] * 15.9).astype(np.uint8)
    np.savez(folder / "digits.npz", images=pictures, labels=(digits.target[:240] > 4).astype(np.int64))
    return barlow.pretrain(
        str(folder / "digits.npz"), recipe="digits", out=folder / "run", machine=barlow.Machine(quiet=True),
        epochs=1, width=4, projector="8-8", batch_size=64, precision="32-true",
    )  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> PublishedProtocol:
    """The entry of Barlow Twins, shortened; the figures of the probes are as they are."""
    entry = PUBLISHED["barlow_twins"]
    short = replace(
        entry,
        linear=replace(entry.linear, epochs=3),
        finetune={0.1: replace(entry.finetune[0.1], epochs=1), 0.5: replace(entry.finetune[0.1], epochs=2)},
    )
    monkeypatch.setitem(module.PUBLISHED, "barlow_twins", short)
    return short


def test_a_run_is_evaluated_with_the_numbers_of_its_method(
    run: barlow.Run, quick: PublishedProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[SgdNumbers, bool]] = []

    def spy(train: Any, test: Any, numbers: SgdNumbers) -> float:
        asked.append((numbers, callable(train)))
        return 0.5

    monkeypatch.setattr(scores, "sgd_linear_accuracy", spy)
    score = run.evaluate(protocol="published")
    on_crops = [numbers for numbers, fresh in asked if fresh]
    assert on_crops == [quick.linear] * 2  # trained and untrained; raw pixels have no network to see crops
    assert [numbers for numbers, _ in asked] == [quick.linear] * 3
    for row in ("trained", "untrained"):
        tuned = score.row(row)["finetune"]
        assert [(found["fraction"], found["numbers"]["epochs"]) for found in tuned] == [(0.1, 1), (0.5, 2)]
        assert all(found["validation"] == [] for found in tuned)  # nothing was chosen
    assert score.evaluation["published_protocol"]["linear"]["epochs"] == 3
    assert list(run.evaluate(protocol="published", finetune=[0.2]).finetune) == [0.2]
    assert run.evaluate(protocol="published", finetune=()).finetune == {}


def test_a_source_that_keeps_the_features_sees_no_crops(run: barlow.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[SgdNumbers, bool]] = []

    def spy(train: Any, test: Any, numbers: SgdNumbers) -> float:
        asked.append((numbers, callable(train)))
        return 0.5

    monkeypatch.setattr(scores, "sgd_linear_accuracy", spy)
    of_wmse = replace(run, recipe=replace(run.recipe, method="wmse"))
    score = of_wmse.evaluate(protocol="published")
    assert asked == [(PUBLISHED["wmse"].linear, False)] * 3
    assert score.finetune == {}


@pytest.mark.usefixtures("as_users_call_it")
def test_ours_stays_the_default_and_other_names_are_refused(run: barlow.Run) -> None:
    ours = run.evaluate()
    assert "published_protocol" not in ours.evaluation
    assert "sgd_linear" not in ours.row("trained")
    assert ours.finetune == {}
    with pytest.raises(ValueError, match=r"protocol: got 'publishd', wanted one of ours, published; did you mean"):
        run.evaluate(protocol="publishd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="protocol: got 'published' for a run of optimal_projector"):
        replace(run, recipe=replace(run.recipe, method="optimal_projector")).evaluate(protocol="published")


def test_the_command_prints_whose_numbers_they_are(
    run: barlow.Run, quick: PublishedProtocol, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    with pytest.raises(SystemExit) as left:
        cli.main(["evaluate", str(run.folder), "--protocol", "published", "--finetune", "0.5"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "linear, 3 epochs of SGD" in printed
    assert "fine-tuned, 50% of labels" in printed
    assert f"numbers of these protocols: {quick.source} ({quick.note})" in printed
