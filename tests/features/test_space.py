import pytest
import torch

from barlow.features import space as space_file
from barlow.features.space import fit_space, neighbours


def test_neighbours_are_the_nearest_others_and_never_the_sample_itself() -> None:
    rows = fit_space(torch.randn(50, 8, generator=torch.Generator().manual_seed(0))).rows(torch.randn(40, 8))
    similarities, positions = neighbours(rows, 3)
    every = rows @ rows.T
    every.fill_diagonal_(-2)
    wanted = every.topk(3, dim=1)
    assert torch.equal(positions, wanted.indices)
    torch.testing.assert_close(similarities, wanted.values)


def test_equal_samples_are_neighbours_of_each_other_with_similarity_one() -> None:
    h = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
    h[20:25] = h[3]
    similarities, positions = neighbours(fit_space(h).rows(h), 5)
    for place in (3, *range(20, 25)):
        assert set(positions[place].tolist()) == {3, *range(20, 25)} - {place}
        assert similarities[place].min() > 1 - 1e-5


def test_whitening_gives_weak_directions_a_say() -> None:
    """The class is in a direction of a hundredth of the spread of the others."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    h = torch.cat([torch.randn(200, 3, generator=generator), 0.01 * (2.0 * labels[:, None] - 1)], dim=1)
    h[:, 3] += 0.001 * torch.randn(200, generator=generator)

    def right(power: float) -> float:
        positions = neighbours(fit_space(h, power=power).rows(h), 1)[1][:, 0]
        return float((labels[positions] == labels).float().mean())

    assert right(0.01) < 0.7 < 0.85 < right(1.0)


def test_many_samples_go_through_a_graph_that_finds_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    rows = fit_space(torch.randn(2000, 16)).rows(torch.randn(2000, 16))
    exact = neighbours(rows, 5)[1]
    monkeypatch.setattr(space_file, "MOST_EXACT", 100)
    found = neighbours(rows, 5)[1]
    same = [len(set(a) & set(b)) / 5 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    assert sum(same) / len(same) > 0.95
    assert all(place not in line for place, line in enumerate(found.tolist()))


def test_without_faiss_many_samples_are_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_file, "MOST_EXACT", 10)
    monkeypatch.setattr(space_file, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"data: 20 samples, more than the 10 .* pip install \"barlow\[search\]\""):
        neighbours(torch.randn(20, 4), 2)


@pytest.mark.parametrize(("number", "power"), [(0, 0.5), (20, 0.5)])
def test_a_number_of_neighbours_that_there_are_not_is_refused(number: int, power: float) -> None:
    h = torch.randn(20, 4)
    with pytest.raises(ValueError, match=f"num_neighbours: got {number}, wanted 1 to 19"):
        neighbours(fit_space(h, power=power).rows(h), number)


def test_a_space_needs_two_samples_and_a_power_in_its_range() -> None:
    with pytest.raises(ValueError, match="h: got 1 samples"):
        fit_space(torch.randn(1, 4))
    with pytest.raises(ValueError, match=r"power: got 0.0, wanted above 0"):
        fit_space(torch.randn(9, 4), power=0.0)
