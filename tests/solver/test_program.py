"""The formulation, one golden LP file per family of constraints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pdplan.solver import Bound, Pool, Rental, write_lp
from pdplan.solver.program import lp_names

GOLDEN = Path(__file__).parent / "golden"


def two_columns(name: str, *keys: int) -> Pool:
    """Return a cheap slow column and a dear fast one."""
    return Pool(
        name=name,
        objective=np.array([2.0, 5.0]),
        tiebreak=np.zeros(2),
        use={"stock:h100-sxm": np.array([4.0, 8.0])},
        key=np.array(keys or (-1, -1)),
        delay=np.array([[3.0], [1.0]]),
    )


PREFILL, DECODE = two_columns("prefill"), two_columns("decode")
FAMILIES = {
    "one_column": ([PREFILL], {"limits": {}}),
    "limit": ([PREFILL, DECODE], {"limits": {"stock:h100-sxm": 12.0}}),
    "match": ([two_columns("prefill", 0, 1), two_columns("decode", 1, -1)], {"limits": {}}),
    "bound": (
        [PREFILL, DECODE],
        {"limits": {}, "bounds": [Bound("ttft mean", (PREFILL.delay[:, 0],) * 2, 4.0)]},
    ),
    "slower_than": ([PREFILL, DECODE], {"limits": {}, "slower_than": [(0, 1)]}),
    "whole_nodes": (
        [PREFILL],
        {"limits": {"stock:h100-sxm": 16.0}, "rentals": [Rental("stock:h100-sxm", 8.0, 20.0)]},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_formulation(family: str) -> None:
    pools, conditions = FAMILIES[family]
    expected = (GOLDEN / f"{family}.lp").read_text(encoding="utf-8")
    assert write_lp(pools, **conditions) == expected


def test_every_golden_file_has_its_family() -> None:
    assert {path.stem for path in GOLDEN.glob("*.lp")} == set(FAMILIES)


def test_names_stay_distinct_when_cleaned() -> None:
    names = lp_names(["stock:h100-sxm", "stock h100 sxm", "gpus"])
    assert list(names.values()) == ["stock_h100_sxm", "stock_h100_sxm_2", "gpus"]
