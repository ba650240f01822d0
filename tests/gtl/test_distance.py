"""Guides by distance: shells around the base, each with the guide of the snapshots in it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gtl_bench.gtl import DistanceGuides, Guide, scout, scout_by_distance
from gtl_bench.gtl.scouts import send


def snapshot(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values)}


def test_snapshots_fall_into_shells_by_their_distance() -> None:
    snapshots = [snapshot(0.0, 0.5), snapshot(3.0, 4.0), snapshot(1.0, 0.0), snapshot(0.0, 0.7)]
    guides = DistanceGuides.from_snapshots(snapshot(0.0, 0.0), snapshots, radii=[1.0])
    inner, outer = (guide.values["w"] for guide in guides.guides)
    torch.testing.assert_close(inner, torch.tensor([0.0, (0.25 + 0.49) / 2]))
    torch.testing.assert_close(outer, torch.tensor([(9 + 1) / 2, 16 / 2]))  # 1.0 is outside
    assert guides.at(0.0) is guides.at(0.99) is guides.guides[0]
    assert guides.at(1.0) is guides.at(1e9) is guides.guides[1]


def test_the_distance_is_over_all_parameters() -> None:
    base = {"w": torch.zeros(2), "b": torch.zeros(1)}
    moved = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor([2.0])}  # 3 away
    inside = {"w": torch.tensor([0.0, 0.1]), "b": torch.tensor([0.0])}
    near = DistanceGuides.from_snapshots(base, [moved, inside], radii=[2.9])
    assert near.guides[1].values["b"].item() == 4.0


def test_map_changes_each_guide() -> None:
    guides = DistanceGuides((Guide({"w": torch.tensor([1.0, 3.0])}),) * 2, (0.5,))
    focused = guides.map(Guide.focused)
    assert focused.radii == guides.radii
    assert all(guide.values["w"].tolist() == [0.0, 1.0] for guide in focused.guides)


@pytest.mark.parametrize(
    ("n_guides", "radii"), [(2, (1.0, 0.5)), (2, ()), (2, (0.0,)), (3, (1.0, 1.0)), (1, (1.0,))]
)
def test_radii_ascend_and_part_the_guides(n_guides: int, radii: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="radii"):
        DistanceGuides((Guide({"w": torch.ones(1)}),) * n_guides, radii)


def test_an_empty_shell_is_an_error_that_says_how_far_snapshots_are() -> None:
    snapshots = [snapshot(0.0, 0.5), snapshot(0.0, 4.0)]
    with pytest.raises(ValueError, match=r"no snapshot is 1 to 2 from the base.*0\.5 to 4 away"):
        DistanceGuides.from_snapshots(snapshot(0.0, 0.0), snapshots, radii=[1.0, 2.0])


def options() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(2)
    return {"generator": generator, "n_scouts": 5, "n_classes": 2, "epochs": 4, "lr": 0.1}


def test_scouts_leave_snapshots_on_their_way() -> None:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(4).repeat(10)
    x = torch.randn(4, 6, generator=generator)[y] + torch.randn(40, 6, generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    ends = scout(model, (x, y), **options())
    radius = 0.9 * min(record.distance for record in ends.scouts)
    guides = scout_by_distance(model, (x, y), radii=[radius], measure="absolute", **options())
    paths = list(send(model, (x, y), every_epoch=True, **options()))
    assert len(paths) == 5 * 4
    for guide, outer in zip(guides.guides, (False, True)):
        inside = [
            path.displacement["0.weight"].abs()
            for path in paths
            if (torch.cat([m.flatten() for m in path.displacement.values()]).norm() >= radius)
            == outer
        ]
        torch.testing.assert_close(guide.values["0.weight"], torch.stack(inside).mean(0))
        assert [record[:4] for record in guide.scouts] == [record[:4] for record in ends.scouts]
