"""A small data set in RecBole's atomic format, written into a test's temporary folder."""

from pathlib import Path

from recbole_nif.config import NIFConfig
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.trainer import checkpoint

# user, item, rating, timestamp: unsorted, with a tie (user a at 1000000101) and times one second apart.
ROWS = [
    ("a", "m3", 5, 1000000102), ("a", "m1", 4, 1000000100), ("a", "m2", 1, 1000000101),
    ("a", "m4", 5, 1000000101), ("a", "m5", 2, 1000000200), ("a", "m6", 5, 1000000300),
    ("a", "m7", 4, 1000000400), ("a", "m8", 1, 1000000500), ("a", "m9", 5, 1000000600),
    ("a", "m10", 2, 1000000700), ("b", "m1", 1, 1000000100), ("b", "m2", 5, 1000000160),
    ("b", "m3", 4, 1000000220), ("b", "m4", 2, 1000000280), ("b", "m5", 5, 1000000340),
    ("b", "m6", 1, 1000000400), ("b", "m7", 5, 1000000460), ("b", "m8", 5, 1000000520),
    ("b", "m9", 2, 1000000580), ("b", "m10", 4, 1000000640), ("c", "m1", 5, 1000000000),
]  # fmt: skip
GENRES = {f"m{i}": ("Drama" if i % 2 else "Comedy Drama") for i in range(1, 11)}


def write_toy(folder: Path, rows=ROWS, name: str = "toy") -> Path:
    """Writes ``<folder>/<name>/<name>.{inter,user,item}`` and returns ``folder``, the data_path."""
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    lines += ["\t".join(map(str, row)) for row in rows]
    (target / f"{name}.inter").write_text("\n".join(lines) + "\n")
    users = sorted({row[0] for row in rows})
    (target / f"{name}.user").write_text(
        "user_id:token\tage:token\n" + "".join(f"{user}\t{20 + place}\n" for place, user in enumerate(users))
    )
    items = sorted({row[1] for row in rows})
    (target / f"{name}.item").write_text(
        "item_id:token\tgenre:token_seq\n"
        + "".join(f"{item}\t{GENRES.get(item, 'Drama')}\n" for item in items)
    )
    return folder


def toy_config(folder: Path, model: str = "DeepFM", **overrides) -> NIFConfig:
    """A config of ``model`` on the toy data; device CPU, everything written below ``folder``."""
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {
            "inter": ["user_id", "item_id", "rating", "timestamp"],
            "user": ["user_id", "age"],
            "item": ["item_id", "genre"],
        },
        "threshold": {"rating": 4},
        "scene_field": "genre",
        "scene_mode": "token_seq",
        "moveline_length": 4,
        "moveline_stride": 2,
        "train_batch_size": 8,
        "eval_batch_size": 8,
        "device": "cpu",
        "show_progress": False,
        "tensorboard": False,
        **overrides,
    }
    return NIFConfig(model=model, dataset="toy", config_dict=settings)


def toy_dataset(folder: Path, model: str = "DeepFM", rows=ROWS, **overrides) -> list[CTRDataset]:
    """The training, validation and test views of the toy data."""
    write_toy(folder, rows)
    return CTRDataset(toy_config(folder, model, **overrides)).build()


def save_run(folder: Path, config, model) -> Path:
    """A run folder that holds nothing but the checkpoint of ``model``."""
    payload = {
        "model": checkpoint.model_name(config),
        "stage": "finetune",
        "epoch": 0,
        "state_dict": model.state_dict(),
        "optimizer": None,
        "early_stop": {"best": 0.5, "best_epoch": 0, "waited": 0},
        "config": checkpoint.resolved(config),
    }
    checkpoint.save(folder / "checkpoints" / "finetune-best.pt", payload)
    return folder
