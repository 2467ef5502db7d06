"""What requests say, as JSON; a name that is not here is refused, so that no typing error goes unseen."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr

Token = StrictStr | StrictInt  # whole numbers stand for the tokens that are written so
Scalar = StrictStr | StrictInt | StrictFloat | StrictBool | None
Cell = Scalar | list[Scalar]  # a list is a set of tokens, such as the genres of an item
Row = dict[str, Cell]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Asked(_Body):
    """The user of a request, and when; the arguments of these names of ``Scorer.score``."""

    user: Token | None = None
    history: list[Row] | None = None
    user_features: dict[str, Cell] | None = None
    at: StrictInt | StrictFloat | None = None
    context: dict[str, Cell] | None = None

    def arguments(self) -> dict[str, Any]:
        """Arguments that ``score`` and ``topk`` share, but the user."""
        return {name: getattr(self, name) for name in ("history", "user_features", "at", "context")}


class ScoreBody(Asked):
    items: list[Token]

    @property
    def is_pairs(self) -> bool:
        """Whether it asks for a user of the log only, as a row of ``Scorer.score_pairs`` does."""
        return self.user is not None and not (self.history is not None or self.user_features or self.context)


class TopkBody(Asked):
    k: StrictInt = 10
    exclude_seen: StrictBool = True
    candidates: list[Token] | None = None
    generated: StrictInt | None = None


class EventsBody(_Body):
    user: Token
    events: list[Row]
