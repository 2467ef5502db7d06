"""A stage that trains a model's teacher by itself, on the rows that the model will be trained on."""

from torch import nn

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.trainer.finetune import FinetuneStage
from recbole_nif.trainer.stages import Settings


class TeacherStage(FinetuneStage):
    """Minimizes the teacher's own loss; judged like the model, on the validation rows.

    Args: as :class:`FinetuneStage`, but ``teacher_epochs``, ``teacher_learning_rate``, … of ``config`` count.
    """

    name = "teacher"

    def __init__(
        self,
        config,
        teacher: nn.Module,
        train_data: CTRDataLoader,
        valid_data: CTRDataLoader | None,
        show_progress: bool = False,
    ):
        super().__init__(config, teacher, train_data, valid_data, show_progress)
        self.settings = Settings.read(config, prefix="teacher_")
