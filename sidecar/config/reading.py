"""Reads a configuration's files so that all of them belong to one generation.

A mounted ConfigMap changes by a swap of the symlink `..data`; reading two files by path can mix two
generations. So a folder is opened once, `..data` where it has one, and its files are read relative
to that descriptor. A swap in between shows as a missing file, or in `..data` itself: then
everything is read again.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

TRIES = 4

_MOST = 1_000_000  # bytes of one file
_SWAPPED = "..data"


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one generation; one that cannot be read is the sentence that says why."""

    text: bytes | str = field(repr=False)
    files: Mapping[str, bytes | str] = field(default_factory=dict, repr=False)  # they hold secrets
    folders: frozenset[str] = frozenset()  # where changes of any of them show


def read(path: str, references: Callable[[bytes], Iterable[str]]) -> Bundle:
    """Read a configuration and the files that it refers to, relative to its folder."""
    # without pins at last: something is missing for good, or beside ..data instead of in it
    for pinned in (*[True] * TRIES, *[False] * TRIES):
        bundle, torn = _read_once(path, references, pinned=pinned)
        if not torn:
            return bundle
    return Bundle("a folder that changes faster than it can be read")


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
        return Bundle(text, files, folders.watched), folders.torn


class _Folders:
    """The folders of one reading; `pinned` ones are read through their `..data`."""

    def __init__(self, stack: ExitStack, *, pinned: bool) -> None:
        self._stack, self._pinned = stack, pinned
        self._opened: dict[str, int] = {}
        self._below: set[str] = set()
        self._generations: dict[int, str | None] = {}  # of the folders that are not pinned
        self._missed = False

    @property
    def watched(self) -> frozenset[str]:
        """Where changes of what was read show."""
        return frozenset(self._opened) | self._below

    @property
    def torn(self) -> bool:
        """Whether what was read may be of more than one generation."""
        if self._pinned:
            return self._missed
        return any(_generation(folder) != found for folder, found in self._generations.items())

    def read(self, path: str, home: str | None = None) -> bytes | str:
        """A file's content; files below `home` are read through its descriptor."""
        inside = home is not None and os.path.commonpath([home, path]) == home
        folder = home if home is not None and inside else os.path.dirname(path)
        try:
            content = _content(os.path.relpath(path, folder), self._descriptor(folder))
        except OSError as error:
            self._missed |= error.errno == errno.ENOENT
            return _sentence(error)
        except ValueError:  # a null character, or what cannot be written as UTF-8
            return "no possible name of a file"
        self._below.add(os.path.dirname(path))
        return content

    def _descriptor(self, folder: str) -> int:
        if folder not in self._opened:
            self._opened[folder] = self._pin(folder) if self._pinned else self._plain(folder)
        return self._opened[folder]

    def _pin(self, folder: str) -> int:
        plain = self._open(folder, None)
        try:
            return self._open(_SWAPPED, plain)
        except OSError:
            return plain

    def _plain(self, folder: str) -> int:
        plain = self._open(folder, None)
        self._generations[plain] = _generation(plain)
        return plain

    def _open(self, path: str, beside: int | None) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=beside)
        self._stack.callback(os.close, descriptor)
        return descriptor


def _generation(folder: int) -> str | None:
    """What `..data` points to; each generation has a name of its own."""
    try:
        return os.readlink(_SWAPPED, dir_fd=folder)
    except OSError:
        return None


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
