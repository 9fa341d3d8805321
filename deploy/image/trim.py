"""Takes out of a folder of packages what nobody needs at run time: sources of C, stubs, tests."""

import shutil
import sys
from pathlib import Path

SUFFIXES = {".c", ".h", ".pxd", ".pxi", ".pyi", ".pyx"}


def trim(folder: Path) -> None:
    """Remove those below `folder`."""
    for path in [*folder.rglob("*")]:
        if path.is_dir() and path.name == "tests":
            shutil.rmtree(path)
        elif path.suffix in SUFFIXES and path.is_file():
            path.unlink()


if __name__ == "__main__":
    trim(Path(sys.argv[1]))
