"""A training stage: what is trained, on which batches, with which loss, and how it is judged.

``loop.run_stage`` adds epochs, early stopping, checkpoints and reports.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_nif.errors import UserError

CLICK_METRICS = ("auc", "gauc", "logloss")
SMALLER_IS_BETTER = {"logloss"}
METRIC_ALIASES = {"userauc": "gauc"}


@dataclass(frozen=True)
class Settings:
    """How long and how fast a stage trains; see ``read`` for the config keys."""

    epochs: int
    learning_rate: float
    weight_decay: float
    stopping_step: int
    eval_step: int
    valid_metric: str

    @classmethod
    def read(cls, config, prefix: str = "", valid_metric: str | None = None) -> "Settings":
        """Reads ``<prefix>epochs``, ``<prefix>learning_rate``, … and falls back to the plain key.

        Raises:
            UserError: the key ``valid_metric`` names none of ``CLICK_METRICS``.
        """

        def option(key: str, default):
            value = config[prefix + key] if config[prefix + key] is not None else config[key]
            return default if value is None else value

        metric = (valid_metric or config["valid_metric"] or "AUC").lower()
        metric = METRIC_ALIASES.get(metric, metric)
        if valid_metric is None and metric not in CLICK_METRICS:
            raise UserError(f"valid_metric is {config['valid_metric']}: use AUC, GAUC or LogLoss.")
        return cls(
            epochs=option("epochs", 1),
            learning_rate=option("learning_rate", 1e-3),
            weight_decay=option("weight_decay", 0.0),
            stopping_step=option("stopping_step", 10),
            eval_step=option("eval_step", 1),
            valid_metric=metric,
        )


@dataclass
class EarlyStopping:
    """RecBole's rule: an equal score counts as better; stop after more than ``patience`` worse ones."""

    patience: int
    bigger: bool
    best: float | None = None
    best_epoch: int = -1
    waited: int = 0

    def update(self, score: float, epoch: int) -> bool:
        """Whether ``score`` is the best so far."""
        improved = self.best is None or (score >= self.best if self.bigger else score <= self.best)
        if improved:
            self.best, self.best_epoch, self.waited = score, epoch, 0
        else:
            self.waited += 1
        return improved

    def record(self) -> dict:
        """Plain values for a checkpoint."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load(self, record: dict) -> None:
        """Goes on from ``record``."""
        self.best, self.best_epoch, self.waited = record["best"], record["best_epoch"], record["waited"]

    @property
    def stop(self) -> bool:
        """Whether patience has run out."""
        return self.waited > self.patience


@dataclass
class StageReport:
    """What a stage did, as result.json stores it; times in seconds, ``rows`` counted in ``unit``.

    ``resumed`` tells at which epoch and step (batches trained in it) the stage was taken up again.
    """

    name: str
    unit: str
    valid_metric: str
    epochs_run: int = 0
    best_epoch: int = -1
    best_score: float | None = None
    seconds: float = 0.0
    train_seconds: float = 0.0
    rows: int = 0
    valid: dict[str, float] | None = None
    curve: list[dict] = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    checkpoint: str | None = None
    resumed: list[dict] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float | None:
        """Training throughput over all epochs, loading included."""
        return self.rows / self.train_seconds if self.train_seconds else None

    def count_epoch(self, epoch: int, rows: int, seconds: float, losses: dict[str, float]) -> None:
        """Adds a trained epoch and opens its entry of the curve."""
        self.epochs_run += 1
        self.rows += rows
        self.train_seconds += seconds
        self.curve.append({"epoch": epoch, "loss": losses, "valid": None})

    def record(self) -> dict:
        """Plain values."""
        return asdict(self) | {"rows_per_second": self.rows_per_second}

    @classmethod
    def read(cls, record: dict) -> "StageReport":
        """The report that ``record`` was made of."""
        return cls(**{key: value for key, value in record.items() if key != "rows_per_second"})


class Stage:
    """One stage of training. Subclasses give ``name``, ``unit`` and the methods below.

    Attributes:
        module: what is trained and checkpointed, on the config's device.
        settings: epochs, learning rate and early stopping.
        validates: whether there are rows to validate on; without, the last epoch's weights stay.
        headline: the validation metrics that a log line shows; empty = all.
    """

    name: str
    unit = "rows"
    module: nn.Module
    settings: Settings
    validates = True
    headline: tuple[str, ...] = ()

    def param_groups(self) -> list[dict]:
        """Optimizer groups: the module's own (``param_groups``), else all trainable parameters."""
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        if hasattr(self.module, "param_groups"):
            return self.module.param_groups(rate, decay)
        trainable = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        return [{"params": trainable, "lr": rate, "weight_decay": decay}]

    def __len__(self) -> int:
        """Batches of an epoch."""
        raise NotImplementedError

    def rows(self) -> int:
        """How many ``unit``s an epoch trains."""
        raise NotImplementedError

    def batches(self, epoch: int, first: int = 0) -> Iterable[Interaction]:
        """The epoch's batches, a function of (seed, epoch), without the ``first`` ones."""
        raise NotImplementedError

    def loss_terms(self, batch: Interaction) -> dict[str, Tensor]:
        """Named scalars whose sum is minimized."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, float]:
        """Validation metrics, ``settings.valid_metric`` among them."""
        raise NotImplementedError

    def facts(self, valid: dict[str, float] | None) -> dict:
        """What else the report should hold; ``valid``: the best epoch's metrics, if it was evaluated."""
        return {}
