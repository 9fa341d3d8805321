"""Writes the stand-in's executable into a folder, with a `behaviour.json` that tests change."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Standin:
    """An executable `cloudflared` in a folder of its own; every start of it obeys `behave`."""

    def __init__(self, folder: Path, *, name: str = "cloudflared", scale: float = 1.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / name
        self._orders: dict[str, Any] = {"scale": scale}
        # -I -S: nothing of the environment, and no site packages: it starts in some 30 ms
        self.path.write_text(
            f"#!{sys.executable} -IS\n"
            "import sys\n"
            f"sys.path.append({str(ROOT)!r})\n"
            "from tests.fakes.cloudflared.program import main\n"
            f"main({str(folder)!r})\n",
            encoding="utf-8",
        )
        self.path.chmod(0o755)
        self.behave()

    def behave(self, **orders: Any) -> None:
        """Change orders to all starts, running ones too; None takes one back."""
        self._orders.update(orders)
        told = {name: order for name, order in self._orders.items() if order is not None}
        beside = self.folder / "behaviour.new"
        beside.write_text(json.dumps(told), encoding="utf-8")
        beside.replace(self.folder / "behaviour.json")

    def script(self, *starts: dict[str, Any], rest: dict[str, Any] | None = None) -> None:
        """Orders to the first starts one by one, and to `rest`."""
        self.behave(starts=list(starts), rest=rest or {})

    @property
    def starts(self) -> list[dict[str, Any]]:
        """`pid`, `argv` and `environ` of every start so far, in order."""
        files = (each for each in (self.folder / "starts").glob("*") if not each.suffix)
        return [
            json.loads(file.read_text(encoding="utf-8"))
            for file in sorted(files, key=lambda file: int(file.name))
        ]

    @property
    def ports(self) -> list[int]:
        """The metrics ports of all starts that came so far, in order."""
        files = (self.folder / "starts").glob("*.port")
        return [
            int(file.read_text(encoding="ascii"))
            for file in sorted(files, key=lambda file: int(file.stem))
        ]

    def alive(self) -> list[int]:
        """The processes of this executable that run, found by their command lines."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    line = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if os.fsencode(self.path) in line:
                    found.append(int(entry))
        return sorted(found)
