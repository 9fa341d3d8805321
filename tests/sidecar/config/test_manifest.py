"""Manifests: what is not touched says what it said, to every reader of YAML."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config import manifest
from sidecar.config.faults import ConfigError
from sidecar.config.manifest import Path

EDGES = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: edges
  annotations: {on: yes, "off": "no", y: n, empty: '', none: ~}
data:
  mode: 0644
  quoted: '0644'
  new: 0o17
  time: 12:30:00
  day: 2024-01-02
  exponent: 1e3
  number: "1e3"
  version: 1.10
  under: 1_000
  null:
  literal: |
    two  spaces
      and more

  kept: |+
    text

  clipped: >-
    one line that was folded and is longer than eighty characters, so that it might be folded anew
    into another one
  quote: "tab\\t and \\u00e9, and a line\\nbreak"
  emoji: \N{ROCKET}
  trail: "ends with a space "
"""


def again(text: str) -> str:
    return manifest.write(manifest.read(text, "m.yaml"))


def scalars(text: str) -> list[tuple[str, str, bool]]:
    """Every scalar with its tag, and whether it stands without quotes."""
    return [
        (event.value, str(event.tag), event.style is None)
        for event in yaml.parse(text)
        if isinstance(event, yaml.ScalarEvent)
    ]


def test_scalars_stay_as_they_were() -> None:
    assert scalars(again(EDGES)) == scalars(EDGES)
    assert again(again(EDGES)) == again(EDGES)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", ""),
        ("# nothing\n---\n---\n# here\n", ""),
        ("b: 1\na: 2\n", "b: 1\na: 2\n"),
        ("a: 1\n---\n# only a comment\n---\nb: 2\n", "a: 1\n---\nb: 2\n"),
        ("a: &x {k: [1, 2]}\nb: *x\n", "a: &id001 {k: [1, 2]}\nb: *id001\n"),
        ("a: &x {k: 1}\nb:\n  <<: *x\n  l: 2\n", "a: &id001 {k: 1}\nb:\n  <<: *id001\n  l: 2\n"),
        ('{"a": {"b": [1, {}], "c": "on"}}', '"a":\n  "b":\n  - 1\n  - {}\n  "c": "on"\n'),
        ("a: 'x'\r\nb: y\r\n", "a: 'x'\nb: y\n"),
        # what is a number to some readers and text to a cluster, which takes no `!!int '10:30'`
        ("a: [10:30, +1:2.5, 2024-01-02T10:00:00Z]\n",) * 2,
        ("a: {b: 20:15:00}\n",) * 2,
        # lists stay where they stand below their keys
        ("a:\n- b:\n  - c\n", "a:\n- b:\n  - c\n"),
        ("x: {y: 1}\na:\n  - b:\n      - c\n", "x: {y: 1}\na:\n  - b:\n      - c\n"),
        ("a:\n  - - b\n    - c\n", "a:\n  - - b\n    - c\n"),
    ],
)
def test_what_is_written(text: str, written: str) -> None:
    assert again(text) == written


@pytest.mark.parametrize(
    ("text", "path", "value", "written"),
    [
        ("a: {b: 1}\n", ("a", "c"), "x", "a:\n  b: 1\n  c: x\n"),
        ("a: {b: 1}\n", ("a", "b"), 2, "a:\n  b: 2\n"),
        ("a:\n", ("a",), ["x"], "a:\n- x\n"),
        ("a: [1, 3]\n", ("a", 1), 2, "a:\n- 1\n- 2\n- 3\n"),
        ("a: [1]\n", ("a", "-"), True, "a:\n- 1\n- true\n"),
        ("a: [{b: 1}]\n", ("a", 0, "c"), {}, "a:\n- b: 1\n  c: {}\n"),
        # a text that some reader might take for something else is quoted
        ("a: 1\n", ("b",), "yes", "a: 1\nb: 'yes'\n"),
        ("a: 1\n", ("b",), "1e3", 'a: 1\nb: "1e3"\n'),
        ("a: 1\n", ("b",), "96Mi", "a: 1\nb: 96Mi\n"),
        ("a: 1\n", ("b",), "--config", "a: 1\nb: --config\n"),
        ("a: 1\n", ("b",), "0644", 'a: 1\nb: "0644"\n'),
        ("a: 1\n", ("b",), "", 'a: 1\nb: ""\n'),
        # what an alias shares is changed in one place only
        ("a: &x [1]\nb: *x\n", ("b", "-"), 2, "a: [1]\nb:\n- 1\n- 2\n"),
        ("a: &x [1]\nb: *x\n", ("a", "-"), 2, "a:\n- 1\n- 2\nb: [1]\n"),
        ("a: &x {k: {m: 1}}\nb:\n  <<: *x\n", ("b", "k", "n"), 2,
         "a: &id001 {k: {m: 1}}\nb:\n  <<: *id001\n  k:\n    m: 1\n    n: 2\n"),
        ("a: &x {k: [1]}\nb: &y {<<: *x}\nc:\n  <<: [*y]\n", ("c", "k", "-"), 2,
         "a: &id001 {k: [1]}\nb: &id002 {<<: *id001}\nc:\n  <<: [*id002]\n  k:\n  - 1\n  - 2\n"),
    ],
)  # fmt: skip
def test_additions(text: str, path: Path, value: object, written: str) -> None:
    (one,) = manifest.read(text, "m.yaml")
    one.add(path, value)
    assert manifest.write([one]) == written


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: on\nb: 'on'\nc: 0644\nd: 1.5\ne: ~\n",
         {"a": True, "b": "on", "c": 0o644, "d": "1.5", "e": None}),
        ("a: &x {k: 1, l: 1}\nb: {<<: *x, l: 2}\n",
         {"a": {"k": 1, "l": 1}, "b": {"k": 1, "l": 2}}),
        ("a: 0x1F\nb: 1_000\nc: 190:20:30\n", {"a": 31, "b": 1000, "c": "190:20:30"}),
    ],
)  # fmt: skip
def test_plain_data(text: str, data: object) -> None:
    assert [one.data for one in manifest.read(text, "m.yaml")] == [data]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "m.yaml:1:6: found a mistake in the YAML"),
        ("a:\n\tb: 1", "a tab"),
        ("a: 1\nb: 2\na: 3\n", "m.yaml:3:1: found the key a a second time, expected each key once"),
        ("a: &x [*x]\n", "an alias of something inside of that same thing"),
        ("? [a]\n: b\n", "a key that is no text"),
        ("a: {<<: 1}\n", "<< with no mapping"),
        ("a: *x\n", "undefined alias"),
        ("a: \x01\n", "special characters"),
        ("[" * 500, "far too many levels"),
        ("{{ .Values.image }}\n", "a key that is no text"),
    ],
)
def test_what_is_no_yaml(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"m\.yaml") as raised:
        manifest.read(text, "m.yaml")
    assert says in str(raised.value)


def test_aliases_do_not_unfold() -> None:
    """A small text that would be a billion items is read and written as the text that it is."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    text = "\n".join(lines) + "\n"
    assert len(again(text)) < 3 * len(text)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
DATA = st.recursive(
    st.one_of(TEXTS, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


class Indenting(yaml.SafeDumper):
    """Puts the dashes of lists further to the right than their keys."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


@settings(max_examples=60)
@given(
    data=DATA,
    style=st.sampled_from([None, '"', "|", ">"]),
    flow=st.booleans(),
    dumper=st.sampled_from([yaml.SafeDumper, Indenting]),
)
def test_any_text_says_what_it_said(
    data: object, style: str | None, flow: bool, dumper: type[yaml.SafeDumper]
) -> None:
    written = {"list": [1], "data": data}
    text = yaml.dump(written, Dumper=dumper, default_style=style, default_flow_style=flow)
    assert yaml.safe_load(again(text)) == yaml.safe_load(text)
