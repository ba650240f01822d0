"""What a worker process imports before its first cell; worker processes are forked from it."""

import warnings

warnings.filterwarnings("ignore", message="no QP solver found")

import gtl_bench.records  # noqa: E402
import gtl_bench.regularizers  # noqa: E402
import gtl_bench.source  # noqa: E402
import gtl_bench.stream  # noqa: E402, F401
