"""The service over real connections: the scorer's answers, limits, mistakes, concurrent events, its end."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest

from recbole_nif.inference import Scorer
from recbole_nif.serving.command import listen
from recbole_nif.serving.limits import Limits
from recbole_nif.serving.worker import Worker
from tests.integration.service import HISTORY, served
from tests.toy_runs import toy_run

ITEMS = [f"m{number}" for number in range(1, 11)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy_run(tmp_path_factory.mktemp("serving"), "AMEN")


@pytest.fixture(scope="module")
def scorer(run):
    """What the service is compared with."""
    return Scorer.load(run, device="cpu")


@pytest.fixture(scope="module")
def client(run):
    with served(Scorer.load(run, device="cpu")) as client:
        yield client


def near(answer, expected) -> bool:
    """Up to rounding, which depends on what is scored together: AMEN keeps flows in half precision."""
    assert answer.status_code == 200, answer.text
    return np.abs(np.array(answer.json()["scores"]) - expected).max() < 1e-5


def test_scores_are_those_of_the_scorer(client, scorer):
    for body in (
        {"user": "a"},
        {"user": "b", "at": 1000000400},
        {"user": "nobody"},
        {"user": "new", "history": HISTORY, "at": 65},
        {"user": "a", "user_features": {"age": 21}, "context": {"timestamp": 1000000900}},
        {},
    ):
        answer = client.post("/score", json={"items": [*ITEMS, "unknown", 7], **body})
        assert near(answer, scorer.score(items=[*ITEMS, "unknown", 7], **body))


def test_rankings_are_those_of_the_scorer(client, scorer):
    for body in (
        {"user": "c", "k": 3},
        {"user": "a", "candidates": ["m9", "m2", "x"], "exclude_seen": False},
        {"user": "c", "k": 2, "generated": 4},
    ):
        answer, expected = client.post("/topk", json=body), scorer.topk(**body)
        assert near(answer, expected["score"])
        assert answer.json()["items"] == expected["item"].tolist()


def test_what_is_scored_together_is_scored_as_alone(run, scorer):
    """A wrong request and requests of other kinds among them change nothing."""
    asked = [
        {"user": user, "items": random.Random(place).sample(ITEMS, 1 + place % 4), **at}
        for place in range(12)
        for user in ("a", "b", "stranger", "c")
        for at in ({}, {"at": 1000000150 + 40 * place})
    ] + [{"user": "a", "items": ["m1", ""]}, {"user": "a", "items": ITEMS, "history": HISTORY}]
    random.Random(0).shuffle(asked)
    expected = [scorer.score(**body) for body in asked]
    with served(Scorer.load(run, device="cpu"), wait=0.03) as client, ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda body: client.post("/score", json=body), asked))
        told = client.get("/metrics").text
    assert all(near(*pair) for pair in zip(answers, expected, strict=True))
    batches = {line.split()[0]: float(line.split()[1]) for line in told.splitlines() if line[0] != "#"}
    assert batches["recbole_nif_batch_requests_sum"] == len(asked)
    assert batches["recbole_nif_batch_requests_count"] < len(asked) / 2


def together(client, bodies):
    """The answers of the service to requests that come at once."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: client.post("/score", json=body), bodies))


def test_a_wrong_time_is_refused_among_others_as_it_is_alone(run, scorer):
    times = [10**400, 10**30, 2**63, 1000000150, 1000000400.0]
    bodies = [{"user": "a", "items": ITEMS, "at": at} for at in times]
    with served(Scorer.load(run, device="cpu"), wait=0.2) as client:
        answers = together(client, bodies)
        assert client.post("/score", json=bodies[-1]).status_code == 200
    assert [answer.status_code for answer in answers] == [400, 400, 400, 200, 200]
    assert all("give a finite number" in answer.json()["error"] for answer in answers[:3])
    assert all(near(answers[place], scorer.score(**bodies[place])) for place in (3, 4))


def test_where_scoring_together_fails_each_request_is_answered_alone(run, scorer):
    def out_of_memory(_):
        raise MemoryError

    own, bodies = Scorer.load(run, device="cpu"), [{"user": user, "items": ITEMS} for user in "abc"]
    own.score_pairs = out_of_memory
    with served(own, wait=0.2) as client:
        answers = together(client, bodies)
    assert all(near(answer, scorer.score(**body)) for answer, body in zip(answers, bodies, strict=True))


def test_a_failure_of_the_worker_is_told_and_does_not_end_it(run, monkeypatch):
    answers = iter([lambda *_: 1 / 0, Worker._answers])
    monkeypatch.setattr(Worker, "_answers", lambda *args: next(answers)(*args))
    with served(Scorer.load(run, device="cpu")) as client:
        codes = [client.post("/score", json={"items": ITEMS}).status_code for _ in range(2)]
        assert client.get("/healthz").status_code == 200
    assert codes == [500, 200]


def test_a_service_that_answers_no_more_is_not_healthy(run, monkeypatch):
    async def ended(_):
        pass

    monkeypatch.setattr(Worker, "run", ended)
    with served(Scorer.load(run, device="cpu")) as client:
        answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"error": "The scorer has ended: start the service again."}


def test_no_answer_is_wrong_or_lost_while_events_are_appended(run):
    """Of every user the events are appended one by one; after each the scores are those that belong to it."""
    users = ["a", "b", "c", *(f"new{number}" for number in range(5))]
    events = [
        {"item_id": random.Random(n).choice(ITEMS), "rating": n % 6, "timestamp": 2e9 + n} for n in range(6)
    ]
    expected, alone = {}, Scorer.load(run, device="cpu")
    for user in users:
        for number, event in enumerate(events):
            alone.update(user, [event])
            expected[user, number] = alone.score(user, ITEMS)
    after = [[expected[user, number] for number in range(len(events))] for user in users]
    assert np.abs(np.diff(after, axis=1)).max(-1).min() > 1e-4
    unchanged = alone.score("somebody", ITEMS, history=HISTORY)

    def append(client, user) -> int:
        right = 0
        for number, event in enumerate(events):
            assert client.post("/events", json={"user": user, "events": [event]}).json() == {"appended": 1}
            for _ in range(3):
                right += near(
                    client.post("/score", json={"user": user, "items": ITEMS}), expected[user, number]
                )
            body = {"user": "somebody", "items": ITEMS, "history": HISTORY}
            right += near(client.post("/score", json=body), unchanged)
        return right

    with served(Scorer.load(run, device="cpu"), wait=0.001) as client, ThreadPoolExecutor(len(users)) as pool:
        right = list(pool.map(lambda user: append(client, user), users))
        told = client.get("/metrics").text
    assert right == [4 * len(events)] * len(users)
    assert f'requests_total{{path="/score",status="200"}} {sum(right)}.0' in told
    assert f"appended_events_total {len(users) * len(events)}.0" in told


def test_a_full_queue_refuses_and_goes_on(run):
    scorer, begun, go = Scorer.load(run, device="cpu"), threading.Event(), threading.Event()
    topk = scorer.topk

    def slow(*args, **kwargs):
        begun.set()
        go.wait()
        return topk(*args, **kwargs)

    scorer.topk = slow
    with served(scorer, Limits(waiting=2)) as client, ThreadPoolExecutor(8) as pool:
        first = pool.submit(client.post, "/topk", json={"user": "a"})
        begun.wait()
        others = [pool.submit(client.post, "/score", json={"user": "a", "items": ITEMS}) for _ in range(6)]
        while sum(other.done() for other in others) < 4:
            time.sleep(0.01)
        go.set()
        assert first.result().status_code == 200
        answers = [other.result() for other in others]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503, 503]
    assert {answer.json().get("error") for answer in answers} == {
        None, "Too many requests wait already: try again later.",
    }  # fmt: skip


def test_a_bug_is_logged_and_told_without_its_details(run, caplog):
    scorer = Scorer.load(run, device="cpu")
    scorer.topk = lambda *_, **__: 1 / 0
    with served(scorer) as client:
        answer = client.post("/topk", json={})
        assert (answer.status_code, answer.json()) == (
            500,
            {"error": "The service failed; its log says why."},
        )
        assert client.post("/score", json={"items": ITEMS}).status_code == 200
        assert 'path="/topk",status="500"' in client.get("/metrics").text
    assert "ZeroDivisionError" in caplog.text


def test_told_to_end_it_answers_what_it_was_asked(run, tmp_path):
    """A process of its own, and a request whose body is still on its way when SIGTERM comes."""
    argv = [sys.executable, "-m", "recbole_nif.cli", "serve", f"--run={run}", "--port=0", "--device=cpu"]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        told = process.stdout.readline()
        assert told.startswith("Serving AMEN on toy at http://127.0.0.1:")
        address, content = told.split()[-1], json.dumps({"user": "a", "items": ITEMS}).encode()

        def body():
            yield content[:9]
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            yield content[9:]

        assert httpx2.get(f"{address}/healthz").status_code == 200
        answer = httpx2.post(f"{address}/score", content=body(), headers={"content-type": "application/json"})
        assert len(answer.json()["scores"]) == len(ITEMS)
        assert process.wait(20) == 0
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{address}/healthz")
    finally:
        process.kill()
        process.stdout.close()


def test_the_body_of_an_answer_does_not_wait_until_its_head_is_acknowledged():
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
