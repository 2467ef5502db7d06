"""NIFConfig: parsing, layers, split presets, checked keys, device, round trip."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from recbole_nif import resources
from recbole_nif.config import NIFConfig
from recbole_nif.config_choices import CHOICES, choice
from recbole_nif.config_device import choose_place
from recbole_nif.config_parsing import ConfigLoader, deep_merge, load_yaml, parse_argv, parse_value
from recbole_nif.errors import UserError

USER_TIME = {"RS": [0.8, 0.1, 0.1]}


def config(*argv, model="DeepFM", dataset="ml-100k", **options):
    return NIFConfig(model, dataset, argv=argv, **options)


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# --- parsing


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5E4", 50000.0),
        ("-2.5e+1", -25.0),
        (".5", 0.5),
        ("7", 7),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("~", None),
        ("none", "none"),
        ("[64, 32]", [64, 32]),
        ("{'RS':[0.8,0.1,0.1]}", {"RS": [0.8, 0.1, 0.1]}),
        ("2024-01-31", "2024-01-31"),
        ("[1, 2", "[1, 2"),
        ("@home", "@home"),
        ("", ""),
        ("0x_", "0x_"),
        ("&a {x: *a}", "&a {x: *a}"),
    ],
)
def test_a_value_of_the_command_line_is_read_as_yaml_with_recbole_floats(text, value):
    assert parse_value("any_key", text) == value
    assert type(parse_value("any_key", text)) is type(value)


def test_code_in_a_value_stays_text_or_is_refused():
    assert parse_value("any_key", "__import__('os').getcwd()") == "__import__('os').getcwd()"
    assert (
        parse_value("any_key", "!!python/object/apply:os.getcwd []") == "!!python/object/apply:os.getcwd []"
    )


def test_an_interval_a_separator_and_a_folder_stay_text():
    assert parse_value("user_inter_num_interval", "[5,50]") == "[5,50]"
    assert parse_value("val_interval.rating", "[3,5]") == "[3,5]"
    assert parse_value("seq_separator", " ") == " "
    assert parse_value("run_dir", "2024") == "2024"
    assert parse_value("run_dir", "None") is None


def test_the_loaders_of_pyyaml_are_left_alone():
    assert ConfigLoader is not yaml.SafeLoader
    assert yaml.safe_load("[1e-3, None]") == ["1e-3", "None"]
    assert yaml.load("[1e-3, None]", Loader=ConfigLoader) == [0.001, None]
    before = {first: list(resolvers) for first, resolvers in yaml.FullLoader.yaml_implicit_resolvers.items()}
    NIFConfig("LR", "ml-100k")
    assert before == yaml.FullLoader.yaml_implicit_resolvers


def test_an_option_is_split_at_its_first_equals_sign():
    assert parse_argv(["--run_dir=out/lr=0.1"]) == {"run_dir": "out/lr=0.1"}


def test_options_take_their_value_after_an_equals_sign_or_a_space():
    argv = [
        "-m",
        "AMEN",
        "--dataset",
        "ml-100k",
        "--epochs",
        "3",
        "--seed=-1",
        "--config_files",
        "a.yaml b.yaml",
    ]
    assert parse_argv(argv) == {
        "model": "AMEN",
        "dataset": "ml-100k",
        "epochs": 3,
        "seed": -1,
        "config_files": "a.yaml b.yaml",
    }


def test_dots_make_nested_keys():
    assert parse_argv(["--eval_args.order=RO", "--eval_args.split.RS=[8,1,1]"]) == {
        "eval_args": {"order": "RO", "split": {"RS": [8, 1, 1]}}
    }


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--epochs"], "--epochs needs a value"),
        (["--compile", "--epochs=3"], "--compile needs a value"),
        (["--config_files", "a.yaml", "b.yaml"], "Unexpected argument 'b.yaml'"),
        (["--epochs=3", "--epochs=4"], "--epochs is given twice"),
        (
            ["--eval_args={order: RO}", "--eval_args.order=TO", "--threshold=3", "--threshold.rating=4"],
            "by dots",
        ),
    ],
)
def test_a_command_line_that_cannot_be_read_is_told_in_one_sentence(argv, sentence):
    with pytest.raises(UserError, match=sentence):
        parse_argv(argv)


def test_wrong_yaml_is_told_with_file_and_line(tmp_path):
    path = write(tmp_path, "broken.yaml", "epochs: 3\nmetrics: [AUC\nseed: 1\n")
    with pytest.raises(UserError, match=r"broken\.yaml, line 3"):
        load_yaml(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed: 1\nepochs: 0x_\n", r"odd\.yaml, line 2: '0x_' is no int"),
        ("threshold: &a\n  x: *a\n", r"value in .*odd\.yaml nests too deeply, or holds itself"),
        ("seed: 1\nepochs: 2\nseed: 3\n", r"odd\.yaml, line 3: the key 'seed' is given twice"),
        ("threshold:\n  rating: 3\n  rating: 4\n", "line 3: the key 'rating' is given twice"),
        ("metrics: " + "[" * 2000 + "]" * 2000, "nests too deeply"),
    ],
)
def test_yaml_that_python_cannot_hold_is_told_like_wrong_yaml(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence):
        load_yaml(write(tmp_path, "odd.yaml", text))


def test_a_merged_mapping_may_give_a_key_that_is_there(tmp_path):
    text = "base: &b {x: 1, y: 2}\nmore: &m\n  <<: *b\n  x: 3\nlast:\n  <<: *m\n  y: 4\n"
    loaded = load_yaml(write(tmp_path, "merged.yaml", text))
    assert loaded["more"] == {"x": 3, "y": 2} and loaded["last"] == {"x": 3, "y": 4}


def test_numbers_of_numpy_are_numbers():
    searched = {
        "learning_rate": np.logspace(-3, -1, 3)[0],
        "epochs": np.int64(2),
        "mlp_hidden_size": [np.int32(8)],
    }
    made = config(model="NIFDIN", config_dict=searched)
    assert [type(made[key]) for key in ("learning_rate", "epochs")] == [float, int]
    assert made["mlp_hidden_size"] == [8]


def test_a_file_that_is_missing_or_holds_no_mapping_is_told(tmp_path):
    with pytest.raises(UserError, match=r"missing\.yaml: No such file"):
        config(config_file_list=[tmp_path / "missing.yaml"])
    with pytest.raises(UserError, match="'key: value' lines"):
        load_yaml(write(tmp_path, "list.yaml", "- a\n- b\n"))


def test_mappings_merge_at_every_depth_and_the_rest_replaces():
    base = {"a": {"b": {"c": 1, "d": 2}}, "e": [1, 2]}
    assert deep_merge(base, {"a": {"b": {"c": 3}}, "e": [4]}) == {"a": {"b": {"c": 3, "d": 2}}, "e": [4]}


def test_a_mapping_of_one_key_is_replaced_not_joined_by_a_second_key():
    assert deep_merge({"threshold": {"rating": 4}}, {"threshold": {"click": 1}}) == {
        "threshold": {"click": 1}
    }


# --- layers


def test_our_defaults_lie_over_those_of_recbole_for_every_kind_of_model():
    for model in ("LR", "NIFDIN", "recbole.DIN"):
        values = config(model=model)
        assert values["train_batch_size"] == 1024
        assert values["eval_args"] == {
            "split": USER_TIME,
            "order": "TO",
            "group_by": "user",
            "mode": {"valid": "labeled", "test": "labeled"},
        }
        assert values["train_neg_sample_args"]["distribution"] == "none"
        assert values["metrics"] == ["AUC", "LogLoss", "UserAUC"]
        assert values["repeatable"] is True


def test_our_dataset_config_lies_over_recboles_ml_100k():
    values = config()
    assert values["normalize_all"] is False  # RecBole's ml-100k.yaml says True
    assert values["val_interval"] == {"rating": "[0,3);(3,inf)"}


def test_each_layer_wins_over_the_one_below(tmp_path):
    first = write(tmp_path, "first.yaml", "epochs: 1\nseed: 1\nstopping_step: 1\ntrain_batch_size: 1\n")
    second = write(tmp_path, "second.yaml", "seed: 2\nstopping_step: 2\ntrain_batch_size: 2\n")
    values = config(
        "--train_batch_size=4",
        f"--config_files={second}",
        config_file_list=[first],
        config_dict={"stopping_step": 3, "train_batch_size": 3},
    )
    assert [values[key] for key in ("epochs", "seed", "stopping_step", "train_batch_size")] == [1, 2, 3, 4]


def test_mappings_of_different_layers_merge(tmp_path):
    path = write(tmp_path, "user.yaml", "load_col: {inter: [user_id, item_id, rating]}\n")
    assert config(config_file_list=[path])["load_col"]["inter"] == ["user_id", "item_id", "rating"]
    assert config(config_file_list=[path])["load_col"]["user"] == ["user_id", "age", "gender", "occupation"]


def test_model_dataset_and_split_may_come_from_a_file_alone(tmp_path):
    path = write(tmp_path, "run.yaml", "model: LR\ndataset: ml-100k\nsplit_preset: random\n")
    values = NIFConfig(config_file_list=[path])
    assert (values["model"], values["dataset"], values["split_preset"]) == ("LR", "ml-100k", "random")
    with pytest.raises(UserError, match="No dataset is named"):
        NIFConfig("LR")


@pytest.mark.parametrize(
    "line",
    ["model: 5", "model: [AMEN]", "dataset: 2024", "dataset: [ml-100k]", "resume: 2024", "resume: [a]"],
)
def test_a_name_in_a_file_must_be_text(tmp_path, line):
    names = {"model": "LR", "dataset": "ml-100k"} | yaml.safe_load(line)
    path = write(tmp_path, "run.yaml", yaml.safe_dump(names))
    key, _, value = line.partition(": ")
    with pytest.raises(UserError, match=f"^{key} must be text, but it is .*{value.strip('[]')}.* in quotes"):
        NIFConfig(config_file_list=[path])


@pytest.mark.parametrize("argv", ["--model.a=x", "--dataset.a=x", "--config_files.a=x", "--resume.a=x"])
def test_a_name_on_the_command_line_must_be_text(argv):
    names = {"model": "--model=LR", "dataset": "--dataset=ml-100k"}
    key = argv.removeprefix("--").partition(".")[0]
    given = [option for name, option in names.items() if name != key]
    with pytest.raises(UserError, match=f"^{key} must be text, but it is {{'a': 'x'}}"):
        NIFConfig(argv=[*given, argv])


def test_texts_of_a_config_dict_are_parsed_like_the_command_line():
    values = config(
        config_dict={"mlp_hidden_size": "[8, 4]", "learning_rate": "1e-2", "eval_args.order": "RO"}
    )
    assert values["mlp_hidden_size"] == [8, 4]
    assert values["learning_rate"] == 0.01
    assert values["eval_args"]["order"] == "RO"


def test_the_command_line_of_the_process_is_never_read(monkeypatch):
    monkeypatch.setattr("sys.argv", ["pytest", "--epochs=99", "--nonsense=1"])
    assert config()["epochs"] != 99


def test_tuned_values_lie_under_the_users_and_are_noted(tmp_path, monkeypatch):
    write(tmp_path, "LR-ml-100k.yaml", "learning_rate: 0.02\nepochs: 7\n")
    monkeypatch.setattr(
        "recbole_nif.config_layers.tuned_file", lambda model, dataset: tmp_path / "LR-ml-100k.yaml"
    )
    monkeypatch.setattr("recbole_nif.config.tuned_file", lambda model, dataset: tmp_path / "LR-ml-100k.yaml")
    values = config("--epochs=2", model="LR")
    assert (values["learning_rate"], values["epochs"]) == (0.02, 2)
    assert "LR-ml-100k.yaml" in values.notes[0]
    untuned = config("--epochs=2", model="LR", tuned=False)
    assert untuned["learning_rate"] != 0.02 and untuned.notes == []


# --- split


@pytest.mark.parametrize(
    ("preset", "order", "group_by", "split"),
    [
        ("user_time", "TO", "user", USER_TIME),
        ("global_time", "TO", "none", USER_TIME),
        ("random", "RO", "none", USER_TIME),
        ("leave_one_out", "TO", "user", {"LS": "valid_and_test"}),
    ],
)
def test_a_split_preset_expands_to_eval_args(preset, order, group_by, split):
    values = config(f"--split_preset={preset}")
    args = values["eval_args"]
    assert (args["order"], args["group_by"], args["split"]) == (order, group_by, split)
    assert values["split_preset"] == preset


def test_eval_args_of_the_same_or_a_later_layer_win_over_a_preset(tmp_path):
    path = write(
        tmp_path, "run.yaml", "split_preset: global_time\neval_args: {split: {RS: [0.6, 0.2, 0.2]}}\n"
    )
    values = config(config_file_list=[path])
    assert values["eval_args"]["split"] == {"RS": [0.6, 0.2, 0.2]}
    assert values["eval_args"]["group_by"] == "none"
    assert values["split_preset"] == "custom"


def test_a_preset_of_a_later_layer_resets_the_split(tmp_path):
    path = write(tmp_path, "run.yaml", "eval_args: {split: {RS: [0.6, 0.2, 0.2]}, order: RO}\n")
    values = config("--split_preset=leave_one_out", config_file_list=[path])
    assert values["eval_args"]["split"] == {"LS": "valid_and_test"}
    assert values["eval_args"]["order"] == "TO"


def test_eval_args_that_amount_to_a_preset_get_its_name():
    assert config("--eval_args.order=RO", "--eval_args.group_by=none")["split_preset"] == "random"


def test_any_mode_but_labeled_is_refused():
    with pytest.raises(UserError, match="uni100"):
        config("--eval_args.mode=uni100")
    with pytest.raises(UserError, match="full"):
        config("--eval_args.mode={valid: labeled, test: full}")
    assert config("--eval_args.mode={valid: labeled}")["eval_args"]["mode"]["test"] == "labeled"


# --- checked keys and values


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("--learning_rat=0.1", "'learning_rat' in the command line; did you mean 'learning_rate'"),
        ("--max_item_list_length=5", "did you mean 'MAX_ITEM_LIST_LENGTH'"),
        ("--eval_args.ordre=RO", "'eval_args.ordre' in the command line; did you mean 'order'"),
        ("--split_preset=usertime", "did you mean 'user_time'"),
        ("--learning_rate=abc", "learning_rate must be a number, but the command line gives 'abc'"),
        ("--epochs=many", "epochs must be a whole number"),
        ("--epochs=1.5", "epochs must be a whole number"),
        ("--epochs=True", "epochs must be a whole number"),
        ("--epochs=None", "epochs must be a whole number"),
        ("--compile=1", "compile must be True or False"),
        ("--mlp_hidden_size=64", "mlp_hidden_size must be a list"),
        ("--mlp_hidden_size=[a, b]", "mlp_hidden_size must be a list"),
        ("--learner=3", "learner must be text"),
        ("--history=click", "history must be one of clicks, all, all_with_label"),
        ("--metrics=[AUC, Recall]", "'Recall' is not computed here: use AUC, GAUC and LogLoss"),
        ("--metrics=[AUC, MAE]", "'MAE' is not computed here"),
        ("--valid_metric=RMSE", "valid_metric RMSE must be one of metrics"),
        ("--save_dataset=True", "save_dataset is not supported"),
        ("--dataloaders_save_path=x.pth", "dataloaders_save_path is not supported"),
        ("--train_neg_sample_args={sample_num: 1}", "must stay empty"),
        ("--device=tpu9", "Unknown device 'tpu9'"),
        ("--eval_args.mode.valid=[labeled]", "eval_args.mode is .*use labeled"),
        ("--clip_grad_norm={foreach: False}", "clip_grad_norm is {'foreach': False}: it needs max_norm"),
        ("--clip_grad_norm.norm_type=2", "it needs max_norm"),
        ("--clip_grad_norm={max_norm: True}", "clip_grad_norm.max_norm must be a number"),
        ("--clip_grad_norm={max_norm: 5, foreach: 3}", "clip_grad_norm.foreach must be True, False or null"),
        ("--clip_grad_norm={max_norm: 5, norm_type: no}", "clip_grad_norm.norm_type must be a number"),
    ],
)
def test_a_wrong_key_or_value_is_told_in_one_sentence(argv, sentence):
    with pytest.raises(UserError, match=sentence):
        config(argv)


def test_an_error_names_the_file_or_the_dict_it_comes_from(tmp_path):
    path = write(tmp_path, "mine.yaml", "epoch: 3\n")
    with pytest.raises(UserError, match=r"'epoch' in .*mine\.yaml; did you mean 'epochs'"):
        config(config_file_list=[path])
    with pytest.raises(UserError, match="but config_dict gives 'soon'"):
        config(config_dict={"stopping_step": "soon"})


def test_values_that_recbole_accepts_in_two_forms_are_accepted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    values = config("--learning_rate=1", "--metrics=AUC", "--topk=5", "--gpu_id=0", model="DCNV2")
    assert (values["learning_rate"], values["metrics"], values["topk"]) == (1, ["AUC"], [5])
    assert config("--reg_weight=0.5", model="DCNV2")["reg_weight"] == 0.5
    assert config("--clip_grad_norm.max_norm=5.0")["clip_grad_norm"] == {"max_norm": 5.0}


def test_a_key_of_another_model_is_noted_and_passed():
    values = config("--cin_layer_size=[8]", model="LR")
    assert "cin_layer_size (the command line) is a key of other models" in values.notes[0]


@pytest.mark.parametrize(
    ("argv", "model", "notes"),
    [
        (["--log_wandb=True"], "LR", ["log_wandb (the command line) is not read: curves are in the run"]),
        (["--log_wandb=False", "--metric_decimal_place=4"], "LR", []),  # RecBole's defaults
        (
            ["--metric_decimal_place=6"],
            "LR",
            ["metric_decimal_place (the command line) is not read: metrics"],
        ),
        (["--shuffle=False"], "LR", []),
        (["--history=all"], "DeepFM", ["history: all has no effect on DeepFM, which reads no history."]),
        (["--history=all"], "recbole.DIN", []),
        (
            ["--history=all_with_label", "--history_scene=True"],
            "recbole.DIN",
            [
                "history: all_with_label: recbole.DIN reads the items of the past only.",
                "history_scene: True: recbole.DIN reads the items of the past only.",
            ],
        ),
        (["--history=all_with_label", "--history_scene=True"], "NIFDIN", []),
    ],
)
def test_a_value_without_effect_is_noted(argv, model, notes):
    found = config(*argv, model=model, tuned=False).notes
    assert len(found) == len(notes)
    assert all(note.startswith(start) for note, start in zip(found, notes, strict=True))


def test_an_unknown_dataset_is_told_with_the_known_ones():
    with pytest.raises(UserError, match="'ml-10k'; did you mean 'ml-100k'.*ml-1m"):
        config(dataset="ml-10k")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/data/my-log", "dataset is '/data/my-log': give .* such as 'my-log', .* --data_path"),
        ("logs/my-log/", "such as 'my-log'"),
        (".", "dataset is '.': give the name of its folder alone"),
        ("", "No dataset is named"),
        ("*", "Unknown dataset '\\*'"),
        ("[s]hop", "Unknown dataset '\\[s\\]hop'"),
    ],
)
def test_a_dataset_is_a_name_and_neither_a_path_nor_a_pattern(tmp_path, name, sentence):
    (tmp_path / "shop").mkdir()
    write(tmp_path / "shop", "shop.inter", "user_id:token\titem_id:token\tlabel:float\n")
    with pytest.raises(UserError, match=sentence):
        config(f"--data_path={tmp_path}", dataset=name)


def test_a_folder_with_atomic_files_is_a_dataset(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    write(folder, "shop.inter", "user_id:token\titem_id:token\tlabel:float\n")
    values = config(f"--data_path={tmp_path}", dataset="shop")
    assert values["data_path"] == str(folder)
    write(folder, "shop.part1.inter", "user_id:token\titem_id:token\tlabel:float\n")
    (folder / "shop.inter").unlink()
    parts = ["part1", "part2", "part3"]
    values = config(f"--data_path={tmp_path}", f"--benchmark_filename={parts}", dataset="shop")
    assert values["benchmark_filename"] == parts


# --- a user's own model


MODEL_CODE = """
from recbole.model.context_aware_recommender import LR

class TinyModel(LR):
    pass
"""


def test_the_yaml_beside_a_users_class_gives_defaults_and_legal_keys(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "tiny_with_yaml.py", MODEL_CODE)
    write(tmp_path, "TinyModel.yaml", "embedding_size: 4\ntiny_width: 8\n")
    values = config("--tiny_width=16", model="tiny_with_yaml:TinyModel")
    assert (values["embedding_size"], values["tiny_width"]) == (4, 16)
    assert (values["model"], values["model_name"]) == ("TinyModel", "tiny_with_yaml:TinyModel")
    with pytest.raises(UserError, match="did you mean 'tiny_width'"):
        config("--tiny_widht=16", model="tiny_with_yaml:TinyModel")


def test_without_a_yaml_of_its_own_a_users_class_is_configured_by_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "tiny_without_yaml.py", MODEL_CODE)
    path = write(tmp_path, "mine.yaml", "embedding_size: 4\ntiny_depth: 2\n")
    values = config("--tiny_depth=3", model="tiny_without_yaml:TinyModel", config_file_list=[path])
    assert values["tiny_depth"] == 3


# --- metrics


def test_gauc_is_our_value_metric_and_keeps_its_name_in_the_resolved_config():
    values = config("--valid_metric=GAUC")
    assert values["metrics"] == ["AUC", "LogLoss", "UserAUC"]
    assert values["valid_metric"] == "UserAUC"
    assert values.resolved()["metrics"] == ["AUC", "LogLoss", "GAUC"]
    assert config("--valid_metric=LogLoss")["valid_metric_bigger"] is False


# --- device


def test_the_device_is_chosen_from_recboles_keys_or_ours():
    assert config("--device=cpu")["device"] == torch.device("cpu")
    assert config("--use_gpu=False")["device"] == torch.device("cpu")
    assert config("--use_gpu=False")["use_gpu"] is False
    with pytest.raises(UserError, match="contradicts"):
        config("--use_gpu=False", "--device=cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_that_does_not_exist_is_told():
    with pytest.raises(UserError, match="'cuda:1' does not exist"):
        choose_place("cuda:1", None, None)
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="torch sees no GPU"):
            choose_place("auto", True, None)
        assert choose_place("auto", None, None).device.type == "cpu"


def test_cuda_visible_devices_changes_only_where_gpu_id_is_given(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    choose_place("cpu", None, None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    choose_place("cpu", None, [0, 1])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    config("--gpu_id=3", "--device=cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_under_torchrun_the_rank_places_the_process_and_gpu_id_is_ignored(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    for key, value in {"LOCAL_RANK": "1", "RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(key, value)
    backends = []
    monkeypatch.setattr(torch.distributed, "init_process_group", backends.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    values = config("--gpu_id=0")
    assert backends == ["gloo"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    assert (values["local_rank"], values["rank"], values["world_size"]) == (1, 3, 4)
    assert values["single_spec"] is False
    assert values["show_progress"] is False


def test_under_torchrun_with_gpus_the_device_is_the_local_rank(monkeypatch):
    for key, value in {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    backends, current = [], []
    monkeypatch.setattr(torch.distributed, "init_process_group", backends.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    place = choose_place("auto", None, None)
    assert (place.device, backends, current) == (torch.device("cuda:1"), ["nccl"], [torch.device("cuda:1")])


# --- round trip


@pytest.mark.parametrize("model", ["NIFDIN", "recbole.DIEN", "xDeepFM"])
def test_the_resolved_config_reproduces_the_run_as_a_config_file(tmp_path, model):
    argv = ["--eval_args.split.RS=[0.7, 0.1, 0.2]", "--learning_rate=3e-4", "--threshold={rating: 5}"]
    first = config(*argv, model=model)
    path = write(tmp_path, "config.yaml", yaml.safe_dump(first.resolved()))
    second = NIFConfig(config_file_list=[path])
    assert second.final_config_dict == first.final_config_dict
    assert second.resolved() == first.resolved()
    assert second.model_class is first.model_class
    assert first.resolved()["device"] == "auto"
    assert NIFConfig(config_dict=first.resolved()).final_config_dict == first.final_config_dict


def test_a_split_preset_on_top_of_a_resolved_config_still_works(tmp_path):
    path = write(tmp_path, "config.yaml", yaml.safe_dump(config().resolved()))
    assert NIFConfig(config_file_list=[path], argv=["--split_preset=random"])["eval_args"]["order"] == "RO"


# --- files of the package


def test_props_come_from_the_package_in_a_wheel_and_from_beside_it_in_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "recbole_nif"
    package.mkdir()
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resources.props_dir() == tmp_path / "props"
    (package / "props").mkdir()
    assert resources.props_dir() == package / "props"


def test_every_default_of_ours_is_a_legal_key_of_the_right_kind():
    overall = load_yaml(resources.props_dir() / "overall.yaml")
    assert config(config_dict=overall, model="FM").notes == []


# --- what differs from the defaults


@pytest.mark.parametrize(
    ("argv", "changed"),
    [
        ((), {}),
        (("--seed=3", "--mlp_hidden_size=[64]"), {"seed": 3, "mlp_hidden_size": [64]}),
        (("--learning_rate=3e-3", "--split_preset=user_time"), {}),  # given, but as it is anyway
        (
            ("--split_preset=random",),
            {"split_preset": "random", "eval_args.order": "RO", "eval_args.group_by": "none"},
        ),
        (("--clip_grad_norm={max_norm: 5.0}",), {"clip_grad_norm.max_norm": 5.0}),
        (("--run_dir=a/b", "--data_path=c/", "--model_file=a/b/best.pt"), {"model_file": "best.pt"}),
        (("--source.path=raw/", "--source.options.separator=;"), {}),
    ],
)
def test_a_run_knows_by_which_settings_it_differs_from_its_models_defaults(argv, changed):
    assert config(*argv).changed == changed


def test_the_datasets_own_defaults_are_no_change():
    assert config(model="AMEN").resolved()["pretrain_epochs"] == 12  # 20 elsewhere
    assert config("--pretrain_epochs=20", model="AMEN").changed == {"pretrain_epochs": 20}


def test_every_key_of_a_models_props_is_read_somewhere():
    package = Path(resources.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    prefixes = ("pretrain_", "teacher_")  # stages read <prefix><key> by their prefix
    for path in sorted((resources.props_dir() / "model").glob("*.yaml")):
        for key in load_yaml(path):
            spellings = {key, *(key.removeprefix(prefix) for prefix in prefixes)}
            assert any(f'"{name}"' in source for name in spellings), f"{path.name}: nothing reads {key}"


# --- keys that name a form


def test_every_form_of_a_models_key_is_named_beside_it():
    for path in sorted((resources.props_dir() / "model").glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for key in load_yaml(path).keys() & CHOICES.keys():
            line = next(line for line in lines if line.startswith(f"{key}:"))
            assert all(form in line for form in CHOICES[key] if form is not None), f"{path.name}: {key}"


def test_a_form_that_is_not_set_is_none_where_there_is_such_a_form():
    assert choice({"tsp_mode": None}, "tsp_mode") == "none"
    assert choice({"tsp_mode": "shift"}, "tsp_mode") == "shift"
    with pytest.raises(UserError, match="encode is None: use one of window, packed"):
        choice({"encode": None}, "encode")
