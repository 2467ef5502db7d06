"""Paired timing: all sides in one run, interleaved, medians of repeats."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def interleaved(sides: dict[str, Callable[[], int]], repeats: int = 5) -> dict[str, float]:
    """Rows per second of each side: the median over ``repeats``, after one warm-up, taken in turn A B A B.

    A side is a function that processes some rows and returns how many.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, work in sides.items():
            begin = time.perf_counter()
            rows = work()
            if repeat:
                rates[name].append(rows / (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in rates.items()}


def machine() -> dict:
    """What the figures were measured on."""
    return {
        "cpu": next(
            (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
            platform.processor(),
        ),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def described(facts: dict) -> str:
    """``machine()`` in a line."""
    return f"{facts['cpu']}, {facts['threads']} threads, torch {facts['torch']}, Python {facts['python']}"


def publish(title: str, header: list[str], rows: list[list], out: str | None) -> None:
    """Prints a markdown table and writes the same as JSON to ``out`` when it is given."""
    facts = machine()
    print(markdown(title, header, rows))
    print(described(facts))
    if out:
        table = {"title": title, "machine": facts, "header": header, "rows": rows}
        Path(out).write_text(json.dumps(table, indent=2) + "\n")


def markdown(title: str, header: list[str], rows: list[list]) -> str:
    """A heading and a table."""
    lines = [f"\n### {title}\n", _line(header), "|" + "---|" * len(header), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: list) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return str(value)


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
