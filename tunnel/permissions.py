"""Whether others on this machine may read the file of a secret."""

import os
import stat


def complaint(path: str) -> str:
    """A sentence where they may, else nothing.

    A file of another owner is left to that one: in a pod they are mounted so that all may read.
    """
    try:
        found = os.stat(path)
    except OSError:
        return ""  # whoever reads it says so
    if found.st_uid != os.geteuid() or not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ""
    mode = stat.S_IMODE(found.st_mode)
    return (
        f"others on this machine may use {path} (mode {mode:04o}), the secret of the tunnel; "
        f"`chmod 600 {path}`"
    )
