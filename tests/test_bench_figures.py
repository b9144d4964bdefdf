"""What `scripts/bench.py` makes of what it measured: ratios, verdicts, tables."""

import pytest


def test_tables_are_aligned(script):
    lines = script("bench_report").table([["", "s"], ["open", "0.1"], ["fit", "14.25"]])
    assert lines == ["          s", "open    0.1", "fit   14.25"]


def measured(device: str = "cpu", **parts: object) -> dict:
    return {"machine": {"device": device}, **parts}


@pytest.mark.parametrize(("ratio", "reached"), [(0.85, True), (0.849, False)])
def test_a_lower_bound_is_reached_from_the_bound_on(script, ratio, reached):
    found = script("bench_verdicts").verdicts(measured(limits={"ratio": ratio}))
    verdict = next(v for v in found if "slower limit" in v["name"])
    assert (verdict["required"], verdict["value"]) == ("at least 0.85", ratio)
    assert verdict["reached"] is reached
    assert all(other["reached"] is None for other in found if other is not verdict)


def test_upper_bounds_are_in_the_unit_that_is_printed(script):
    document = measured(
        main={"median": {"peak_bytes": 1.25e9}, "peak_of_projection": 0.9},
        growth={"peak_change": 0.049},
    )
    found = {v["name"]: v for v in script("bench_verdicts").verdicts(document)}
    assert found["peak memory"]["found"] == "1.25 GB"
    assert found["peak memory"]["reached"] is False
    assert found["peak memory, longest to shortest movie"]["found"] == "4.9 %"
    assert found["peak memory, longest to shortest movie"]["reached"] is True
    assert found["peak memory over its projection"]["reached"] is True


def test_a_gpu_has_bounds_of_its_own(script):
    names = [
        {v["name"]: v["required"] for v in script("bench_verdicts").verdicts(measured(device))}
        for device in ("cpu", "cuda:0")
    ]
    assert [n["fit of a stack"] for n in names] == ["at most 20 s", "at most 4 s"]
    assert "apply alone" not in names[0]
    assert names[1]["apply alone"] == "at least 5000 frames/s"


def test_a_part_that_failed_is_told_and_not_judged(script):
    document = measured(limits={"failed": "the network broke"})
    assert script("bench_verdicts").verdicts(document)[0]["reached"] is None


def test_ratios_are_medians_over_rounds(script):
    made = script("bench_figures")
    rates = [(10, 40, 9), (20, 16, 12), (10, 30, 5)]  # network, copy, disk to disk
    rounds = [
        made.one_round(
            {"frames_per_second": network, "threads": 2},
            {"frames_per_second": copy, "threads": 3},
            {"frames_per_second": disk},
        )
        for network, copy, disk in rates
    ]
    assert [one["ratio"] for one in rounds] == [0.9, 0.75, 0.5]
    found = made.limit_figures(rounds)
    assert (found["ratio"], found["slower"]) == (0.75, "network")
    assert found["copy"] == {"frames_per_second": 30, "threads": 3}


def test_growth_compares_the_longest_with_the_shortest(script):
    runs = [
        {"frames": frames, "apply_seconds": seconds, "peak_bytes": peak}
        for frames, seconds, peak in [(100, 10.0, 1000), (200, 25.0, 990), (400, 44.0, 1030)]
    ]
    found = script("bench_figures").growth_figures(runs)
    assert found["time_ratio"] == pytest.approx(1.1)
    assert found["peak_change"] == pytest.approx(0.03)
    assert script("bench_figures").growth_figures(runs[:1])["peak_change"] is None


def test_a_row_for_the_readme_has_a_cell_for_each_column(script):
    document = {
        "machine": {"gpu": None, "cpu": "Abacus", "threads": 2},
        "amounts": {"size": 512, "main": 2000},
        "command": "python scripts/bench.py",
        "main": {"median": {"fit_seconds": 14.21, "peak_bytes": 1.1e9}},
        "limits": {"failed": "no time"},
    }
    head, rule, row = script("bench_report").markdown(document).splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| Abacus, 2 threads | 2000 x 512 x 512 | 14.2 |  |")
    assert " 1.1 |" in row
