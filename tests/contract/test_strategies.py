"""What every strategy that discovery finds has to keep to, whoever wrote it.

A file dropped into `strategies/` is checked here without another line; the checks themselves, with
the reason for each, are in `gtl_bench/contract.py`.
"""

from __future__ import annotations

import pytest

from gtl_bench.contract import CHECKS, Check, costs_no_more_with_time
from gtl_bench.recipes import discover

REGISTRY = discover()
#: Compositions stand for all others: a penalty, a path integral and a buffer beside a guide.
COMPOSED = ("gtl+ewc", "gtl+si", "gtl+replay")
STRATEGIES = (*REGISTRY.strategies, *COMPOSED)

#: Upper lines, which are no rivals of learners of single examples: they keep every example.
KEEP_EVERYTHING = ("joint",)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", STRATEGIES)
def test_contract(name: str, check: Check, request: pytest.FixtureRequest) -> None:
    if check is costs_no_more_with_time and name in KEEP_EVERYTHING:
        reason = "it trains on everything that it has met"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    check(REGISTRY.strategy(name))
