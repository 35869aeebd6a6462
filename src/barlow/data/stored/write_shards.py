"""Samples of any kind kept as shards: what comes one by one, or lies in many small files, then read in any order."""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from barlow.data.metadata import LABEL_COLUMNS
from barlow.data.stored.hub import is_stream
from barlow.data.stored.labelled import chosen
from barlow.files import durable_file

PER_SHARD = 10_000
"""Samples in a shard: of pictures of 100 kB a gigabyte."""


def write_shards(
    samples: Iterable[Any], folder: str | Path, *, per_shard: int = PER_SHARD, column: str = "", ending: str = ""
) -> list[Path]:
    """Write samples as WebDataset shards, each whole or not at all; a call that was killed goes on where it stood.

    Args:
        samples: (name, bytes) or (name, bytes, label) of each, the name with its ending and perhaps folders; or rows
            with a column of bytes, as a streaming data set of Hugging Face gives them: its column of images or
            recordings is kept as it is stored. Labels are whole numbers, or names.
        folder: where shards-000000.tar and so on go. Those that are there are kept, and as many samples passed over.
        per_shard: samples in each.
        column: of rows, where the samples are; "": the first that has bytes.
        ending: of rows whose samples have no name: ".jpg"; "": told from their first bytes.

    Returns:
        The shards, in order.

    Raises:
        ValueError: samples of another form, or a number that cannot be.

    Example:
        stream = datasets.load_dataset("user/name", split="train", streaming=True)
        barlow.write_shards(stream.take(1_000_000), "shards/")
    """
    if per_shard < 1:
        raise ValueError(f"per_shard: got {per_shard}, wanted at least 1")
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    found, number = _whole(folder), 0
    done = len(found) * per_shard
    rows = iter(_passed_over(_undecoded(samples), done))
    while True:
        number = len(found)
        batch = [_sample(row, done + place, column, ending) for place, row in zip(range(per_shard), rows, strict=False)]
        if not batch:
            return found
        found.append(folder / f"shards-{number:06d}.tar")
        _write(found[-1], batch)
        done += len(batch)


def _whole(folder: Path) -> list[Path]:
    found: list[Path] = []
    while (path := folder / f"shards-{len(found):06d}.tar").is_file():
        found.append(path)
    return found


def _write(path: Path, batch: list[tuple[str, bytes, str]]) -> None:
    with durable_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, label in batch:
            _add(archive, name, content)
            if label:
                folder, slash, last = name.rpartition("/")
                _add(archive, f"{folder}{slash}{last.partition('.')[0]}.cls", label.encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _passed_over(samples: Any, number: int) -> Iterable[Any]:
    """The samples behind the first so many: by their own `skip` where they have one."""
    whole: Iterable[Any] = samples
    if not number:
        return whole
    if hasattr(samples, "skip"):
        found: Iterable[Any] = samples.skip(number)
        return found
    rest: Iterator[Any] = iter(samples)
    for _ in zip(range(number), rest, strict=False):
        pass
    return rest


def _undecoded(samples: Any) -> Any:
    """A stream of Hugging Face gives bytes where it would decode."""
    if not is_stream(samples):
        return samples
    for name, feature in (getattr(samples, "features", None) or {}).items():
        if type(feature).__name__ in ("Image", "Audio"):
            samples = samples.cast_column(name, type(feature)(decode=False))
    return samples


def _sample(row: Any, number: int, column: str, ending: str) -> tuple[str, bytes, str]:
    if isinstance(row, Mapping):
        return _of_row(row, number, column, ending)
    if isinstance(row, (tuple, list)) and len(row) in (2, 3) and isinstance(row[0], str) and isinstance(row[1], bytes):
        return row[0], row[1], str(row[2]) if len(row) == 3 and row[2] is not None else ""
    raise ValueError(
        f"samples: got a {type(row).__name__}, wanted (name, bytes), (name, bytes, label), or rows with bytes"
    )


def _of_row(row: Mapping[str, Any], number: int, column: str, ending: str) -> tuple[str, bytes, str]:
    found = next(_contents(row, column), None)
    if found is None:
        raise ValueError(f"samples: a row with the columns {', '.join(row)}, wanted one of bytes, or of bytes and path")
    path, content = found
    suffix = ending or Path(path).suffix or _ending(content)
    label = chosen(tuple(row), LABEL_COLUMNS)
    return f"{number:09d}{suffix.lower()}", content, str(row[label]) if label and row[label] is not None else ""


def _contents(row: Mapping[str, Any], column: str) -> Iterator[tuple[str, bytes]]:
    for name, value in row.items():
        if column not in ("", name):
            continue
        if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
            yield str(value.get("path") or ""), value["bytes"]
        elif isinstance(value, Mapping) and isinstance(value.get("path"), str):
            yield value["path"], Path(value["path"]).read_bytes()
        elif isinstance(value, bytes):
            yield "", value


STARTS: Mapping[bytes, str] = {
    b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp", b"II*\0": ".tif", b"MM\0*": ".tif",
    b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3",
}  # fmt: skip
"""First bytes of files -> their ending."""


def _ending(content: bytes) -> str:
    if content[:4] == b"RIFF":
        return ".webp" if content[8:12] == b"WEBP" else ".wav"
    return next((ending for start, ending in STARTS.items() if content.startswith(start)), ".bin")
