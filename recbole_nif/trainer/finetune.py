"""The click-prediction stage: any model, RecBole's own too, on the rows of the training split."""

from collections.abc import Iterable

from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.errors import UserError
from recbole_nif.evaluation.scoring import evaluate_model
from recbole_nif.trainer.stages import Settings, Stage


class FinetuneStage(Stage):
    """Minimizes the model's own loss; judged by AUC, LogLoss or GAUC on the validation rows.

    Args:
        config: plain ``epochs``, ``learning_rate``, ``stopping_step``, ``valid_metric``, …
        model: on the config's device.
        train_data, valid_data: loaders; without ``valid_data`` the last epoch's weights are kept.
        show_progress: progress bar while evaluating.
        started_from: what the report says of the checkpoint in ``model_file``.

    Raises:
        UserError: batches of one row for a model with batch norm.
    """

    name = "finetune"

    def __init__(
        self,
        config,
        model: nn.Module,
        train_data: CTRDataLoader,
        valid_data: CTRDataLoader | None,
        show_progress: bool = False,
        started_from: dict | None = None,
    ):
        self.config, self.module, self.started_from = config, model, started_from
        self.train_data, self.valid_data = train_data, valid_data
        self.show_progress = show_progress
        self.settings = Settings.read(config)
        self.validates = valid_data is not None
        if self.settings.epochs > 0 and min(train_data.batch_size, train_data.sample_size) == 1:
            _refuse_batch_norm(model)

    def __len__(self) -> int:
        return len(self.train_data)

    def rows(self) -> int:
        """Training rows of all processes, partners of pairs not counted."""
        return self.train_data.sample_size * self.train_data.world_size

    def batches(self, epoch: int, first: int = 0) -> Iterable[Interaction]:
        self.train_data.set_epoch(epoch, first)
        return self.train_data

    def loss_terms(self, batch: Interaction) -> dict[str, Tensor]:
        """The model's ``loss_terms``; of a model that only has RecBole's ``calculate_loss``, that one."""
        if hasattr(self.module, "loss_terms"):
            return self.module.loss_terms(batch)
        loss = self.module.calculate_loss(batch)
        return {"loss": sum(loss) if isinstance(loss, tuple) else loss}

    def evaluate(self) -> dict[str, float]:
        return dict(evaluate_model(self.module, self.valid_data, self.config, self.show_progress).metrics())

    def facts(self, valid: dict[str, float] | None) -> dict:
        return {"started_from": self.started_from} if self.started_from else {}


def _refuse_batch_norm(model: nn.Module) -> None:
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise UserError(
            f"A training batch has one row, and {type(model).__name__} has batch norm, which needs two: set "
            "train_batch_size to at least 2 for each process, and use more than one training row."
        )
