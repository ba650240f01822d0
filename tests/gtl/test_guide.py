"""Guides: raw, focused, tempered, saved, looked at; and the controls made from them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from gtl_bench.gtl import Guide, ScoutRecord
from gtl_bench.gtl.guide import _FOCUS, _TEMPERATURE

Array = NDArray[np.float64]


def guide_of(*values: list[float]) -> Guide:
    return Guide({f"p{index}": torch.tensor(value) for index, value in enumerate(values)})


def raw_values() -> st.SearchStrategy[Array]:
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)
    numbers = st.floats(0, 100, width=32, allow_subnormal=False)
    return hnp.arrays(np.float64, shapes, elements=numbers)


def assert_close(result: Tensor, expected: Array) -> None:
    """To 1e-6 of the largest value."""
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6, atol=1e-6 * scale)


# --- raw -----------------------------------------------------------------------------------------


def test_raw_guide_by_hand() -> None:
    base = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor(0.5)}
    scouts = [
        {"w": torch.tensor([2.0, 2.0]), "b": torch.tensor(0.0)},
        {"w": torch.tensor([-2.0, 2.0]), "b": torch.tensor(0.5)},
    ]
    squared = Guide.from_scouts(base, scouts).values
    assert squared["w"].tolist() == [(1 + 9) / 2, 0.0]
    assert squared["b"].item() == 0.125
    absolute = Guide.from_scouts(base, scouts, measure="absolute").values
    assert absolute["w"].tolist() == [(1 + 3) / 2, 0.0]
    assert absolute["b"].item() == 0.25


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_raw_guide_is_the_mean_over_scouts(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    weights = hnp.arrays(np.float32, shape, elements=st.floats(-10, 10, width=32))
    base, *scouts = data.draw(st.lists(weights, min_size=2, max_size=6))
    given_scouts = [{"w": torch.from_numpy(scout)} for scout in scouts]
    moved = [scout.astype(np.float64) - base for scout in scouts]
    for measure, expected in (
        ("squared", np.mean([m**2 for m in moved], axis=0)),
        ("absolute", np.mean([np.abs(m) for m in moved], axis=0)),
    ):
        guide = Guide.from_scouts({"w": torch.from_numpy(base)}, given_scouts, measure)
        assert_close(guide.values["w"], expected)


def test_one_module_trained_again_and_again() -> None:
    """The authors' library returns zeros here: its base is the same tensors as its scouts."""
    model = nn.Linear(3, 2)
    state = copy.deepcopy(model.state_dict())

    def scouts() -> Iterator[nn.Module]:
        for step in (0.5, -1.0):
            model.load_state_dict(state)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += step
            yield model

    guide = Guide.from_scouts(model, scouts())
    for value in guide.values.values():
        torch.testing.assert_close(value, torch.full_like(value, (0.25 + 1) / 2))


@pytest.mark.parametrize("as_mapping", [False, True])
def test_a_list_of_one_object_is_refused(as_mapping: bool) -> None:
    model = nn.Linear(3, 2)
    base = model.state_dict() if as_mapping else model
    with pytest.raises(ValueError, match="scout 0 and the base are the same tensors"):
        Guide.from_scouts(base, [model])
    other = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="scout 1 and scout 0 are the same tensors"):
        Guide.from_scouts(base, [other, other])


@pytest.mark.parametrize("as_mapping", [False, True])
def test_buffers_and_frozen_parameters_are_left_out(as_mapping: bool) -> None:
    base = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    scout = copy.deepcopy(base)
    scout(torch.randn(8, 3)).sum().backward()
    assert not torch.equal(scout[1].running_mean, base[1].running_mean)
    every = {name for name, _ in base.named_parameters()}
    if as_mapping:
        guide = Guide.from_scouts(base.state_dict(), [scout.state_dict()])
        assert guide.values.keys() == every
    else:
        base[0].weight.requires_grad_(False)
        guide = Guide.from_scouts(base, [scout])
        assert guide.values.keys() == every - {"0.weight"}


@pytest.mark.parametrize(
    ("scouts", "message"),
    [
        ([], "no scout"),
        ([{"w": torch.zeros(2)}], "w is 3 in the base and 2 in scout 0"),
        ([{"w": torch.zeros(3)}, {"v": torch.zeros(3)}], "scout 1 has no w"),
        ([{"w": torch.tensor([0.0, 0.0, torch.inf])}], "scout 0 diverged"),
    ],
)
def test_scouts_that_make_no_guide(scouts: list[dict[str, Tensor]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Guide.from_scouts({"w": torch.ones(3)}, scouts)


# --- focus ---------------------------------------------------------------------------------------

FOCUS: dict[str, Callable[[Array, float, float], Array]] = {
    "raw": lambda g, low, high: g,
    "zero_enforced": lambda g, low, high: g - low,
    "normalized": lambda g, low, high: g / high if high else g,
    "zero_enforced_and_normalized": lambda g, low, high: (
        (g - low) / (high - low) if high > low else g
    ),
}
TEMPERATURE: dict[str, Callable[[Array, float, float], Array]] = {
    "icy": lambda g, low, high: np.maximum(2 * (g - (high - low) / 2), 0),
    "chilly": lambda g, low, high: g - low,
    "room": lambda g, low, high: g,
    "warm": lambda g, low, high: g / 2 + (high - low) / 2,
    "evaporating": lambda g, low, high: g / 4 + (high - low),
}


def test_every_focus_and_temperature_is_tested() -> None:
    assert FOCUS.keys() == _FOCUS.keys()
    assert TEMPERATURE.keys() | {"freezing"} == _TEMPERATURE.keys()


def test_focus_by_hand() -> None:
    raw = guide_of([2.0, 4.0, 10.0], [0.0, 5.0])
    expected = {
        ("raw", "tensor"): ([2.0, 4.0, 10.0], [0.0, 5.0]),
        ("zero_enforced", "tensor"): ([0.0, 2.0, 8.0], [0.0, 5.0]),
        ("normalized", "tensor"): ([0.2, 0.4, 1.0], [0.0, 1.0]),
        ("zero_enforced_and_normalized", "tensor"): ([0.0, 0.25, 1.0], [0.0, 1.0]),
        ("zero_enforced", "model"): ([2.0, 4.0, 10.0], [0.0, 5.0]),
        ("normalized", "model"): ([0.2, 0.4, 1.0], [0.0, 0.5]),
        ("zero_enforced_and_normalized", "model"): ([0.2, 0.4, 1.0], [0.0, 0.5]),
    }
    for (focus, scope), values in expected.items():
        result = raw.focused(focus, scope=scope).values
        for name, value in zip(("p0", "p1"), values):
            torch.testing.assert_close(result[name], torch.tensor(value))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(raw_values(), min_size=1, max_size=3),
    st.sampled_from(sorted(FOCUS)),
    st.sampled_from(["tensor", "model"]),
    st.sampled_from(sorted(TEMPERATURE)),
)
def test_focus_then_temperature(arrays: list[Array], focus: str, scope: str, heat: str) -> None:
    raw = Guide({str(index): torch.from_numpy(array) for index, array in enumerate(arrays)})
    focused = raw.focused(focus, scope)
    tempered = focused.tempered(heat)
    everything = np.concatenate([array.ravel() for array in arrays])
    for index, array in enumerate(arrays):
        among = everything if scope == "model" else array
        expected = FOCUS[focus](array, among.min(), among.max())
        assert_close(focused.values[str(index)], expected)
        g = focused.values[str(index)].double().numpy()
        assert_close(tempered.values[str(index)], TEMPERATURE[heat](g, g.min(), g.max()))


@pytest.mark.parametrize("value", [0.0, 0.3, 7.0])
@pytest.mark.parametrize("focus", sorted(FOCUS))
@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_a_tensor_of_one_value_stays_finite(value: float, focus: str, scope: str) -> None:
    guide = guide_of([value, value]).focused(focus, scope)
    expected = {"zero_enforced": 0.0, "normalized": 1.0 if value else 0.0}.get(focus, value)
    assert guide.values["p0"].tolist() == pytest.approx([expected, expected])


# --- temperature ---------------------------------------------------------------------------------


def test_temperature_by_hand() -> None:
    guide = guide_of([0.2, 0.5, 1.0])  # max − min is 0.8
    expected = {
        "freezing": [0.0, 0.0, 1.0],
        "icy": [0.0, 0.2, 1.2],
        "chilly": [0.0, 0.3, 0.8],
        "room": [0.2, 0.5, 1.0],
        "warm": [0.5, 0.65, 0.9],
        "evaporating": [0.85, 0.925, 1.05],
    }
    for temperature, values in expected.items():
        result = guide.tempered(temperature).values["p0"]
        torch.testing.assert_close(result, torch.tensor(values))


@pytest.mark.parametrize(("n", "kept"), [(1, 1), (10, 1), (52, 2), (100, 2), (300, 4)])
def test_freezing_keeps_the_values_from_the_99th_percentile_up(n: int, kept: int) -> None:
    """Index (from 0) nearest to 0.99 (n − 1): 0, 9, 50, 98, 296."""
    values = torch.arange(n)[torch.randperm(n)].float()
    frozen = Guide({"w": values}).tempered("freezing").values["w"]
    assert torch.equal(frozen, (values >= n - kept).float())


def test_freezing_keeps_all_that_are_equal_to_the_percentile() -> None:
    assert guide_of([1.0, 1.0, 0.0]).tempered("freezing").values["p0"].tolist() == [1.0, 1.0, 0.0]


@settings(deadline=None, max_examples=30)
@given(raw_values(), st.floats(-3, 3, width=32), st.floats(-3, 3, width=32))
def test_slope_and_intercept(g: Array, slope: float, intercept: float) -> None:
    guide = Guide({"w": torch.from_numpy(g)})
    both = guide.tempered(slope=slope, intercept=intercept)
    assert_close(both.values["w"], np.maximum(slope * g - intercept, 0))
    assert_close(guide.tempered(slope=slope).values["w"], np.maximum(slope * g, 0))
    assert_close(guide.tempered(intercept=intercept).values["w"], np.maximum(g - intercept, 0))


def test_a_guide_is_a_value() -> None:
    raw = guide_of([0.2, 0.5, 1.0], [3.0, 1.0])
    before = {name: value.clone() for name, value in raw.values.items()}
    for focus in FOCUS:
        for scope in ("tensor", "model"):
            raw.focused(focus, scope)
    for temperature in (*TEMPERATURE, "freezing"):
        raw.tempered(temperature)
    raw.tempered(slope=2, intercept=1)
    raw.sparse(0.6)
    raw.scalar()
    raw.shuffled(torch.Generator().manual_seed(0))
    raw.focused().inverted()
    assert raw == Guide(before)


def test_values_given_are_copied() -> None:
    given_values = torch.tensor([1.0])
    guide = Guide({"w": given_values})
    given_values += 1
    assert guide.values["w"].item() == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.focused("normalised"), "focus is 'normalised'; it must be one of raw, zero"),
        (lambda g: g.focused("raw", scope="layer"), "scope is 'layer'"),
        (lambda g: g.tempered("tepid"), "temperature is 'tepid'"),
        (lambda g: g.tempered(), "either a temperature by name, or slope and intercept"),
        (lambda g: g.tempered("icy", slope=1.0), "either a temperature by name"),
        (lambda g: Guide.from_scouts({"w": torch.ones(1)}, [], "cubed"), "measure is 'cubed'"),
        (lambda g: Guide({}), "at least one parameter"),
        (lambda g: Guide({"w": torch.tensor([float("nan")])}), "guide of w has values"),
    ],
)
def test_what_is_not_offered_is_an_error(call: Callable[[Guide], Guide], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call(guide_of([1.0, 2.0]))
    assert "\n" not in str(error.value)


# --- sparse, controls ----------------------------------------------------------------------------


def test_sparse_reports_the_share_kept() -> None:
    guide = guide_of([0.1, 0.3, 0.5], [0.7]).sparse(0.3)
    assert guide.values["p0"].tolist() == pytest.approx([0.0, 0.3, 0.5])
    assert guide.density == 3 / 4


def test_shuffled_permutes_within_each_tensor() -> None:
    raw = Guide({"w": torch.rand(30, 20), "b": torch.rand(50) + 5})
    shuffled = raw.shuffled(torch.Generator().manual_seed(1))
    for name, value in raw.values.items():
        other = shuffled.values[name]
        assert other.shape == value.shape
        assert torch.equal(other.flatten().sort().values, value.flatten().sort().values)
        assert (other == value).float().mean() < 0.2
    assert shuffled == raw.shuffled(torch.Generator().manual_seed(1))
    assert shuffled != raw.shuffled(torch.Generator().manual_seed(2))


def test_scalar_is_each_tensors_mean() -> None:
    scalar = guide_of([0.0, 0.5, 1.0], [0.2]).scalar()
    assert scalar.values["p0"].tolist() == [0.5, 0.5, 0.5]
    assert scalar.values["p1"].tolist() == pytest.approx([0.2])


def test_inverted_is_one_minus_the_guide() -> None:
    assert guide_of([0.0, 0.25, 1.0]).inverted().values["p0"].tolist() == [1.0, 0.75, 0.0]
    with pytest.raises(ValueError, match=r"p1 has guide values of 0\.5 to 1\.5"):
        guide_of([0.5], [0.5, 1.5]).inverted()


# --- file ----------------------------------------------------------------------------------------

RECORD = ScoutRecord((1, 4), 30, 5, 0.9, float("nan"), 0.1)


def test_saved_and_loaded_is_equal_bit_for_bit(tmp_path: Path) -> None:
    values = {"z.weight": torch.randn(5, 3, 2).abs() * 1e-9, "b": torch.tensor(0.1)}
    guide = Guide(values, [RECORD, RECORD._replace(held_out_accuracy=1 / 3)])
    guide.save(tmp_path / "guide.safetensors")
    loaded = Guide.load(tmp_path / "guide.safetensors")
    assert list(loaded.values) == list(guide.values)
    for name, value in guide.values.items():
        assert value.numpy().tobytes() == loaded.values[name].numpy().tobytes()
    assert loaded == guide
    assert repr(loaded.scouts) == repr(guide.scouts)


def test_guides_are_equal_if_names_shapes_and_values_are() -> None:
    guide = Guide({"w": torch.ones(2), "b": torch.zeros(1)})
    assert guide == Guide({"b": torch.zeros(1), "w": torch.ones(2)})
    assert guide != Guide({"w": torch.ones(2)})
    assert guide != Guide({"w": torch.ones(1, 2), "b": torch.zeros(1)})
    assert guide != Guide({"w": torch.tensor([1.0, 1.0000001]), "b": torch.zeros(1)})
    assert guide != "a guide"


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "guide.safetensors"
    Guide({"w": torch.rand(10)}).save(path)
    whole = path.read_bytes()
    for size in (0, 4, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"guide\.safetensors can't be read as a guide"):
            Guide.load(path)


def test_foreign_files_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="isn't a guide"):
        Guide.load(path)
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="can't be read as a guide"):
        Guide.load(path)
    with pytest.raises(FileNotFoundError):
        Guide.load(tmp_path / "absent.safetensors")


# --- looking at it -------------------------------------------------------------------------------


def test_summary_has_a_row_for_each_tensor() -> None:
    guide = Guide({"w": torch.tensor([[0.0, 0.005], [0.5, 1.0]]), "b": torch.zeros(3)})
    summary = guide.summary().set_index("tensor")
    row = summary.loc["w"]
    assert row["shape"] == "2 × 2"
    assert row["size"] == 4
    assert row["mean"] == pytest.approx(1.505 / 4)
    assert (row["min"], row["max"]) == (0.0, 1.0)
    assert row["near_zero"] == 0.5
    assert row["kept"] == 0.75
    assert summary.loc["b", "near_zero"] == 1.0
    assert guide.mean == pytest.approx(1.505 / 7)
    assert "2 tensors, 7 values" in repr(guide)
