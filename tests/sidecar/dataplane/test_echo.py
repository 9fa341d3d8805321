"""The built-in echo says what it is, in whole and streamed."""

from typing import Any

import pytest

from sidecar.dataplane.echo import NOTICE, EchoUpstream
from sidecar.neutral.problem import AttemptFailed
from sidecar.runtime.store import key_of
from sidecar.wire import json
from sidecar.wire.contract import Operation
from tests.sidecar.dataplane.script import DONE, inbound, open_fully, prepared
from tests.sidecar.examples import backend

ECHO = backend("home", echo=True, base_url="")


async def echoed(body: Any, operation: Operation = Operation.CHAT, query: str = "") -> Any:
    """The whole answer, or the frames of the streamed one."""
    stream = body.get("stream", False)
    path = "/v1/chat/completions" if operation is Operation.CHAT else "/v1/completions"
    request = inbound(json.dumps(body), operation=operation, stream=stream, path=path, query=query)
    echo = EchoUpstream(1_700_000_000.9)
    reply = await echo.send(prepared(request, ECHO).call)
    found = await open_fully(reply, request)
    await reply.aclose()
    await echo.forget(key_of(ECHO))
    if found.whole is not None:
        return json.loads(found.whole.body)
    assert found.stream is not None
    reply.limit_gap(1.0)
    return list(found.frames) + [frame async for frames in found.stream for frame in frames]


def asks(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **more}


HELLO = {"role": "user", "content": "Hello there"}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (HELLO, "Hello there"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}, 3]}, "a b"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ""),
        ({"role": "user", "content": None}, ""),
    ],
)
@pytest.mark.parametrize("query", ["", "api-version=1"])
async def test_it_says_the_last_message_and_that_it_is_the_echo(
    message: Any, said: str, query: str
) -> None:
    answer = await echoed(asks({"role": "system", "content": "no"}, message), query=query)
    assert answer["choices"][0]["message"]["content"] == f"{NOTICE} You said: {said}"
    assert (answer["model"], answer["created"]) == ("echo", 1_700_000_000)


async def test_it_streams() -> None:
    frames = await echoed(asks(HELLO, stream=True))
    chunks = [json.loads(frame[6:]) for frame in frames[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == f"{NOTICE} You said: Hello there"
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert frames[-1] == DONE


@pytest.mark.parametrize(("prompt", "said"), [("Once", "Once"), (["a", "b"], "")])
async def test_completions(prompt: Any, said: str) -> None:
    body = {"model": "m", "prompt": prompt}
    answer = await echoed(body, Operation.COMPLETION)
    assert answer["choices"][0]["text"] == f"{NOTICE} You said: {said}"
    frames = await echoed(body | {"stream": True}, Operation.COMPLETION)
    texts = [json.loads(frame[6:])["choices"][0]["text"] for frame in frames[:-1]]
    assert "".join(texts) == f"{NOTICE} You said: {said}"


@pytest.mark.parametrize("path", ["/embeddings", "/models", "/audio/speech"])
async def test_it_answers_nothing_else(path: str) -> None:
    request = inbound(operation=Operation.OPAQUE, path=f"/v1{path}")
    call = prepared(request, ECHO).call
    with pytest.raises(AttemptFailed, match="chat and completions only") as caught:
        await EchoUpstream(0.0).send(call)
    assert (caught.value.problem.status, caught.value.problem.code) == (501, "echo_only")
