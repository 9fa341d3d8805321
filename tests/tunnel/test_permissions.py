"""A secret that everybody on the machine may read is complained of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunnel.permissions import complaint


@pytest.mark.parametrize(
    ("mode", "is_open"), [(0o600, False), (0o400, False), (0o640, True), (0o644, True)]
)
def test_who_may_read_it(tmp_path: Path, mode: int, is_open: bool) -> None:
    file = tmp_path / "token"
    file.write_text("secret", encoding="ascii")
    file.chmod(mode)
    told = complaint(str(file))
    assert (f"chmod 600 {file}" in told) is is_open
    assert bool(told) is is_open


def test_of_files_that_are_not_ours_or_not_there_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert complaint(str(tmp_path / "none")) == ""
    file = tmp_path / "mounted"
    file.write_text("secret", encoding="ascii")
    file.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert complaint(str(file)) == ""
