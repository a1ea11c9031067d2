"""What a renewal is asked to do is refused where it makes no sense."""

from __future__ import annotations

import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.retraining.settings import RenewalSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"held_out_days": 0}, {"validation_days": 0}, {"minimum_rows": 0}, {"level": 0.0}, {"level": 95.0}, {"level": float("nan")},
        {"seed": -1},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    [name] = wrong
    with pytest.raises(ConfigurationError, match=f"{name} = "):
        RenewalSettings(**wrong)


def test_a_share_of_the_days_is_the_default_for_validation() -> None:
    assert RenewalSettings(seed=0).validation_days is None
