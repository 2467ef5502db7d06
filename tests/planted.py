"""A log with a planted rule: a row is clicked iff its scene is one of the last two scenes.

Every event draws a scene and an item of it at random; the label says whether that scene is among the
scenes of the user's last two events, and is flipped with probability ``noise``. Which scenes a user has
met says little; their order says everything. That is what a moveline sees and a bag of events does not.
"""

from pathlib import Path

import numpy as np


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


PLANTED = {
    "load_col": {"inter": ["user_id", "item_id", "label", "timestamp"], "item": ["item_id", "category"]},
    "scene_field": "category",
    "scene_mode": "token",
}
