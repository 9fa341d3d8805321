"""A splice changes its span and not one byte beside it, in any JSON that there is."""

import json as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import json, splice
from tests.sidecar.wire.texts import KEYS, SPACES, json_objects


@given(json_objects())
def test_every_member_is_found_with_its_value(raw: bytes) -> None:
    # the standard module, for whole numbers of any size
    found = [(one.key, standard.loads(raw[one.start : one.end])) for one in splice.members(raw)]
    expected: list[tuple[str, object]] = []

    def note(pairs: list[tuple[str, object]]) -> object:
        expected[:] = pairs  # the outermost object comes last
        return dict(pairs)

    standard.loads(raw, object_pairs_hook=note)
    assert found == expected


@given(json_objects(), st.data())
def test_an_edit_changes_its_span_only(raw: bytes, data: st.DataObject) -> None:
    found = splice.members(raw)
    if not found:
        return
    one = data.draw(st.sampled_from(found))
    edited = splice.apply(raw, [splice.Edit(one.start, one.end, b'"new"')])
    assert edited[: one.start] == raw[: one.start]
    assert edited[one.start + 5 :] == raw[one.end :]
    last = [other for other in found if other.key == one.key][-1]
    expected = json.loads(raw)[one.key] if last != one else "new"
    assert json.loads(edited)[one.key] == expected


@given(json_objects(), KEYS)
def test_an_insertion_stands_first(raw: bytes, key: str) -> None:
    member = json.dumps(key) + b":1"
    edit = splice.insertion(raw, member)
    edited = splice.apply(raw, [edit])
    value, before = json.loads(edited), json.loads(raw)
    assert value == {key: 1} | before
    assert splice.members(edited)[0].key == key
    assert edited.startswith(raw[: edit.start]) and edited.endswith(raw[edit.start :])


@given(json_objects(), SPACES)
def test_a_nested_object_is_read_where_it_stands(inner: bytes, space: bytes) -> None:
    raw = b'{"a":{"x":"}"},' + space + b'"b":' + space + inner + b"}"
    outer = splice.members(raw)[1]
    assert raw[outer.start : outer.end] == inner.strip()
    found = splice.members(raw, outer.start)
    assert [(one.key, raw[one.start : one.end]) for one in found] == [
        (one.key, inner[one.start : one.end]) for one in splice.members(inner)
    ]


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (b"{}", []),
        (b" { } ", []),
        (b"[]", []),
        (b"", []),
        (b'{"a":"{,}:[\\""}', [b'"{,}:[\\""']),
        (b'{"a" : 1e5 , "a" : -1.10}', [b"1e5", b"-1.10"]),
        (b'{"a":[{"b":1},[2,3]],"c":{"d":{}}}', [b'[{"b":1},[2,3]]', b'{"d":{}}']),
        (b'{"a":"\\\\","b":"\\\\\\""}', [b'"\\\\"', b'"\\\\\\""']),
        (b'{"\\u0061":null}', [b"null"]),
        (b'{"a":true}trailing', [b"true"]),
        (b'{"\\ud800":1,"a":12345678901234567890123}', [b"1", b"12345678901234567890123"]),
    ],
)
def test_members(raw: bytes, values: list[bytes]) -> None:
    assert [raw[one.start : one.end] for one in splice.members(raw)] == values


def test_escaped_keys_are_read() -> None:
    assert [one.key for one in splice.members(rb'{"\u006dodel":1,"a\"b":2}')] == ["model", 'a"b']


def test_edits_may_come_in_any_order() -> None:
    edits = [splice.Edit(4, 5, b"E"), splice.Edit(0, 1, b"AA"), splice.Edit(2, 2, b"-")]
    assert splice.apply(b"abcdef", edits) == b"AAb-cdEf"
    assert splice.apply(b"abc", []) == b"abc"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{}", b'{"k":1}'),
        (b'{"a" : 1e5}', b'{"k":1,"a" : 1e5}'),
        (b'{"k":null,"a":{"k":2}, "k" :3}', b'{"k":1,"a":{"k":2}, "k" :1}'),
    ],
)
def test_a_member_is_set(raw: bytes, told: bytes) -> None:
    assert splice.apply(raw, splice.setting(raw, splice.members(raw), "k", b"1")) == told


# --- lists ----------------------------------------------------------------------------------------


@given(st.lists(json_objects() | st.sampled_from([b"1e5", b'"],"', b"[ 1 ,[2]]"])), SPACES)
def test_every_element_is_found(items: list[bytes], space: bytes) -> None:
    raw = b"[" + space + b",".join(space + item + space for item in items) + b"]"
    found = [raw[one.start : one.end] for one in splice.elements(raw)]
    assert found == [item.strip(b" \t\r\n") for item in items]


@given(st.lists(json_objects() | st.sampled_from([b"1e5", b'"],"'])), st.data())
def test_cuts_leave_the_other_elements_as_they_were(
    items: list[bytes], data: st.DataObject
) -> None:
    dropped = data.draw(st.sets(st.sampled_from(range(len(items))))) if items else set()
    raw = b"[ " + b" , ".join(items) + b" ]"
    cut = splice.apply(raw, splice.cuts(splice.elements(raw), dropped))
    kept = [item.strip(b" \t\r\n") for place, item in enumerate(items) if place not in dropped]
    assert [cut[one.start : one.end] for one in splice.elements(cut)] == kept
    assert isinstance(standard.loads(cut), list)
