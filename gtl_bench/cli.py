"""The command line: parses and prints, decides nothing.

Exit status: 0 done, 1 a run failed wholly or in part, 2 wrong usage, 3 data that can't be had,
130 interrupted.
"""

from __future__ import annotations

import os
import shlex
import sys
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtl_bench.errors import GTLBenchError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from gtl_bench.cell import Result
    from gtl_bench.data import DataFolder
    from gtl_bench.plan import Plan, Request
    from gtl_bench.report.run import Options
    from gtl_bench.report.tables import Table as PrintedTable
    from gtl_bench.report.verdict import Verdict
    from gtl_bench.runner import Progress
    from gtl_bench.store import RunFolder
    from gtl_bench.sweep import Sweep

app = typer.Typer(
    help="Compare continual-learning strategies on streams of single examples.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


new = typer.Typer(help="Write files to start from.")
app.add_typer(new, name="new")

# Some versions of Typer bring their own copy of click; this is click's base of errors in any case.
_ClickError: Any = typer.BadParameter.__mro__[2]


class Column(StrEnum):
    """How many columns of a page a figure spans."""

    single = "single"
    double = "double"


class Style(StrEnum):
    """What figures are for."""

    paper = "paper"
    slides = "slides"


class Device(StrEnum):
    """Where models are trained."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DataFolderOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with data sets in torchvision's layout "
        "(default: $GTL_BENCH_DATA, else the user's cache folder).",
        show_default=False,
    ),
]


WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Worker processes (default: one a core).", show_default=False),
]

DaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Compute on a dask cluster: its scheduler's address, or local:N.",
        show_default=False,
    ),
]


@app.command()
def run(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name; see `list`.")],
    strategies: Annotated[
        str,
        typer.Option(
            help="Names and .py files, separated by commas; a+b composes; all (default: "
            "naive,ewc,si,gtl).",
            show_default=False,
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0 on.")] = 5,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OWNER.KEY=VALUE", help="Set a strategy's or the benchmark's value."
        ),
    ] = None,
    matched: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Set a value for every strategy that searches it."),
    ] = None,
    untuned: Annotated[
        bool, typer.Option("--untuned", help="Start from defaults rather than from tuned values.")
    ] = False,
    tuned: Annotated[
        Path | None,
        typer.Option(help="A file that `tune` left (default: as shipped).", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run's folder (default: results/BENCHMARK).", show_default=False),
    ] = None,
    data_dir: DataFolderOption = None,
    require_data: Annotated[
        bool, typer.Option("--require-data", help="Fail rather than run a stand-in.")
    ] = False,
    device: Annotated[Device, typer.Option(help="Where models are trained.")] = Device.auto,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute finished cells again.")] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="STRATEGY:SEED", help="Compute just this cell.", show_default=False),
    ] = None,
) -> None:
    """Compare strategies on a benchmark; leaves records, tables and figures in a folder."""
    from dataclasses import replace

    from gtl_bench.data import DataFolder
    from gtl_bench.plan import Request, plan
    from gtl_bench.plan import only as only_cell
    from gtl_bench.recipes import discover
    from gtl_bench.store import RunFolder

    data = DataFolder(data_dir)
    executor = _executor(workers, dask)
    request = Request(
        benchmark=benchmark,
        strategies=_names(strategies),
        seeds=seeds,
        settings=tuple(set_ or ()),
        tuned=tuned,
        untuned=untuned,
        matched=tuple(matched or ()),
        require_data=require_data,
        **_where(device, dask, data_dir, data),
    )
    planned = plan(request, discover(), data)
    todo = replace(planned, cells=only_cell(planned, only)) if only else planned
    folder = RunFolder(out or Path("results") / planned.title)
    progress = _compute(planned, todo, request, folder, executor, fresh=fresh)
    again = _this_command()
    raise SystemExit(_ending(planned, folder, progress, again, None if only else again))


@app.command()
def reference(
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("results/reference"),
    only: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Make the run that goes there alone.", show_default=False
        ),
    ] = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    data_dir: DataFolderOption = None,
    device: Annotated[Device, typer.Option(help="Where models are trained.")] = Device.auto,
) -> None:
    """Make this project's own study, or go on with it: about two and a half hours on 2 cores."""
    from dataclasses import replace

    from gtl_bench.data import DataFolder
    from gtl_bench.plan import plan
    from gtl_bench.recipes import discover
    from gtl_bench.reference import choose, command, together
    from gtl_bench.report.run import DEFAULTS
    from gtl_bench.store import RunFolder

    data = DataFolder(data_dir)
    executor = _executor(workers, dask)
    registry = discover()
    where = _where(device, dask, data_dir, data)
    rows, ladders = choose(only)
    requests = [replace(row.request(), **where) for row in rows]
    plans = [plan(request, registry, data) for request in requests]
    sweeps = [ladder.plan(registry, data, **where) for ladder in ladders]
    status = 0
    for number, (row, request, planned) in enumerate(zip(rows, requests, plans), start=1):
        folder = RunFolder(out / row.folder)
        words = command(request, folder.path)
        title = f"{row.folder} ({number} of {len(rows)})"
        progress = _compute(planned, planned, request, folder, executor, title, words)
        status = max(status, _ending(planned, folder, progress, _this_command(), words))
        if progress.stopped:
            raise SystemExit(status)
    for ladder, swept in zip(ladders, sweeps):
        _sweep(swept, RunFolder(out / ladder.folder), executor)
    if only is None:
        for report, folders in together(out).items():
            _report_together([RunFolder(path) for path in folders], report, DEFAULTS)
    raise SystemExit(status)


@app.command()
def tune(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name; see `list`.")],
    strategies: Annotated[
        str, typer.Option(help="As for `run`, or all.", show_default="naive,ewc,si,gtl")
    ] = "",
    trials: Annotated[int, typer.Option(min=1, help="Trials for each strategy.")] = 24,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds each trial is averaged over.")] = 4,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder (default: results/tuning/BENCHMARK).", show_default=False),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="File of tuned values to add to; other strategies' stay (default: tuned.toml in "
            "the folder).",
            show_default=False,
        ),
    ] = None,
    data_dir: DataFolderOption = None,
    device: Annotated[Device, typer.Option(help="Where models are trained.")] = Device.auto,
) -> None:
    """Search hyperparameters, with the same number of trials for every strategy."""
    from gtl_bench.data import DataFolder
    from gtl_bench.recipes import discover
    from gtl_bench.store import RunFolder
    from gtl_bench.tuning import plan_search
    from gtl_bench.tuning import tune as search

    data = DataFolder(data_dir)
    executor = _executor(workers, dask)
    setup, searches = plan_search(
        benchmark,
        _names(strategies),
        discover(),
        data,
        **_where(device, dask, data_dir, data),
    )
    folder = RunFolder(out or Path("results") / "tuning" / benchmark)
    folder.prepare()
    with (
        folder.reserved(lambda: _tell_of_waiting(folder)),
        _Bar(f"tuning on {benchmark}") as bar,
    ):
        path = search(
            setup,
            searches,
            trials=trials,
            seeds=seeds,
            folder=folder,
            executor=executor,
            on_progress=bar.show,
            file=into,
        )
    typer.echo(f"tuned values are in {path}; use them with: run {benchmark} --tuned {path}")


@app.command()
def sweep(
    benchmark: Annotated[str, typer.Argument(help="A benchmark's name; see `list`.")],
    over: Annotated[str, typer.Option(metavar="KEY", help="The hyperparameter.")] = "lr",
    strategies: Annotated[
        str, typer.Option(help="As for `run`, or all.", show_default="naive,ewc,si,gtl")
    ] = "",
    values: Annotated[
        str,
        typer.Option(
            metavar="VALUE,…", help="(default: a ladder over what is searched).", show_default=False
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0 on.")] = 5,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="benchmark.KEY=VALUE", help="Set a benchmark's value."),
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option(help="A file that `tune` left (default: as shipped).", show_default=False),
    ] = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder (default: results/sweep/BENCHMARK-KEY).", show_default=False),
    ] = None,
    data_dir: DataFolderOption = None,
    device: Annotated[Device, typer.Option(help="Where models are trained.")] = Device.auto,
) -> None:
    """Draw final accuracy against a hyperparameter, each strategy's own value marked."""
    from gtl_bench.data import DataFolder
    from gtl_bench.recipes import discover
    from gtl_bench.store import RunFolder
    from gtl_bench.sweep import plan_sweep

    data = DataFolder(data_dir)
    executor = _executor(workers, dask)
    planned = plan_sweep(
        benchmark,
        _names(strategies),
        over,
        discover(),
        data,
        values=_names(values),
        seeds=seeds,
        settings=tuple(set_ or ()),
        tuned=tuned,
        **_where(device, dask, data_dir, data),
    )
    _sweep(planned, RunFolder(out or Path("results") / "sweep" / f"{benchmark}-{over}"), executor)


@app.command()
def report(
    run_folders: Annotated[list[Path], typer.Argument(help="Folders that runs left.")],
    formats: Annotated[
        str, typer.Option("--format", help="Of the figures: pdf, svg, png, pgf, by commas.")
    ] = "pdf,png",
    column: Annotated[Column, typer.Option(help="Columns of a page.")] = Column.single,
    style: Annotated[Style, typer.Option(help="What figures are for.")] = Style.paper,
    focus: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The strategy to judge (default: gtl).", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The report's folder (default: the run's own; report for several).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the figures, tables and page of finished runs, of several together."""
    from gtl_bench.report.info import Layout
    from gtl_bench.report.run import Options
    from gtl_bench.store import RunFolder

    options = Options(_names(formats), Layout(column.value, style.value), focus)
    folders = [RunFolder(path) for path in run_folders]
    if len(folders) == 1:
        _report(folders[0], out, options)
    else:
        _report_together(folders, out or Path("report"), options)
    _name_damaged(*(path for folder in folders for path in folder.damaged))


@new.command("strategy")
def new_strategy(
    name: Annotated[str, typer.Argument(help="Such as my-method.")],
    out: Annotated[Path, typer.Option(help="Where the files go.")] = Path("."),
) -> None:
    """Write a strategy that works, to start your own from, and its test."""
    from gtl_bench.new import new_strategy as write
    from gtl_bench.recipes import discover

    recipe, test = write(name, out, discover())
    typer.echo(f"wrote {recipe} and {test}")
    typer.echo(f"check it: python -m gtl_bench check {shlex.quote(str(recipe))}")


@app.command()
def check(
    strategy: Annotated[str, typer.Argument(help="A recipe's file, such as ./my_method.py.")],
) -> None:
    """Try whether a strategy keeps to what every strategy has to."""
    import warnings

    warnings.filterwarnings("ignore", message="no QP solver found")  # Avalanche's, on import
    from gtl_bench.contract import CHECKS, violation
    from gtl_bench.plan import choose_strategies
    from gtl_bench.recipes import discover

    recipes, _, broken = choose_strategies([strategy], discover())
    if broken:
        raise UsageError(broken[0].reason)
    failed = 0
    for recipe in recipes:
        typer.echo(recipe.name)
        for one in CHECKS:
            wrong = violation(one, recipe)
            failed += wrong is not None
            title = one.__name__.replace("_", " ")
            typer.echo(f"  ok    {title}" if wrong is None else f"  FAILS {title}: {wrong}")
    raise SystemExit(1 if failed else 0)


@app.command()
def verdict(
    run_folder: Annotated[Path, typer.Argument(help="The folder that a run left.")],
    focus: Annotated[str, typer.Option(metavar="NAME", help="The strategy to judge.")] = "gtl",
) -> None:
    """Say in plain sentences what a run shows of one strategy."""
    from gtl_bench.report.run import judge_run
    from gtl_bench.store import RunFolder

    folder = RunFolder(run_folder)
    _show_verdict(judge_run(folder, focus))
    _name_damaged(*folder.damaged)


@app.command("list")
def list_() -> None:
    """Name the strategies and benchmarks, a line each."""
    from gtl_bench.plan import in_order
    from gtl_bench.recipes import discover

    registry = discover()
    strategies = [registry.strategies[name] for name in in_order(registry)]
    for title, recipes in (
        ("Strategies", strategies),
        ("Benchmarks", registry.benchmarks.values()),
    ):
        typer.echo(title)
        for recipe in recipes:
            typer.echo(f"  {recipe.name:<20} {recipe.summary}")
    for broken in registry.broken:
        _complain(f"{broken.file} can't be loaded: {broken.reason}")


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="A data set: mnist, omniglot or digits.")],
    data_dir: DataFolderOption = None,
) -> None:
    """Download a data set, if it is not there, and verify it."""
    from gtl_bench.data import DataFolder

    folder = DataFolder(data_dir)
    folder.ensure(name)
    typer.echo(f"{name} is complete and verified in {folder.path} (sha256 {folder.checksum(name)})")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _tell_of_waiting(folder: RunFolder) -> None:
    _complain(f"waiting for another run in {folder.path} to end; --out names another folder.")


def _name_damaged(*paths: Path) -> None:
    for path in paths:
        _complain(f"damaged and set aside, to be computed again: {path}")


def _executor(workers: int | None, dask: str | None) -> Callable[[], Executor]:
    """What makes executors, on this machine or on a dask cluster.

    Raises:
        UsageError: if both are asked for, or dask can't be used.
    """
    from gtl_bench.executors import LocalExecutor, dask_executor

    if dask is None:
        return lambda: LocalExecutor(workers or os.cpu_count() or 1)
    if workers is not None:
        raise UsageError("--workers is for this machine's workers: leave it out with --dask.")
    return dask_executor(dask)


def _device(device: Device) -> str:
    """The device meant: `auto` is a GPU where there is one.

    Raises:
        UsageError: for cuda where there is none.
    """
    if device is Device.cpu:
        return "cpu"
    # A driver without torch starts in half the time; it is needed only to look for a GPU.
    if device is Device.auto and not Path("/proc/driver/nvidia").exists():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device is Device.cuda:
        raise UsageError("--device cuda: PyTorch finds no GPU here; leave the option out.")
    return "cpu"


def _where(
    device: Device, dask: str | None, data_dir: Path | None, data: DataFolder
) -> dict[str, Any]:
    """Where cells are computed, and find data sets and source phases, for a plan.

    Where nothing is said, a cluster's workers look in their own places.
    """
    from gtl_bench.cell import default_cache_folder

    return {
        "device": _device(device),
        "data_folder": None if dask and data_dir is None else data.path,
        "cache_folder": None if dask else default_cache_folder(),
    }


def _report(folder: RunFolder, out: Path | None = None, options: Options | None = None) -> None:
    """Write a run's report; print its verdict and the short table."""
    from gtl_bench.report.run import DEFAULTS, report_run

    judged, short = report_run(folder, out, options or DEFAULTS)
    if judged:
        _show_verdict(judged)
    _show_table(short)


def _report_together(folders: list[RunFolder], out: Path, options: Options) -> None:
    """Write one report of several runs; print their verdicts and the summary table."""
    from gtl_bench.report.together import report_runs

    verdicts, summary = report_runs(folders, out, options)
    for judged in verdicts:
        _show_verdict(judged)
    _show_table(summary)
    typer.echo(f"the report of {len(folders)} runs is in {out}")


def _show_table(shown: PrintedTable) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*shown.header)
    for column in table.columns[1:]:
        column.justify = "right"
    for line, row in enumerate(shown.rows):
        styles = ["bold" if (line, i) in shown.bold else "" for i in range(len(row))]
        table.add_row(*map(Text, row, styles))
    typer.echo(shown.caption)
    Console().print(table)
    for note in shown.notes:
        typer.echo(note)


def _show_verdict(judged: Verdict) -> None:
    """The headline, the sentences, and the rule that they follow."""
    if judged.claim:
        typer.secho(judged.claim, bold=True)
    typer.secho(judged.headline, bold=True)
    typer.echo(judged.caption)
    for text in (*(f"- {sentence}" for sentence in judged.sentences), *judged.notes):
        typer.echo(text)


def _announce_stand_in(planned: Plan) -> None:
    from rich.console import Console
    from rich.panel import Panel

    text = (
        f"[bold]This is not {planned.setup.requested}.[/bold] Its data can't be had; its stand-in "
        f"[bold]{planned.setup.benchmark.name}[/bold] runs in its place: other images, other "
        f"numbers.\n\n{planned.setup.stand_in_reason}\n\n"
        "Use --require-data to make this an error."
    )
    Console(stderr=True).print(
        Panel(text, title=f"STAND-IN: {planned.title}", border_style="bold red", padding=(1, 2))
    )


def _this_command() -> list[str]:
    return ["python", "-m", "gtl_bench", *sys.argv[1:]]


def _compute(
    planned: Plan,
    todo: Plan,
    request: Request,
    folder: RunFolder,
    executor: Callable[[], Executor],
    title: str | None = None,
    command: list[str] | None = None,
    *,
    fresh: bool = False,
) -> Progress:
    """Compute what is to do of a plan, and write the run's manifest and report.

    `title` is shown while it runs; `command` is what the manifest tells to make the run again.
    """
    from gtl_bench.runner import manifest
    from gtl_bench.runner import run as run_plan

    def about(seconds: dict[str, float], failed: Sequence[Result] = ()) -> dict[str, Any]:
        text = shlex.join(command or _this_command())
        return {**manifest(planned, folder, request, seconds, failed), "command": text}

    folder.prepare()
    if planned.setup.stand_in_reason:
        _announce_stand_in(planned)
    for broken in planned.broken:
        _complain(f"left out: {broken.reason}")
    with folder.reserved(lambda: _tell_of_waiting(folder)):
        folder.write_manifest(about({}))
        with _Bar(title or planned.title) as bar:
            progress = run_plan(todo, folder, executor, bar.show, fresh)
        try:
            folder.write_manifest(about(progress.seconds, progress.failed))
            if progress.finished:
                _report(folder)
                typer.echo(f"{planned.title}: records, tables, figures are in {folder.path}")
        except GTLBenchError as error:
            progress.stopped = progress.stopped or error
    return progress


def _sweep(planned: Sweep, folder: RunFolder, executor: Callable[[], Executor]) -> None:
    """Compute a sweep, draw it, and print what was written and found."""
    from gtl_bench.report.sensitivity import saturation, write_sweep
    from gtl_bench.sweep import sweep as compute

    folder.prepare()
    with (
        folder.reserved(lambda: _tell_of_waiting(folder)),
        _Bar(f"sweep of {planned.key} on {planned.setup.benchmark.name}") as bar,
    ):
        results = compute(planned, folder, executor, bar.show)
    found = saturation(planned, results)
    for path in write_sweep(planned, results, folder, found):
        typer.echo(f"wrote {path}")
    if found:
        typer.echo(found)


def _ending(
    planned: Plan,
    folder: RunFolder,
    progress: Progress,
    again: list[str],
    whole: list[str] | None,
) -> int:
    """Name what failed, what stopped the run and how to go on; returns the exit status.

    `again` is the command that goes on, `whole` that of all of the run's cells, if it is not of
    a single one.
    """
    _name_damaged(*folder.damaged, *progress.damaged)
    # Wrong usage that no cell escapes, of the benchmark's as a rule, is said once.
    alike = (
        len(progress.failed) == progress.total > 1
        and len({result.error for result in progress.failed}) == 1
        and progress.failed[0].exit_status == UsageError.exit_status
    )
    for result in [] if alike else progress.failed:
        cell = f"{result.cell.strategy}:{result.cell.seed}"
        just_it = [*whole, "--only", cell] if whole else again
        _complain(
            f"{result.cell.strategy}, seed {result.cell.seed}: {result.error} "
            f"To compute just it: {shlex.join(just_it)}"
        )
    for broken in planned.broken:
        _complain(broken.reason)
    if progress.failed or progress.stopped:
        counts = f"{progress.finished} of {progress.total} cells are finished"
        counts += f", {len(progress.failed)} failed" if progress.failed else ""
        why = f"{progress.stopped} " if progress.stopped else ""
        if alike:
            why = f"all cells alike: {progress.failed[0].error} "
        _complain(f"{why}{counts}; resume: {shlex.join(again)}")
    statuses = [result.exit_status for result in progress.failed]
    statuses += [UsageError.exit_status] * len(planned.broken)
    statuses += [progress.stopped.exit_status] if progress.stopped else []
    return max(statuses, default=0)


class _Bar:
    """A progress bar over cells: done, running, failed, and the time that is left.

    The estimate is that each cell takes as long as one did so far; those reused took nothing.
    """

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.table import Column

        self._progress = Progress(
            # Where the line is short, these two are cut rather than a number.
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=2)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            MofNCompleteColumn(),
            TextColumn("done, {task.fields[running]} running, {task.fields[failed]} failed"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} left"),
            console=Console(stderr=True),
            expand=True,
        )
        self._task = self._progress.add_task(title, total=None, running=0, failed=0, left="?")
        self._computed = 0
        self._pace = 0.0  # seconds a cell
        self._ending = False

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, progress: Progress) -> None:
        computed = progress.done - progress.reused
        if computed > self._computed:
            self._computed = computed
            self._pace = (self._progress.tasks[0].elapsed or 0.0) / computed
        left = timedelta(seconds=round(self._pace * (progress.total - progress.done)))
        self._progress.update(
            self._task,
            total=progress.total,
            completed=progress.done,
            running=progress.running,
            failed=len(progress.failed),
            left=left if computed or progress.done == progress.total else "?",
        )
        if isinstance(progress.stopped, Interrupted) and not self._ending:
            self._ending = True
            self._progress.console.print(
                "gtl-bench: ending the running cells; interrupt once more to stop at once.",
                soft_wrap=True,
                highlight=False,
            )


def _complain(text: str) -> None:
    typer.echo(f"gtl-bench: {' '.join(text.split())}", err=True)


def main() -> None:
    """The console script: errors that a user can cause are one line and an exit status."""
    try:
        status = app(standalone_mode=False)
        if status == Interrupted.exit_status:  # what some versions of Typer make of Ctrl-C
            raise KeyboardInterrupt
    except _ClickError as error:
        _complain(f"{error.format_message()} See --help.")
        status = UsageError.exit_status
    except GTLBenchError as error:
        _complain(str(error))
        status = error.exit_status
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted at once; what was finished is kept.")
        status = Interrupted.exit_status
    raise SystemExit(status)
