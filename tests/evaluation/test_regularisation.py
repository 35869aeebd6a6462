"""The choice of the penalty: by cross-entropy on samples held back, which have no part in the fits."""

import pytest
import torch

from barlow.evaluation import regularisation
from barlow.evaluation.logistic import LogisticFit, fit_logistic
from barlow.evaluation.regularisation import (
    REGULARISATIONS,
    Held,
    Part,
    best,
    hold_back,
    try_regularisations,
)
from tests.evaluation.gaussians import gaussian_classes


def noisy_part(seed: int = 0) -> Part:
    """Four classes in 60 dimensions of which 56 are noise: a weak penalty overfits."""
    h, y = gaussian_classes(300, 60, 4, distance=2.0, seed=seed)
    return Part(h[:200], y[:200], h[200:], y[200:])


def test_figures_are_those_of_fits_made_one_by_one() -> None:
    part = noisy_part()
    tried = try_regularisations([part], (1e-3, 1e-2))
    for held in tried:
        (fit,) = fit_logistic(part.fit_h, part.fit_y, [held.regularisation])
        probabilities = fit.logits(part.held_h).softmax(dim=1)[torch.arange(100), part.held_y]
        assert held.cross_entropy == pytest.approx(float(-probabilities.log().sum()), rel=1e-3)
        assert held.accuracy == float((fit.predict(part.held_h) == part.held_y).double().mean())


def test_folds_are_added_up() -> None:
    parts = [noisy_part(seed) for seed in range(3)]
    together = try_regularisations(parts, (1e-3, 1e-2))
    apart = [try_regularisations([part], (1e-3, 1e-2)) for part in parts]
    for place, held in enumerate(together):
        assert held.num_samples == 300
        assert held.num_correct == sum(one[place].num_correct for one in apart)
        assert held.cross_entropy == pytest.approx(sum(one[place].cross_entropy for one in apart))


def test_penalties_weaker_than_one_that_does_worse_are_not_tried() -> None:
    tried = try_regularisations([noisy_part()], REGULARISATIONS)
    assert [held.regularisation for held in tried] == list(REGULARISATIONS[: len(tried)])
    assert len(tried) < len(REGULARISATIONS)
    assert best(tried) is tried[-2]


def test_where_no_penalty_does_worse_all_are_tried() -> None:
    h, y = gaussian_classes(200, 4, 3, distance=20.0)
    tried = try_regularisations([Part(h[:100], y[:100], h[100:], y[100:])], REGULARISATIONS)
    assert best(tried).regularisation == REGULARISATIONS[-1]


def test_samples_held_back_have_no_part_in_the_fit_that_they_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[LogisticFit] = []

    def keep(fit: LogisticFit, h: torch.Tensor, labels: torch.Tensor) -> Held:
        judged.append(fit)
        return Held(fit.regularisation, 1, 1.0, 1)

    monkeypatch.setattr(regularisation, "hold_back", keep)
    part = noisy_part()
    try_regularisations([part], [1.0])
    try_regularisations([Part(part.fit_h, part.fit_y, 1e6 + part.held_h, part.held_y.flip(0))], [1.0])
    assert torch.equal(judged[0].weight, judged[1].weight)


def test_the_smallest_cross_entropy_wins() -> None:
    tried = [Held(0.1, 8, 3.0, 10), Held(1.0, 8, 2.0, 10), Held(10.0, 9, 4.0, 10), Held(100.0, 8, 2.0, 10)]
    assert best(tried).regularisation == 1.0
    assert best(tried).accuracy == 0.8


def test_samples_of_unknown_classes_count_as_wrong_and_not_as_infinitely_surprising() -> None:
    h, y = gaussian_classes(200, 5, 3, distance=6.0)
    (fit,) = fit_logistic(h[y != 1], y[y != 1], [1.0])
    held, known = hold_back(fit, h, y), hold_back(fit, h[y != 1], y[y != 1])
    assert held.num_correct == known.num_correct
    assert held.cross_entropy == pytest.approx(known.cross_entropy)
    assert held.num_samples == 200


def test_wrong_arguments_are_named() -> None:
    for wrong in ((), (1.0, 0.1)):
        with pytest.raises(ValueError, match=r"regularisations: got .* wanted one or more in increasing order"):
            try_regularisations([noisy_part()], wrong)
    with pytest.raises(ValueError, match="regularisation: got 0"):
        try_regularisations([noisy_part()], (0.0, 1.0))
