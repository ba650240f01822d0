"""What a run survives: `python tests/resilience.py kills --times 50`.

Real runs of the command line are disturbed at random moments and resumed; the records that they
leave must be those of an undisturbed run, byte for byte. Prints what happened as JSON; ends with an
AssertionError where something was lost, computed twice, or differs.

    kills    SIGKILL to all processes of a run, at random moments
    workers  SIGKILL to single worker processes, at random moments
    memory   a strategy that eats memory until the system kills it, one that raises and one that
             diverges, beside two healthy ones (needs control groups)
    disk     a disk that is full when half of the records are written (needs the right to mount)
    rivals   two runs into one folder at the same time
    cluster  a dask cluster that loses a worker, then its scheduler
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Records = dict[str, bytes]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A small run of many cells.

    Attributes:
        folder: empty; what is made is made in it.
        seeds: of two strategies each.
    """

    folder: Path
    seeds: int

    @property
    def cells(self) -> int:
        return 2 * self.seeds

    def start(self, out: str, *options: str) -> subprocess.Popen[str]:
        """Begin a run in a session of its own, with a source-phase cache of its own."""
        command = [sys.executable, "-m", "gtl_bench", "run", "split-digits", "--device=cpu"]
        command += ["--strategies=naive,frozen", f"--seeds={self.seeds}", "--out", out]
        command += ["--set=benchmark.per_class=2", "--set=benchmark.hidden=16", *options]
        if "--dask" not in options:
            command += ["--workers=2"]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | {"GTL_BENCH_CACHE": str(self.folder / f"cache-{Path(out).name}")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, out: str, *options: str) -> tuple[int, str]:
        """A whole run: exit status and what it complained of."""
        process = self.start(out, *options)
        _, errors = process.communicate()
        return process.returncode, errors

    def undisturbed(self) -> Records:
        status, errors = self.finish("undisturbed")
        assert status == 0, errors
        records = self.records("undisturbed")
        assert len(records) == self.cells
        return records

    def paths(self, out: str) -> list[Path]:
        return sorted((self.folder / out / "records").glob("*.parquet"))

    def records(self, out: str) -> Records:
        return {path.name: path.read_bytes() for path in self.paths(out)}

    def written(self, out: str) -> dict[str, tuple[int, int]]:
        """What changes when a record is written again: name -> inode, time."""
        found = {}
        for path in self.paths(out):
            status = path.stat()
            found[path.name] = status.st_ino, status.st_mtime_ns
        return found


def kills(job: Job, expected: Records, times: int, rng: random.Random, longest: float) -> Figures:
    """Kill all processes of a run at a random moment, again and again; begin anew when it ends.

    A run is killed within `longest` seconds, those of an undisturbed one as a rule, or else has
    ended; after the last kill it may end.
    """
    killed, rounds, at_work, progress = 0, 0, 0, [0]
    while killed < times:
        out, before = f"round{rounds}", {}
        ended = False
        while not ended:
            process = job.start(out)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, longest) if killed < times else None)
            ended = process.returncode is not None
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
            errors = process.communicate()[1]
            after = job.written(out)
            assert before.items() <= after.items(), "a finished cell was lost or computed again"
            if not ended:
                killed += 1
                at_work += 0 < len(after) < job.cells
                progress.append(len(after) - len(before))
            before = after
        assert process.returncode == 0, errors
        assert job.records(out) == expected, "the records differ from an undisturbed run's"
        assert leftovers(job.folder / out / "records") == []
        rounds += 1
    return {
        "kills": killed,
        "seconds within which a run was killed": round(longest, 1),
        "kills with some cells finished and others not": at_work,
        "runs that were resumed to their end": rounds,
        "cells finished between a start and a kill, most": max(progress),
        "finished cells lost or computed again": 0,
        "records equal, byte for byte": len(expected),
    }


def leftovers(folder: Path) -> list[Path]:
    """Temporary files."""
    return [path for path in folder.rglob("*") if path.suffix in (".tmp", ".damaged")]


def workers(job: Job, expected: Records, times: int, rng: random.Random) -> Figures:
    """Kill single workers of a run at random moments; what is left to do is done by the next.

    A run that ends before `times` workers were killed is followed by one in another folder.
    """
    killed, runs, failed, finished = 0, 0, 0, 0
    while killed < times:
        out, status = f"workers{finished}", None
        while status != 0:
            process = job.start(out)
            runs += 1
            killed += kill_workers(process, times - killed, rng)
            status, errors = process.returncode, process.communicate()[1]
            assert "Traceback" not in errors, errors
            assert status == 0 or (status == 1 and "its worker process died" in errors), errors
            failed += errors.count("its worker process died")
        assert job.records(out) == expected, "the records differ from an undisturbed run's"
        finished += 1
    return {
        "workers killed": killed,
        "cells given up, their worker having died twice": failed,
        "runs": runs,
        "runs that finished all their cells": finished,
        "records equal, byte for byte": len(expected),
    }


def kill_workers(process: subprocess.Popen[str], most: int, rng: random.Random) -> int:
    """Kill up to `most` workers of a run until it ends; how many were killed."""
    killed = 0
    while process.poll() is None:
        time.sleep(0.02)
        if killed == most or not workers_of(process.pid):
            continue
        time.sleep(rng.uniform(0, 3))
        if found := workers_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(found), signal.SIGKILL)
                killed += 1
    return killed


def workers_of(driver: int) -> list[int]:
    """The worker processes of a run: what its fork server, a child of the driver, has forked."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    servers = {pid for pid, parent in parents.items() if parent == driver}
    return sorted(pid for pid, parent in parents.items() if parent in servers)


BAD = {
    "eats": """from gtl_bench import strategy

@strategy("eats")
def eats(source):
    "Eats memory for ever."
    eaten = []
    while True:
        eaten.append(b"x" * 50_000_000)
""",
    "raises": """from gtl_bench import strategy

@strategy("raises")
def raises(source):
    "Fails in the midst of the stream."
    from avalanche.core import SupervisedPlugin
    class Plugin(SupervisedPlugin):
        def before_training_exp(self, strategy, **kwargs):
            assert strategy.clock.train_exp_counter != 100, "at the hundredth example"
    return [Plugin()]
""",
    "diverges": """from gtl_bench import strategy

@strategy("diverges", lr=1e18)
def diverges(source):
    "Leaves the finite numbers."
    return []
""",
}


def memory(job: Job) -> Figures:
    """A strategy that eats memory until the system kills it, one that raises and one that diverges,
    beside two healthy ones."""
    longer = "--set=benchmark.per_class=11"  # 110 examples
    status, errors = job.finish("healthy", longer)
    assert status == 0, errors
    healthy = job.records("healthy")
    for name, text in BAD.items():
        (job.folder / f"{name}.py").write_text(text)
    names = ",".join(["naive", *(f"{name}.py" for name in BAD), "frozen"])
    with limited_memory(2 * 2**30) as members:
        process = job.start("memory", "--strategies", names, longer)
        members.write_text(str(process.pid))
        errors = process.communicate()[1]
    assert process.returncode == 1, errors
    assert "Traceback" not in errors, errors
    died = errors.count("its worker process died (killed, or out of memory)")
    raised = errors.count("AssertionError: at the hundredth example (line 9 of raises.py)")
    assert died == raised == job.seeds, errors
    kept = job.records("memory")
    assert healthy.items() <= kept.items(), "the records differ from an undisturbed run's"
    assert len(kept) == len(healthy) + job.seeds  # those of what diverged
    folder = job.folder / "memory"
    with (folder / "tables" / "summary.csv").open() as table:
        seeds = {row["strategy"]: int(row["seeds"]) for row in csv.DictReader(table)}
    every, none = job.seeds, 0
    assert seeds == {
        "naive": every,
        "eats": none,
        "raises": none,
        "diverges": every,
        "frozen": every,
    }
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert f"eats 0 of {job.seeds}, raises 0 of {job.seeds}" in page
    assert f"diverges diverged in {job.seeds} of {job.seeds} runs (seed 0 after step " in page
    assert "its worker process died (killed, or out of memory)" in page
    assert "AssertionError: at the hundredth example (line 9 of raises.py)" in page
    return {
        "cells whose worker was killed for memory": died,
        "cells that raised at the hundredth example": raised,
        "cells recorded as diverged": len(kept) - len(healthy),
        "records of the healthy ones equal, byte for byte": len(healthy),
    }


@contextlib.contextmanager
def limited_memory(size: int) -> Iterator[Path]:
    """A control group of `size` bytes of memory; yields the file that its members are written to.

    Raises:
        PermissionError: where there are none, or not for us.
    """
    for group, limit in (
        (Path("/sys/fs/cgroup/memory/gtl-bench"), "memory.limit_in_bytes"),  # version 1
        (Path("/sys/fs/cgroup/gtl-bench"), "memory.max"),
    ):
        with contextlib.suppress(OSError):
            group.mkdir()
            (group / limit).write_text(str(size))
            break
    else:
        raise PermissionError("no control groups to limit memory with")
    try:
        yield group / "cgroup.procs"
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.1)
        group.rmdir()


def disk(job: Job, expected: Records) -> Figures:
    """Fill the disk with half of the records, then make room and resume."""
    place = job.folder / "disk"
    place.mkdir()
    page = os.sysconf("SC_PAGE_SIZE")
    half = sum(-(-len(content) // page) for content in expected.values()) * page // 2
    half += -(-(4000 + 200 * job.cells) // page) * page  # for the manifest
    with mounted(place, half) as grow:
        status, errors = job.finish("disk/run")
        assert status == 1, errors
        assert "Traceback" not in errors, errors
        assert "No space left on device" in errors, errors
        before = job.written("disk/run")
        assert 0 < len(before) < job.cells, errors
        assert leftovers(place / "run") == []
        grow(64 * 2**20)
        status, errors = job.finish("disk/run")
        assert status == 0, errors
        assert before.items() <= job.written("disk/run").items(), "a finished cell was lost"
        assert job.records("disk/run") == expected, "the records differ"
    return {
        "size of the disk in bytes": half,
        "cells finished when it was full": len(before),
        "records equal, byte for byte": len(expected),
    }


@contextlib.contextmanager
def mounted(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A disk of `size` bytes in memory at `place`; yields what makes it larger.

    Raises:
        PermissionError: without the right to mount.
    """

    def mount(*options: str) -> None:
        done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
        if done.returncode:
            raise PermissionError(done.stderr.strip())

    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    try:
        yield lambda larger: mount("-o", f"remount,size={larger}")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def rivals(job: Job, expected: Records) -> Figures:
    """Two runs into one folder at the same time."""
    both = [job.start("rivals"), job.start("rivals")]
    while all(process.poll() is None for process in both):
        time.sleep(0.05)
    after_first = job.written("rivals")
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert len(after_first) == job.cells
    assert job.written("rivals") == after_first, "a cell was computed twice"
    assert job.records("rivals") == expected, "the records differ from an undisturbed run's"
    return {
        "runs that waited for the other": sum("waiting for another run" in e for e in errors),
        "cells computed twice": 0,
        "records equal, byte for byte": len(expected),
    }


def cluster(job: Job, expected: Records) -> Figures:
    """A dask cluster on this machine loses one of three workers, and then its scheduler."""
    with dask(job.folder) as (scheduler, nodes, address):
        process = job.start("cluster", "--dask", address)
        await_records(job, "cluster", process, 2)
        os.killpg(nodes[0].pid, signal.SIGKILL)
        at_kill = len(job.paths("cluster"))
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
        assert job.records("cluster") == expected, "the records differ from a local run's"

        process = job.start("lost", "--dask", address)
        await_records(job, "lost", process, 2)
        scheduler.kill()
        began = time.monotonic()
        errors = process.communicate()[1]
        seconds = time.monotonic() - began
        assert process.returncode == 1, errors
        assert "Traceback" not in errors, errors
        assert "no dask scheduler at" in errors, errors
        assert "resume: python -m gtl_bench run" in errors, errors
        before = job.written("lost")
    status, errors = job.finish("lost")
    assert status == 0, errors
    assert before.items() <= job.written("lost").items(), "a finished cell was lost"
    assert job.records("lost") == expected, "the records differ from a local run's"
    return {
        "cells finished when one of three workers was killed": at_kill,
        "cells finished when the scheduler was killed": len(before),
        "seconds until the run without a scheduler ended": round(seconds, 1),
        "records equal to the local ones, byte for byte": len(expected),
    }


Node = subprocess.Popen[bytes]


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[tuple[Node, list[Node], str]]:
    """A scheduler and three workers, begun from the command line; and the scheduler's address."""
    file = folder / "scheduler.json"
    log = (folder / "dask.log").open("wb")
    environment = os.environ | {"GTL_BENCH_CACHE": str(folder / "dask-cache")}

    def begin(*arguments: str) -> Node:
        command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", str(file)]
        return subprocess.Popen(
            [*command, "--no-dashboard"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    scheduler = begin("scheduler", "--host", "127.0.0.1", "--port", "0")
    nodes = []
    try:
        while not file.exists():
            assert scheduler.poll() is None, (folder / "dask.log").read_text()
            time.sleep(0.1)
        nodes = [begin("worker", "--nthreads", "1") for _ in range(3)]
        yield scheduler, nodes, json.loads(file.read_text())["address"]
    finally:
        for process in (*nodes, scheduler):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def await_records(job: Job, out: str, process: subprocess.Popen[str], count: int) -> None:
    while len(job.paths(out)) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    disturbances = {
        "kills": lambda: kills(job, expected, arguments.times, rng, whole),
        "workers": lambda: workers(job, expected, arguments.times, rng),
        "memory": lambda: memory(job),
        "disk": lambda: disk(job, expected),
        "rivals": lambda: rivals(job, expected),
        "cluster": lambda: cluster(job, expected),
    }
    parser.add_argument("what", choices=disturbances)
    parser.add_argument("--times", type=int, default=50, help="kills, of runs or of workers")
    parser.add_argument("--seeds", type=int, default=20, help="seeds of two strategies each")
    parser.add_argument("--random", type=int, default=0, help="seed of the random moments")
    arguments = parser.parse_args()
    rng = random.Random(arguments.random)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), arguments.seeds)
        expected = job.undisturbed()
        whole = time.monotonic() - began
        figures = disturbances[arguments.what]()
    figures["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
