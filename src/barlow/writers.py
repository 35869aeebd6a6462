"""One writer a folder: a file in it names the process that writes, and a second one is refused with its name.

The file, `.lock`, is removed when the writer ends. One that a dead process of this machine left is taken over in
silence; whether a process of another machine lives cannot be seen from here, so its user is asked. No torch.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from barlow.files import began, is_running, make_folder, read_json, remove_left_aside, require_folder, write_json

LOCK = ".lock"
"""The name of the file."""
LOOK_AGAIN_SECONDS = 0.1
TO_DIE_SECONDS = 1.0
"""How long a second writer waits for the first to go: the processes of a study that was killed take a moment."""


class FolderTakenError(ValueError):
    """Another process writes to the folder."""


@dataclass(frozen=True)
class Writer:
    """A process that writes.

    Attributes:
        began: when it did, so that a later process of the same number is not taken for it; empty: nobody knows.
        machine: what numbers of processes are counted in: the host, in a container the container.
    """

    pid: int
    host: str
    began: str
    machine: str
    command: str = ""

    @classmethod
    def here(cls) -> "Writer":
        """Return this process."""
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
        return cls(os.getpid(), socket.gethostname(), began(os.getpid()), _machine(), command)

    def is_gone(self) -> bool:
        """Return whether it is known to have ended."""
        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return False
        return not is_running(self.pid) or (bool(self.began) and began(self.pid) != self.began)

    def is_this(self) -> bool:
        """Return whether it is this process."""
        return asdict(self) | {"command": ""} == asdict(Writer.here()) | {"command": ""}


@contextmanager
def one_writer(folder: Path, *, patience: float = TO_DIE_SECONDS) -> Iterator[None]:
    """Hold a folder, made if need be, while the block runs; what killed writers left aside in it is removed.

    Within a process it may be held twice. FolderTakenError: another process holds it still after `patience` seconds.
    """
    lock, new = folder / LOCK, not folder.exists()
    refuse_second(folder, patience=patience)
    held = read_writer(folder)
    if held is not None and held.is_this():
        yield
        return
    make_folder(folder)
    with _alone(folder):
        refuse_second(folder, patience=0.0)  # two may have come at once
        write_json(lock, asdict(Writer.here()))
    try:
        for place in (folder, *(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())):
            remove_left_aside(place)
        yield
    finally:
        holder = read_writer(folder)
        if holder is not None and holder.is_this():  # the folder may have been moved, and another one be here
            lock.unlink(missing_ok=True)
        if new:
            with suppress(OSError):  # not empty, or gone
                folder.rmdir()


def refuse_second(folder: Path, *, patience: float = TO_DIE_SECONDS) -> None:
    """Raise FolderTakenError where another process holds the folder, and still does after `patience` seconds.

    ValueError: no folder can be made there, since it, or what it would be in, is a file.
    """
    require_folder("out", folder)
    deadline = time.monotonic() + patience
    while (writer := read_writer(folder)) is not None and not writer.is_gone() and not writer.is_this():
        if time.monotonic() >= deadline:
            raise FolderTakenError(_refusal(folder, writer))
        time.sleep(LOOK_AGAIN_SECONDS)


def read_writer(folder: Path) -> Writer | None:
    """Return who holds a folder, None where nobody does or the file is none of ours."""
    try:
        return Writer(**read_json(folder / LOCK)) if (folder / LOCK).is_file() else None
    except (OSError, ValueError, TypeError):
        return None


def _refusal(folder: Path, writer: Writer) -> str:
    here = (writer.host, writer.machine) == (socket.gethostname(), _machine())
    rest = "wait until it has ended, or choose another folder"
    if not here:
        rest += f"; if that process is gone, which cannot be seen from here, remove {folder / LOCK}"
    what = f" ({writer.command})" if writer.command else ""
    return f"out: {str(folder)!r} is being written by process {writer.pid} on {writer.host}{what}; {rest}"


def _machine() -> str:
    """Processes are numbered anew in a container, even where it has the name of its host."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time look and write the lock, as far as the system can tell processes apart."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no such thing
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
