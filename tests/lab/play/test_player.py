"""What the player makes of a call."""

from __future__ import annotations

from lab.play.player import bands


def test_each_phase_lasts_until_the_next_and_the_last_until_the_end() -> None:
    assert bands([("hold", 1.0), ("dial", 2.0), ("failed", 4.0)], 9.0) == [("hold", 1.0, 2.0), ("dial", 2.0, 4.0)]
    assert bands([("bridged", 3.0)], 9.0) == [("bridged", 3.0, 9.0)]


def test_a_call_without_a_transfer_has_no_phases() -> None:
    assert bands([], 9.0) == []
