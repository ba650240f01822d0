"""What every strategy that discovery finds has to keep to, whoever wrote it.

A file dropped into `strategies/` is checked here without another line; the checks themselves, with
the reason for each, are in `gtl_bench/contract.py`.
"""

from __future__ import annotations

import pytest

from gtl_bench.contract import (
    CHECKS,
    Check,
    costs_no_more_with_time,
    does_something,
    starts_from_the_base,
)
from gtl_bench.recipes import discover

REGISTRY = discover()
#: Compositions stand for all others: a penalty, a path integral and a buffer beside a guide.
COMPOSED = ("gtl+ewc", "gtl+si", "gtl+replay")
STRATEGIES = (*REGISTRY.strategies, *COMPOSED)

#: Who breaks the contract by what it is there for, and how.
KNOWN = {
    ("joint", costs_no_more_with_time): "an upper line: it trains on everything that it has met",
    ("from-scratch", starts_from_the_base): "what there is without a base",
    ("si-avalanche", does_something): "Avalanche's plugin penalises nothing on the CPU",
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", STRATEGIES)
def test_contract(name: str, check: Check, request: pytest.FixtureRequest) -> None:
    if (name, check) in KNOWN:
        request.applymarker(pytest.mark.xfail(reason=KNOWN[name, check], strict=True))
    check(REGISTRY.strategy(name))
