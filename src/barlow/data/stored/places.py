"""Where stored data lie: paths and patterns of the disk, and addresses such as s3://bucket/a.tar by fsspec."""

import importlib
import os
import re
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
"""A run of numbers in a pattern: {000..099}."""
MOST_OPEN = 64
"""Files that a process keeps open to read parts of."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_address(place: object) -> bool:
    """Whether a place is one of fsspec's, "PROTOCOL://...", rather than a path."""
    return isinstance(place, str) and _ADDRESS.match(place) is not None


def is_pattern(place: str) -> bool:
    """Whether a place stands for several: {000..099}, * or ?."""
    return BRACES.search(place) is not None or "*" in place or "?" in place


def absolute(place: str) -> str:
    """Return a path as a whole one; an address as it is."""
    return place if is_address(place) else str(Path(place).expanduser().absolute())


def exists(place: str) -> bool:
    """Whether something lies at a path, an address or the first place of a pattern."""
    if is_pattern(place):
        return any(exists(one) for one in expanded(place)[:1])
    return bool(_system(place)[0].exists(place)) if is_address(place) else Path(place).expanduser().exists()


def expanded(pattern: str) -> list[str]:
    """Return all places that a pattern stands for, in order; those of * and ? are there, those of braces may not be."""
    if found := BRACES.search(pattern):
        first, last = found.groups()
        numbers = range(int(first), int(last) + 1)
        return [
            place
            for number in numbers
            for place in expanded(f"{pattern[: found.start()]}{number:0{len(first)}d}{pattern[found.end() :]}")
        ]
    if not is_pattern(pattern):
        return [absolute(pattern)]
    if is_address(pattern):
        system, path = _system(pattern)
        return sorted(system.unstrip_protocol(one) for one in system.glob(path))
    whole = Path(absolute(pattern))
    return sorted(str(one) for one in Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))


def files_under(folder: str) -> list[str]:
    """Return all files below a folder or an address, as whole places, sorted; hidden ones left out."""
    if is_address(folder):
        system, path = _system(folder)
        found = [system.unstrip_protocol(one) for one in system.find(path)]
    else:
        found = [str(one) for one in Path(absolute(folder)).rglob("*") if one.is_file()]
    return sorted(one for one in found if not one.rpartition("/")[2].startswith("."))


def size_and_time(place: str) -> tuple[int, str]:
    """Return size in bytes, and when or as what a file was written: another one has another pair."""
    if is_address(place):
        system, path = _system(place)
        about = system.info(path)
        when = next((about[key] for key in ("mtime", "LastModified", "ETag", "etag", "created") if key in about), "")
        return int(about["size"]), str(when)
    status = Path(place).stat()
    return status.st_size, str(status.st_mtime_ns)


def read_whole(place: str) -> bytes:
    """Return the bytes of a file."""
    if is_address(place):
        system, path = _system(place)
        content: bytes = system.cat_file(path)
        return content
    return Path(place).read_bytes()


def read_part(place: str, start: int, size: int) -> bytes:
    """Return bytes of a file; ValueError where it ends before, OSError where it is gone."""
    if is_address(place):
        system, path = _system(place)
        content: bytes = system.cat_file(path, start=start, end=start + size)
    elif hasattr(os, "pread"):  # which moves no place in the file, so that forked workers may share it
        content = os.pread(_descriptor(place), size, start)
    else:
        with Path(place).open("rb") as file:
            file.seek(start)
            content = file.read(size)
    if len(content) < size:
        raise ValueError(f"{place} ends before it: {len(content)} of {size} bytes are there")
    return content


_OPEN: "OrderedDict[str, int]" = OrderedDict()


def _descriptor(place: str) -> int:
    if place in _OPEN:
        _OPEN.move_to_end(place)
        return _OPEN[place]
    if len(_OPEN) >= MOST_OPEN:
        os.close(_OPEN.popitem(last=False)[1])
    _OPEN[place] = os.open(place, os.O_RDONLY)
    return _OPEN[place]


def forget_open() -> None:
    """Close the files that are kept open, before others take their names."""
    while _OPEN:
        os.close(_OPEN.popitem()[1])


def open_file(place: str) -> Any:
    """Open a file for bytes, to be read and sought in."""
    if is_address(place):
        system, path = _system(place)
        return system.open(path, "rb")
    return Path(place).open("rb")


def _system(address: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it; asked for anew each time, since forks need their own."""
    try:
        system, path = _fsspec().core.url_to_fs(address)
    except ImportError as error:  # of the package behind one protocol
        raise ValueError(f"data: {address!r} needs a package that is not here: {error}") from error
    except ValueError as error:
        raise ValueError(f"data: {address!r} is of no file system that fsspec knows: {error}") from error
    return system, path


@cache
def _fsspec() -> Any:
    try:
        importlib.import_module("fsspec.core")
        return importlib.import_module("fsspec")
    except ImportError as error:
        raise ValueError('data: addresses need fsspec; wanted: pip install "barlow[remote]"') from error
