"""Features come back from the file as they went in, each beside its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from barlow.embed import write_embeddings

H = torch.tensor([[1.5, -2.0, 0.1], [0.0, float("inf"), 3.0]])
NAMES = ["a/é.jpg", "b.png"]


@pytest.mark.parametrize("labels", [None, [3, 7], ["cat", "dog"]])
def test_npz_holds_rows_names_and_labels(labels: list[int] | list[str] | None, tmp_path: Path) -> None:
    write_embeddings(tmp_path / "new" / "h.npz", H, names=NAMES, labels=labels)
    with np.load(tmp_path / "new" / "h.npz", allow_pickle=False) as file:
        assert sorted(file) == ["h", "labels", "names"] if labels else ["h", "names"]
        assert file["h"].dtype == np.float32
        np.testing.assert_array_equal(file["h"], H.numpy())
        assert file["names"].tolist() == NAMES
        if labels:
            assert file["labels"].tolist() == labels
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["h.npz"]


@pytest.mark.parametrize("labels", [None, [3, 7], ["cat", "dog"]])
def test_parquet_holds_one_row_per_sample(labels: list[int] | list[str] | None, tmp_path: Path) -> None:
    write_embeddings(tmp_path / "h.parquet", H, names=NAMES, labels=labels)
    table = pq.read_table(tmp_path / "h.parquet")
    assert table.column_names == (["name", "label", "h"] if labels else ["name", "h"])
    assert table.schema.field("h").type == pa.list_(pa.float32(), 3)
    np.testing.assert_array_equal(np.stack(table["h"].to_numpy()), H.numpy())
    assert table["name"].to_pylist() == NAMES
    if labels:
        assert table["label"].to_pylist() == labels
    assert [path.name for path in tmp_path.iterdir()] == ["h.parquet"]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_half_precision_gradients_and_strides_do_not_matter(suffix: str, tmp_path: Path) -> None:
    h = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True).t()
    path = tmp_path / f"h{suffix}"
    write_embeddings(path, h, names=list("abcd"))
    read = np.load(path)["h"] if suffix == ".npz" else np.stack(pq.read_table(path)["h"].to_numpy())
    np.testing.assert_array_equal(read, h.detach().float().numpy())


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_no_samples_make_an_empty_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"h{suffix}"
    write_embeddings(path, torch.zeros(0, 3), names=[], labels=[])
    rows = len(np.load(path)["h"]) if suffix == ".npz" else pq.read_table(path).num_rows
    assert rows == 0


def test_an_existing_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "h.parquet"
    write_embeddings(path, H, names=NAMES)
    before = path.read_bytes()
    both: Any = ["cat", 7]  # no column can hold them
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        write_embeddings(path, H, names=NAMES, labels=both)
    assert path.read_bytes() == before
    write_embeddings(path, H + 1, names=NAMES)
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("name", "end"),
    [("h.csv", "parquet"), ("h.parqet", r"parquet; did you mean '.parquet'\?"), ("h", "parquet")],
)
def test_other_suffixes_are_refused(name: str, end: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^path: the suffix of .*{name}' is neither .npz nor .{end}$"):
        write_embeddings(tmp_path / name, H, names=NAMES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", ["names", "labels"])
def test_names_and_labels_are_as_many_as_rows(argument: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: 3 came for 2 samples"):
        write_embeddings(tmp_path / "h.npz", H, **{"names": NAMES, argument: list("abc")})
    assert not list(tmp_path.iterdir())
