from __future__ import annotations

import pytest

from carbon_trainer.grid.providers.fuels import intensity


def test_a_mix_is_weighed_by_what_each_fuel_generates() -> None:
    assert intensity({"coal": 50, "wind": 50}) == (pytest.approx((820 + 11) / 2), 0.0)
    assert intensity({"coal": 90, "hydro": -30, "tidal": 10}) == (820, pytest.approx(0.1))
    assert intensity({"wind": 0}) is None
