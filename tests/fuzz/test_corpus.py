"""What fuzzing has found before is found no more: the corpus, replayed."""

from random import Random

import pytest

from tests.fuzz.checks import CHECKS
from tests.fuzz.corpus import LARGEST, MOST, Input, kept, seeds
from tests.fuzz.mutation import mutated

CORPUS = list(kept())


@pytest.mark.parametrize(
    "one", CORPUS, ids=[f"{one[0].name} {one[1]} {at}" for at, one in enumerate(CORPUS)]
)
def test_no_input_of_the_corpus_breaks_anything(one: Input) -> None:
    dialect, check, text = one
    assert CHECKS[check](dialect, text) is not None


def test_the_corpus_is_small() -> None:
    assert 0 < len(CORPUS) <= MOST
    assert sum(len(text) for _, _, text in CORPUS) <= LARGEST


def test_good_traffic_breaks_nothing() -> None:
    for dialect, check, text in seeds():
        CHECKS[check](dialect, text)


def test_the_same_seed_damages_in_the_same_way() -> None:
    pool = [text for _, _, text in seeds()]
    first, second = (
        [mutated(random, text, pool) for text in pool[:50]]
        for random in (Random(7), Random(7))  # noqa: S311
    )
    assert first == second != pool[:50]
