"""Features go to the disk as they are computed: a killed call goes on, and what cannot be read is named."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.data.labels import as_labels
from barlow.runs.embed import Embedded, Part, embed_to_file, free_path, part_of_process, weights_digest
from barlow.runs.embeddings import read_embeddings
from barlow.seams import Batch

BATCH = 5
ABOUT = {"run": "runs/some", "weights": "abc", "data": {"name": "points", "path": ""}}
BAD = {3: "cut off", 45: "no picture"}
ALONE = 8 * BATCH  # a batch of which nothing can be read


class Points(ArraySource):
    """Points that note how many of them are asked for at once."""

    asked: list[int]

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        self.asked.append(len(order))
        return super().batches(order, batch_size)


def points(n: int = 100) -> Points:
    values = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    labels = as_labels([number % 3 - 1 for number in range(n)], n, ("a", "b"))
    bad = BAD | dict.fromkeys(range(ALONE, ALONE + BATCH), "no picture")
    source = Points(values, name="points", labels=labels, describe="p\udce4/{}.png".format, bad=bad)
    source.asked = []
    return source


class Network:
    """A network that is killed after some batches."""

    def __init__(self, batches: int = 1000) -> None:
        self.left = batches

    def __call__(self, view: Tensor) -> Tensor:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return view @ torch.ones(4, 2)


def embed(path: Path, network: Any, about: dict[str, Any] = ABOUT) -> Embedded:
    return embed_to_file(path, network, points(), plain=lambda x: x, batch_size=BATCH, provenance=about)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize(("batches", "left"), [(0, 19), (7, 19), (8, 11), (17, 4)])
def test_a_call_that_was_killed_goes_on_and_gives_the_same_bytes(
    batches: int, left: int, suffix: str, tmp_path: Path
) -> None:
    whole = embed(tmp_path / f"whole{suffix}", Network())
    path = tmp_path / f"h{suffix}"
    with pytest.raises(KeyboardInterrupt):
        embed(path, Network(batches))
    assert not path.exists()
    second = Network()
    assert embed(path, second).skipped == whole.skipped
    assert path.read_bytes() == whole.path.read_bytes()
    assert 1000 - second.left == left  # of 20 batches, one of which has nothing to compute
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, whole.path.name])


def test_a_record_that_was_cut_short_and_rows_behind_the_last_record_are_computed_again(tmp_path: Path) -> None:
    whole = embed(tmp_path / "whole.npz", Network())
    with pytest.raises(KeyboardInterrupt):
        embed(tmp_path / "h.npz", Network(17))
    with (tmp_path / "h.npz.rows.json").open("a") as notes:
        notes.write('{"done": 80, "ro')
    with (tmp_path / "h.npz.rows").open("ab") as rows:
        rows.write(b"abc")
    embed(tmp_path / "h.npz", Network())
    assert (tmp_path / "h.npz").read_bytes() == whole.path.read_bytes()


def test_rows_of_another_network_are_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed(tmp_path / "h.npz", Network(17))
    network = Network()
    embed(tmp_path / "h.npz", network, ABOUT | {"weights": "other"})
    assert 1000 - network.left == 19


def test_only_some_batches_are_asked_for_at_once(tmp_path: Path) -> None:
    source = points()
    embed_to_file(tmp_path / "h.npz", Network(), source, plain=lambda x: x, batch_size=BATCH, provenance=ABOUT)
    assert source.asked == [40, 40, 20]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_could_not_be_read_is_counted_named_and_in_the_file(suffix: str, tmp_path: Path) -> None:
    done = embed(tmp_path / f"h{suffix}", Network())
    assert done.num_rows == 100 - 7
    assert done.skipped["p\\xe4/3.png"] == "cut off"
    assert done.left_out.startswith(
        "7 of 100 samples in points cannot be read and are left out: p\\xe4/3.png (cut off); "
    )
    assert done.left_out.endswith("p\\xe4/43.png (no picture); and 2 more")
    found = read_embeddings(done.path)
    assert found.skipped == done.skipped
    assert found.names[:4] == ("p\\xe4/0.png", "p\\xe4/1.png", "p\\xe4/2.png", "p\\xe4/4.png")
    torch.testing.assert_close(found.h[3], points().samples[4] @ torch.ones(4, 2))
    assert found.labels is not None
    assert found.labels[:4].tolist() == [-1, 0, 1, 0]
    assert found.class_names == ("a", "b")


def test_progress_is_shown_before_the_first_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed_to_file(
            tmp_path / "h.npz", Network(0), points(), plain=lambda x: x, batch_size=BATCH, provenance=ABOUT, quiet=False
        )
    assert "embedding (0/100)" in capsys.readouterr().err


def test_a_source_without_a_single_row_is_refused(tmp_path: Path) -> None:
    source = ArraySource(torch.zeros(4, 4), name="none", bad=dict.fromkeys(range(4), "broken"))
    with pytest.raises(ValueError, match="source: none gave no sample that could be read, of 4 asked for"):
        embed_to_file(tmp_path / "h.npz", Network(), source, plain=lambda x: x, batch_size=BATCH, provenance=ABOUT)


def test_files_of_other_data_keep_their_name_and_those_of_the_same_are_replaced(tmp_path: Path) -> None:
    data = ABOUT["data"]
    assert free_path(tmp_path, "points", data) == tmp_path / "points.npz"  # type: ignore[arg-type]
    embed(tmp_path / "points.npz", Network())
    assert free_path(tmp_path, "points", data) == tmp_path / "points.npz"  # type: ignore[arg-type]
    assert free_path(tmp_path, "points", {"name": "points", "path": "/new"}) == tmp_path / "points-2.npz"


def test_weights_have_a_name_that_no_others_share() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(2)
    network = nn.Sequential(nn.Linear(2, 2), norm)
    before = weights_digest(network)
    assert weights_digest(network) == before
    assert norm.running_mean is not None
    norm.running_mean += 1
    assert weights_digest(network) != before


# --- Several files as one.


def written(path: Path, names: Sequence[str], classes: Sequence[str], weights: str = "w", labels: bool = True) -> Path:
    from barlow.runs.embeddings import write_embeddings

    place = {name: number for number, name in enumerate(sorted(set(classes)))}
    write_embeddings(
        path,
        torch.arange(2 * len(names), dtype=torch.float32).reshape(-1, 2),
        names=names,
        labels=[place[one] for one in classes] if labels else None,
        class_names=tuple(place) if labels else (),
        provenance={"weights": weights, "run": f"runs/{weights}"},
    )
    return path


def test_classes_of_two_files_are_matched_by_name(tmp_path: Path) -> None:
    one = written(tmp_path / "one.npz", ["1", "2"], ["a", "b"])
    two = written(tmp_path / "two.parquet", ["3", "4", "5"], ["c", "b", "b"])
    three = written(tmp_path / "three.npz", ["6"], [], labels=False)
    found = read_embeddings(one, two, three)
    assert found.names == ("1", "2", "3", "4", "5", "6")
    assert found.labels is not None
    named = [found.class_names[label] if label >= 0 else "" for label in found.labels.tolist()]
    assert named == ["a", "b", "c", "b", "b", ""]
    assert found.h.shape == (6, 2)
    assert [one["run"] for one in found.provenance["files"]] == ["runs/w"] * 3


def test_a_parquet_file_names_the_classes_in_a_column(tmp_path: Path) -> None:
    table = pq.read_table(written(tmp_path / "one.parquet", ["1", "2"], ["b", "a"]))
    assert table.column_names == ["name", "label", "class", "h"]
    assert table["class"].to_pylist() == ["b", "a"]


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    one = written(tmp_path / "one.npz", ["1"], ["a"])
    with pytest.raises(ValueError, match=r"two\.npz is of another network \(runs/v\) than .*one\.npz \(runs/w\)"):
        read_embeddings(one, written(tmp_path / "two.npz", ["1"], ["a"], weights="v"))
    np.savez(tmp_path / "wide.npz", h=np.zeros((1, 3), np.float32), names=np.array(["1"]))
    with pytest.raises(ValueError, match=r"wide\.npz has 3 features a sample, .*one\.npz has 2"):
        read_embeddings(one, tmp_path / "wide.npz")
    np.savez(tmp_path / "old.npz", h=np.zeros((1, 2), np.float32), names=np.array(["1"]), labels=np.array([0]))
    assert read_embeddings(tmp_path / "old.npz").labels is not None
    with pytest.raises(ValueError, match=r"the labels in .*old\.npz are numbers without names"):
        read_embeddings(one, tmp_path / "old.npz")
    (tmp_path / "no.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no\.npz' is no file of features"):
        read_embeddings(tmp_path / "no.npz")
    with pytest.raises(ValueError, match="paths: there is no file"):
        read_embeddings(tmp_path / "none.npz")


@pytest.mark.parametrize("of", [1, 3, 7])
def test_parts_of_several_processes_are_the_whole_without_duplicates(of: int, tmp_path: Path) -> None:
    whole = read_embeddings(embed(tmp_path / "whole.parquet", Network()).path)
    paths = []
    for number in range(of):
        part = Part(number, of)
        path = part.path(tmp_path / "h.parquet")
        if number == 1:  # one of them is killed, and goes on
            with pytest.raises(KeyboardInterrupt):
                _embed_part(path, part, Network(1))
        paths.append(_embed_part(path, part, Network()).path)
    found = read_embeddings(*paths)
    assert found.names == whole.names
    assert torch.equal(found.h, whole.h)
    assert found.labels is not None
    assert whole.labels is not None
    assert torch.equal(found.labels, whole.labels)
    assert found.skipped == whole.skipped
    assert paths[-1].name == f"h-{of - 1:05d}-of-{of:05d}.parquet"


def _embed_part(path: Path, part: Part, network: Network) -> Embedded:
    return embed_to_file(path, network, points(), plain=lambda x: x, batch_size=BATCH, provenance=ABOUT, part=part)


def test_processes_are_told_by_what_torchrun_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert part_of_process() == Part(2, 4)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert part_of_process() is None
    assert [Part(number, 3).positions(10) for number in range(3)] == [range(3), range(3, 6), range(6, 10)]
