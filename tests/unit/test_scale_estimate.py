"""The figures of docs/scale.md."""

import json

import pytest

from tests.benchmarks import scale_estimate as scale

COSTS = {
    "batch_rows": 1000,
    "stage_1": {
        "flops": 67e5, "activation_bytes": 0, "cpu_seconds": 1e-3, "cuts_per_event": 0.5, "step_kernels": 8,
    },
    "stage_2": {
        "flops": 67e6, "activation_bytes": 335, "cpu_seconds": 1e-3, "lookups": 10, "distinct_ids": 2,
        "step_kernels": 8192,
    },
    "loader_cpu_seconds": 16e-6,
    "storage": {"read_cpu_seconds": 16e-7, "disk_bytes": 6.0, "memory_bytes": 50.0},
    "items": 100e6,
    "item_width": 10,
    "user_width": 5,
    "dense_parameters": 1e6,
    "flow_numbers": 100,
}  # fmt: skip


def test_the_document_holds_what_the_script_computes_from_the_measured_costs():
    text = scale.DOCUMENT.read_text(encoding="utf-8")
    assert scale.filled(text, scale.estimate(json.loads(scale.COSTS.read_text()))) == text


def test_storage_is_rows_times_bytes():
    sizes = {name: size for name, size, _ in scale.storage(COSTS)}
    assert sizes["log as Parquet shards"] == 6.7e9 * 6
    assert sizes["the same log in memory"] == 6.7e9 * 50
    assert sizes["embedding tables, fp32"] == 4 * (100e6 * 10 + 200e6 * 5)
    assert sizes["tables with row-wise Adagrad"] == 4 * 2e9 + 4 * 300e6
    assert sizes["flow cache, float16"] == 6.7e9 * 200


def test_a_larger_catalogue_has_longer_ids():
    assert scale.disk_bytes(COSTS | {"items": 100e6 / 256}) == pytest.approx(7)


def test_seconds_of_a_row_are_cost_over_what_the_device_reaches():
    seconds = scale.seconds_per_row(COSTS, "stage_2")
    assert seconds["matrix multiplications"] == pytest.approx(67e6 / 6.7e12)
    assert seconds["kernel launches"] == pytest.approx(5e-6)
    assert seconds["device memory"] == pytest.approx(4 * 335 / 3.35e12)
    assert seconds["building batches (CPU)"] == pytest.approx(1e-6)
    assert seconds[scale.NETWORK] == pytest.approx(10 * (8 + 8 * 15) / 25e9)
    assert seconds[scale.DENSE] == pytest.approx(28 * 2e9 / 8 / 3.35e12 / 8192)


def test_the_slowest_resource_sets_the_hours():
    first, second, both = scale.estimate(COSTS)["hours"]
    assert first[3] == second[3] == "matrix multiplications"
    assert float(second[2]) == pytest.approx(6.7e9 * 1e-5 / 8 / 3600, abs=0.05)
    assert float(both[2]) == pytest.approx(float(first[2]) + float(second[2]), abs=0.11)


def test_a_document_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="storage"):
        scale.filled("<!-- time --><!-- end -->", {"storage": []})
