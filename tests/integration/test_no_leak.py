"""A row's score may depend on what its user did before, never on its own label or on anything later."""

import pytest
import torch

from recbole_nif.data.dataset import CTRDataset
from tests.toy import ROWS, toy_config, write_toy

IDS = {"text_encoder": "features", "quantizer": "kmeans", "codebook_size": 3}
MODELS = [
    ("NIFDIN", {}),
    ("NIFDIN", {"history": "all_with_label", "history_scene": True}),
    ("NIFDIEN", {}),
    ("NIFDIEN", {"history": "all_with_label", "history_scene": True}),
    ("NIFDIEN", {"encode": "window"}),
    ("GenCI", IDS),
    ("GenCI", {**IDS, "encode": "window", "encoder_input": "tokens", "history": "all_with_label"}),
    ("AMEN", {}),
    ("AMEN", {"moveline_with_items": False}),
    ("AMEN", {**IDS, "flow_targets": "semantic"}),
    ("recbole.DIN", {}),
]
ROW = ROWS.index(("b", "m6", 1, 1000000400))


def score(model, view):
    """The probability of ROW, read from whichever view holds it."""
    rows = view.event_log.row_id  # any view reads any row of the log
    assert ROW in rows.tolist()
    with torch.no_grad():
        return model.predict(view.read(torch.tensor([ROW])))


def build(folder, name, rows, model, overrides):
    path = folder / name
    write_toy(path, rows)
    config = toy_config(path, model, **overrides)
    return config, CTRDataset(config).build()[0]


def changed(rows, is_changed):
    """The same log with other labels and items where ``is_changed(row)``; ids and counts of items stay."""
    places = [place for place, row in enumerate(rows) if is_changed(row)]
    items = [rows[place][1] for place in places][::-1]
    changed_rows = list(rows)
    for place, item in zip(places, items, strict=True):
        user, _, rating, time = rows[place]
        changed_rows[place] = (user, item, 6 - rating, time)
    return changed_rows


@pytest.mark.parametrize(("model_name", "overrides"), MODELS)
class TestAScore:
    def both(self, folder, model_name, overrides, rows):
        config, before = build(folder, "before", ROWS, model_name, overrides)
        torch.manual_seed(0)
        model = config.model_class(config, before).eval()
        for parameter in model.parameters():  # away from zero initializations, which would hide a leak
            torch.nn.init.normal_(parameter, std=0.1)
        _, after = build(folder, "after", rows, model_name, overrides)
        return score(model, before), score(model, after)

    def test_ignores_its_own_label(self, tmp_path, model_name, overrides):
        flipped = [
            (u, i, 6 - r, t) if place == ROW else (u, i, r, t) for place, (u, i, r, t) in enumerate(ROWS)
        ]
        before, after = self.both(tmp_path, model_name, overrides, flipped)
        assert torch.equal(before, after)

    def test_ignores_everything_later(self, tmp_path, model_name, overrides):
        later = changed(ROWS, lambda row: row[0] == "b" and row[3] > ROWS[ROW][3])
        before, after = self.both(tmp_path, model_name, overrides, later)
        assert torch.equal(before, after)

    def test_sees_what_came_before(self, tmp_path, model_name, overrides):
        earlier = changed(ROWS, lambda row: row[0] == "b" and row[3] < ROWS[ROW][3])
        before, after = self.both(tmp_path, model_name, overrides, earlier)
        assert not torch.equal(before, after)


@pytest.mark.parametrize("model_name", ["NIFDIN", "NIFDIEN", "GenCI", "AMEN"])
def test_a_strict_score_ignores_events_of_its_own_second(tmp_path, model_name):
    tied = [(u, i, r, ROWS[ROW][3] if (u, i) == ("b", "m7") else t) for u, i, r, t in ROWS]
    other = [(u, i, 6 - r if (u, i) == ("b", "m7") else r, t) for u, i, r, t in tied]
    overrides = {"history": "all_with_label"} | (IDS if model_name == "GenCI" else {})
    config, before = build(tmp_path, "before", tied, model_name, overrides)
    model = config.model_class(config, before).eval()
    _, after = build(tmp_path, "after", other, model_name, overrides)
    assert torch.equal(score(model, before), score(model, after))
