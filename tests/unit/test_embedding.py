"""Feature embeddings and the choice of feature fields."""

import pytest
import torch
from recbole.utils import FeatureSource, FeatureType

from recbole_nif.model.base import feature_fields
from recbole_nif.model.layers.embedding import (
    FeatureEmbedding,
    Field,
    FieldEmbedding,
    SetEmbedding,
    initialize,
)
from tests.unit.doubles import FakeDataset, fake_config


def filled(fields: list[Field]) -> FieldEmbedding:
    """Width 2 and rows [10 * row, 10 * row + 1], padding rows zero."""
    embedding = FieldEmbedding(fields=fields, embedding_size=2)
    for table in embedding.tables:
        rows = 10.0 * torch.arange(table.num_embeddings).unsqueeze(1) + torch.tensor([0.0, 1.0])
        table.weight.data = rows
        if table.padding_idx is not None:
            table.weight.data[0] = 0
    return embedding


def item_features(embedding_size: int = 4) -> FeatureEmbedding:
    dataset = FakeDataset()
    torch.manual_seed(0)
    return FeatureEmbedding(
        user_fields=[Field("user_id", "token", 5)],
        item_fields=[Field("item_id", "token", 7), Field("year", "token", 5), Field("genre", "token_seq", 4)],
        context_fields=[],
        item_columns=dataset.get_item_feature(),
        embedding_size=embedding_size,
    ).apply(initialize)


def test_each_kind_of_field_is_embedded_as_computed_by_hand():
    embedding = filled(
        [
            Field("token", "token", 4),
            Field("tokens", "token_seq", 4),
            Field("number", "float", 2),
            Field("numbers", "float_seq", 3),
        ]
    )
    columns = {
        "token": torch.tensor([3, 0]),
        "tokens": torch.tensor([[1, 2, 0], [0, 0, 0]]),  # mean of rows 1 and 2, padding left out
        "number": torch.tensor([[0.5, 1.0], [2.0, 0.0]]),  # value, bucket; bucket 0 is a bucket
        "numbers": torch.tensor([[[2.0, 1.0], [4.0, 2.0]], [[3.0, 1.0], [9.0, 0.0]]]),
    }
    expected = torch.tensor(
        [[30, 31, 15, 16, 5, 5.5, (2 * 10 + 4 * 20) / 2, (2 * 11 + 4 * 21) / 2], [0, 0, 0, 0, 0, 2, 30, 33]]
    )
    assert torch.equal(embedding(columns), expected)


def test_the_whole_catalogue_and_single_rows_give_the_same_vectors_and_gradients():
    features = item_features()
    few = torch.tensor([4, 0, 6, 4])
    many = few.repeat(3, 1)  # 12 ids of 7 items: the catalogue is embedded once
    one, several = features.items(few), features.items(many)
    assert several.shape == (3, 4, features.item.dim)
    assert torch.allclose(several, one.expand(3, -1, -1))
    from_one = torch.autograd.grad(3 * one.square().sum(), list(features.item.parameters()))
    from_several = torch.autograd.grad(several.square().sum(), list(features.item.parameters()))
    for a, b in zip(from_one, from_several, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("repeats", [1, 10])
def test_the_padding_item_is_zero_even_where_its_features_are_not(repeats):
    features = item_features()
    features.item_column_1[0] = 2  # RecBole fills missing floats of the padding row with the mean
    vectors = features.items(torch.tensor([0, 1] * repeats))
    assert torch.equal(vectors[0], torch.zeros(features.item.dim))
    assert (vectors[1] != 0).all()


def test_an_item_without_features_is_known_by_its_id_alone():
    vector = item_features(embedding_size=4).items(torch.tensor([6]))[0]
    assert (vector[:4] != 0).all()
    assert torch.equal(vector[4:], torch.zeros(8))


def test_padding_rows_start_at_zero_and_get_no_gradient():
    features = item_features()
    features.items(torch.arange(7).repeat(3)).sum().backward()
    for table in features.item.tables:
        assert torch.equal(table.weight[0], torch.zeros(4))
        assert torch.equal(table.weight.grad[0], torch.zeros(4))


def test_the_catalogue_is_not_saved_with_the_weights():
    names = set(item_features().state_dict())
    assert names == {"user.tables.0.weight"} | {f"item.tables.{i}.weight" for i in range(3)}


def test_a_set_is_the_mean_of_its_members():
    sets = SetEmbedding(members=torch.tensor([[0, 0], [1, 0], [1, 2]]), n_elements=3, embedding_size=2)
    sets.table.weight.data = torch.tensor([[0.0, 0.0], [2.0, 4.0], [6.0, 0.0]])
    assert sets(torch.tensor([[0, 1], [2, 0]])).tolist() == [[[0, 0], [2, 4]], [[4, 2], [0, 0]]]
    with torch.no_grad():
        assert sets(torch.tensor([2])).tolist() == [[4, 2]]  # one of three: the others are not averaged


def names(config, sources) -> list[str]:
    return [field.name for field in feature_fields(config, FakeDataset(), sources)]


def test_label_rating_and_time_are_never_features():
    config = fake_config(numerical_features=["rating", "timestamp", "label"])
    assert names(config, [FeatureSource.INTERACTION]) == ["hour"]


def test_the_behavior_type_and_the_field_behind_the_label_are_never_features():
    config = fake_config(behavior_field="hour", threshold={"gender": 2})
    assert names(config, [FeatureSource.INTERACTION]) == []
    assert names(config, [FeatureSource.USER_ID, FeatureSource.USER]) == ["user_id"]


def test_a_float_is_a_feature_only_when_listed():
    item_sources = [FeatureSource.ITEM_ID, FeatureSource.ITEM]
    assert names(fake_config(), item_sources) == ["item_id", "year", "genre"]
    assert names(fake_config(numerical_features=["price"]), item_sources)[-1] == "price"


def test_a_field_carries_its_kind_and_table_size():
    dataset = FakeDataset()
    assert dataset.field2type["genre"] == FeatureType.TOKEN_SEQ
    fields = feature_fields(fake_config(), dataset, [FeatureSource.ITEM])
    assert fields == [Field("year", "token", 5), Field("genre", "token_seq", 4)]
