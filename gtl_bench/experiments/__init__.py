"""Experiments that are no streams of single examples (`gtl_bench.experiment`), a module a kind."""
