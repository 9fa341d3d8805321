"""What the log tells of those who are turned away."""

from sidecar.policy.strangers import FIRST, MOST, LeftOut, Strangers


def test_the_first_of_a_source_are_told_and_the_rest_counted() -> None:
    strangers = Strangers()
    for _ in range(FIRST):
        assert strangers.take("192.0.2.1", "404")
    assert not strangers.take("192.0.2.1", "404")
    assert not strangers.take("192.0.2.1", "bad_key")
    assert not strangers.take("192.0.2.1", "404")
    assert strangers.take("192.0.2.2", "404"), "somebody else"
    assert strangers.end() == [LeftOut("192.0.2.1", {"404": 2, "bad_key": 1})]


def test_a_while_begins_anew() -> None:
    strangers = Strangers()
    for _ in range(FIRST + 1):
        strangers.take("192.0.2.1", "404")
    strangers.end()
    assert strangers.end() == []
    assert strangers.take("192.0.2.1", "404")


def test_a_flood_from_everywhere_is_told_together() -> None:
    strangers = Strangers()
    told = [strangers.take(f"192.0.2.{number}", "404") for number in range(MOST + 200)]
    assert sum(told) == MOST
    assert strangers.take("192.0.2.0", "404"), "who is known has lines left"
    assert strangers.end() == [LeftOut(None, {"404": 200})]
