"""What a user can get wrong: one line with the place and the remedy, exit code 2, nothing left behind."""

from pathlib import Path

import pytest
import torch
import yaml

from recbole_nif import cli
from tests.toy import toy_config, write_toy

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
LINE_5 = "a\tm4\t5\t1000000101"  # of toy.inter
NO_GPU = not (torch.cuda.is_available() or torch.backends.mps.is_available())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The toy data and, in ``toy.yaml``, its settings; also the current folder."""
    monkeypatch.chdir(write_toy(tmp_path))
    given = toy_config(tmp_path, "NIFDIN").resolved()
    names = ("load_col", "threshold", "scene_field", "train_batch_size", "device", "show_progress")
    settings = {name: given[name] for name in names}
    settings |= {"data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "epochs": 1}
    settings["state"] = "ERROR"  # what the log says before a mistake is found is no part of the sentence
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


@pytest.fixture
def refused(folder, capsys):
    """Runs the command line and returns the sentence with which it must refuse."""

    def run(*argv: str) -> str:
        defaults = ["--model=NIFDIN", "--dataset=toy", "--config_files=toy.yaml"]
        given = {option.partition("=")[0] for option in argv}
        before = files_below(folder)
        code = cli.main([*(option for option in defaults if option.partition("=")[0] not in given), *argv])
        printed = capsys.readouterr()
        assert code == 2
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1, printed.err
        assert printed.out == ""
        assert files_below(folder) == before
        return printed.err

    return run


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- names, keys and values


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--model=AMNE", ["Unknown model 'AMNE'", "did you mean 'AMEN'", "--list_models"]),
        ("--model=nowhere.module:Net", ["'nowhere.module'", "--model"]),
        ("--dataset=toi", ["Unknown dataset 'toi'", "toi/toi.inter"]),
        ("--data_path=elsewhere", ["Unknown dataset 'toy'", "elsewhere/toy/toy.inter"]),
        ("--config_files=nowhere.yaml", ["nowhere.yaml", "No such file"]),
        ("--learning_rat=0.1", ["'learning_rat'", "did you mean 'learning_rate'"]),
        ("--eval_args.spilt.RS=[8,1,1]", ["'eval_args.spilt'", "did you mean 'split'"]),
        ("--save_dataset=True", ["save_dataset", "pickles", "remove it"]),
        ("--eval_args.mode=full", ["eval_args.mode", "'full'", "use labeled"]),
        ("--eval_args.mode={valid: labeled, test: uni100}", ["eval_args.mode", "use labeled"]),
        ("--model_file=nowhere.pt", ["nowhere.pt does not exist", "check the path"]),
        ("--scene_field=color", ["scene_field 'color'", "load_col"]),
        ("--moveline_files=[events]", ["moveline_files", "toy.events"]),
    ],
)
def test_a_name_that_does_not_exist_is_told_with_what_does(refused, option, words):
    assert_all_in(words, refused(option))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--epochs=abc", "epochs must be a whole number"),
        ("--epochs=-1", "epochs must be at least 0"),
        ("--learning_rate=fast", "learning_rate must be a number"),
        ("--learning_rate=.nan", "learning_rate must be at least 0"),
        ("--weight_decay=.inf", "weight_decay must be a finite number"),
        ("--train_batch_size=0", "train_batch_size must be at least 1"),
        ("--eval_batch_size=-8", "eval_batch_size must be at least 1"),
        ("--dropout_prob=2", "dropout_prob must be between 0 and 1"),
        ("--embedding_size=-3", "embedding_size must be at least 1"),
        ("--mlp_hidden_size=[64, 0]", "mlp_hidden_size must be at least 1"),
        ("--seed=-1", "seed must be between 0 and 4294967295"),
        ("--history=klicks", "history must be one of clicks, all, all_with_label"),
        ("--state=LOUD", "state must be one of DEBUG, INFO"),
        ("--threshold=4", "threshold must be a mapping"),
        ("--threshold.rating=high", "threshold.rating must be a number"),
        ("--load_col.inter=user_id", "load_col.inter must be a list"),
        ("--val_interval=3", "val_interval must be a mapping"),
        ("--val_interval.rating=1-3", "val_interval.rating must be an interval"),
        ("--val_interval.rating=[5,1]", "val_interval.rating must be an interval"),
        ("--user_inter_num_interval=5", "user_inter_num_interval must be an interval"),
        ("--rm_dup_inter=often", "rm_dup_inter must be one of first, last"),
        ("--clip_grad_norm=5", "clip_grad_norm must be a mapping"),
        ("--clip_grad_norm.max_norm=much", "clip_grad_norm.max_norm must be a number"),
        ("--normalize_all=maybe", "normalize_all must be True or False"),
        ("--scene_field=7", "scene_field must be text or a list"),
        ("--source=here", "source must be a mapping"),
        ("--encoding=klingon", "encoding 'klingon' is unknown"),
        ("--seq_separator=", "seq_separator is empty"),
        ("--eval_args.order=XX", "eval_args.order is 'XX': use TO"),
        ("--eval_args.split.RS=[1,2]", "eval_args.split.RS is [1, 2]: give three ratios"),
        ("--learner=adamm", "learner is 'adamm': use one of adam"),
        ("--mlp_activation=magic", "no activation 'magic'; choose one of"),
        ("--learning_rate=1e38", "is not finite in epoch 0 of stage finetune: lower the learning rate"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_it_must_be(refused, option, words):
    assert words in refused(option)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--tsp_window=soon", "tsp_window must be a number"),
        ("--tsp_ratio=2", "tsp_ratio must be between 0 and 1"),
        ("--nce_temperature=0", "nce_temperature must be above 0"),
        ("--nce_in_batch=0", "nce_in_batch must be at least 1"),
        ("--save_step=-1", "save_step must be at least 1"),
        ("--attention_mlp_hidden_size=[]", "attention_mlp_hidden_size must be a list of one width or more"),
        ("--flow_len=0", "flow_len must be at least 1"),
        ("--moveline_stride=201", "moveline_stride is 201: it must be between 1 and moveline_length (200)"),
        ("--n_heads=3", "hidden_size 64 must be a multiple of n_heads (3)"),
        ("--generator_cross_fit=x", "generator_cross_fit must be one of none, kfold"),
        ("--tsp_mode=x", "tsp_mode must be one of none, logit, shift"),
        ("--tsp_partner=x", "tsp_partner must be one of nearest, random, in_batch"),
        ("--pretrain_cuts=x", "pretrain_cuts is 'x': use boundaries or all"),
    ],
)
def test_a_wrong_value_of_amen_is_told_with_its_key(refused, option, words):
    assert words in refused("--model=AMEN", option)


def test_batches_of_one_row_are_refused_for_a_model_with_batch_norm(refused):
    words = "A training batch has one row, and NFM has batch norm, which needs two: set train_batch_size"
    assert words in refused("--model=NFM", "--train_batch_size=1")


def test_windows_with_gaps_between_them_are_refused_without_stage_1_too(refused):
    words = "moveline_stride is 201: it must be between 1 and moveline_length (200)"
    assert words in refused("--model=AMEN", "--train_stage=finetune", "--moveline_stride=201")


@pytest.mark.skipif(not NO_GPU, reason="needs a machine without a GPU")
def test_use_gpu_without_a_gpu_is_refused(refused, folder):
    rewrite(folder / "toy.yaml", "device: cpu\n", "")
    assert_all_in(["use_gpu is True", "no GPU", "drop use_gpu or set device: cpu"], refused("--use_gpu=True"))


# --- files


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        # header
        ("inter", HEADER, HEADER.replace(":token", ""), ["'user_id', which is no name:type"]),
        ("inter", "rating:float", "rating:number", ["'rating:number'", "token, token_seq, float, float_seq"]),
        ("inter", "rating:float", "item_id:float", ["names the column 'item_id' twice", "rename"]),
        ("inter", "item_id:token", "movie:token", ["no column 'item_id'", "ITEM_ID_FIELD", "movie"]),
        ("inter", "timestamp:float", "timestamp:token", ["TIME_FIELD", "'timestamp'", "must say float"]),
        ("inter", "rating:float", "rating:token", ["RATING_FIELD", "'rating'", "must say float"]),
        ("user", "user_id:token", "user_id:float", ["toy.user, line 2", "user_id is 'a'", "float"]),
        ("item", "genre:token_seq", "genre", ["toy.item", "'genre', which is no name:type"]),
        ("item", "genre:token_seq", "kind:token_seq", ["no column 'genre', which load_col names"]),
        ("inter", "\t", ",", ["separated by ','", "set field_separator"]),
        # cells
        ("inter", LINE_5, "a\tm4\t5", ["toy.inter, line 5 has 3 cells", "the header names 4"]),
        ("inter", LINE_5, "a\t5\t1000000101", ["toy.inter, line 5 has 3 cells", "correct or remove"]),
        ("inter", LINE_5, LINE_5 + "\t7", ["toy.inter, line 5 has 5 cells", "the header names 4"]),
        ("user", "a\t20", "a", ["toy.user, line 2 has 1 cells", "the header names 2"]),
        ("inter", LINE_5, "\tm4\t5\t1000000101", ["toy.inter, line 5: user_id is missing", "fill it"]),
        ("inter", LINE_5, "a\t\t5\t1000000101", ["toy.inter, line 5: item_id is missing", "''"]),
        ("inter", LINE_5, "a\tm4\tNA\t1000000101", ["toy.inter, line 5: rating is missing", "'NA'"]),
        ("inter", LINE_5, "a\tm4\t\t1000000101", ["toy.inter, line 5: rating is missing"]),
        ("inter", LINE_5, "a\tm4\t5\t", ["toy.inter, line 5: timestamp is missing"]),
        ("user", "a\t20", "\t20", ["toy.user, line 2: user_id is missing"]),
        ("inter", LINE_5, "\n\na\tm4\t5", ["toy.inter, line 7 has 3 cells"]),  # after two blank lines
        ("inter", LINE_5, 'a\t"m4\t5\t1000000101', ["toy.inter, line 5", "quotation mark", "remove it"]),
        # numbers
        ("inter", LINE_5, "a\tm4\tfive\t1000000101", ["toy.inter, line 5: rating is 'five'", "correct"]),
        ("inter", LINE_5, "a\tm4\t5\t2024-01-01", ["toy.inter, line 5: timestamp is '2024-01-01'"]),
        ("inter", LINE_5, "a\tm4\tinf\t1000000101", ["toy.inter, line 5: rating is 'inf'", "infinite"]),
        ("inter", LINE_5, "a\tm4\t5\t-inf", ["toy.inter, line 5: timestamp is '-inf'", "infinite"]),
        ("inter", LINE_5, "a\tm4\t5\t1e300", ["toy.inter, line 5: timestamp is '1e300'", "too large"]),
        ("inter", LINE_5, "a\tm4\tnan\t1000000101", ["toy.inter, line 5: rating is missing", "'nan'"]),
    ],
)
def test_a_broken_file_is_told_with_its_line(refused, folder, file, old, new, words):
    rewrite(folder / "toy" / f"toy.{file}", old, new)
    assert_all_in(words, refused())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["toy.inter has no header line", "user_id:token"]),
        (HEADER.encode(), ["toy.inter has a header line but no rows"]),
        (HEADER.encode() + b"\n", ["toy.inter has a header line but no rows"]),
        (bytes(range(256)) * 4, ["toy.inter is not utf-8-sig text", "set encoding"]),
        (HEADER.encode("utf-16"), ["toy.inter is not utf-8-sig text", "set encoding"]),
        (f"{HEADER}\na\tcafé\t5\t1\n".encode("latin-1"), ["toy.inter is not utf-8-sig text", "set encoding"]),
    ],
)
def test_a_file_of_something_else_is_told(refused, folder, content, words):
    (folder / "toy" / "toy.inter").write_bytes(content)
    assert_all_in(words, refused())


def test_a_byte_order_mark_under_another_encoding_is_told(refused, folder):
    inter = folder / "toy" / "toy.inter"
    inter.write_bytes(b"\xef\xbb\xbf" + inter.read_bytes())
    assert "byte-order mark: set encoding: utf-8-sig" in refused("--encoding=utf-8")


@pytest.mark.parametrize("suffix", ["user", "item"])
def test_a_missing_file_that_load_col_names_is_told(refused, folder, suffix):
    (folder / "toy" / f"toy.{suffix}").unlink()
    assert_all_in([f"toy.{suffix} does not exist", "load_col"], refused())


def test_an_events_file_with_a_broken_line_is_told(refused, folder):
    (folder / "toy" / "toy.events").write_text(
        "user_id:token\ttimestamp:float\tscene:token\tbehavior:token\na\t1000000150\tsearch\tcart\na\t9\tpay\n"
    )
    sentence = refused("--model=AMEN", "--moveline_files=[events]", "--scene_field=genre")
    assert_all_in(["toy.events, line 3 has 3 cells", "the header names 4"], sentence)


# --- columns that keys name, labels, splits


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            "--load_col.inter=[user_id, item_id, rating, timestamp, color]",
            ["toy.inter has no column 'color'"],
        ),
        ("--USER_ID_FIELD=uid", ["toy.inter has no column 'uid', which USER_ID_FIELD names"]),
        ("--threshold={stars: 4}", ["threshold names 'stars'", "add it to load_col"]),
        ("--threshold={age: 4}", ["threshold names 'age', a token column"]),
        ("--threshold={rating: 4, timestamp: 9}", ["threshold", "name one column"]),
        ("--val_interval.color=[1,5]", ["val_interval names 'color'", "add it to load_col"]),
        ("--val_interval.age=[1,5]", ["val_interval.age", "a token column takes a list of tokens"]),
        ("--numerical_features=[age]", ["numerical_features names 'age', a token column"]),
        ("--normalize_field=[color]", ["normalize_field names 'color'"]),
        ("--alias_of_item_id=[color]", ["alias_of_item_id names 'color'"]),
        ("--additional_feat_suffix=[emb]", ["toy.emb does not exist", "additional_feat_suffix"]),
        ("--unload_col.inter=[rating]", ["load_col", "unload_col"]),
        ("--threshold=null", ["no column 'label'", "set threshold"]),
        ("--threshold.rating=0", ["All rows of toy have label 1", "check threshold"]),
        ("--threshold.rating=9", ["All rows of toy have label 0", "check threshold"]),
        ("--val_interval.rating=[9,10]", ["toy", "empty", "filtering settings"]),
        ("--eval_args.split.RS=[1,0,0]", ["validation split of toy is empty", "eval_args.split"]),
        ("--eval_args.split.RS=[0.9,0.1,0]", ["test split of toy is empty", "eval_args.split"]),
    ],
)
def test_data_that_cannot_be_used_as_asked_is_told(refused, option, words):
    assert_all_in(words, refused(option))


@pytest.mark.parametrize("model", ["NIFDIEN", "recbole.DIEN"])
def test_a_single_item_is_too_few_to_draw_another_one(refused, tmp_path, model):
    write_toy(tmp_path, [("abc"[place % 3], "m1", 1 + 4 * (place // 3 % 2), place) for place in range(36)])
    assert_all_in([model.rpartition(".")[2], "the data have one item"], refused(f"--model={model}"))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--val_interval.rating=[1,5]", ["val_interval", "benchmark_filename", "to null"]),
        ("--rm_dup_inter=first", ["rm_dup_inter", "benchmark_filename", "to null"]),
        ("--item_inter_num_interval=[5,inf)", ["item_inter_num_interval", "to '[0,inf)'"]),
        ("--benchmark_filename=[train, test]", ["benchmark_filename", "name three parts"]),
        ("--benchmark_filename=train", ["benchmark_filename must be a list"]),
        ("--epochs=1", ["toy.train.inter does not exist", "benchmark_filename names it"]),
    ],
)
def test_benchmark_files_with_what_would_not_apply_are_refused(refused, option, words):
    default = [] if "benchmark" in option else ["--benchmark_filename=[train, valid, test]"]
    assert_all_in(words, refused(*default, option))


def assert_all_in(words: list[str], sentence: str) -> None:
    assert [word for word in words if word not in sentence] == [], sentence
