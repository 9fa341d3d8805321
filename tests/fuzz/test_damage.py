"""The same damage, drawn by hypothesis, which shrinks what it finds.

`make fuzz` runs it longer: `--hypothesis-profile=fuzz`.
"""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.checks import CHECKS
from tests.fuzz.corpus import Input, kept, seeds
from tests.fuzz.mutation import mutated

POOL = [*seeds(), *kept()]


@given(one=st.sampled_from(POOL), other=st.sampled_from(POOL), random=st.randoms())
def test_no_damage_breaks_a_dialect(one: Input, other: Input, random: Random) -> None:
    dialect, check, text = one
    assert CHECKS[check](dialect, mutated(random, text, [text, other[2]])) is not None


@given(one=st.sampled_from(POOL), junk=st.binary(max_size=2000), at=st.integers(min_value=0))
def test_no_junk_breaks_a_dialect(one: Input, junk: bytes, at: int) -> None:
    dialect, check, text = one
    place = at % (len(text) + 1)
    assert CHECKS[check](dialect, text[:place] + junk + text[place:]) is not None
