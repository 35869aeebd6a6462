"""EER and minDCF on hand-made scores and ties, against a loop over thresholds, and files of trials."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.evaluation.verification import (
    Trials,
    cosine_scores,
    equal_error_rate,
    error_rates,
    min_dcf,
    read_trials,
    trials_of_labels,
    verify,
)


def scored(targets: list[float], others: list[float]) -> tuple[Tensor, Tensor]:
    same = torch.tensor([True] * len(targets) + [False] * len(others))
    return torch.tensor([*targets, *others]), same


@pytest.mark.parametrize(
    ("targets", "others", "eer", "cost"),
    [
        ([0.9, 0.8], [0.2, 0.1], 0.0, 0.0),  # told apart
        ([0.1, 0.2], [0.8, 0.9], 1.0, 1.0),  # the wrong way round; saying no always is the best that can be done
        ([0.5, 0.5], [0.5, 0.5, 0.5], 0.5, 1.0),  # all equal: a coin
        ([0.9, 0.4], [0.6, 0.1], 0.5, 0.5),  # one of two wrong on both sides
        ([4.0, 3.0, 2.0, 0.5], [1.0, 0.0, -1.0, -2.0], 0.25, 0.25),
        ([3.0, 2.0, 2.0, 1.0], [2.0, 0.0, 0.0, 0.0], 0.25, 0.75),  # a tie of two targets and one other
        ([1.0], [0.0] * 99 + [2.0], 0.01, 0.99),  # a false alarm of 1% costs 0.99 of 1
    ],
)
def test_hand_made_scores(targets: list[float], others: list[float], eer: float, cost: float) -> None:
    scores, same = scored(targets, others)
    assert equal_error_rate(scores, same) == pytest.approx(eer, abs=1e-12)
    assert min_dcf(scores, same) == pytest.approx(cost, abs=1e-12)


def test_the_tie_by_hand() -> None:
    """Thresholds inf, 3, 2, 1, 0: misses 1, 3/4, 1/4, 0, 0; false alarms 0, 0, 1/4, 1/4, 1; they meet at 2."""
    scores, same = scored([3.0, 2.0, 2.0, 1.0], [2.0, 0.0, 0.0, 0.0])
    rates = error_rates(scores, same)
    assert rates.thresholds.tolist() == [float("inf"), 3.0, 2.0, 1.0, 0.0]
    assert rates.misses.tolist() == [1.0, 0.75, 0.25, 0.0, 0.0]
    assert rates.false_alarms.tolist() == [0.0, 0.0, 0.25, 0.25, 1.0]
    assert equal_error_rate(scores, same) == 0.25
    # p = 0.5: (1/4 + 1/4) / 2 at 2, 1/8 at 1
    assert min_dcf(scores, same, p_target=0.5) == pytest.approx(0.25)


def naive_costs(scores: Tensor, same: Tensor, p: float) -> float:
    least = float("inf")
    for threshold in [float("inf"), *scores.tolist()]:
        missed = sum(bool(s) and float(x) < threshold for x, s in zip(scores, same, strict=True)) / int(same.sum())
        alarms = sum(not bool(s) and float(x) >= threshold for x, s in zip(scores, same, strict=True))
        least = min(least, p * missed + (1 - p) * alarms / int((~same).sum()))
    return least / min(p, 1 - p)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), m=st.integers(1, 12), levels=st.integers(1, 8))
def test_equals_the_loop_over_thresholds_and_knows_only_the_order(seed: int, n: int, m: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (n + m,), generator=generator).double()
    same = torch.arange(n + m) < n
    assert min_dcf(scores, same, p_target=0.3) == pytest.approx(naive_costs(scores, same, 0.3))
    eer = equal_error_rate(scores, same)
    assert equal_error_rate(scores.exp() * 3 - 1, same) == pytest.approx(eer)
    assert equal_error_rate(-scores, ~same) == pytest.approx(eer)  # misses and false alarms change places
    assert equal_error_rate(-scores, same) == pytest.approx(1 - eer)


def test_gaussian_scores_have_the_error_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(200_000, generator=generator, dtype=torch.float64)
    same = torch.arange(200_000) % 2 == 0
    expected = float(torch.special.ndtr(torch.tensor(-1.0)))
    assert equal_error_rate(scores + 2.0 * same, same) == pytest.approx(expected, abs=0.003)


def test_refusals_name_what_is_wrong() -> None:
    good, same = scored([1.0], [0.0])
    with pytest.raises(ValueError, match=r"trials: got 1 with no pair of different classes"):
        equal_error_rate(good[:1], same[:1])
    with pytest.raises(ValueError, match=r"trials: got 1 with no pair of the same class"):
        equal_error_rate(good[1:], same[1:])
    with pytest.raises(ValueError, match=r"scores: 1 of 2 are not finite"):
        equal_error_rate(torch.tensor([1.0, float("nan")]), same)
    with pytest.raises(ValueError, match=r"p_target: got 1.5, wanted a number between 0 and 1"):
        min_dcf(good, same, p_target=1.5)


def test_trials_of_labels_are_all_pairs_once_without_samples_that_have_none() -> None:
    trials = trials_of_labels(torch.tensor([0, 1, -1, 0, 1]))
    pairs = list(zip(trials.enrol.tolist(), trials.test.tolist(), trials.same.tolist(), strict=True))
    assert pairs == [(0, 1, False), (0, 3, True), (0, 4, False), (1, 3, False), (1, 4, True), (3, 4, False)]
    few = trials_of_labels(torch.arange(40) % 4, most=8)
    assert len(few) == 8 * 7 // 2
    assert int(few.same.sum()) == 4  # two of each of four classes


def test_cosines_decide_and_lengths_do_not() -> None:
    h = torch.tensor([[1.0, 0.0], [5.0, 0.1], [0.0, 2.0], [0.0, 0.0]])
    trials = Trials(torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]), torch.tensor([True, False, False]))
    torch.testing.assert_close(cosine_scores(h, trials), torch.tensor([0.9998, 0.0, 0.0]), atol=1e-4, rtol=0)
    found = verify(h, trials)
    assert (found.eer, found.min_dcf, found.num_targets, found.num_others) == (0.0, 0.0, 1, 2)
    assert found.threshold == pytest.approx(0.9998, abs=1e-4)


NAMES = ("/data/george/0.wav", "/data/george/1.wav", "/data/lucas/0.wav")


def test_files_of_trials_in_both_orders(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.txt", tmp_path / "voxceleb.txt"
    ours.write_text("# enrol test label\n\ngeorge/0.wav george/1.wav target\ngeorge/1 lucas/0.wav 0\n")
    theirs.write_text("1 george/0.wav george/1.wav\n0 george/1.wav lucas/0.wav\n")
    for path in (ours, theirs):
        trials = read_trials(path, NAMES)
        assert (trials.enrol.tolist(), trials.test.tolist()) == ([0, 1], [1, 2])
        assert trials.same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("george/0.wav george/1.wav\n", r"line 1 has 2 words, wanted 'enrol test label'"),
        ("george/0.wav george/1.wav maybe\n", r"line 1 has the label 'maybe', wanted one of 1, target, 0, nontarget"),
        ("\ngeorge/0.wav 0.wav 1\n", r"line 2 names '0.wav', which 2 samples end with"),
        ("george/7.wav george/1.wav 1\n", r"line 1 names 'george/7.wav', which is none of the samples"),
        ("", r"has no lines"),
    ],
)
def test_files_of_trials_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trials.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"trials: .*{message}"):
        read_trials(path, NAMES)
    with pytest.raises(ValueError, match="trials: there is no file"):
        read_trials(tmp_path / "none.txt", NAMES)
