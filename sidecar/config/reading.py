"""Reads a configuration's files so that all of them belong to one generation.

A mounted ConfigMap changes by a swap of the symlink `..data`; reading two files by path can mix two
generations. So a folder is opened once, `..data` where it has one, and its files are read relative
to that descriptor. A swap in between shows as a missing file: then everything is read again.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

TRIES = 4

_MOST = 1_000_000  # bytes of one file
_SWAPPED = "..data"


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one generation; one that cannot be read is the sentence that says why."""

    text: bytes | str
    files: dict[str, bytes | str] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()  # where changes of any of them show


def read(path: str, references: Callable[[bytes], Iterable[str]]) -> Bundle:
    """Read a configuration and the files that it refers to, relative to its folder."""
    for _ in range(TRIES):
        bundle, missed = _read_once(path, references, pinned=True)
        if not missed:
            return bundle
    # something is missing for good, or stands beside ..data instead of in it
    return _read_once(path, references, pinned=False)[0]


def _read_once(
    path: str, references: Callable[[bytes], Iterable[str]], *, pinned: bool
) -> tuple[Bundle, bool]:
    home = os.path.dirname(os.path.abspath(path))
    with ExitStack() as stack:
        folders = _Folders(stack, pinned=pinned)
        text = folders.read(os.path.abspath(path))
        files: dict[str, bytes | str] = {}
        if isinstance(text, bytes):
            for name in references(text):
                files[name] = folders.read(os.path.normpath(os.path.join(home, name)), home)
        return Bundle(text, files, frozenset(folders.seen)), folders.missed


class _Folders:
    """The pinned folders of one reading."""

    def __init__(self, stack: ExitStack, *, pinned: bool) -> None:
        self.seen: dict[str, int] = {}
        self.missed = False
        self._stack = stack
        self._pinned = pinned

    def read(self, path: str, home: str | None = None) -> bytes | str:
        """A file's content; files below `home` are read through its descriptor."""
        inside = home is not None and os.path.commonpath([home, path]) == home
        folder = home if home is not None and inside else os.path.dirname(path)
        try:
            return _content(os.path.relpath(path, folder), self._descriptor(folder))
        except OSError as error:
            self.missed |= error.errno == errno.ENOENT
            return _sentence(error)

    def _descriptor(self, folder: str) -> int:
        if folder not in self.seen:
            plain = self._open(folder, None)
            try:
                self.seen[folder] = self._open(_SWAPPED, plain) if self._pinned else plain
            except OSError:
                self.seen[folder] = plain
        return self.seen[folder]

    def _open(self, path: str, beside: int | None) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=beside)
        self._stack.callback(os.close, descriptor)
        return descriptor


def _content(name: str, folder: int) -> bytes:
    # without O_NONBLOCK a named pipe would wait for its writer
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "something that is no regular file")
    with open(descriptor, "rb") as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise OSError(errno.EFBIG, "more than a megabyte")
    return content


def _sentence(error: OSError) -> str:
    return (
        "no such file"
        if error.errno == errno.ENOENT
        else (error.strerror or "cannot be read").lower()
    )
