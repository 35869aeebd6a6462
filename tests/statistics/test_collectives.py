"""Two real processes with different and unequal data against one process with all of it, value and gradient."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from barlow.statistics.collectives import (
    ALONE,
    MeanOver,
    all_mean,
    count_samples,
    counted,
    exchange_of,
    gather_rows,
    gather_with_grad,
    identity,
    known_samples,
    num_processes,
    numbers_of_all,
    sum_over_processes,
)

SIZES = [5, 11]

Found = dict[str, Tensor]


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 4).double()


def data() -> Tensor:
    """Rows whose shards differ in mean and scale."""
    rows = torch.randn(sum(SIZES), 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return rows * torch.linspace(1, 3, sum(SIZES), dtype=torch.float64)[:, None]


def of_the_mean(z: Tensor, mean: Callable[[Tensor, int], Tensor], gather: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of means of vectors and of means of one number."""
    centred = z - mean(z.mean(dim=0), len(z))
    return mean(centred.square().mean(), len(z)).log() + mean(z.tanh().mean(dim=0), len(z)).square().sum()


def of_all_rows(z: Tensor, mean: Callable[[Tensor, int], Tensor], gather: Callable[[Tensor], Tensor]) -> Tensor:
    """The same function of all rows on every process."""
    everyone = gather(z)
    return (everyone @ everyone.T).tanh().mean() + everyone[3].sum()


def of_own_and_all_rows(z: Tensor, mean: Callable[[Tensor, int], Tensor], gather: Callable[[Tensor], Tensor]) -> Tensor:
    """Own rows against all rows, as SimCLR compares them: each process sends another gradient to each row."""
    return mean((z @ gather(z).T).logsumexp(dim=1).mean(), len(z))


LOSSES = {loss.__name__: loss for loss in (of_the_mean, of_all_rows, of_own_and_all_rows)}


def work(rank: int, folder: str) -> None:
    """One process: the losses of its shard, gradients averaged as DDP averages them, and the same on its own."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    own = data().split(SIZES)[rank]
    found: Found = {}
    for name, loss in LOSSES.items():
        for kind, mean, gather in (("exact", all_mean, gather_with_grad), ("broken", identity, lambda z: z)):
            net = network()
            value = loss(net(own), mean, gather)
            value.backward()
            gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
            dist.all_reduce(gradient)
            found |= {f"{name} {kind} loss": value.detach(), f"{name} {kind} gradient": gradient / len(SIZES)}
    rows = own.clone().requires_grad_()
    found["rows"] = gather_rows(rows)
    found["first rows"] = gather_rows(own[:2], equal=True)
    found["sum"] = sum_over_processes(torch.tensor([1.0, rank]))
    found["whole numbers"] = all_mean(torch.tensor(float(rank)), SIZES[rank])
    found["samples"] = torch.tensor(count_samples(SIZES[rank], all_mean))
    known = counted(SIZES[rank], all_mean)
    assert isinstance(known, MeanOver)
    found["samples, told"] = torch.tensor(known_samples(SIZES[rank], known))
    found["numbers"] = torch.tensor(numbers_of_all(rank, 7 - rank))
    assert exchange_of(known) is exchange_of(all_mean)
    assert counted(3, identity) is identity
    found["processes"] = torch.tensor(num_processes())
    assert not found["rows"].requires_grad
    assert torch.equal(rows, own)  # nothing is changed in place
    assert exchange_of(identity) is ALONE
    assert exchange_of(all_mean) is not ALONE
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    folder = tmp_path_factory.mktemp("gloo")
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.statistics.test_collectives"])
    start_processes(work, args=(str(folder),), nprocs=len(SIZES), start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(SIZES))]


def whole(name: str) -> tuple[Tensor, Tensor]:
    net = network()
    loss = LOSSES[name](net(data()), identity, lambda z: z)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.dist
@pytest.mark.parametrize("name", LOSSES)
def test_unequal_shards_give_the_loss_and_the_averaged_gradient_of_one_process(found: list[Found], name: str) -> None:
    loss, gradient = whole(name)
    for process in found:
        assert int(process["processes"]) == 2
        torch.testing.assert_close(process[f"{name} exact loss"], loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(process[f"{name} exact gradient"], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.dist
@pytest.mark.parametrize("name", LOSSES)
def test_the_rows_of_each_process_alone_would_break_the_test_above(found: list[Found], name: str) -> None:
    loss, gradient = whole(name)
    for process in found:
        assert abs(process[f"{name} broken loss"] - loss) > 1e-3
        assert (process[f"{name} broken gradient"] - gradient).abs().max() > 1e-3


@pytest.mark.dist
def test_rows_are_gathered_in_the_order_of_the_processes(found: list[Found]) -> None:
    first, second = data().split(SIZES)
    for process in found:
        assert torch.equal(process["rows"], data())
        assert torch.equal(process["first rows"], torch.cat([first[:2], second[:2]]))


@pytest.mark.dist
def test_sums_and_means_of_single_numbers(found: list[Found]) -> None:
    for process in found:
        assert process["sum"].tolist() == [2.0, 1.0]
        assert float(process["whole numbers"]) == pytest.approx(11 / 16)
        assert int(process["samples"]) == int(process["samples, told"]) == sum(SIZES)
        assert process["numbers"].tolist() == [[0, 7], [1, 6]]


def test_alone_everything_is_the_identity() -> None:
    x = torch.randn(3, 2)
    assert num_processes() == 1
    assert all_mean(x, 3) is x
    for function in (gather_rows, gather_with_grad, sum_over_processes):
        assert function(x) is x
    assert exchange_of(all_mean) is exchange_of(identity) is ALONE


def test_a_mean_of_ones_own_says_nothing_about_gathering() -> None:
    assert exchange_of(lambda local_mean, num_samples: local_mean) is None


def test_the_samples_of_all_processes_are_counted_or_told_or_unknown() -> None:
    def own(local_mean: Tensor, num_samples: int) -> Tensor:
        return 2 * local_mean

    for mean, known in ((identity, 3), (all_mean, 3), (MeanOver(own, 8), 8), (own, None)):
        assert known_samples(3, mean) == known
    assert count_samples(3, MeanOver(own, 8)) == 8
    assert MeanOver(own, 8)(torch.tensor(5.0), 3) == 10
    with pytest.raises(ValueError, match=r"all_mean: got a function of your own, which does not tell .*MeanOver"):
        count_samples(3, own)
    with pytest.raises(ValueError, match=r"num_samples of MeanOver: got 2, wanted .*this one alone has 3"):
        known_samples(3, MeanOver(own, 2))
