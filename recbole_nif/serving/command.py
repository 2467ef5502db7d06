"""``recbole-nif serve --run FOLDER``: a trained model behind HTTP."""

from __future__ import annotations

import argparse
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from recbole_nif.command_parser import CommandParser
from recbole_nif.errors import UserError
from recbole_nif.inference.scorer import Scorer
from recbole_nif.serving.limits import Limits

HUGE = 1e15  # more than any machine has
GRACE = 30  # seconds for requests that are being answered when the service is told to end
HELP = """\
usage: recbole-nif serve --run FOLDER [--host HOST] [--port N] [--wait_ms X] [--max_items N] [--max_events N]
                         [--max_body_mb X] [--max_waiting N] [--cache_mb X] [--key=value ...]

A trained model behind HTTP: POST /score, /topk and /events, GET /healthz and /metrics. It knows no passwords;
by default only this machine can ask it. Ended by SIGTERM or Ctrl-C, it answers what it was asked before.
Appended events are kept in memory only. Needs pip install 'recbole-nif[serve]'.

  --run FOLDER      folder of a run, with checkpoints/finetune-best.pt, or of an export
  --host HOST       address to listen on (default: 127.0.0.1)
  --port N          port (default: 8000; 0 = any that is free)
  --wait_ms X       a request waits so long for others to be scored with it in one pass (default: 0; what
                    comes while others are being scored is taken together anyway)
  --max_items N     candidates of one request (default: 10000)
  --max_events N    events of one request (default: 10000)
  --max_body_mb X   size of one request (default: 8)
  --max_waiting N   requests that may wait; more are refused (default: 1000)
  --cache_mb X      states of users that are kept (default: 64)
  --KEY=VALUE       any key of the configuration, such as --data_path=FOLDER or --device=cpu
"""


def main(argv: Sequence[str]) -> int:
    """Serves what ``argv`` names until it is told to end.

    Raises:
        UserError: a mistake in the options or the run, a missing package, or an address that is taken.
    """
    options, settings = parse(argv)
    if options.help:
        print(HELP)
        return 0
    try:
        import uvicorn

        from recbole_nif.serving.app import create_app
    except ImportError as error:
        raise UserError(f"serve needs the package {error.name}: pip install 'recbole-nif[serve]'.") from None
    listening = listen(options.host, options.port)
    with listening:
        scorer = Scorer.load(options.run, cache_size=int(options.cache_mb * 2**20), settings=settings)
        limits = Limits(
            items=options.max_items,
            events=options.max_events,
            body=int(options.max_body_mb * 2**20),
            waiting=options.max_waiting,
        )
        app = create_app(scorer, limits, wait=options.wait_ms / 1000)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE, access_log=False)
        host, port = listening.getsockname()[:2]
        model, dataset = scorer.data.config["model_name"], scorer.data.config["dataset"]
        print(
            f"Serving {model} on {dataset} at http://{f'[{host}]' if ':' in host else host}:{port}",
            flush=True,
        )
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn sends it again when all is done
        with suppress(KeyboardInterrupt):  # as well
            uvicorn.Server(config).run(sockets=[listening])
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; an address that cannot be had is a :class:`UserError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"Cannot listen on {host}:{port} ({reason}): give another --host or --port."
        ) from None
    # An answer's head and body are two packets. Connections inherit that the second does not wait until the
    # other side acknowledges the first, 40 ms; asyncio sets it only where a socket was made with a protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and those that belong to the configuration."""
    parser, default = CommandParser("serve"), Limits()
    parser.add_argument("--run")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--wait_ms", type=float, default=0.0)
    parser.add_argument("--max_items", type=int, default=default.items)
    parser.add_argument("--max_events", type=int, default=default.events)
    parser.add_argument("--max_body_mb", type=float, default=default.body / 2**20)
    parser.add_argument("--max_waiting", type=int, default=default.waiting)
    parser.add_argument("--cache_mb", type=float, default=64.0)
    options, settings = parser.parse_known_args(list(argv))
    if options.run is None and not options.help:
        raise UserError("serve needs --run; recbole-nif serve --help shows its options.")
    for name in ("max_items", "max_events", "max_body_mb", "max_waiting"):
        if not 0 < getattr(options, name) < HUGE:
            raise UserError(f"--{name} is {getattr(options, name)}: give more than 0, less than {HUGE:g}.")
    for name in ("wait_ms", "cache_mb"):
        if not 0 <= getattr(options, name) < HUGE:
            raise UserError(f"--{name} is {getattr(options, name)}: give 0 or more, less than {HUGE:g}.")
    return options, settings
