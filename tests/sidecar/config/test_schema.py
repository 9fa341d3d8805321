"""What the schema refuses, in words, and what it offers to editors."""

import pytest

from sidecar.config import schema
from sidecar.config.complaints import check
from sidecar.config.unbuilt import UNBUILT


def told(data: dict[str, object]) -> list[str]:
    return [fault.render("f") for fault in check(data).faults]


def backend(**keys: object) -> dict[str, object]:
    return {"backends": {"b": {"preset": "ollama", **keys}}}


def route(**keys: object) -> dict[str, object]:
    return {"routes": {"r": {"targets": [{"backend": "b"}], **keys}}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"backend": {}}, ["backend: found the unknown key 'backend'", "did you mean 'backends'?"]),
        ({"listeners": {"data": {"prot": 1}}}, ["expected one of port, bind", "mean 'port'?"]),
        ({"listeners": {"data": {"port": 0}}}, ["found 0, expected at least 1"]),
        ({"listeners": {"data": {"port": "x"}}}, ["found 'x', expected a whole number"]),
        ({"listeners": {"data": {"port": True}}}, ["found true, expected a whole number"]),
        ({"log": {"level": "loud"}}, ["expected one of debug, info, warning or error"]),
        ({"version": 2}, ["version: found 2, expected 1"]),
        ({"backends": []}, ["found an empty list, expected a mapping"]),
        ({"backends": {"a/b": {"preset": "ollama"}}}, ["backends.a/b: found the key 'a/b'"]),
        (backend(preset="olama"), ["expected one of openai", "did you mean 'ollama'?"]),
        (backend(enabled="yes"), ["found 'yes', expected true or false; write true"]),
        (backend(model=4), ["found 4, expected text; put it in quotes"]),
        (backend(timeouts={"connect": "5x"}), ["found '5x', expected a duration such as"]),
        (backend(timeouts={"connect": 0}), ["found 0, expected a duration of at least 1ms"]),
        (backend(dialect="opnai"), ["expected one of openai", "did you mean 'openai'?"]),
        (backend(batch=0), ["backends.b.batch: found 0, expected at least 1"]),
        (route(losses="sum"), ["expected one of name or strict"]),
        ({"fetch_images": "yes"}, ["found 'yes', expected true or false; write true"]),
        (backend(context={"m": -1}), ["backends.b.context.m: found -1, expected at least 1"]),
        (backend(quirks={"path": "/v1"}), ["expected a path that holds {path} once"]),
        (backend(quirks={"header": {"x": "a\nb"}}), ["expected one line of printable ASCII"]),
        (backend(auth={"bearer": "sk-1234"}), ["(not shown), expected {env: NAME}"]),
        (backend(auth="sk-1234"), ["(not shown), expected {env: NAME} or {file: PATH}"]),
        (backend(auth={"bearer": {"env": "sk-1234"}}), ["found a literal (not shown)"]),
        (backend(auth={"bearer": {"env": "A", "file": "b"}}), ["exactly one of env, file"]),
        (backend(auth={"header": {"name": "k", "value": "sk-1234"}}), ["(not shown)"]),
        (backend(auth={}), ["expected exactly one of bearer, header, query, forward"]),
        (route(targets=[]), ["found an empty list, expected at least one"]),
        (route(targets=[{"backnd": "b"}]), ["found no backend", "did you mean 'backend'?"]),
        (route(models="chat"), ["found 'chat', expected a list"]),
        (route(retry={"attempts": 11}), ["found 11, expected at most 10"]),
        (route(on={"context_lenght": "fail_over"}), ["did you mean 'context_length'?"]),
        (route(on={"dns": "failover"}), ["did you mean 'fail_over'?"]),
        ({"routes": {"other": {"targets": [{"backend": "b"}]}}}, ["expected another name"]),
        ({"limits": {"body": "10QB"}}, ["expected a size such as"]),
        ({"retry_budget": {"floor": "often"}}, ["expected a rate such as"]),
        (backend(breaker={"failures": 0}), ["backends.b.breaker.failures: found 0"]),
        (backend(breaker={"rate": {"share": 0}}), ["backends.b.breaker.rate.share: found 0"]),
        (backend(breaker={"rate": {"share": 1.1}}), ["backends.b.breaker.rate.share: found 1.1"]),
        (backend(breaker={"rest": "0s"}), ["backends.b.breaker.rest: found '0s'"]),
        (backend(breaker={"trial": 3}), ["trials"]),
        ({"hosts": ["http://x/"]}, ["hosts[0]: found 'http://x/'"]),
    ],
)  # fmt: skip
def test_faults_in_words(data: dict[str, object], words: list[str]) -> None:
    text = "\n".join(told(data))
    assert all(word in text for word in words), text
    assert "sk-1234" not in text


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"listeners": {"admin": {"keys": {}}}}, "keys of clients"),
    ],
)
def test_what_is_not_built_is_called_so(data: dict[str, object], name: str) -> None:
    (line,) = told(data)
    assert name in line
    assert " not built yet; leave it out" in line


def test_every_unbuilt_part_is_unknown_to_the_schema() -> None:
    for path, values, _ in UNBUILT:
        *parents, key = path.removesuffix(".*").split(".")
        if not values:
            place = tuple("b" if part == "*" else part for part in parents)
            assert key not in schema.keys_at(place), path


def test_empty_sections_say_nothing() -> None:
    data = {"log": None, "routes": {"r": {"targets": [{"backend": "b"}], "retry": None}}}
    assert check(data).faults == []


def test_a_broken_part_does_not_hide_the_rest() -> None:
    found = check({"log": {"level": "x"}, "listeners": {"data": {"port": 9}}, "nonsense": 1})
    assert len(found.faults) == 2
    assert found.configuration.listeners.data.port == 9


def test_the_json_schema_describes_every_key() -> None:
    described = schema.json_schema()
    for section in (described, *described["$defs"].values()):
        assert section["additionalProperties"] is False
        for name, key in section["properties"].items():
            assert "description" in key or "$ref" in key, name


def test_the_json_schema_knows_how_durations_are_written() -> None:
    timeouts = schema.json_schema()["$defs"]["TimeoutsSection"]["properties"]["connect"]
    assert "ms|s|m|h" in str(timeouts)
