"""One training at a time, and what a killed one left is there for the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidloop.core.errors import Unavailable
from bidloop.retraining.unfinished import unfinished_training


def test_a_second_training_in_the_same_house_is_refused(tmp_path: Path) -> None:
    with (
        unfinished_training(tmp_path / "training"),
        pytest.raises(Unavailable, match="another training"),
        unfinished_training(tmp_path / "training"),
    ):
        pass
    with unfinished_training(tmp_path / "training"):
        pass


def test_what_a_training_left_half_done_is_there_for_the_next_and_gone_when_that_has_ended(tmp_path: Path) -> None:
    def interrupted() -> None:
        with unfinished_training(tmp_path / "training") as folder:
            (folder / "trees").mkdir()
            (folder / "trees" / "half.checkpoint").write_text("half")
            (folder / "tuning.journal").write_text("one trial")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with unfinished_training(tmp_path / "training") as folder:
        assert (folder / "trees" / "half.checkpoint").read_text() == "half"
        assert (folder / "tuning.journal").exists()
    assert [file.name for file in (tmp_path / "training").iterdir()] == ["lock"]
