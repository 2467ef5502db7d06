"""Stage 1 of a generative model: the generator learns to predict a user's next clicks (reconstruction)."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.errors import UserError
from recbole_nif.evaluation.flow_probe import COLD, FlowProbe, memorizes
from recbole_nif.trainer.progress import numbers
from recbole_nif.trainer.stages import Settings, Stage

logger = logging.getLogger(__name__)


def pretrain_settings(config) -> Settings:
    """How long and how fast stage 1 trains, and what it is judged by."""
    metric = config["pretrain_valid_metric"] or "recall@50"
    return Settings.read(config, prefix="pretrain_", valid_metric=metric)


class GeneratorPretrainStage(Stage):
    """Trains a generator on every eligible cut of the training split's moveline windows.

    Judged by ``pretrain_valid_metric``: recall of the flow for the true next click on validation rows, or
    its AUC for their labels. Without ``valid_data`` it trains a fixed number of epochs.

    Args:
        config: ``pretrain_epochs``, ``pretrain_learning_rate``, ``pretrain_weight_decay``,
            ``pretrain_stopping_step``, ``pretrain_batch_size`` (windows), ``pretrain_cuts``,
            ``moveline_length``, ``moveline_stride``, ``flow_len``, ``nce_hard_negatives``.
        generator: a module with ``loss_terms(windows)``, ``flow(batch)`` and ``item_targets(items, scenes)``.
        train_data, valid_data: loaders of the model's rows.
        users: bool [n_users], whose windows to train on; None for all.
        epochs: instead of ``pretrain_epochs``.
    """

    name = "pretrain"
    unit = "cuts"
    headline = ("recall@10", "recall@50", "train_recall@50", "flow_auc", "train_flow_auc", "flow_angle")

    def __init__(
        self,
        config,
        generator: nn.Module,
        train_data: CTRDataLoader,
        valid_data: CTRDataLoader | None,
        users: Tensor | None = None,
        epochs: int | None = None,
    ):
        self.module = generator
        self.settings = pretrain_settings(config)
        if epochs is not None:
            self.settings = replace(self.settings, epochs=epochs)
        self.windows = train_data.windows(
            length=train_data.dataset.history.window_length,
            stride=train_data.dataset.history.stride,
            flow_len=config["flow_len"],
            cuts=config["pretrain_cuts"] or "boundaries",
            hard_negatives=config["nce_hard_negatives"] or 0,
            exposures=config["click_horizon"] if config["lambda_click"] else 0,
            batch_size=max(1, (config["pretrain_batch_size"] or 128) // train_data.world_size),
            user_mask=users,
        )
        if self.windows.n_cuts == 0:
            raise UserError(
                "Stage pretrain has nothing to train on, since no user has an event before a training click: "
                "set train_stage: finetune or use more data."
            )
        self.validates = valid_data is not None
        if self.validates:
            self.probe = FlowProbe(config, train_data.dataset, valid_data.dataset)

    def __len__(self) -> int:
        return len(self.windows)

    def rows(self) -> int:
        return self.windows.n_cuts

    def batches(self, epoch: int, first: int = 0) -> Iterable[Interaction]:
        self.windows.set_epoch(epoch, first)
        return self.windows

    def loss_terms(self, batch: Interaction) -> dict[str, Tensor]:
        return self.module.loss_terms(batch)

    def evaluate(self) -> dict[str, float]:
        return self.probe.measure(self.module)

    def facts(self, valid: dict[str, float] | None) -> dict:
        """The baselines beside the generator's recall, and whether the best generator memorizes."""
        if valid is None:
            return {}
        if memorizes(valid):
            logger.warning(
                "The generator tells training clicks apart more than twice as well as validation clicks: "
                "raise its dropout or weight decay, or set generator_cross_fit: kfold."
            )
        baselines, clicked = self.probe.baselines, int(self.probe.valid.clicked.sum())
        logger.info("next click of %d validation rows: %s", clicked, numbers(baselines))
        cold = int(self.probe.cold.sum())
        if cold:
            logger.info(
                "of %d of them the item has fewer than %d training clicks: recall@50 %.4f",
                cold, COLD, valid["cold_recall@50"],
            )  # fmt: skip
        return {
            **baselines,
            "probe_clicked_rows": clicked,
            "probe_cold_rows": cold,
            "memorizes": memorizes(valid),
        }
