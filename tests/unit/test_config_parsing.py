"""NIFConfig: how values and files are read."""

import numpy as np
import pytest
import yaml

from recbole_nif.config import NIFConfig
from recbole_nif.config_parsing import ConfigLoader, deep_merge, load_yaml, parse_argv, parse_value
from recbole_nif.errors import UserError
from tests.unit.configs import config, write

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
