"""SwAV's queue: when it starts, what it holds, which codes it enters."""

import pytest
import torch
from torch import Tensor

from barlow.methods.swav import EmbeddingQueue, sinkhorn
from barlow.seams import Terms
from tests.methods.in_lockstep import AllMean
from tests.methods.tiny_swav import method_of, views_of


def newest(value: float, n: int = 4) -> Tensor:
    return torch.full((2, n, 3), value)


def test_the_queue_is_used_only_once_full_newest_first_and_drops_the_oldest() -> None:
    queue = EmbeddingQueue(10, 3)
    for value, rows in ((1.0, 0), (2.0, 0), (3.0, 8), (4.0, 8)):
        assert queue.share(4).shape == (2, rows, 3), value
        queue.push(newest(value))
    # 10 is two batches of 4: the rest is not used, as in the official code.
    assert queue.share(4)[0, :, 0].tolist() == [4.0] * 4 + [3.0] * 4
    assert queue.rows[1, :, 0].tolist() == [4.0] * 4 + [3.0] * 4 + [2.0] * 2


def test_a_queue_shorter_than_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="queue_length: got 10 with batches of 11 samples, wanted at least one batch"):
        EmbeddingQueue(10, 3).share(11)


def test_the_queue_starts_after_its_epochs_and_enters_codes_before_the_batch_that_is_pushed_after_use() -> None:
    with_queue, without = method_of(queue_length=16, queue_start=1.0), method_of()
    assert with_queue.queue is not None
    differ = []
    for step in range(7):
        views = views_of(seed=step)
        for method in (with_queue, without):
            method.start_step(step / 2, 10)
        differ.append(bool(abs(with_queue(views).total - without(views).total) > 1e-6))
    # Epoch 1 is step 2: two batches of 8 fill it in steps 2 and 3, step 4 is the first that uses it.
    assert differ == [False] * 4 + [True] * 3


def test_the_codes_of_a_batch_are_the_last_rows_of_those_of_queue_and_batch() -> None:
    method = method_of(queue_length=16, queue_start=0.0)
    assert method.queue is not None
    for step in range(2):
        method(views_of(seed=step))
    older = method.queue.rows.clone()
    caught: list[Tensor] = []
    plain = method.loss

    def loss(scores: Tensor, codes: Tensor, *, all_mean: AllMean) -> Terms:
        caught.extend([scores.detach(), codes])
        return plain(scores, codes, all_mean=all_mean)

    method.loss = loss  # type: ignore[assignment]
    method(views_of(seed=2))
    scores, codes = caught
    for i in range(2):
        both = torch.cat([older[i] @ method.prototypes.weight.T, scores[i]])
        torch.testing.assert_close(codes[i], sinkhorn(both)[-8:].detach())
    assert not torch.equal(method.queue.rows[:, :8], older[:, :8])
    torch.testing.assert_close(method.queue.rows[:, 8:], older[:, :8])
    torch.testing.assert_close(method.queue.rows.norm(dim=-1), torch.ones(2, 16))


def test_the_queue_goes_on_from_the_state_dict() -> None:
    first = method_of(queue_length=16, queue_start=0.0)
    for step in range(3):
        first(views_of(seed=step))
    second = method_of(queue_length=16, queue_start=0.0)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(views_of(seed=3)).total, second(views_of(seed=3)).total)


def test_evaluation_leaves_the_queue_as_it_is() -> None:
    method = method_of(queue_length=16, queue_start=0.0).eval()
    method(views_of())
    assert method.queue is not None
    assert int(method.queue.filled) == 0
