"""What a worker process imports before its first cell; worker processes are forked from it.

The recipes are among it: a run goes on with those that it was planned with, whatever is edited.
"""

import warnings

warnings.filterwarnings("ignore", message="no QP solver found")

import gtl_bench.checks  # noqa: E402
import gtl_bench.records  # noqa: E402
import gtl_bench.regularizers  # noqa: E402
import gtl_bench.source  # noqa: E402
import gtl_bench.stream  # noqa: E402, F401
from gtl_bench.environment import environment  # noqa: E402
from gtl_bench.recipes import discover  # noqa: E402

discover()
environment()
