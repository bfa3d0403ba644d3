from lab.history.plan import BLOCK_ROWS, WEEK_S, YEAR_S, plan_assets, plan_blocks, plan_series


def rows_of(measurements: int, at_least: int = 0) -> float:
    assets = plan_assets(measurements, 1, "seed", at_least)
    return sum(YEAR_S / one.grid.step_s for one in plan_series(assets, "seed"))


def test_a_hundred_million_measurements_are_those_of_ten_thousand_assets() -> None:
    assets = plan_assets(100_000_000, 1, "seed")

    assert 10_000 <= len(assets) < 11_000
    assert 100_000_000 <= rows_of(100_000_000) < 102_000_000


def test_a_smaller_history_may_have_as_many_assets() -> None:
    assets = plan_assets(20_000_000, 1, "seed", at_least=10_000)

    assert 10_000 <= len(assets) < 10_050
    assert sum(plan.group.asset_kind == "glass_container" for plan in assets) >= 88
    assert 20_000_000 <= rows_of(20_000_000, 10_000) < 21_000_000


def test_the_fleet_is_the_same_for_the_same_seed() -> None:
    one, same, other = (plan_assets(100_000, 1, seed) for seed in ("a", "a", "b"))

    assert one == same
    assert [plan.dev_eui for plan in one] != [plan.dev_eui for plan in other]


def test_no_two_devices_or_names_are_alike() -> None:
    assets = plan_assets(10_000_000, 1, "seed")

    assert len({plan.dev_eui for plan in assets}) == len({plan.asset_name for plan in assets}) == len(assets)


def test_blocks_hold_every_series_once_and_never_indexes_with_others() -> None:
    series = plan_series(plan_assets(20_000_000, 1, "seed"), "seed")

    blocks = plan_blocks(series)

    assert [number for block in blocks for number in block] == list(range(len(series)))
    for block in blocks:
        assert len({series[number].grid.is_index for number in block}) == 1
        assert sum(WEEK_S // series[number].grid.step_s for number in block) < BLOCK_ROWS + 1_100
