"""A folder that lives exactly as long as one test run, shared by the run's xdist workers."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "portal-tests-"
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 * 1024**3


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go when its holder dies."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def run_folder(before_removal: Callable[[Path], None]) -> Iterator[Path]:
    """A new folder, held by a lock for as long as this process lives.

    Folders whose holder is dead are what a killed run left behind: they are closed the same way.
    """
    _remove_abandoned(before_removal)
    new = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}", dir=_base()))
    with (new / "owner").open("w") as handle:
        # Renamed only once it is held, so that no other run takes it for an abandoned one.
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder = new.rename(new.with_name(new.name.removeprefix("new-")))
        try:
            yield folder
        finally:
            before_removal(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _base() -> Path:
    """Memory where there is plenty of it (a database is copied four times as fast there), else the disk."""
    if os.access(MEMORY, os.W_OK):
        memory = os.statvfs(MEMORY)
        roomy = memory.f_bavail * memory.f_frsize >= ROOM_BYTES
        if roomy and not memory.f_flag & getattr(os, "ST_NOEXEC", 0):
            return MEMORY
    return Path(tempfile.gettempdir())


def _remove_abandoned(before_removal: Callable[[Path], None]) -> None:
    bases = (MEMORY, Path(tempfile.gettempdir()))
    for owner in (owner for base in bases for owner in base.glob(f"{PREFIX}*/owner")):
        try:
            if owner.stat().st_uid != os.geteuid():
                continue
            with owner.open("r+") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                before_removal(owner.parent)
                shutil.rmtree(owner.parent, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):
            continue  # held by a run that lives, or just removed by another
