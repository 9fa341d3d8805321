"""The program with a public listener, and clients that come to it as through a tunnel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.client import Got, fetch
from tests.e2e.harness import NEVER_EJECTED, QUICK_RETRY, Config, Sidecar, free_port, of
from tests.fakes.backend import Backend

LAPTOP, PHONE = "sk-sidecar-of-the-laptop-0123456789", "sk-sidecar-of-the-phone-9876543210"
KEYS = {"laptop": LAPTOP, "phone": PHONE}
OWN_KEY = "sk-canary-0123456789abcdef"
ENV = {"CANARY_KEY": OWN_KEY}
NO_LIMITS: Config = {
    "per_key": {"requests": "none", "bytes": "none", "streams": "none"},
    "per_source": {"requests": "none", "bytes": "none", "streams": "none", "failures": "none"},
}
# nothing of these may ever be told to a stranger
NAME, MODEL, ROUTE, HIDDEN = "canary-backend", "canary-model-7b", "canary-route", "canary-hidden"


def key_lines(keys: Mapping[str, str]) -> str:
    return "".join(
        f"{name}  sha256:{hashlib.sha256(key.encode()).hexdigest()}\n" for name, key in keys.items()
    )


def offered(fake: Backend, *, backend: Config | None = None, **route: object) -> Config:
    """Model `chat` is offered to strangers, by that backend; `hidden` is not."""
    spoken = {"auth": {"bearer": {"env": "CANARY_KEY"}}, **NEVER_EJECTED, **(backend or {})}
    return {
        "backends": {NAME: of(fake, **spoken)},
        "routes": {
            ROUTE: {
                "models": ["chat"],
                "public": True,
                "targets": [{"backend": NAME, "model": MODEL}],
                "retry": {**QUICK_RETRY, "attempts": 0},
                **route,
            },
            "private": {"models": ["hidden"], "targets": [{"backend": NAME, "model": HIDDEN}]},
        },
        "retry_budget": {"share": 0.2, "floor": "1000/s"},
    }


class Public(Sidecar):
    """A sidecar with a public listener; `public` is its section beside port and keys."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        public: Config | None = None,
        *,
        keys: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, config, env={**ENV, **(env or {})})
        self.public_port = free_port()
        self.public_url = f"http://127.0.0.1:{self.public_port}"
        self.public: Config | None = public or {}
        self.keys_file = folder / "keys.txt"
        self.keys_file.write_text(key_lines(KEYS if keys is None else keys), encoding="utf-8")

    def text(self, config: Config | str) -> str:
        assert not isinstance(config, str)
        listeners: Config = {
            "data": {"port": self.data_port},
            "admin": {"port": self.admin_port},
            "control": {"socket": str(self.socket)},
        }
        if self.public is not None:
            usual = {"port": self.public_port, "keys": {"file": "keys.txt"}, "limits": NO_LIMITS}
            told = {**usual, **self.public}
            listeners["public"] = {name: value for name, value in told.items() if value is not None}
        return super().text({"listeners": listeners, **config})

    async def visit(
        self,
        body: object = None,
        path: str = "/v1/chat/completions",
        *,
        key: str | None = LAPTOP,
        method: str = "POST",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Got:
        """A request to the public listener, with a key unless there is None."""
        told = {} if key is None else {"authorization": f"Bearer {key}"}
        return await fetch(
            self.http,
            self.public_url + path,
            method=method,
            body=body,
            data=data,
            headers={**told, **(headers or {})},
        )

    async def look(self, path: str, *, key: str | None = LAPTOP, **headers: str) -> Got:
        """A GET."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.visit(path=path, key=key, method="GET", headers=named)


def everything(got: Got) -> str:
    """Every byte of an answer but its status."""
    head = "\n".join(f"{name}: {value}" for name, value in got.headers.items())
    return f"{head}\n\n{got.raw.decode('utf-8', 'replace')}"


def canaries(*fakes: Backend) -> list[str]:
    """What may stand in no answer."""
    return [NAME, MODEL, ROUTE, HIDDEN, OWN_KEY, *(f":{fake.port}" for fake in fakes)]
