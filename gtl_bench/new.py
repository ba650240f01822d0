"""Files to start a strategy of one's own from: a recipe that works, and its test."""

from __future__ import annotations

import keyword
from importlib.resources import files
from pathlib import Path
from string import Template

from gtl_bench.errors import UsageError
from gtl_bench.files import unwritable
from gtl_bench.recipes import Registry


def new_strategy(name: str, folder: Path, registry: Registry) -> tuple[Path, Path]:
    """Write a recipe and its test.

    Args:
        name: of the strategy, such as "my-method"; its files are my_method.py and
            test_my_method.py.
        folder: where they go; made if it is not there.
        registry: all recipes that there are.

    Returns:
        The recipe's file and the test's.

    Raises:
        UsageError: the name is taken or can't be a function's, a file is already there, or the
            folder can't be written to.
        RunError: the disk is full.
    """
    module = name.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module) or name != name.lower():
        raise UsageError(
            f"{name!r} can't name a strategy: begin with a letter, then lower-case letters, "
            "digits and -, such as my-method."
        )
    if name in registry.strategies:
        raise UsageError(f"there is a strategy {name!r} already: choose another name.")
    label = name.replace("-", " ").replace("_", " ").capitalize()
    recipe, test = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in (recipe, test):
        if path.exists():
            raise UsageError(f"{path} is there already: choose another name, or remove it.")
    for path, template in ((recipe, "strategy.py.txt"), (test, "test_strategy.py.txt")):
        text = (files("gtl_bench") / "templates" / template).read_text(encoding="utf-8")
        content = Template(text).substitute(name=name, module=module, label=label)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise unwritable(path, error) from None
    return recipe, test
