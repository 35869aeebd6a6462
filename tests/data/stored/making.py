"""The same few samples in every format: a folder, shards, tables, lists, data sets of Hugging Face, addresses."""

import csv
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("cat", "dog", "owl")


class Made(NamedTuple):
    """A sample: a path with its class as a folder, and its bytes."""

    path: str
    content: bytes

    @property
    def label(self) -> str:
        return self.path.partition("/")[0]


def pictures(number: int, bad: Sequence[int] = ()) -> list[Made]:
    """Small pictures that differ; those of `bad` are no pictures."""
    made = []
    for k in range(number):
        file = io.BytesIO()
        pixels = np.random.default_rng(k).integers(256, size=(6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, "png")
        made.append(Made(f"{CLASSES[k % 3]}/{k:04d}.png", b"no picture" if k in bad else file.getvalue()))
    return sorted(made)


def recordings(number: int, bad: Sequence[int] = ()) -> list[Made]:
    """Short recordings that differ."""
    import soundfile

    made = []
    for k in range(number):
        file = io.BytesIO()
        samples = 0.1 * np.random.default_rng(k).standard_normal(2000).astype(np.float32)
        soundfile.write(file, samples, 8000, format="WAV")
        made.append(Made(f"{CLASSES[k % 3]}/{k:04d}.wav", b"no sound" if k in bad else file.getvalue()))
    return sorted(made)


def folder(samples: Sequence[Made], place: Path) -> Path:
    for one in samples:
        path = place / "files" / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
    return place / "files"


def tars(samples: Sequence[Made], place: Path, *, cls: bool, name: str = "shards-{:03d}.tar", most: int = 10) -> Path:
    (place / "shards").mkdir(parents=True)
    for number, start in enumerate(range(0, len(samples), most)):
        with tarfile.open(place / "shards" / name.format(number), "w") as archive:
            for one in samples[start : start + most]:
                path = one.path.rpartition("/")[2] if cls else one.path
                members = [(path, one.content)]
                members += [(path.partition(".")[0] + ".cls", str(CLASSES.index(one.label)).encode())] if cls else []
                for member_name, content in members:
                    member = tarfile.TarInfo(member_name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    if cls:
        (place / "shards" / "classnames.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return place / "shards"


def pattern(samples: Sequence[Made], place: Path) -> str:
    last = (len(samples) - 1) // 10
    return f"{tars(samples, place, cls=False)}/shards-{{000..{last:03d}}}.tar"


def column_of(samples: Sequence[Made]) -> str:
    return "audio" if samples[0].path.endswith(".wav") else "image"


def parquet_of_bytes(samples: Sequence[Made], place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    columns = {column_of(samples): [one.content for one in samples], "label": [one.label for one in samples]}
    pq.write_table(pa.table(columns), place / "data.parquet", row_group_size=7)
    return place / "data.parquet"


def parquet_of_structs(samples: Sequence[Made], place: Path) -> Path:
    """Two files with the metadata of Hugging Face."""
    data = dataset(samples)
    (place / "tables").mkdir(parents=True)
    half = len(data) // 2
    for number, part in enumerate((data.select(range(half)), data.select(range(half, len(data))))):
        part.to_parquet(str(place / "tables" / f"train-{number:05d}-of-00002.parquet"))
    return place / "tables"


def dataset(samples: Sequence[Made]) -> Any:
    import datasets

    column = column_of(samples)
    kind = datasets.Audio(decode=False) if column == "audio" else datasets.Image(decode=False)
    cells = [{"bytes": one.content, "path": one.path.rpartition("/")[2]} for one in samples]
    kept = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({column: pa.array(cells, kept), "label": [CLASSES.index(one.label) for one in samples]})
    features = datasets.Features({column: kind, "label": datasets.ClassLabel(names=list(CLASSES))})
    return datasets.Dataset(datasets.table.InMemoryTable(table), info=datasets.DatasetInfo(features=features))


def saved(samples: Sequence[Made], place: Path) -> Path:
    dataset(samples).save_to_disk(str(place / "saved"))
    return place / "saved"


def manifest(samples: Sequence[Made], place: Path) -> Path:
    folder(samples, place)
    with (place / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "label", "speaker"])
        rows.writerows([f"files/{one.path}", one.label, f"speaker {one.label}"] for one in samples)
    return place / "table.csv"


def listed(samples: Sequence[Made], place: Path) -> Path:
    folder(samples, place)
    (place / "list.txt").write_text("".join(f"files/{one.path} {CLASSES.index(one.label)}\n" for one in samples))
    return place / "list.txt"


def in_memory(samples: Sequence[Made], place: Path) -> str:
    """A folder of fsspec's memory."""
    import fsspec

    system, root = fsspec.filesystem("memory"), f"/{place.name}-files"
    if system.exists(root):
        system.rm(root, recursive=True)
    for one in samples:
        system.pipe(f"{root}/{one.path}", one.content)
    return f"memory:/{root}"


def shards_in_memory(samples: Sequence[Made], place: Path) -> str:
    import fsspec

    system, root = fsspec.filesystem("memory"), f"/{place.name}-shards"
    for path in sorted(tars(samples, place, cls=False).iterdir()):
        system.pipe(f"{root}/{path.name}", path.read_bytes())
    return f"memory:/{root}"


FORMATS: Mapping[str, Callable[[Sequence[Made], Path], Any]] = {
    "folder": folder,
    "shards in folders": lambda samples, place: tars(samples, place, cls=False),
    "shards with .cls": lambda samples, place: tars(samples, place, cls=True),
    "pattern": pattern,
    "parquet of bytes": parquet_of_bytes,
    "parquet of structs": parquet_of_structs,
    "save_to_disk": saved,
    "csv": manifest,
    "list": listed,
    "address of files": in_memory,
    "address of shards": shards_in_memory,
}
KINDS: Mapping[str, Callable[..., list[Made]]] = {"images": pictures, "audio": recordings}
