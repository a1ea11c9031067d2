from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bidloop.prediction.confidence import confidence

rates = st.floats(1e-9, 1 - 1e-9)
widths = st.tuples(st.floats(0, 1), st.floats(0, 1))
events = st.one_of(st.floats(0, 1e12), st.sampled_from([float("nan"), float("inf"), -1.0]))


def of(p: float, width: float, past: float, fell_back: bool) -> float:
    lower = p * (1 - width)
    return float(confidence([p], [lower], [min(1.0, lower + width)], [past], [fell_back])[0])


@settings(max_examples=50)
@given(p=rates, lower=st.floats(0, 1), upper=st.floats(0, 1), past=events, fell_back=st.booleans())
def test_confidence_lies_between_zero_and_one_whatever_comes(
    p: float, lower: float, upper: float, past: float, fell_back: bool
) -> None:
    [found] = confidence([p], [min(lower, p)], [max(upper, p)], [past], [fell_back])
    assert 0 <= found <= 1


@settings(max_examples=50)
@given(p=rates, both=widths, past=st.floats(0, 1e9), fell_back=st.booleans())
def test_a_narrower_interval_gives_more_confidence(
    p: float, both: tuple[float, float], past: float, fell_back: bool
) -> None:
    narrow, wide = sorted(both)
    assert of(p, narrow, past, fell_back) >= of(p, wide, past, fell_back)
    if wide - narrow > 1e-3 * p and past > 0 and 1e-3 < p < 0.9 and wide > 1.001 * narrow:
        assert of(p, narrow, past, fell_back) > of(p, wide, past, fell_back)


@settings(max_examples=50)
@given(p=rates, width=st.floats(0, 1), both=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), fell_back=st.booleans())
def test_more_data_give_more_confidence(p: float, width: float, both: tuple[float, float], fell_back: bool) -> None:
    few, many = sorted(both)
    assert of(p, width, many, fell_back) >= of(p, width, few, fell_back)
    if many > few + 0.01 * (1 + few):
        assert of(p, width, many, fell_back) > of(p, width, few, fell_back)


@settings(max_examples=50)
@given(p=rates, width=st.floats(0, 1), past=st.floats(0, 1e6))
def test_an_answer_that_fell_back_is_leaned_on_less(p: float, width: float, past: float) -> None:
    assert of(p, width, past, True) < of(p, width, past, False)


def test_a_pooled_answer_without_a_past_has_none_at_all_and_a_well_known_cell_nearly_all() -> None:
    assert of(0.01, 0.04, 0.0, True) == 0
    assert of(0.01, 0.04, 0.0, False) > 0, "the model knows other cells"
    [sure] = confidence([0.03], [0.0297], [0.0303], [10_000], [False])
    assert sure > 0.99


def test_events_and_not_impressions_count_so_that_display_and_search_are_told_by_one_measure() -> None:
    search = confidence([0.05], [0.04], [0.06], [100], [False])
    display = confidence([0.0005], [0.0004], [0.0006], [100], [False])
    assert np.isclose(search, display).all()
