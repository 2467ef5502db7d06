"""The service in a thread, for tests that ask it over real connections."""

import contextlib
import threading
import time

import httpx2
import uvicorn

from recbole_nif.serving.app import create_app
from recbole_nif.serving.limits import Limits

HISTORY = [
    {"item_id": f"m{number}", "rating": number % 6, "timestamp": 10 * number} for number in range(1, 8)
]
LIMITS = Limits(items=50, events=20, body=20_000, waiting=200)


@contextlib.contextmanager
def served(scorer, limits=LIMITS, **options):
    """The address of a service in a thread."""
    config = uvicorn.Config(create_app(scorer, limits, **options), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
