"""What the service refuses: requests, bodies, and values of its command, each in a sentence."""

import sys

import pytest

from recbole_nif.cli import main
from recbole_nif.inference import Scorer
from tests.integration.service import HISTORY, served
from tests.toy_runs import toy_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy_run(tmp_path_factory.mktemp("serving"), "AMEN")


@pytest.fixture(scope="module")
def client(run):
    with served(Scorer.load(run, device="cpu")) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/score", {"items": ["m1"] * 51}, 413, "items has 51 entries: give at most 50."),
        ("/score", {"items": [], "history": HISTORY * 3}, 413, "history has 21 entries: give at most 20."),
        ("/topk", {"candidates": ["m1"] * 51}, 413, "candidates has 51 entries: give at most 50."),
        ("/topk", {"k": 51}, 413, "k is 51: give at most 50."),
        ("/topk", {"k": 0}, 400, "k is 0: give at least 1."),
        ("/topk", {"generated": 0}, 400, "generated is 0: give at least 1."),
        ("/score", {"user": "a"}, 422, "items: field required."),
        ("/score", {"user": 1.5, "items": []}, 422, "user"),
        ("/score", {"items": ["m1"], "user_id": "a"}, 422, "user_id: extra inputs are not permitted."),
        ("/score", {"items": "m1"}, 422, "items: input should be a valid list."),
        ("/score", {"items": ["m1"], "at": 10**400}, 400, "at is"),
        ("/score", {"items": ["m1"], "user_features": {"hat": 1}}, 400, "user_features names 'hat'"),
        ("/score", {"items": ["m1"], "context": {"age": 1}}, 400, "context names 'age'"),
        ("/score", {"items": ["m1"], "history": [{"item_id": "m1"}]}, 400, "timestamp"),
        ("/score", {"items": ["m1"], "history": [{"item_id": {"a": 1}}]}, 422, "history.0"),
        (
            "/events",
            {"user": "a", "events": [{"item_id": "m1", "rating": 5, "timestamp": 1}]},
            400,
            "earlier",
        ),
        ("/events", {"user": "", "events": []}, 400, "The events have no user"),
        ("/events", {"events": []}, 422, "user: field required."),
    ],
)
def test_a_wrong_request_is_told_in_one_sentence(client, path, body, status, sentence):
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert sentence in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b'{"items": [', 422, "The body is not JSON"),
        (b"\xff\xfe", 422, ""),
        (b"[1, 2]", 422, "valid dictionary"),
        (b"", 422, "field required"),
        (b"[" * 15_000, 400, ""),
        (b'{"items": ["m1"], "at": NaN}', 400, "at is nan: give a finite number"),
        (b'{"items": ["m1"], "at": 1e999}', 400, "at is inf: give a finite number"),
        (b'{"items": ["m1"], "history": [{"item_id": "m1", "rating": NaN, "timestamp": 1}]}', 400, "rating"),
        (
            b'{"items": ["m1"], "history": [{"item_id": "m1", "rating": 5, "timestamp": 1e999}]}',
            400,
            "timesta",
        ),
        (b" " * 20_001, 413, "more than 20,000 bytes"),
        (b'{"items": ["' + b"x" * 140_000 + b'"]}', 413, "more than 20,000 bytes"),
    ],
)
def test_a_body_that_is_none_is_told_in_one_sentence(client, content, status, sentence):
    for body in (content, iter([content[:5], content[5:]])):  # with its length, and in parts without
        answer = client.post("/score", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status
        assert sentence in answer.json()["error"]


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/x-www-form-urlencoded"}])
def test_a_body_that_is_not_announced_as_json_is_told_so(client, headers):
    answer = client.post("/score", content=b'{"items": ["m1"]}', headers=headers)
    assert answer.status_code == 422
    assert "send the header content-type: application/json" in answer.json()["error"]


def test_numbers_and_times_of_any_size_do_not_bring_it_down(client):
    for time_of_event in (10**30, -(10**30), 10**400, 2**63, 2**64 - 1, 1.5, "2020-01-01", "7", None, True):
        history = [{"item_id": "m1", "rating": 5, "timestamp": time_of_event}]
        rated = [{"item_id": "m1", "rating": time_of_event, "timestamp": 1}]
        for body in (
            {"history": history},
            {"history": history, "at": 10**18},
            {"history": rated},
            {"at": time_of_event},
            {"user": time_of_event},
            {"user_features": {"age": time_of_event}},
        ):
            answer = client.post("/score", json={"items": ["m1", time_of_event or ""], **body})
            assert answer.status_code in (200, 400, 422), (body, answer.text)
    assert client.get("/healthz").json() == {"status": "ok", "model": "AMEN", "dataset": "toy"}


def test_pages_that_are_not_there(client):
    assert client.get("/nothing").json() == {"error": "Not Found"}
    assert client.get("/score").status_code == 405
    assert 'path="other",status="404"' in client.get("/metrics").text


def test_mistakes_of_the_command(run, capsys, monkeypatch):
    def refused(*argv) -> str:
        assert main(["serve", *argv]) == 2
        return capsys.readouterr().err

    assert "serve needs --run" in refused()
    assert "--max_items is 0: give more than 0" in refused(f"--run={run}", "--max_items=0")
    assert "--wait_ms is nan: give 0 or more" in refused(f"--run={run}", "--wait_ms=nan")
    for value in ("inf", "1e308", "nan"):
        assert f"--max_body_mb is {float(value)}: give more than 0, less than" in refused(
            f"--run={run}", f"--max_body_mb={value}"
        )
    assert "Cannot listen on a..b:8000" in refused(f"--run={run}", "--host=a..b")
    assert "Cannot listen on 256.0.0.1:8000" in refused(f"--run={run}", "--host=256.0.0.1")
    assert "Cannot listen on 127.0.0.1:70000" in refused(f"--run={run}", "--port=70000")
    assert "is not the folder of a run" in refused("--run=nowhere", "--port=0")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'recbole-nif[serve]'" in refused(f"--run={run}")
