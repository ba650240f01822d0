"""Where and from what a run was computed, for its manifest; nothing here shapes a number's key."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def commit() -> str | None:
    """The git commit that gtl-bench's code is at, "+" for changes since; None outside a clone."""
    package = Path(__file__).parent
    if _git(package, "ls-files", "--error-unmatch", "machine.py") is None:
        return None  # an installed copy, be it within some other repository
    head = _git(package, "rev-parse", "HEAD")
    changed = _git(package, "status", "--porcelain", "--untracked-files=no", ".", "../strategies")
    return head and (f"{head}+" if changed else head)


def processor(device: str) -> str:
    """The model of the processor, and of the GPU where the device is "cuda"."""
    names = [_cpu()]
    if device == "cuda":
        import torch

        names.append(torch.cuda.get_device_name(0))
    return ", ".join(names)


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return models[0] if models else platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where it has nothing to say or is not there."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
