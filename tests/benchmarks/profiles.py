"""Where the time of a training step goes: the five dearest operators of each model, by torch.profiler.

python -m tests.benchmarks.profiles [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

Own time of an operator is the time inside it without the operators that it calls; shares are of the own time
of all. The loader's reading is among them, Python between operators is not.
"""

from __future__ import annotations

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.floor import MODELS, training_of
from tests.benchmarks.setup import parse_options
from tests.benchmarks.timing import publish

TOP = 5


def dearest(work, steps: int) -> list[tuple[str, float, float, float]]:
    """Name, share, milliseconds a step and calls a step of the ``TOP`` operators by own time."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        work()
    found = sorted(recorded.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in found)
    return [
        (
            event.key,
            100 * event.self_cpu_time_total / total,
            event.self_cpu_time_total / 1000 / steps,
            event.count / steps,
        )
        for event in found[:TOP]
    ]


def main() -> None:
    options = parse_options(__doc__)
    rows = []
    for name in MODELS:
        work = training_of(name, options.dataset, options.steps)
        work()  # warm
        rows += [[name, *entry] for entry in dearest(work, options.steps)]
    header = ["training", "operator", "share, %", "ms a step", "calls a step"]
    publish(f"Profiles, {options.dataset}, batch 1024", header, rows, options.out)


if __name__ == "__main__":
    main()
