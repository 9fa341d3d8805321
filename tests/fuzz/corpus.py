"""Inputs that are worth to be tried again: each behaved like none before it, or broke something.

A file is named <dialect>.<check>.<digest>. The folder stays below MOST files and LARGEST bytes.
"""

import hashlib
import json as standard
from collections.abc import Iterator
from pathlib import Path

from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation
from sidecar.wire.fold import unfolded
from tests.golden.cases import cases
from tests.laws.losses import SAYINGS
from tests.laws.spoken import SPOKEN, asked, context, told

FOLDER = Path(__file__).with_name("corpus")
MOST = 300  # files
LARGEST = 1_000_000  # bytes of all of them
ALIKE = 10  # files of one dialect and check that broke nothing

Input = tuple[Dialect, str, bytes]  # the dialect, the name of a check, what is sent

_GOLDEN = {"stream.raw": "stream", "response.json": "answer", "request.json": "request"}


def seeds() -> Iterator[Input]:
    """Good traffic: the golden files, and what our own encoders write."""
    for case in cases():
        for file, check in _GOLDEN.items():
            if (text := case.raw(file)) is not None:
                yield case.dialect, check, text
        if (text := case.raw("error.json")) is not None:
            body = standard.loads(text)["body"]
            yield case.dialect, "error", standard.dumps(body).encode()
        if (text := case.raw("response.json")) is not None and not case.dialect.judge(
            Operation.CHAT, json.loads(text)
        ):
            answer = case.dialect.decode_response(json.loads(text), context())
            for client in SPOKEN:
                body = client.encode_response(answer, context())
                yield client, "answer", json.dumps(body)
                yield client, "stream", told(client, list(unfolded(answer)))
    for dialect in SPOKEN:
        for saying in SAYINGS.values():
            yield dialect, "request", json.dumps(asked(dialect, saying))


def kept() -> Iterator[Input]:
    """What the folder holds."""
    named = {dialect.name: dialect for dialect in SPOKEN}
    for file in sorted(FOLDER.glob("*.*.*")):
        name, check, _ = file.name.split(".")
        yield named[name], check, file.read_bytes()


def keep(one: Input, *, is_fault: bool) -> Path | None:
    """Write an input down; None where the folder is full, or has enough of its kind."""
    dialect, check, text = one
    files = list(FOLDER.glob("*.*.*"))
    alike = list(FOLDER.glob(f"{dialect.name}.{check}.*"))
    size = sum(file.stat().st_size for file in files) + len(text)
    if len(files) >= MOST or size > LARGEST or (len(alike) >= ALIKE and not is_fault):
        return None
    digest = hashlib.sha256(text).hexdigest()[:12]
    file = FOLDER / f"{dialect.name}.{check}.{digest}"
    file.write_bytes(text)
    return file
