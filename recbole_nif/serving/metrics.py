"""What the service tells of itself, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from recbole_nif.inference.scorer import Scorer

PREFIX = "recbole_nif_"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
AT_ONCE = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one service.

    Args:
        scorer: whose cache is told of too.
    """

    def __init__(self, scorer: Scorer):
        self._registry = registry = CollectorRegistry()

        def made(kind, name: str, text: str, labels=(), **options):
            return kind(PREFIX + name, text, labels, registry=registry, **options)

        self.requests = made(Counter, "requests", "Answered requests", ("path", "status"))
        self.seconds = made(Histogram, "request_seconds", "Time to answer", ("path",), buckets=SECONDS)
        self.batch = made(Histogram, "batch_requests", "Requests scored in one pass", buckets=AT_ONCE)
        self.items = made(Counter, "scored_items", "Candidates that were scored by /score")
        self.events = made(Counter, "appended_events", "Events that were appended")
        cache = scorer.cache
        of_cache = {
            "state_cache_hits": lambda: cache.hits,
            "state_cache_misses": lambda: cache.misses,
            "state_cache_bytes": lambda: cache.nbytes,
        }
        for name, value in of_cache.items():
            made(Gauge, name, "Kept states of users").set_function(value)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """One request more."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)
