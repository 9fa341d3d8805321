"""Taking up a broken stream: what the client has is read back, and an encoder is brought there."""

from collections.abc import Iterable

from sidecar.neutral.events import Event, Ping, StreamFailed, UsageReport
from sidecar.wire.contract import Resumed, StreamDecoder, StreamEncoder


def resumed(
    frames: Iterable[bytes], decoder: StreamDecoder, encoder: StreamEncoder
) -> Resumed | None:
    """The events in a client's frames, and the encoder behind them; None where they say nothing.

    Decoder and encoder are new ones of the client's own dialect.
    """
    events: list[Event] = [
        event
        for frame in frames
        for event in decoder.read(frame)
        if not isinstance(event, Ping | UsageReport)
    ]
    if not events or any(isinstance(event, StreamFailed) for event in events):
        return None
    for event in events:
        encoder.encode(event)
    return Resumed(tuple(events), encoder)
