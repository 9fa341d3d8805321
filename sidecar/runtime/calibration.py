"""What is learnt of tokenizers: how many tokens a byte of text is, by backend and model.

Every answer that tells its usage teaches a little. Few requests prove anything: backends add
prompts of their own and leave out what they had cached, so one observation never moves a ratio far.
"""

from collections import OrderedDict
from typing import NamedTuple

from sidecar.policy.estimate import DEFAULT_RATIO, Measure

KEPT = 512  # models
WEIGHT = 0.2  # of the newest observation
LOWEST, HIGHEST = 0.05, 1.0  # tokens of a byte that are believed
STRIDE = 2.0  # an observation counts as no more than twice what is known, and no less than half
LEAST_UNITS = 400  # in less text the prompts that a backend adds weigh too much


class ModelKey(NamedTuple):
    """One model of one backend."""

    backend: str
    model: str


class Calibration:
    """Tokens per byte of text for each model, as an exponentially weighted moving average."""

    __slots__ = ("_ratios",)

    def __init__(self) -> None:
        self._ratios: OrderedDict[ModelKey, float] = OrderedDict()  # the latest learnt at the end

    def ratio(self, key: ModelKey) -> float:
        """Tokens per byte of text; the default where nothing was learnt."""
        return self._ratios.get(key, DEFAULT_RATIO)

    def learn(self, key: ModelKey, size: Measure, input_tokens: int) -> None:
        """A backend told that a request of that size was so many tokens, cached ones included."""
        told = input_tokens - size.fixed
        if size.units < LEAST_UNITS or told <= 0:
            return
        known = self.ratio(key)
        seen = min(max(told / size.units, known / STRIDE), known * STRIDE)
        self._ratios[key] = min(max(known + WEIGHT * (seen - known), LOWEST), HIGHEST)
        self._ratios.move_to_end(key)
        if len(self._ratios) > KEPT:
            self._ratios.popitem(last=False)
