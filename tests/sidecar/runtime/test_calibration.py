"""What usage teaches about tokenizers."""

import pytest

from sidecar.policy.estimate import DEFAULT_RATIO, Measure
from sidecar.runtime.calibration import HIGHEST, KEPT, LOWEST, Calibration, ModelKey

KEY = ModelKey("ollama", "qwen3")
TEXT = Measure(10_000)


def taught(*tokens: int, size: Measure = TEXT) -> Calibration:
    calibration = Calibration()
    for told in tokens:
        calibration.learn(KEY, size, told)
    return calibration


def test_without_any_lesson_the_default_counts() -> None:
    assert Calibration().ratio(KEY) == DEFAULT_RATIO == 0.25


@pytest.mark.parametrize(("told", "ratio"), [(3500, 0.27), (1500, 0.23)])
def test_a_lesson_moves_the_ratio_towards_what_was_told(told: int, ratio: float) -> None:
    assert taught(told).ratio(KEY) == pytest.approx(ratio)


def test_many_lessons_make_the_ratio_true() -> None:
    assert taught(*[4000] * 40).ratio(KEY) == pytest.approx(0.4, rel=0.01)


def test_what_is_fixed_is_not_learnt_as_text() -> None:
    calibration = taught(*[5000] * 40, size=Measure(10_000, 1000))
    assert calibration.ratio(KEY) == pytest.approx(0.4, rel=0.01)


@pytest.mark.parametrize(("told", "ratio"), [(1_000_000, 0.3), (1, 0.225)])
def test_one_outlier_moves_a_ratio_little(told: int, ratio: float) -> None:
    assert taught(told).ratio(KEY) == pytest.approx(ratio)


@pytest.mark.parametrize(("told", "ratio"), [(1_000_000, HIGHEST), (1, LOWEST)])
def test_many_outliers_stay_within_what_is_believed(told: int, ratio: float) -> None:
    assert taught(*[told] * 100).ratio(KEY) == ratio


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (Measure(100), 90),  # little text
        (TEXT, 0),  # not told, or all of it cached
        (Measure(10_000, 1600), 1500),  # less than the pictures alone
    ],
)
def test_what_proves_nothing_is_not_learnt(size: Measure, told: int) -> None:
    assert taught(told, size=size).ratio(KEY) == DEFAULT_RATIO


def test_models_are_learnt_apart() -> None:
    calibration = taught(4000)
    assert calibration.ratio(ModelKey("ollama", "llama")) == DEFAULT_RATIO
    assert calibration.ratio(ModelKey("vllm", "qwen3")) == DEFAULT_RATIO


def test_the_model_that_has_learnt_nothing_for_longest_is_forgotten() -> None:
    calibration = taught(4000)
    others = [ModelKey("b", str(number)) for number in range(KEPT)]
    for key in (*others[:-1], KEY, others[-1]):
        calibration.learn(key, TEXT, 4000)
    assert calibration.ratio(others[0]) == DEFAULT_RATIO
    for key in (KEY, others[1], others[-1]):
        assert calibration.ratio(key) > DEFAULT_RATIO
