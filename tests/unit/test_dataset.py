import pytest
import torch

from recbole_nif.data import fields
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from tests.toy import ROWS, toy_config, toy_dataset, write_toy


def items(view, ids):
    return [view.field2id_token["item_id"][i] for i in ids]


def test_every_row_is_a_sample_the_first_of_a_user_too(tmp_path):
    parts = toy_dataset(tmp_path)
    rows = torch.cat([part.inter_feat[fields.ROW_ID] for part in parts])
    assert sorted(rows.tolist()) == list(range(len(ROWS)))
    assert 20 in parts[0].train_rows  # user c has one row: training


def test_each_users_last_rows_by_exact_time_are_validation_and_test(tmp_path):
    _, valid, test = toy_dataset(tmp_path)
    assert [ROWS[row][1] for row in valid.inter_feat[fields.ROW_ID].tolist()] == ["m9", "m9"]
    assert [ROWS[row][1] for row in test.inter_feat[fields.ROW_ID].tolist()] == ["m10", "m10"]


def test_the_rows_of_a_split_are_the_same_for_every_model(tmp_path):
    found = []
    for model in ("LR", "DeepFM", "recbole.DIN", "NIFDIN", "AMEN"):
        parts = toy_dataset(tmp_path, model)
        found.append([part.inter_feat[fields.ROW_ID].tolist() for part in parts])
    assert all(parts == found[0] for parts in found[1:])


def test_a_row_keeps_its_identity_when_recbole_sorts_in_place(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "NIFDIN")
    before = train[[3]]
    train.inter_feat.sort(by="item_id")
    place = train.inter_feat[fields.ROW_ID].tolist().index(int(before[fields.ROW_ID]))
    after = train[[place]]
    assert after["item_id"].tolist() == before["item_id"].tolist()
    assert after["item_id_list"].tolist() == before["item_id_list"].tolist()


def test_a_click_history_holds_earlier_clicks_and_nothing_of_the_rows_own_second(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "NIFDIN")
    row = [ROWS[r][:2] for r in train.inter_feat[fields.ROW_ID].tolist()].index(("a", "m2"))
    batch = train[[row]]  # m4 was clicked in the same second
    assert items(train, batch["item_id_list"][0][: batch["item_length"][0]].tolist()) == ["m1"]


def test_exact_times_one_second_apart_reach_the_history(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "NIFDIN")
    row = [ROWS[r][:2] for r in train.inter_feat[fields.ROW_ID].tolist()].index(("a", "m3"))
    batch = train[[row]]  # one second after m4: a float32 clock would call them simultaneous
    assert items(train, batch["item_id_list"][0][: batch["item_length"][0]].tolist()) == ["m1", "m4"]


@pytest.mark.parametrize(("history", "expected"), [("clicks", ["m1", "m4"]), ("all", ["m1", "m2", "m4"])])
def test_histories_hold_clicks_or_all_samples(tmp_path, history, expected):
    train, _, _ = toy_dataset(tmp_path, "NIFDIN", history=history)
    row = [ROWS[r][:2] for r in train.inter_feat[fields.ROW_ID].tolist()].index(("a", "m3"))
    batch = train[[row]]
    assert items(train, batch["item_id_list"][0][: batch["item_length"][0]].tolist()) == expected
    assert "label_list" not in batch


@pytest.mark.parametrize(("history", "told"), [("clicks", False), ("all", True), ("all_with_label", True)])
def test_nifdien_is_told_which_events_of_its_history_were_clicks(tmp_path, history, told):
    train, _, _ = toy_dataset(tmp_path, "NIFDIEN", history=history)
    assert (fields.HISTORY_LABEL in train[:].columns) == told


def test_a_labelled_history_says_which_events_were_clicks(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "NIFDIN", history="all_with_label")
    row = [ROWS[r][:2] for r in train.inter_feat[fields.ROW_ID].tolist()].index(("a", "m3"))
    batch = train[[row]]
    assert batch["label_list"][0].tolist() == [2, 1, 2]  # 1 + label


def test_a_frozen_history_shows_test_rows_the_training_split_only(tmp_path):
    _, _, test = toy_dataset(tmp_path, "NIFDIN", history_until="train", history="all")
    batch = test[[0]]
    assert "m9" not in items(test, batch["item_id_list"][0].tolist())
    _, _, online = toy_dataset(tmp_path, "NIFDIN", history="all")
    assert "m9" in items(online, online[[0]]["item_id_list"][0].tolist())


def test_history_fields_never_become_features_of_a_context_model(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "DeepFM")
    assert sorted(train.fields()) == ["age", "genre", "item_id", "label", "timestamp", "user_id"]
    assert fields.ROW_ID not in train.field2type
    assert not [name for name in train[[0]].columns if name.endswith("_list") or name.startswith("moveline")]


def test_moveline_windows_hold_all_earlier_events_with_label_and_scene(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "AMEN")
    row = [ROWS[r][:2] for r in train.inter_feat[fields.ROW_ID].tolist()].index(("a", "m3"))
    batch = train[[row]]
    cut = int(batch[fields.MOVELINE_CUT])
    assert items(train, batch[fields.MOVELINE_ITEM][0, :cut].tolist()) == ["m1", "m2", "m4"]
    assert batch[fields.MOVELINE_BEHAVIOR][0, :cut].tolist() == [2, 1, 2]
    names = train.field2id_token["genre"]
    scenes = [
        sorted(names[i] for i in train.scenes.members[s].tolist() if i)
        for s in batch[fields.MOVELINE_SCENE][0, :cut].tolist()
    ]
    assert scenes == [["Drama"], ["Comedy", "Drama"], ["Comedy", "Drama"]]


def write_parts(folder, train, valid, test):
    """The toy data as three benchmark files, of rows (user, item, rating, timestamp)."""
    parts = {"train": train, "valid": valid, "test": test}
    write_toy(folder)
    header = (folder / "toy" / "toy.inter").read_text().partition("\n")[0]
    for name, rows in parts.items():
        lines = [header, *("\t".join(map(str, row)) for row in rows)]
        (folder / "toy" / f"toy.{name}.inter").write_text("\n".join(lines) + "\n")
    return list(parts)


def test_rows_of_benchmark_files_are_read_by_user_and_time(tmp_path):
    train = [("b", "m1", 5, 20), ("a", "m1", 1, 30), ("a", "m2", 5, 10), ("b", "m3", 1, 10)]
    files = write_parts(tmp_path, train, [("a", "m3", 5, 40)], [("b", "m4", 5, 40)])
    view, *_ = CTRDataset(toy_config(tmp_path, benchmark_filename=files)).build()
    assert view.inter_feat[fields.ROW_ID].tolist() == [3, 0, 2, 1]  # user b has number 1


def test_frozen_histories_need_benchmark_files_in_order_of_time(tmp_path):
    train = [("a", "m1", 1, 10), ("a", "m2", 5, 20), ("b", "m1", 5, 10), ("b", "m3", 1, 30)]
    for test_time, refused in ((30, False), (20, True)):  # at the time of b's last training row, and before
        files = write_parts(tmp_path, train, [("a", "m3", 5, 40)], [("b", "m4", 5, test_time)])
        config = toy_config(tmp_path, benchmark_filename=files, history_until="train")
        if refused:
            with pytest.raises(UserError, match="needs files in order of time.* 1 validation or test rows"):
                CTRDataset(config).build()
        else:
            CTRDataset(config).build()


NAMES = ("NA", "None", "null", "nan")  # which pandas takes for missing values


def test_tokens_that_pandas_takes_for_missing_are_tokens(tmp_path):
    write_toy(tmp_path)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float\ttab:token"]
    lines += [f"{name}\t{item}\t{1 + 4 * (name < item)}\t100\t{item}" for name in NAMES for item in NAMES]
    (tmp_path / "toy" / "toy.inter").write_text("\n".join(lines) + "\n")
    lines = ["user_id:token\ttimestamp:float\tscene:token\tbehavior:token"]
    lines += [f"{name}\t50\t{name}\t{name}" for name in NAMES]
    (tmp_path / "toy" / "toy.seen").write_text("\n".join(lines) + "\n")
    lines = ["item_id:token\tgenre:token_seq", *(f"{name}\t{name} x" for name in NAMES)]
    (tmp_path / "toy" / "toy.item").write_text("\n".join(lines) + "\n")
    columns = {
        "inter": ["user_id", "item_id", "rating", "timestamp", "tab"],
        "item": ["item_id", "genre"],
    }
    scenes = {"scene_field": "tab", "scene_mode": "token", "moveline_files": "seen"}
    train, *_ = CTRDataset(toy_config(tmp_path, "AMEN", load_col=columns, **scenes)).build()
    for field in ("user_id", "item_id", "tab"):
        assert sorted(train.field2id_token[field][1:]) == sorted(NAMES)
    assert set(NAMES) < set(train.field2id_token["genre"])
    unlabelled = train.event_log.row_id < 0  # of the moveline file
    assert sorted(train.event_log.scene[unlabelled].tolist()) == [1, 2, 3, 4]


@pytest.mark.parametrize("cell", ["", "nan", "NA", "null"])
def test_a_number_that_is_missing_is_told_with_its_line(tmp_path, cell):
    write_toy(tmp_path, [*ROWS, ("a", "m1", cell, 1000000800)])
    with pytest.raises(UserError, match=f"toy.inter, line 23: rating is missing .the cell is '{cell}'."):
        CTRDataset(toy_config(tmp_path)).build()


def test_times_stay_exact_where_recboles_yaml_rescales_them(tmp_path):
    plain, _, _ = toy_dataset(tmp_path, "NIFDIN")
    scaled, _, _ = toy_dataset(tmp_path, "NIFDIN", normalize_all=True)
    assert torch.equal(scaled.event_log.timestamp, plain.event_log.timestamp)
    assert scaled.event_log.timestamp.dtype == torch.int64
    assert float(scaled.inter_feat["timestamp"].max()) <= 1
    assert scaled.inter_feat[fields.ROW_ID].tolist() == plain.inter_feat[fields.ROW_ID].tolist()


def test_float32_precision_gives_recboles_own_rows(tmp_path):
    from recbole.data.dataset import Dataset

    write_toy(tmp_path)
    ours = CTRDataset(toy_config(tmp_path, order_precision="float32")).build()
    stock = Dataset(toy_config(tmp_path)).build()
    for mine, theirs in zip(ours, stock, strict=True):
        pairs = [
            sorted(zip(part.inter_feat["user_id"].tolist(), part.inter_feat["item_id"].tolist(), strict=True))
            for part in (mine, theirs)
        ]
        assert pairs[0] == pairs[1]
    assert ours[0].split_report["rows_moved_by_float32"] == 0


def test_a_random_split_is_recboles(tmp_path):
    from recbole.data.dataset import Dataset

    write_toy(tmp_path)
    ours = CTRDataset(toy_config(tmp_path, split_preset="random")).build()
    config = toy_config(tmp_path, split_preset="random")
    torch.manual_seed(config["seed"])
    stock = Dataset(config).build()
    for mine, theirs in zip(ours, stock, strict=True):
        assert sorted(mine.inter_feat["item_id"].tolist()) == sorted(theirs.inter_feat["item_id"].tolist())


def test_an_empty_history_is_one_padding_item_for_recboles_dien(tmp_path):
    train, _, _ = toy_dataset(tmp_path, "recbole.DIEN")
    batch = train[torch.arange(len(train))]
    assert int(batch["item_length"].min()) == 1
    assert batch["item_id_list"].shape[1] == train.config["MAX_ITEM_LIST_LENGTH"]
    taken = batch["item_id_list"] > 0
    assert (batch["neg_item_id_list"][taken] != batch["item_id_list"][taken]).all()
    assert (batch["neg_item_id_list"][taken] > 0).all()


def test_unlabelled_events_of_a_moveline_file_are_seen_but_never_samples(tmp_path):
    write_toy(tmp_path)
    inter = tmp_path / "toy" / "toy.inter"
    lines = inter.read_text().splitlines()
    inter.write_text("\n".join([lines[0] + "\ttab:token"] + [line + "\thome" for line in lines[1:]]) + "\n")
    (tmp_path / "toy" / "toy.events").write_text(
        "user_id:token\ttimestamp:float\tscene:token\tbehavior:token\n"
        "a\t1000000150\tsearch\tcart\nb\t1000000601\thome\tbuy\nnobody\t1\thome\tbuy\n"
    )
    columns = {
        "inter": ["user_id", "item_id", "rating", "timestamp", "tab"],
        "user": ["user_id"],
        "item": ["item_id"],
    }
    extra = dict(scene_field="tab", scene_mode="token", moveline_files=["events"], load_col=columns)
    train, _, test = CTRDataset(toy_config(tmp_path, "AMEN", **extra)).build()
    assert len(train.event_log) == len(ROWS) + 2
    row = [ROWS[r][:2] for r in train.inter_feat[fields.ROW_ID].tolist()].index(("a", "m5"))
    batch = train[[row]]
    cut = int(batch[fields.MOVELINE_CUT])
    assert batch[fields.MOVELINE_ITEM][0, cut - 1] == 0
    assert batch[fields.MOVELINE_BEHAVIOR][0, cut - 1] > 2
    assert batch[fields.MOVELINE_SCENE][0, cut - 1] != batch[fields.MOVELINE_SCENE][0, cut - 2]
    assert sum(len(part) for part in (train, test)) < len(ROWS) + 2


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        ({"threshold": None}, "threshold"),
        ({"threshold": {"rating": 0}}, "label"),
        ({"scene_field": "color"}, "scene_field"),
        ({"moveline_files": ["events"]}, "moveline_files"),
        ({"history_until": "train", "split_preset": "random"}, "history_until"),
        ({"eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}}}, "empty"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_sentence(tmp_path, overrides, word):
    write_toy(tmp_path)
    with pytest.raises(UserError, match=word):
        CTRDataset(toy_config(tmp_path, "AMEN", **overrides)).build()
