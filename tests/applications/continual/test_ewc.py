"""EWC: the Fisher of the loss alone, the penalty and its gradient, and the modes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from barlow.applications.continual.ewc import (
    FISHER_SEED,
    Anchor,
    EWCPenalty,
    Fisher,
    anchors_of,
    distance,
    measure_fisher,
    read_fisher,
    write_fisher,
)
from barlow.applications.continual.keep import EWC, keep_named
from barlow.data.order import hash_seed
from barlow.seams import Method
from barlow.training.order import view_generator
from tests.applications.continual.tiny import VIEWS, method, source


def anchor(own: Method, weight: float = 2.0) -> Anchor:
    generator = torch.Generator().manual_seed(1)
    named = dict(own.named_parameters())
    at = {name: w.detach() + torch.randn(w.shape, generator=generator) for name, w in named.items()}
    fisher = {name: torch.rand(w.shape, generator=generator) for name, w in named.items()}
    return Anchor(at, fisher, weight)


def test_the_gradient_of_the_penalty_is_fisher_times_the_distance() -> None:
    own = method()
    held = anchor(own)
    penalty = EWCPenalty(own, [held]).penalty()
    penalty.backward()
    expected = sum(
        float((held.fisher[name] * (w.detach() - held.at[name]).square()).sum()) for name, w in own.named_parameters()
    )
    torch.testing.assert_close(float(penalty.detach()), held.weight / 2 * expected, rtol=1e-5, atol=0)
    for name, w in own.named_parameters():
        torch.testing.assert_close(w.grad, held.weight * held.fisher[name] * (w.detach() - held.at[name]))


def test_the_penalty_is_a_part_of_the_loss_and_its_weights_are_no_part_of_a_checkpoint() -> None:
    own = method().eval()
    around = EWCPenalty(own, [anchor(own)])
    views = VIEWS.draw(source().samples, view_generator(0, 0))
    bare, found = own(views), around(views)
    torch.testing.assert_close(found.total, bare.total + around.penalty())
    torch.testing.assert_close(found.parts["ewc"], around.penalty())
    assert {name.removeprefix("method.") for name in around.state_dict()} == set(own.state_dict())
    assert len(list(around.parameters())) == len(list(own.parameters()))


def test_the_fisher_is_the_mean_of_squared_gradients_over_all_batches() -> None:
    own = method()
    found = measure_fisher(own, VIEWS, source(), batch_size=16, batches=64)
    assert found.batches == 2, "40 samples are two whole batches of 16"
    own.eval()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(hash_seed(FISHER_SEED, 0)))[:32].tolist()
    squares, losses = [], []
    for number, batch in enumerate(source().batches(order, 16)):
        own.zero_grad()
        terms = own(VIEWS.draw(batch.samples, view_generator(FISHER_SEED, number)))
        terms.backward()
        squares.append({name: w.grad.square() for name, w in own.named_parameters() if w.grad is not None})
        losses.append(float(terms.total.detach()))
    for name, f in found.diagonal.items():
        torch.testing.assert_close(f, (squares[0][name] + squares[1][name]) / 2)
    assert found.loss == pytest.approx(sum(losses) / 2)


def test_one_batch_is_enough_for_a_fisher() -> None:
    assert measure_fisher(method(), VIEWS, source(10), batch_size=64, batches=3).batches == 1


def test_the_fisher_leaves_the_penalty_out() -> None:
    own = method()
    alone = measure_fisher(own, VIEWS, source(), batch_size=16, batches=2)
    around = measure_fisher(EWCPenalty(own, [anchor(own, 100.0)]), VIEWS, source(), batch_size=16, batches=2)
    assert alone.loss == around.loss
    for name, f in alone.diagonal.items():
        assert torch.equal(f, around.diagonal[name])


def test_the_fisher_is_of_the_running_statistics_not_of_the_batch() -> None:
    own = method()
    before = measure_fisher(own, VIEWS, source(), batch_size=16, batches=2)
    own.get_submodule("backbone.1").get_buffer("running_var").mul_(4.0)
    after = measure_fisher(own, VIEWS, source(), batch_size=16, batches=2)
    assert any(not torch.equal(f, after.diagonal[name]) for name, f in before.diagonal.items())


def test_a_move_as_long_as_the_first_stage_is_what_weights_are_relative_to(tmp_path: Path) -> None:
    own = method()
    move = {name: torch.full_like(w, 0.5) for name, w in own.named_parameters()}
    found = measure_fisher(own, VIEWS, source(), batch_size=16, batches=2, move=move)
    assert found.move == pytest.approx(sum(float(f.double().sum()) for f in found.diagonal.values()) * 0.125)
    weights = {name: w.detach() for name, w in own.named_parameters()}
    (term,) = anchors_of(EWC(relative_weight=30), [(weights, found)])
    assert term.weight == pytest.approx(30 * found.loss / found.move)
    moved = {name: w + move[name] for name, w in weights.items()}
    assert term.weight * distance(term.fisher, term.at, moved) == pytest.approx(30 * found.loss)
    (absolute,) = anchors_of(EWC(weight=1.0), [(weights, found)])
    assert absolute.weight == 1.0
    write_fisher(tmp_path, found)
    read = read_fisher(tmp_path)
    assert replace(read, diagonal={}) == replace(found, diagonal={})
    assert all(torch.equal(f, read.diagonal[name]) for name, f in found.diagonal.items())


def test_modes_anchor_to_the_last_stage_to_the_sum_or_to_each() -> None:
    ones = {"w": torch.ones(2)}
    stages = [({"w": torch.zeros(2)}, Fisher(ones, 4.0, 2.0, 1)), ({"w": torch.ones(2)}, Fisher(ones, 3.0, 1.0, 1))]
    (last,) = anchors_of(EWC(relative_weight=1), stages)
    assert (last.weight, last.at["w"].tolist()) == (3.0, [1.0, 1.0])
    both = anchors_of(EWC(relative_weight=1, mode="separate"), stages)
    assert [one.weight for one in both] == [2.0, 3.0]
    (online,) = anchors_of(EWC(relative_weight=1, mode="online", decay=0.5), stages)
    assert (online.weight * online.fisher["w"]).tolist() == [0.5 * 2.0 + 3.0] * 2
    assert online.at["w"].tolist() == [1.0, 1.0]


@pytest.mark.usefixtures("as_users_call_it")
def test_numbers_out_of_range_and_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"keep: got 'ecw'.*did you mean 'ewc'"):
        keep_named("ecw")
    with pytest.raises(ValueError, match="keep_options: got 'gamma'"):
        keep_named("ewc", {"gamma": 1})
    with pytest.raises(ValueError, match="with keep none, which has no numbers"):
        keep_named("none", {"weight": 1})
    for numbers in ({"relative_weight": -1.0}, {"mode": "first"}, {"decay": 2.0}, {"batches": 0}):
        with pytest.raises(ValueError, match=next(iter(numbers))):
            EWC(**numbers)
