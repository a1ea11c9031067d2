"""Features of one's own, from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.features.definitions import read_definitions
from bidloop.features.signal_sets import user_signals, with_signals
from bidloop.features.views import campaign_view

CARTS = """
[[amounts]]
name = "carts"
event = "form_submitted"
where = { form_id = "add_to_cart" }

[[entities]]
name = "user"
key = ["user_id"]

[[signals]]
kind = "total"
name = "carts_7d"
entity = "user"
amount = "carts"
over_days = 7
unit = "carts"
range = [0.0, 500.0]
owner = "shop team"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "features.toml"
    file.write_text(text)
    return file


def test_what_is_written_down_becomes_a_feature(tmp_path: Path) -> None:
    view = with_signals(campaign_view(), read_definitions(written(tmp_path, CARTS)))
    assert view.numeric_names[-1] == "carts_7d"
    assert view.signals[0].owner == "shop team"
    assert view.amounts[0].where == {"form_id": "add_to_cart"}


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("over_days", "over_day", r"\[\[signals\]\]\[0\] in .*over_day.*Did you mean 'over_days'"),
        ('"total"', '"totl"', r"\[0\]\.kind.*'totl'.*Did you mean 'total'"),
        ('kind = "total"\n', "", "missing required field `kind`; expected one of total, ratio"),
        ("over_days = 7", "over_days = -7", r"over_days in .*Expected `float` > 0.0$"),
        ('"form_submitted"', '"form_submited"', "Did you mean 'form_submitted'"),
        ("[[signals]]", "[[signal]]", r"\[\[signal\]\].*Did you mean 'signals'"),
        ("[[signals]]", "[signals]", "two brackets"),
        ("form_id =", "form =", "Did you mean 'form_id'"),
        ("[[amounts]]", "[[amounts", "a TOML file"),
    ],
)
def test_a_misspelt_definition_is_refused_with_its_place_and_the_closest_word(
    tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_definitions(written(tmp_path, CARTS.replace(right, wrong)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.toml.*No such file.*features\.definitions"):
        read_definitions(tmp_path / "nothing.toml")


def test_an_entity_that_is_known_already_may_be_named_again(tmp_path: Path) -> None:
    view = with_signals(campaign_view(), user_signals(), read_definitions(written(tmp_path, CARTS)))
    assert [entity.name for entity in view.entities] == ["user"]
    assert view.hierarchy["user"] == "account"
    other = CARTS.replace('key = ["user_id"]', 'key = ["device"]')
    with pytest.raises(ConfigurationError, match="two entities named 'user'"):
        with_signals(campaign_view(), user_signals(), read_definitions(written(tmp_path, other)))
