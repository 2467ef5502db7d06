"""What a model asks of the data path, read from its class and its config."""

from __future__ import annotations

from dataclasses import dataclass

from recbole.utils import ModelType


@dataclass(frozen=True)
class Needs:
    """Which fields a batch carries besides the row's own features, and what else a model reads."""

    clicks: bool = False  # click history under RecBole's names
    history_labels: bool = False  # label_list, with history: all_with_label, or where a model learns from it
    history_scenes: bool = False  # scene_list, with history_scene: True
    history_windows: str | None = None  # histories shared by rows: of the ``encode`` kind window or packed
    moveline: bool = False
    pairs: bool = False
    negatives: bool = False  # neg_item_id_list, RecBole's DIEN
    semantic_ids: bool = False  # no field of a batch: ``dataset.semantic_ids``
    fixed_length: bool = False  # histories keep all columns, and at least one entry for RecBole's DIEN

    @classmethod
    def of(cls, config) -> Needs:
        """Reads what the model class in ``config`` declares as ``needs_clicks``, ``needs_moveline``, ….

        A model that declares both ``needs_clicks`` and ``needs_history_windows`` has a history per row with
        ``encode: window`` and shared ones with ``encode: packed``.
        RecBole's own sequential CTR models (DIN, DIEN) declare nothing and always need a history.
        """
        model = config.model_class
        sequential = getattr(model, "type", None) == ModelType.SEQUENTIAL
        clicks = sequential or getattr(model, "needs_clicks", False)
        windows = config["encode"] if getattr(model, "needs_history_windows", False) else None
        scenes = clicks and bool(config["history_scene"])
        if clicks and windows:
            clicks, windows = windows == "window", windows if windows == "packed" else None
        learns = _holds(config, getattr(model, "needs_history_labels", False))
        return cls(
            clicks=clicks,
            history_labels=bool(clicks or windows) and (learns or config["history"] == "all_with_label"),
            history_scenes=scenes,
            history_windows=windows,
            moveline=getattr(model, "needs_moveline", False),
            pairs=getattr(model, "needs_pairs", False)
            and config["tsp_mode"] not in (None, "none")
            and bool(config["lambda_tsp"]),
            semantic_ids=_holds(config, getattr(model, "needs_semantic_ids", False)),
            negatives=sequential and config["model"] == "DIEN",
            fixed_length=sequential,
        )


def _holds(config, need: bool | dict) -> bool:
    """Whether a need is there: always or never, or where keys have certain values."""
    return all(config[key] == value for key, value in need.items()) if isinstance(need, dict) else need
