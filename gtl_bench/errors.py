"""Errors meant for people: one line that says what was wrong, where, and what to do."""

from __future__ import annotations


class GTLBenchError(Exception):
    """Base of every error a user can cause; the command line prints it without a traceback."""

    exit_status = 1


class RunError(GTLBenchError):
    """A run failed, wholly or in part (exit status 1)."""

    exit_status = 1


class UsageError(GTLBenchError):
    """The command, a setting or a recipe is wrong (exit status 2)."""

    exit_status = 2


class DataError(GTLBenchError):
    """Data can't be had: absent, damaged, or not to be downloaded (exit status 3)."""

    exit_status = 3


class Interrupted(GTLBenchError):
    """The user or the system asked for an end (exit status 130)."""

    exit_status = 130
