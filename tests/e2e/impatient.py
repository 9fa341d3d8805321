"""The program with other bounds than anybody can configure: no test waits for minutes.

`python -m tests.e2e.impatient run`, with `BOUNDS` in the environment: JSON, such as
`{"listener.HEAD_WITHIN": 1, "open_files": 200}`.
"""

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from sidecar.cli.main import main
from sidecar.dataplane import intake, listener
from tests.e2e.harness import Config, Sidecar

_MODULES = {"intake": intake, "listener": listener}


class Impatient(Sidecar):
    """A sidecar under these bounds."""

    program = "tests.e2e.impatient"

    def __init__(self, folder: Path, config: Config, bounds: Mapping[str, float]) -> None:
        super().__init__(folder, config, env={"BOUNDS": json.dumps(dict(bounds))})


def _apply(bounds: dict[str, float]) -> None:
    files = bounds.pop("open_files", None)
    if files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), int(files)))
    for name, value in bounds.items():
        module, _, constant = name.partition(".")
        assert hasattr(_MODULES[module], constant), name
        setattr(_MODULES[module], constant, value)


if __name__ == "__main__":
    _apply(json.loads(os.environ["BOUNDS"]))
    sys.exit(main())
