"""The laws, the table and its totals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.fault_table import REFUSALS, table
from bench.faults import CANNOT, FAIL, PASS, totals
from bench.laws import Seen, broken
from transfer.outcome import from_sip_status


def test_a_call_that_keeps_them_all_passes() -> None:
    good = Seen("connected", outcomes=["connected"], heard_each_other=0.1, call_ended=0.5)
    assert broken(good) == []
    assert broken(replace(good, outcomes=["connected", "busy"]))
    assert broken(replace(good, heard_each_other=None))
    assert broken(replace(good, call_ended=2.5))
    assert broken(replace(good, silence=2.1))
    talking = replace(good, may_miss=0.3, missed=0.2)
    assert broken(talking) == []
    assert broken(replace(talking, missed=0.5)) == ["the two do not hear each other for 0.5 s"]
    back = Seen("failed", frozenset({"busy"}), outcomes=["busy"], spoke_again=1.0, call_ended=0.5)
    assert broken(back) == []
    assert broken(replace(back, outcomes=["no_answer"]))
    assert broken(replace(back, answered_again=False))
    assert broken(replace(back, wanted="connected"))


def test_the_table_is_long_and_every_row_has_a_name_of_its_own() -> None:
    assert len(table("cloud")) >= 60
    assert not any(row.relay for row in table("cloud"))
    assert all(row.reaches_the_bridge for row in table("oss"))
    assert sum(row.relay for row in table("oss")) >= 12


def test_the_table_and_the_transfer_agree_on_what_a_refusal_means() -> None:
    assert {status: from_sip_status(status).value for status in REFUSALS} == REFUSALS


def test_a_row_that_cannot_happen_to_both_counts_for_neither(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"fault": "a", "ours": PASS, "stock": FAIL},
        {"fault": "b", "ours": PASS, "stock": CANNOT},
    ]
    totals(lines, ["ours", "stock"], "oss")
    said = capsys.readouterr().out
    assert "oss edition, ours: 1 of 1 pass" in said
    assert "oss edition, stock: 0 of 1 pass" in said
