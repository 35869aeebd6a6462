"""Files that are either the old one or the whole new one, whatever happens while they are written."""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ASIDE = re.compile(r"(?P<name>.+?)(?:\.(?P<pid>\d+))?\.partial")
"""What a file is called until it is whole: its name, the process that writes it (older versions named none)."""
REASONS = {errno.ENOSPC: "no space left on the device"}
"""In place of the system's words."""
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
"""Errors that libraries hide behind their own when they write."""


@contextmanager
def durable_path(path: Path, *, kept: str = "") -> Iterator[Path]:
    """Give a path to write to, whose file takes the place of `path` when the block ends well.

    It is in the same folder, synced to the disk, renamed over `path`, and the folder synced. A process killed at any
    moment, or a power cut, leaves the old file or the new one under `path`; an error removes what was written, and one
    of the system names the path, see `naming_the_file` for `kept`. The name aside tells the process: several may write
    one path, the last one wins. What a killed one left aside is removed by the next who writes the path. The folder is
    made if need be. A link under `path` is replaced, not followed.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with naming_the_file(path, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_aside(path.parent, path.name)
        try:
            aside.unlink(missing_ok=True)  # ours of before, or a link or pipe that somebody put there
            yield aside
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def durable_file(path: Path, *, kept: str = "") -> Iterator[IO[bytes]]:
    """Give a file open for bytes that takes the place of `path` when the block ends well, as `durable_path` does."""
    with durable_path(path, kept=kept) as aside, aside.open("wb") as file:
        yield file


@contextmanager
def naming_the_file(path: Path, kept: str = "") -> Iterator[None]:
    """Turn an error of the system, or what a library made of it, into an OSError of one sentence that names the path.

    `kept` is what the reader wants to know besides, such as that an older checkpoint is still there.
    """
    try:
        yield
    except Exception as error:
        cause = _of_the_system(error)
        if cause is None or cause.errno is None:
            raise
        reason = REASONS.get(cause.errno, (cause.strerror or str(cause)).lower())
        raise OSError(cause.errno, f"{reason} for {path}" + (f"; {kept}" if kept else "")) from error


def _of_the_system(error: BaseException) -> OSError | None:
    """Return an error of the system as it is, and one of the disk also where it hides: torch, for one, covers it."""
    if isinstance(error, OSError):
        return error
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno in OF_THE_DISK):
        cause = cause.__cause__ or cause.__context__
    return cause


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they are still there after a power cut."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in made:
        sync_folder(one.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if os.name != "posix":  # Windows cannot open a folder; its file system journals renames
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove_left_aside(folder: Path, name: str = "") -> None:
    """Remove what killed processes left aside in a folder, of the file `name` or of all."""
    for entry in os.scandir(folder):
        found = ASIDE.fullmatch(entry.name)
        if found is None or (name and found["name"] != name) or not (name or found["pid"]):
            continue
        if found["pid"] is None or not is_running(int(found["pid"])):
            Path(entry.path).unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Return whether there is such a process on this machine; one that only waits to be buried is none."""
    if os.name != "posix":  # there the signal 0 would reach it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return (_stat_of(pid) or ["R"])[0] not in "ZX"


def began(pid: int) -> str:
    """Return when a process began, as a word that no other process of this number has; empty where nobody knows."""
    fields = _stat_of(pid)
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip()}:{fields[19]}" if fields and boot.exists() else ""


def _stat_of(pid: int) -> list[str] | None:
    """What Linux tells of a process, from its state on; None elsewhere."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def why_not_own(path: Path, folder: Path) -> str:
    """Return why a file in a folder is not taken for its own: a link that leads out of it, a pipe, a device.

    Empty where it is, or where there is none. Whoever was given a folder by others should not find another place read
    or written by it, nor wait at a pipe for ever.
    """
    try:
        kind = path.stat().st_mode
        inside = path.resolve().is_relative_to(folder.resolve())
    except OSError as error:
        return "is a link that leads nowhere" if path.is_symlink() else "" if not path.exists() else str(error)
    if not inside:
        return f"is a link out of it, to {path.resolve()}"
    return "" if stat.S_ISREG(kind) or stat.S_ISDIR(kind) else "is a pipe, a socket or a device"


def require_own(path: Path, folder: Path) -> None:
    """Refuse (ValueError) a file in a folder that `why_not_own` has something against."""
    if why := why_not_own(path, folder):
        raise ValueError(f"folder: {path.name} in {str(folder)!r} {why}, wanted a file of its own")


def require_folder(argument: str, path: str | Path | None) -> None:
    """Refuse a path at which no folder can be made, since it, or a folder on the way to it, is a file."""
    place = None if path is None else Path(path).expanduser()
    for part in () if place is None else (place, *place.parents):
        if part.exists() or part.is_symlink():
            if not part.is_dir():
                where = "which" if part == place else f"but {str(part)!r}"
                raise ValueError(f"{argument}: got {str(path)!r}, {where} is a file, wanted a folder")
            return


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, durably."""
    with durable_file(path) as file:
        file.write(json.dumps(content, indent=1).encode())


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; a file that is none raises ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))
