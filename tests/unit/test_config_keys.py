"""NIFConfig: keys and values that are refused or noted."""

import pytest

from recbole_nif import resources
from recbole_nif.config_choices import CHOICES, choice
from recbole_nif.config_parsing import load_yaml
from recbole_nif.errors import UserError
from tests.unit.configs import config, write

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


# --- metrics


def test_gauc_is_our_value_metric_and_keeps_its_name_in_the_resolved_config():
    values = config("--valid_metric=GAUC")
    assert values["metrics"] == ["AUC", "LogLoss", "UserAUC"]
    assert values["valid_metric"] == "UserAUC"
    assert values.resolved()["metrics"] == ["AUC", "LogLoss", "GAUC"]
    assert config("--valid_metric=LogLoss")["valid_metric_bigger"] is False


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
