"""gtl-bench: Guided Transfer Learning beside EWC, SI and honest controls, one example at a time.

from gtl_bench import strategy, benchmark, Log     # to write recipes
from gtl_bench import load_results                 # to read what a run left
from gtl_bench.gtl import Guide, GTLPlugin, scout  # to guide any Avalanche strategy
"""

from __future__ import annotations

from pathlib import Path

from gtl_bench.recipes import Choice, Linear, Log, benchmark, strategy
from gtl_bench.store import load_results

__all__ = ["Choice", "Linear", "Log", "benchmark", "load_results", "strategy"]
__version__ = "0.1.0"

# `strategies/` and `benchmarks/` stand at the top of the repository, where a reader looks first,
# and are installed as `gtl_bench.strategies` and `gtl_bench.benchmarks`.
if not (Path(__file__).parent / "strategies").is_dir():
    __path__.append(str(Path(__file__).parent.parent))
