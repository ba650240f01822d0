"""Naive fine-tuning: the optimizer alone."""

from gtl_bench import Log, strategy


@strategy("naive", label="Naive", search={"lr": Log(1e-4, 1e-1)})
def naive(source):
    return []
