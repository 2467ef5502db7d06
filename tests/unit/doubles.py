"""Small stand-ins for the config and the dataset, with exactly what the models read from them."""

from types import SimpleNamespace

import torch
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType


class FakeConfig(dict):
    """Like RecBole's Config: a key that was never set reads as None."""

    def __missing__(self, key):
        return None


def fake_config(**overrides) -> FakeConfig:
    """The keys that every model reads, with RecBole's names; ``overrides`` add the model's own."""
    shared = {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "LABEL_FIELD": "label",
        "RATING_FIELD": "rating",
        "TIME_FIELD": "timestamp",
        "LIST_SUFFIX": "_list",
        "ITEM_LIST_LENGTH_FIELD": "item_length",
        "MAX_ITEM_LIST_LENGTH": 5,
        "numerical_features": [],
        "threshold": {"rating": 4},
        "device": torch.device("cpu"),
        "embedding_size": 4,
    }
    return FakeConfig(shared | overrides)


class FakeDataset:
    """Four users and six items (0 = padding) with every kind of feature field that RecBole has.

    Users have a token, items a token, a token sequence and a float (a feature only when the config lists
    ``price`` in ``numerical_features``), impressions a token. Scene sets: 1 = {1}, 2 = {2}, 3 = {1, 2}.
    """

    uid_field, iid_field, label_field = "user_id", "item_id", "label"
    user_num, item_num = 5, 7
    n_behaviors = 3

    def __init__(self):
        self.field2source = {
            "user_id": FeatureSource.USER_ID,
            "item_id": FeatureSource.ITEM_ID,
            "rating": FeatureSource.INTERACTION,
            "timestamp": FeatureSource.INTERACTION,
            "label": FeatureSource.INTERACTION,
            "hour": FeatureSource.INTERACTION,
            "gender": FeatureSource.USER,
            "year": FeatureSource.ITEM,
            "genre": FeatureSource.ITEM,
            "price": FeatureSource.ITEM,
        }
        floats = {"rating", "timestamp", "label", "price"}
        self.field2type = {
            name: FeatureType.FLOAT if name in floats else FeatureType.TOKEN for name in self.field2source
        }
        self.field2type["genre"] = FeatureType.TOKEN_SEQ
        self._sizes = {"user_id": 5, "item_id": 7, "hour": 4, "gender": 3, "year": 5, "genre": 4, "price": 2}
        self.scenes = SimpleNamespace(members=torch.tensor([[0, 0], [1, 0], [2, 0], [1, 2]]), n_scenes=3)
        self.item_scene = torch.tensor([0, 1, 2, 3, 1, 2, 3])
        self.train_item_count = torch.tensor([0, 4, 1, 2, 0, 3, 1])

    def num(self, field: str) -> int:
        return self._sizes[field]

    def fields(self, ftype=None, source=None) -> list[str]:
        return [
            name
            for name in self.field2type
            if (ftype is None or self.field2type[name] in ftype)
            and (source is None or self.field2source[name] in source)
        ]

    def get_user_feature(self) -> Interaction:
        return Interaction({"user_id": torch.arange(5), "gender": torch.tensor([0, 1, 2, 1, 2])})

    def get_item_feature(self) -> Interaction:
        price = torch.tensor([3.0, 0.5, 1.0, 2.0, 4.0, 1.0, 3.0])
        return Interaction(
            {
                "item_id": torch.arange(7),
                "year": torch.tensor([0, 1, 2, 3, 4, 1, 0]),
                "genre": torch.tensor([[0, 0], [1, 0], [2, 0], [1, 3], [3, 0], [2, 1], [0, 0]]),
                "price": torch.stack([price, torch.ones(7)], dim=1),
            }
        )


def fake_batch() -> Interaction:
    """Three rows with histories of length 3, 0 and 1, clicks only, oldest first, padded on the right."""
    return Interaction(
        {
            "user_id": torch.tensor([1, 2, 3]),
            "gender": torch.tensor([1, 2, 1]),
            "item_id": torch.tensor([4, 5, 1]),
            "hour": torch.tensor([1, 3, 2]),
            "label": torch.tensor([1.0, 0.0, 1.0]),
            "item_id_list": torch.tensor([[1, 2, 3], [0, 0, 0], [6, 0, 0]]),
            "label_list": torch.tensor([[2, 2, 1], [0, 0, 0], [1, 0, 0]]),
            "scene_list": torch.tensor([[1, 2, 3], [0, 0, 0], [3, 0, 0]]),
            "item_length": torch.tensor([3, 0, 1]),
        }
    )
