"""What a model asks of the data path, read from its class and its config."""

from __future__ import annotations

from dataclasses import dataclass

from recbole.utils import ModelType


@dataclass(frozen=True)
class Needs:
    """Which fields a batch carries besides the row's own features, and what else a model reads."""

    clicks: bool = False  # click history under RecBole's names
    history_labels: bool = False  # label_list, with history: all_with_label
    history_scenes: bool = False  # scene_list, with history_scene: True
    moveline: bool = False
    pairs: bool = False
    negatives: bool = False  # neg_item_id_list, RecBole's DIEN
    semantic_ids: bool = False  # no field of a batch: ``dataset.semantic_ids``
    fixed_length: bool = False  # histories keep all columns, and at least one entry for RecBole's DIEN

    @classmethod
    def of(cls, config) -> Needs:
        """Reads ``needs_clicks``, ``needs_moveline``, ``needs_pairs`` and ``needs_semantic_ids`` of the model
        class in ``config``.

        RecBole's own sequential CTR models (DIN, DIEN) declare nothing and always need a history.
        """
        model = config.model_class
        sequential = getattr(model, "type", None) == ModelType.SEQUENTIAL
        clicks = sequential or getattr(model, "needs_clicks", False)
        return cls(
            clicks=clicks,
            history_labels=clicks and config["history"] == "all_with_label",
            history_scenes=clicks and bool(config["history_scene"]),
            moveline=getattr(model, "needs_moveline", False),
            pairs=getattr(model, "needs_pairs", False)
            and config["tsp_mode"] not in (None, "none")
            and bool(config["lambda_tsp"]),
            semantic_ids=getattr(model, "needs_semantic_ids", False),
            negatives=sequential and config["model"] == "DIEN",
            fixed_length=sequential,
        )
