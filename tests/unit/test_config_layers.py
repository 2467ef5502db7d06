"""NIFConfig: which layer wins, named splits, and what differs from the defaults."""

from pathlib import Path

import pytest
import yaml

from recbole_nif import resources
from recbole_nif.config import NIFConfig
from recbole_nif.config_parsing import load_yaml
from recbole_nif.errors import UserError
from tests.unit.configs import config, write

USER_TIME = {"RS": [0.8, 0.1, 0.1]}


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
