"""Pictures of what a trained model generates for many rows; for models that declare ``has_pictures``."""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recbole_nif.analysis.flow_pictures import draw_flow
from recbole_nif.analysis.runs import Variant, load_run
from recbole_nif.analysis.vector_pictures import draw_vectors
from recbole_nif.data.fields import ROW_ID
from recbole_nif.device import to_device
from recbole_nif.errors import UserError
from recbole_nif.evaluation.flow_probe import loader_of
from recbole_nif.model.explanation import Explanation
from recbole_nif.registry import resolve_model
from recbole_nif.results import read_result

MOST_ROWS = 5000  # of a sample


def draw_model(variant: Variant, options: argparse.Namespace, settings: Sequence[str]) -> list[str]:
    """Draws the first run of a variant and returns what to say of it, as markdown.

    Args:
        options: ``out``, the folder, and ``projection``.
        settings: options of the configuration.
    """
    folder = variant.folders[0]
    model_class = resolve_model(read_result(folder)["model"]).model_class
    if not getattr(model_class, "has_pictures", False):
        return []
    try:
        subject = Subject(*load_run(folder, settings))
    except UserError as error:
        return [f"## {variant.label}", f"No pictures of it: {error}"]
    told = [*draw_flow(subject, options, variant), *draw_vectors(subject, options, variant)]
    return [f"## {variant.label} ({folder.name})", *told] if told else []


class Subject:
    """A trained model that explains rows of its data.

    Args:
        config: of the run; model: in evaluation mode; views: training, validation and test view.
    """

    def __init__(self, config, model: nn.Module, views: Sequence):
        self.config, self.model, self.views = config, model, views
        self.log = views[0].event_log

    @torch.inference_mode()
    def explanations(self, rows: Tensor) -> Iterator[Explanation]:
        """Explanations of the rows [N], by row id, batch by batch."""
        for batch in loader_of(self.config, self.views[0], rows):
            yield self.model.explain(to_device(batch, self.config["device"]))

    def test_rows(self, most: int = MOST_ROWS, clicked: bool = False) -> Tensor:
        """A fixed, seeded sample of the test rows in the order of the log, [N] row ids.

        clicked: of clicked rows only.
        """
        rows = self.views[2].inter_feat[ROW_ID]
        if clicked:
            rows = rows[self.log.label[self.log.position[rows].long()] == 1]
        rng = np.random.default_rng([self.config["seed"], 7])
        rows = rows[torch.from_numpy(rng.permutation(len(rows))[:most])]
        return rows[self.log.position[rows].argsort()]

    def item(self, rows: Tensor) -> Tensor:
        """The items of rows, [N] int64."""
        return self.log.item[self.log.position[rows].long()].long()
