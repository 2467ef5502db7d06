"""Load on the service, over real connections: requests/s, p50 and p99, while events are appended.

python -m tests.benchmarks.serving [--models NIFDIN AMEN GenCI] [--dataset=ml-100k] [--items=100]
                                   [--clients=1 8] [--seconds=5] [--wait_ms=0] [--out=FILE.json]

For each model a run folder with new weights, on which the time does not depend, is exported and served by
``recbole-nif serve`` in a process of its own; clients, each with one connection, ask for the scores of random
users and items without a pause. One more appends an event every 20 ms to users of its own. Afterwards answers
are compared with a scorer of the same export: none may be wrong or missing.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
import torch

from recbole_nif.config import NIFConfig
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.export.write import export_run
from recbole_nif.inference import Scorer
from tests.benchmarks.genci import IDS
from tests.benchmarks.timing import publish
from tests.toy import save_run

PAUSE = 0.02  # seconds between two appended events
COMPARED = 200  # answers of each load
TOLERANCE = 1e-4  # AMEN keeps flows in half precision, so that rounding counts for more


def exported(model: str, dataset: str, folder: Path) -> Path:
    """An export of a model with new weights."""
    settings = {"device": "cpu", **(IDS if model == "GenCI" else {})}
    config = NIFConfig(model, dataset, config_dict=settings)
    torch.manual_seed(config["seed"])
    run = save_run(folder / "run", config, config.model_class(config, CTRDataset(config).build()[0]))
    return export_run(run, folder / "export", argv=["--device=cpu"])


async def load(address: str, scorer: Scorer, n_clients: int, n_items: int, seconds: float) -> dict:
    """Answers that ``n_clients`` clients got within ``seconds``, their times, and how many events came."""
    tokens = scorer.data.columns.tokens
    users, items = (tokens[name][1:].tolist() for name in (scorer.data.user_field, scorer.data.item_field))
    asked_users, changed_users = users[: len(users) // 2], users[len(users) // 2 :]
    answers, times, appended, end = [], [], 0, time.perf_counter() + seconds

    async def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            while time.perf_counter() < end:
                body = {"user": str(rng.choice(asked_users)), "items": rng.choice(items, n_items).tolist()}
                begun = time.perf_counter()
                answer = await client.post("/score", json=body)
                times.append(time.perf_counter() - begun)
                answers.append((body, answer))

    async def append() -> None:
        nonlocal appended
        rng = np.random.default_rng(0)
        rule = scorer.data.rule
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            while time.perf_counter() < end:
                event = {
                    rule.item: str(rng.choice(items)),
                    rule.time: time.time_ns(),
                    rule.label: 1,
                }
                body = {"user": str(rng.choice(changed_users)), "events": [event]}
                answer = await client.post("/events", json=body)
                appended += 1 if answer.status_code == 200 else sys.exit(answer.text)
                await asyncio.sleep(PAUSE)

    begun = time.perf_counter()
    await asyncio.gather(append(), *(ask(seed) for seed in range(n_clients)))
    return {"answers": answers, "times": times, "appended": appended, "seconds": time.perf_counter() - begun}


def wrong(scorer: Scorer, answers: list) -> int:
    """How many answers are no scores, or of those that are compared not the scorer's."""
    failed = sum(answer.status_code != 200 for _, answer in answers)
    chosen = np.random.default_rng(0).permutation(len(answers))[:COMPARED]
    for body, answer in (answers[place] for place in chosen):
        if answer.status_code == 200:
            scores = np.array(answer.json()["scores"])
            failed += bool(np.abs(scores - scorer.score(body["user"], body["items"])).max() > TOLERANCE)
    return failed


def measured(folder: Path, options: argparse.Namespace) -> list[list]:
    """A line for each number of clients."""
    scorer, lines = Scorer.load(folder, device="cpu"), []
    argv = ["serve", f"--run={folder}", "--port=0", "--device=cpu", f"--wait_ms={options.wait_ms}"]
    service = subprocess.Popen(
        [sys.executable, "-m", "recbole_nif.cli", *argv], stdout=subprocess.PIPE, text=True
    )
    try:
        address = service.stdout.readline().split()[-1]
        asyncio.run(load(address, scorer, 1, options.items, 1.0))  # warm
        for n_clients in options.clients:
            done = asyncio.run(load(address, scorer, n_clients, options.items, options.seconds))
            p50, p99 = np.percentile(done["times"], [50, 99]) * 1000
            rate = len(done["times"]) / done["seconds"]
            lines.append([n_clients, rate, p50, p99, done["appended"], wrong(scorer, done["answers"])])
    finally:
        service.terminate()
        service.wait()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["NIFDIN", "AMEN", "GenCI"])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--wait_ms", type=float, default=0.0)
    parser.add_argument("--out")
    options = parser.parse_args()
    rows = []
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            path = exported(model, options.dataset, Path(folder))
            rows += [[model, *line] for line in measured(path, options)]
    title = f"{options.dataset}, {options.items} items per request, wait {options.wait_ms:g} ms"
    columns = ["model", "clients", "requests/s", "p50 (ms)", "p99 (ms)", "events appended", "wrong or lost"]
    publish(title, columns, rows, options.out)


if __name__ == "__main__":
    main()
