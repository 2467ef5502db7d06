"""The service: scores, rankings and new events of one scorer, as JSON over HTTP.

    POST /score    {"user": "u1", "items": ["i1", "i2"]}           -> {"scores": [0.12, 0.03]}
    POST /topk     {"user": "u1", "k": 2}                          -> {"items": ["i7", "i2"], "scores": [...]}
    POST /events   {"user": "u1", "events": [{"item_id": ...}]}    -> {"appended": 1}
    GET  /healthz, GET /metrics

Further names of the first two are the arguments of ``Scorer.score`` and ``Scorer.topk``, by whose rules
unknown tokens and missing values are read. Every mistake is answered by {"error": one sentence}: 400 what the
scorer does not take, 413 too much, 422 another form than the above, 503 too many requests wait, or
(to /healthz) nobody answers them any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from recbole_nif.errors import UserError
from recbole_nif.inference.scorer import Scorer
from recbole_nif.serving.bodies import EventsBody, ScoreBody, TopkBody
from recbole_nif.serving.limits import Limits, TooMuch
from recbole_nif.serving.metrics import Metrics
from recbole_nif.serving.middleware import BodyLimit, Observed
from recbole_nif.serving.worker import Busy, Pairs, Worker

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
PATHS = ("/score", "/topk", "/events", "/healthz", "/metrics")


def create_app(scorer: Scorer, limits: Limits | None = None, wait: float = 0.0) -> FastAPI:
    """The service as an ASGI application.

    Args:
        scorer: the service's own from now on.
        wait: seconds for which a request waits for others, to be scored with them in one pass. Those that
            come while others are being scored wait anyway.
    """
    limits = limits or Limits()
    metrics = Metrics(scorer)
    worker: Worker | None = None
    running: asyncio.Task | None = None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal worker, running
        worker = Worker(scorer, wait, limits.waiting, metrics.batch.observe)
        running = asyncio.create_task(worker.run())
        yield
        running.cancel()
        await asyncio.wait([running])

    app = FastAPI(title="recbole_nif", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit, most=limits.body)
    app.add_middleware(Observed, metrics=metrics, known=PATHS)  # the outermost
    _tell_mistakes(app)

    @app.post("/score")
    async def score(body: ScoreBody) -> Response:
        limits.check_items("items", body.items)
        limits.check_events("history", body.history)
        pairs = Pairs(body.user, body.items, body.at) if body.is_pairs else None
        scores = await worker.ask(lambda s: s.score(body.user, body.items, **body.arguments()), pairs=pairs)
        metrics.items.inc(len(body.items))
        return JSONResponse({"scores": scores.tolist()})

    @app.post("/topk")
    async def topk(body: TopkBody) -> Response:
        limits.check_items("candidates", body.candidates)
        limits.check_events("history", body.history)
        if body.k > limits.items:
            raise TooMuch(f"k is {body.k:,}: give at most {limits.items:,}.")
        own = {"exclude_seen": body.exclude_seen, "candidates": body.candidates, "generated": body.generated}
        found = await worker.ask(lambda s: s.topk(body.user, body.k, **own, **body.arguments()))
        return JSONResponse({"items": found["item"].tolist(), "scores": found["score"].tolist()})

    @app.post("/events")
    async def events(body: EventsBody) -> Response:
        limits.check_events("events", body.events)
        appended = await worker.ask(lambda s: s.update(body.user, body.events), changes=True)
        metrics.events.inc(appended)
        return JSONResponse({"appended": appended})

    @app.get("/healthz")
    async def healthz() -> Response:
        if running.done():
            return JSONResponse({"error": "The scorer has ended: start the service again."}, 503)
        config = scorer.data.config
        return JSONResponse({"status": "ok", "model": config["model_name"], "dataset": config["dataset"]})

    @app.get("/metrics")
    async def told() -> Response:
        return Response(metrics.text(), media_type=TEXT_FORMAT)

    return app


def _tell_mistakes(app: FastAPI) -> None:
    """Every error as one sentence."""

    def answer(status: int, sentence: str) -> JSONResponse:
        return JSONResponse({"error": sentence}, status)

    @app.exception_handler(UserError)
    async def wrong(_: Request, error: UserError) -> Response:
        return answer(400, str(error))

    @app.exception_handler(TooMuch)
    async def too_much(_: Request, error: TooMuch) -> Response:
        return answer(413, str(error))

    @app.exception_handler(Busy)
    async def busy(_: Request, __: Busy) -> Response:
        return answer(503, "Too many requests wait already: try again later.")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return answer(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def another_form(_: Request, error: RequestValidationError) -> Response:
        if isinstance(error.body, bytes):
            return answer(
                422, "The body is not announced as JSON: send the header content-type: application/json."
            )
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            reason = (first.get("ctx") or {}).get("error", "")
            return answer(422, f"The body is not JSON: {reason} at character {first['loc'][-1]}.")
        place = ".".join(str(part) for part in first["loc"][1:3]) or "The body"
        return answer(422, f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}.")
