"""A log with a planted rule: a row is clicked iff its scene is one of the last two scenes.

Every event draws a scene and an item of it at random; the label says whether that scene is among the
scenes of the user's last two events, and is flipped with probability ``noise``. Which scenes a user has
met says little; their order says everything. That is what a moveline sees and a bag of events does not.
"""

from pathlib import Path

import numpy as np

from recbole_nif import run_recbole_nif


def write_planted(
    folder: Path,
    *,
    seed: int,
    users: int = 300,
    events: int = 60,
    scenes: int = 6,
    items: int = 60,
    noise: float = 0.1,
) -> Path:
    """Writes ``<folder>/planted/planted.{inter,item}`` and returns ``folder``, the data_path."""
    rng = np.random.default_rng(seed)
    scene = rng.integers(scenes, size=(users, events))
    item = scene + scenes * rng.integers(items // scenes, size=scene.shape)  # item i belongs to scene i mod S
    follows = np.zeros(scene.shape, dtype=bool)
    follows[:, 2:] = (scene[:, 2:] == scene[:, 1:-1]) | (scene[:, 2:] == scene[:, :-2])
    label = follows ^ (rng.random(scene.shape) < noise)
    time = np.broadcast_to(1_000_000_000 + 600 * np.arange(events), scene.shape)
    target = folder / "planted"
    target.mkdir(parents=True, exist_ok=True)
    user = np.broadcast_to(np.arange(users)[:, None], scene.shape)
    columns = [column.ravel() for column in (user, item, label.astype(int), time)]
    header = "user_id:token\titem_id:token\tlabel:float\ttimestamp:float"
    np.savetxt(target / "planted.inter", np.stack(columns, 1), "%d", "\t", header=header, comments="")
    catalogue = np.stack([np.arange(items), np.arange(items) % scenes], 1)
    np.savetxt(
        target / "planted.item", catalogue, "%d", "\t", header="item_id:token\tcategory:token", comments=""
    )
    return folder


SEEDS = (1, 2, 3, 4, 5)
SETTINGS = {
    "load_col": {"inter": ["user_id", "item_id", "label", "timestamp"], "item": ["item_id", "category"]},
    "scene_field": "category",
    "scene_mode": "token",
    "history": "all_with_label",
    "epochs": 5,
    "stopping_step": 5,
    "learning_rate": 0.004,
    "train_batch_size": 256,
    "mlp_hidden_size": [64, 32],
    "dropout_prob": 0.0,
    "moveline_length": 10,
    "moveline_stride": 5,
    "MAX_ITEM_LIST_LENGTH": 10,
    "show_progress": False,
    "tensorboard": False,
    "device": "cpu",
}
MODELS = {
    "NIFDIN": {"history_scene": True},  # all events, their labels and their scenes, but no order
    "AMEN": {
        "hidden_size": 32,
        "pretrain_epochs": 1,
        "pretrain_batch_size": 64,
        "nce_in_batch": 64,
        "nce_uniform": 16,
        "pretrained_learning_rate": 0.004,
    },
}


def planted_auc(folder: Path, model: str, seed: int, **overrides) -> float:
    """Test AUC of ``model`` on the log in ``folder``."""
    settings = {**SETTINGS, **MODELS[model], "data_path": str(folder), "seed": seed, **overrides}
    settings["checkpoint_dir"] = str(folder / "saved")
    result = run_recbole_nif(model, "planted", config_dict=settings, saved=False)
    return result["test_result"]["auc"]
