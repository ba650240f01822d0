"""Recipes: declaring, finding, naming, setting."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtl_bench import Log, strategy
from gtl_bench.errors import UsageError
from gtl_bench.recipes import (
    LEARNER_DEFAULTS,
    RecipeFile,
    Registry,
    StrategyRecipe,
    check_learner,
    discover,
    resolve,
)

GOOD = '''
from gtl_bench import strategy, Log
@strategy("mine", label="Mine", search={"lr": Log(1e-3, 1e-1)}, lr=0.5)
def mine(source, strength: float = 2.0, rounds: int = 3, flag: bool = False, name: str = "x"):
    """One line."""
    return []
'''


def recipe_from(folder: Path, text: str, name: str = "mine.py") -> StrategyRecipe:
    path = folder / name
    path.write_text(text)
    [recipe] = RecipeFile.read(path).recipes()
    assert isinstance(recipe, StrategyRecipe)
    return recipe


def test_a_file_is_a_strategy(tmp_path: Path) -> None:
    recipe = recipe_from(tmp_path, GOOD)
    assert (recipe.name, recipe.label, recipe.summary) == ("mine", "Mine", "One line.")
    assert recipe.defaults == {
        **LEARNER_DEFAULTS,
        "lr": 0.5,
        "strength": 2.0,
        "rounds": 3,
        "flag": False,
        "name": "x",
    }
    assert recipe.search == {"lr": Log(1e-3, 1e-1)}
    before = recipe.checksum
    edited = recipe_from(tmp_path, GOOD + "\n")
    assert edited.checksum != before
    # What was loaded is what it was, whatever becomes of the file.
    assert recipe.checksum == before


def test_settings_have_the_type_of_the_default(tmp_path: Path) -> None:
    recipe = recipe_from(tmp_path, GOOD)
    values = resolve(recipe, {"strength": "1e-3", "rounds": "7", "flag": "yes", "name": "y"})
    assert (values["strength"], values["rounds"], values["flag"]) == (0.001, 7, True)
    assert values["name"] == "y"
    assert values["lr"] == 0.5
    assert resolve(recipe, {"lr": "0.1"}, {"lr": 0.2, "rounds": 9})["lr"] == 0.1
    assert resolve(recipe, {}, {"lr": 0.2, "rounds": 9})["rounds"] == 9


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("strenght", "1", "did you mean 'strength'"),
        ("zzz", "1", "it has lr"),
        ("rounds", "1.5", "a whole number"),
        ("strength", "much", "a number"),
        ("strength", "nan", "a number"),
        ("strength", "inf", "a number"),
        ("flag", "maybe", "true or false"),
    ],
)
def test_bad_settings_are_one_line(tmp_path: Path, key: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        resolve(recipe_from(tmp_path, GOOD), {key: text})
    assert "\n" not in str(error.value)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_is_more_than_a_usage_error(key: str, text: str) -> None:
    recipe = discover_once().strategies["ewc"]
    with contextlib.suppress(UsageError):
        values = resolve(recipe, {key: text})
        assert type(values[key]) is type(recipe.defaults[key])


def discover_once(cache: list[Registry] = []) -> Registry:  # noqa: B006 - it is the cache
    if not cache:
        cache.append(discover())
    return cache[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sdg"}, "choose from sgd"),
        ({"lr": -0.1}, "0 or more"),
        ({"weight_decay": -1.0}, "0 or more"),
        ({"optimizer": "adam", "momentum": 0.9}, "only sgd"),
    ],
)
def test_learner_settings_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_learner("naive", {**LEARNER_DEFAULTS, **settings})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('no such\\nluck')", "RuntimeError: no such luck.*line 1 of mine.py"),
        ("def f(:\n", "SyntaxError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "holds no recipe"),
        (GOOD.replace('"mine"', '"Mine!"'), "lower-case letters"),
        (GOOD.replace("strength: float = 2.0", "strength"), "has no default value"),
        (GOOD.replace("lr=0.5", "learning_rate=0.5"), "make it a parameter of the function"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        recipe_from(tmp_path, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"# coding: nonsense\n", b"x = '\0'\n"])
def test_a_file_that_is_no_text_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.py") as error:
        RecipeFile.read(path).recipes()
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.py"):
        RecipeFile.read(tmp_path / "nowhere.py")


def test_two_recipes_of_one_name_name_both_files(tmp_path: Path) -> None:
    registry = Registry()
    registry.add(recipe_from(tmp_path, GOOD, "a.py"))
    registry.add(recipe_from(tmp_path, GOOD, "a.py"))
    with pytest.raises(UsageError, match=r"a\.py.*b\.py|b\.py.*a\.py"):
        registry.add(recipe_from(tmp_path, GOOD, "b.py"))


def test_discovery_finds_what_ships_and_breaks_on_nothing() -> None:
    registry = discover_once()
    assert registry.broken == []
    assert {"naive", "ewc", "si", "gtl", "gtl-masked", "frozen"} <= set(registry.strategies)
    assert {"split-mnist", "stream-mnist", "split-digits", "stream-digits"} <= set(
        registry.benchmarks
    )


def test_a_broken_file_hides_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gtl_bench.strategies as package

    (tmp_path / "my_broken.py").write_text("1 / 0")
    (tmp_path / "my_good.py").write_text(GOOD)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    registry = discover()
    assert {"mine", "naive"} <= set(registry.strategies)
    [broken] = registry.broken
    assert broken.file == "my_broken"
    assert broken.reason.startswith("ZeroDivisionError: division by zero")
    with pytest.raises(UsageError, match=r"'my-broken' can't be used.*ZeroDivisionError"):
        registry.strategy("my-broken")


@pytest.mark.parametrize(("name", "guess"), [("naiv", "naive"), ("glt", "gtl"), ("ecw", "ewc")])
def test_unknown_names_get_a_suggestion(name: str, guess: str) -> None:
    with pytest.raises(UsageError, match=f"unknown strategy '{name}': did you mean '{guess}'"):
        discover_once().strategy(name)


def test_composition_joins_settings_and_files() -> None:
    registry = discover_once()
    both = registry.strategy("gtl+ewc")
    assert {"ewc_lambda", "n_scouts", "lr"} <= set(both.defaults)
    assert both.checksum not in (
        registry.strategies["gtl"].checksum,
        registry.strategies["ewc"].checksum,
    )
    assert both.label == "GTL + EWC"
    with pytest.raises(UsageError, match="more than one part has the setting"):
        registry.strategy("gtl+gtl-masked")
    with pytest.raises(UsageError, match="unknown strategy 'nope'"):
        registry.strategy("gtl+nope")


def test_a_default_may_not_be_missing() -> None:
    with pytest.raises(UsageError, match="'alpha' has no default"):

        @strategy("x")
        def x(source: object, alpha: float) -> list[object]:
            return []


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, gtl_bench.cli, gtl_bench.runner; from gtl_bench.recipes import discover;"
        "discover(); heavy = {'torch', 'avalanche', 'pandas', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
