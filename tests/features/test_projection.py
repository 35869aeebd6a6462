"""Places on a plane keep the neighbourhoods of features, are the same for a seed, and say how they were found."""

import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from barlow.features import projection
from barlow.features.projection import Projected, project

CLASSES = 3


def clusters(n: int = 150, d: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features about three directions, and which one each belongs to."""
    generator = torch.Generator().manual_seed(seed)
    of = torch.arange(n) % CLASSES
    middles = 4 * torch.eye(d)[:CLASSES]
    return middles[of] + 0.3 * torch.randn(n, d, generator=generator), of


@pytest.fixture(autouse=True)
def without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where umap-learn is not installed, whatever is here."""
    without(monkeypatch)


def without(patch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    patch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "umap" else found(name, *more))


@pytest.fixture(scope="module")
def placed() -> Iterator[Projected]:
    with pytest.MonkeyPatch.context() as patch:
        without(patch)
        yield project(clusters()[0])


def test_samples_of_one_kind_stand_together(placed: Projected) -> None:
    of = clusters()[1]
    nearest = torch.cdist(placed.xy, placed.xy).fill_diagonal_(torch.inf).argmin(1)
    assert (of[nearest] == of).all()
    assert placed.method == "t-SNE"


def test_places_fill_the_unit_square_with_one_scale(placed: Projected) -> None:
    low, high = placed.xy.min(0).values, placed.xy.max(0).values
    assert placed.xy.dtype == torch.float32
    assert low.min() >= 0
    assert high.max() <= 1
    assert (high - low).max() == pytest.approx(1, abs=1e-6)
    assert (low + high).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_the_same_seed_gives_the_same_map_to_the_bit(placed: Projected) -> None:
    assert torch.equal(project(clusters()[0]).xy, placed.xy)


def test_only_the_direction_of_features_counts(placed: Projected) -> None:
    lengths = 2.0 ** torch.randint(-2, 3, (150, 1), generator=torch.Generator().manual_seed(1))  # exact in binary
    assert torch.equal(project(clusters()[0] * lengths).xy, placed.xy)


def naive_trustworthiness(h: NDArray[Any], xy: NDArray[Any], k: int) -> float:
    """Equation 2 of Venna and Kaski, by loops."""
    n, penalty = len(h), 0
    for i in range(n):
        by_features = [j for j in np.argsort(((h - h[i]) ** 2).sum(1)) if j != i]
        by_place = [j for j in np.argsort(((xy - xy[i]) ** 2).sum(1)) if j != i][:k]
        penalty += sum(max(0, by_features.index(j) + 1 - k) for j in by_place)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty


def test_trustworthiness_and_the_share_kept_are_those_of_their_definitions(placed: Projected) -> None:
    unit = torch.nn.functional.normalize(clusters()[0].double(), dim=1).numpy()
    xy = placed.xy.double().numpy()
    assert placed.trustworthiness == pytest.approx(naive_trustworthiness(unit, xy, 10), abs=1e-6)
    kept = 0
    for i in range(len(unit)):
        nearest = [set([j for j in np.argsort(((rows - rows[i]) ** 2).sum(1)) if j != i][:10]) for rows in (unit, xy)]
        kept += len(nearest[0] & nearest[1])
    assert placed.kept == pytest.approx(kept / 10 / len(unit), abs=2e-3)


def test_a_map_that_shows_nothing_is_told_by_its_figures() -> None:
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(300, 16, generator=generator), dim=1)
    xy, some = torch.rand(300, 2, generator=generator), torch.arange(300)
    assert projection._kept(unit, xy, some) < 3 * 10 / 299
    assert projection._trustworthiness(unit.double().numpy(), xy.numpy()) == pytest.approx(0.5, abs=0.05)


def test_beyond_what_the_method_places_the_others_stand_with_those_like_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "TSNE_ROWS", 60)
    h, of = clusters()
    found = project(h)
    assert found.method == ("t-SNE of 60 samples, drawn by chance; the other 90 stand between those most like them")
    nearest = torch.cdist(found.xy, found.xy).fill_diagonal_(torch.inf).argmin(1)
    assert (of[nearest] == of).all()
    assert found.trustworthiness > 0.8


def test_a_sample_that_is_there_twice_has_the_place_of_the_other() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4))
    places = np.random.default_rng(1).random((20, 2))
    assert projection._between(rows[:3], rows, places) == pytest.approx(places[:3], abs=1e-5)


def test_progress_is_told_to_its_end() -> None:
    said: list[tuple[int, int]] = []
    project(clusters(30)[0], progress=lambda done, total: said.append((done, total)))
    assert said == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("n", [2, 3, 9])
def test_few_samples_have_places_by_their_principal_directions(n: int) -> None:
    found = project(clusters(n)[0])
    assert found.xy.shape == (n, 2)
    assert found.xy.isfinite().all()
    assert found.method == "the first two principal directions (few samples)"
    assert np.isnan(found.trustworthiness) == (n < 3)


@pytest.mark.parametrize("h", [torch.zeros(30, 4), torch.ones(30, 4)])
def test_samples_that_are_all_alike_stand_at_one_place(h: Tensor) -> None:
    found = project(h)
    assert found.xy.eq(0.5).all()
    assert "all alike" in found.method


def test_features_of_one_dimension_have_places_too() -> None:
    assert project(torch.randn(30, 1, generator=torch.Generator().manual_seed(0))).xy.isfinite().all()


@pytest.mark.parametrize(
    ("h", "said"),
    [
        (torch.zeros(5), r"h: got shape \(5,\), wanted \(n, d\)"),
        (torch.zeros(1, 4), "h: got 1 sample, wanted at least 2"),
        (torch.tensor([[0.0, 1.0], [1.0, float("nan")]]), "h: got 1 rows that are not finite, first row 1"),
    ],
)
@pytest.mark.usefixtures("as_users_call_it")
def test_other_features_are_refused(h: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        project(h)


def test_umap_places_more_samples_than_t_sne_does_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Umap:
        def __init__(self, **given: Any) -> None:
            asked.update(given)

        def fit_transform(self, rows: NDArray[Any]) -> NDArray[Any]:
            return rows[:, :2].astype(np.float32)

    module = ModuleType("umap")
    module.UMAP = Umap  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: ModuleSpec(name, None))
    monkeypatch.setattr(projection, "TSNE_ROWS", 149)
    assert project(clusters()[0], seed=7).method == "UMAP"
    assert asked == {"n_neighbors": 15, "min_dist": 0.1, "random_state": 7}
