"""Where cells are computed: worker processes on this machine, or a dask cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import multiprocessing
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker

from gtl_bench.cell import prepare_worker
from gtl_bench.errors import RunError, UsageError

#: Seconds to wait for an answer of a dask scheduler.
TIMEOUT = 10.0

#: local:N, host:port, or a protocol's address, in a form that is the protocol's affair.
_ADDRESS = re.compile(r"local:0*[1-9]\d*|(?!local:)[^\s/]+:\d+|\w+://\S+", re.ASCII)


class LocalExecutor(ProcessPoolExecutor):
    """Worker processes on this machine, one thread each.

    They are forked from a server process that has imported what they need and computed nothing,
    where the platform has such servers.

    Args:
        width: number of processes.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            context.set_forkserver_preload(["gtl_bench.worker"])
            with _out_of_reach_of_ctrl_c():
                forkserver.ensure_running()
        super().__init__(width, mp_context=context, initializer=prepare_worker)


def dask_executor(address: str) -> Callable[[], Executor]:
    """What makes executors on a dask cluster.

    Args:
        address: the scheduler's, such as tcp://10.0.0.1:8786; or local:N, for a cluster of N
            worker processes on this machine.

    Raises:
        UsageError: if dask.distributed is not installed, or for what can't be an address.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("--dask needs dask.distributed: pip install 'gtl-bench[dask]'.")
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"--dask {address}: write a scheduler's address, such as tcp://10.0.0.1:8786, or "
            "local:N for N workers on this machine."
        )
    return lambda: _connected(address)


def _connected(address: str) -> Executor:
    """An executor on a dask cluster, with a client of its own that it closes.

    Raises:
        RunError: if the scheduler doesn't answer.
        UsageError: for an address that dask can't read.
    """
    from distributed import Client
    from distributed.cfexecutor import ClientExecutor

    for name in ("distributed", "distributed.client"):  # what a user has to know, the runner tells
        logging.getLogger(name).setLevel(logging.CRITICAL)

    class DaskExecutor(ClientExecutor):  # type: ignore[misc]
        @property
        def width(self) -> int:
            """A cell for each worker, which computes one at a time; workers may come and go."""
            try:
                return max(1, len(client.nthreads()))
            except OSError:  # no scheduler any more: what was given to it comes back cancelled
                return 0

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False)  # nothing runs, unless it is to end at once
            client.close()

    kind, _, number = address.partition(":")
    try:
        if kind == "local":
            with _out_of_reach_of_ctrl_c():
                client = Client(
                    n_workers=int(number),
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                    preload="gtl_bench.worker",
                )
        else:
            client = Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        kind_of_error = UsageError if isinstance(error, ValueError) else RunError
        raise kind_of_error(f"no dask scheduler at {address} ({reason}).") from error
    return DaskExecutor(client, pure=False)


@contextlib.contextmanager
def _out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Processes begun within never see the Ctrl-C that a terminal sends to all of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
