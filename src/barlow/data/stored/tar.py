"""What lies in a tar archive and where, from its headers alone: nothing is unpacked.

The formats of POSIX (ustar, pax) and GNU; an archive may break off, and what lies before can be read.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK = 512
"""Bytes of a header; contents are filled up to a multiple of it."""
_FILES = (0x30, 0x00, 0x37)
"""Types of headers that are files: "0", NUL of old archives, and "7"."""


class Member(NamedTuple):
    """A file in an archive: its name, the byte where its content begins, and how many bytes it has."""

    name: str
    start: int
    size: int


def members(read: Callable[[int, int], bytes]) -> Iterator[Member]:
    """Yield the files of an archive in order.

    Args:
        read: (start, size) -> bytes of the archive, fewer at its end.

    Raises:
        ValueError: what stands where a header should be is none; the files before it came already.
    """
    at, said, size_said = 0, "", -1
    while len(header := read(at, BLOCK)) == BLOCK and header[0]:
        size, kind, content = _number(header, 124, 136, at), header[156], at + BLOCK
        if kind in _FILES:
            size = size if size_said < 0 else size_said
            yield Member(said or _name(header), content, size)
            said, size_said = "", -1
        elif kind == 0x78:  # "x": pax says of the next file what its header has no room for
            said, size_said = _of_pax(read(content, size), said)
        elif kind == 0x4C:  # "L": GNU's long name of the next file
            said = _text(read(content, size).partition(b"\0")[0])
        elif kind != 0x67:  # "g" is of all that follow; folders, links and devices have names of their own
            said, size_said = "", -1
            size = size if kind == 0x4B else 0  # GNU's long name of a link has a content
        at = content + (size + BLOCK - 1) // BLOCK * BLOCK


def _number(header: bytes, start: int, end: int, at: int) -> int:
    field = header[start:end]
    if field[0] & 0x80:  # GNU's binary numbers, of files of 8 GiB and more
        return int.from_bytes(field, "big") & ((1 << 88) - 1)
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise ValueError(f"no header of a tar archive at byte {at:,}") from error


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return _text(name)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape").removeprefix("./")


def _of_pax(content: bytes, said: str) -> tuple[str, int]:
    """Return the name and the size that a pax header says; what it leaves out is as it was, and -1."""
    size, at = -1, 0
    while at < len(content) and b" " in content[at : at + 24]:
        length = int(content[at:].partition(b" ")[0])
        key, _, value = content[at : at + length].partition(b" ")[2].rstrip(b"\n").partition(b"=")
        said = _text(value) if key == b"path" else said
        size = int(value) if key == b"size" else size
        at += max(length, 1)
    return said, size
