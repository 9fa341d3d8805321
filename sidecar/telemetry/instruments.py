"""All of telemetry in one hand: what a new configuration changes there, it changes together."""

from dataclasses import dataclass
from functools import partial
from typing import TextIO

from sidecar.config.snapshot import Log, Snapshot
from sidecar.telemetry.logs import Logs
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.optional import Part
from sidecar.telemetry.recorder import Recorder
from sidecar.telemetry.redact import Redactor


@dataclass(frozen=True, slots=True)
class Instruments:
    """Metrics, log, redactor and recorder of one program."""

    metrics: Metrics
    redact: Redactor
    logs: Logs
    recorder: Recorder

    @classmethod
    def build(cls, version: str, stream: TextIO | None = None) -> "Instruments":
        """Everything at its defaults; the log goes to `stream`, else to standard error."""
        metrics, redact = Metrics(version), Redactor()
        recorder = Recorder(metrics)
        logs = Logs(redact, partial(recorder.optional.failed, Part.LOG), stream)
        logs.apply(Log())
        return cls(metrics, redact, logs, recorder)

    def adopt(self, snapshot: Snapshot) -> None:
        """Be ready for requests on this snapshot; to be called before it is served."""
        self.redact.learn(snapshot.secrets)
        self.metrics.prepare(snapshot)
        self.logs.apply(snapshot.log)
