"""Who used the public listener, and how much."""

from sidecar.runtime.clients import MOST, ClientUsage, Usage


class Wall:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_what_each_has_used_the_latest_first() -> None:
    usage = ClientUsage(Wall())
    usage.used("anna", 10, streamed=True)
    usage.used("ben", 5, streamed=False)
    usage.used("anna", 20, streamed=False)
    assert list(usage.latest()) == [("anna", Usage(2, 1, 30, 3.0)), ("ben", Usage(1, 0, 5, 2.0))]


def test_who_was_seen_longest_ago_makes_room() -> None:
    usage = ClientUsage(Wall())
    for number in range(MOST + 1):
        usage.used(f"c{number}", 1, streamed=False)
        usage.used("anna", 1, streamed=False)
    names = [name for name, _ in usage.latest()]
    assert (len(names), names[0], names[-1]) == (MOST, "anna", "c2")
