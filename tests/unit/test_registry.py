"""Model names, and the seams by which stock RecBole finds our models."""

import subprocess
import sys

import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.utils import get_dataloader
from recbole.evaluator import metrics_dict
from recbole.evaluator.collector import DataStruct
from recbole.model.context_aware_recommender import DeepFM
from recbole.model.sequential_recommender import DIN
from recbole.utils import get_model, get_trainer

import recbole_nif
from recbole_nif import registry
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from recbole_nif.model.dien import NIFDIEN
from recbole_nif.model.din import NIFDIN
from recbole_nif.trainer.trainer import NIFTrainer


@pytest.fixture
def registered(monkeypatch):
    """Our models known to RecBole; a stock Config would read the options of pytest."""
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    recbole_nif.register()


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# --- names


@pytest.mark.parametrize(("short", "model_class"), [("DIN", NIFDIN), ("DIEN", NIFDIEN)])
def test_short_and_full_names_lead_to_the_class_and_its_yaml(short, model_class):
    name = f"NIF{short}"
    ours = registry.resolve_model(name)
    assert ours == registry.resolve_model(short) == registry.resolve_model(model_class)
    assert (ours.model_class, ours.full_name, ours.props.name) == (model_class, name, f"{name}.yaml")


def test_names_of_recboles_models_lead_to_recboles_classes():
    theirs = registry.resolve_model("recbole.DIN")
    assert (theirs.model_class, theirs.full_name, theirs.props.name) == (DIN, "recbole.DIN", "DIN.yaml")
    context = registry.resolve_model("DeepFM")
    assert (context.model_class, context.full_name) == (DeepFM, "DeepFM")
    assert registry.resolve_model("recbole.DeepFM") == context
    assert registry.resolve_model(DeepFM) == context


def test_every_context_aware_model_of_recbole_is_known_and_has_a_yaml():
    names = registry.recbole_context_models()
    assert {"LR", "FM", "FwFM", "NFM", "PNN", "FiGNN", "DeepFM", "DCNV2", "AutoInt", "xDeepFM"} < set(names)
    assert len(names) == 18
    for name in names:
        assert registry.resolve_model(name).props.is_file()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("deepfm", "Unknown model 'deepfm'; did you mean 'DeepFM'"),
        ("AMNE", "did you mean 'AMEN'"),
        ("SASRec", "SASRec is not supported"),
        ("recbole.BPR", "BPR is not supported"),
        ("no_such_module:Model", "Cannot import 'no_such_module'"),
        (":Model", "':Model' names no module: give it as my_package.my_module:MyModel"),
        (".here:Model", "'.here:Model' names no module"),
        ("recbole_nif.errors:UserErorr", "did you mean 'UserError'"),
        ("recbole_nif.errors:UserError", "is no RecBole model"),
        ("recbole.model.general_recommender.bpr:BPR", "BPR is not supported"),
    ],
)
def test_a_name_that_cannot_be_trained_is_told_in_one_sentence(name, sentence):
    with pytest.raises(UserError, match=sentence):
        registry.resolve_model(name)


def test_a_users_class_is_imported_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    write(
        tmp_path,
        "in_current_folder.py",
        "from recbole_nif.model.din import NIFDIN\nclass Mine(NIFDIN): ...\n",
    )
    model = registry.resolve_model("in_current_folder:Mine")
    assert (model.model_class.__name__, model.full_name, model.props) == (
        "Mine",
        "in_current_folder:Mine",
        None,
    )
    assert model.file_name == "Mine"


def test_a_users_module_with_wrong_syntax_is_told_with_its_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "broken_syntax.py", "class Mine:\n    def __init__(self:\n")
    with pytest.raises(UserError, match=r"Cannot import 'broken_syntax' .*broken_syntax\.py, line 2"):
        registry.resolve_model("broken_syntax:Mine")


def test_a_users_pairwise_model_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code = "from recbole.model.general_recommender import BPR\nclass MyBPR(BPR): ...\n"
    write(tmp_path, "pairwise.py", code)
    with pytest.raises(UserError, match="MyBPR must declare type = ModelType.CONTEXT"):
        registry.resolve_model("pairwise:MyBPR")


# --- seams


@pytest.mark.parametrize("model_class", [NIFDIN, NIFDIEN])
def test_recbole_finds_model_dataset_and_trainer_by_name(registered, model_class):
    name = model_class.__name__
    assert get_model(name) is model_class
    config = Config(name, "ml-100k")
    assert get_trainer(config["MODEL_TYPE"], name) is NIFTrainer
    assert type(create_dataset(config)) is CTRDataset
    assert get_dataloader(config, "test").__name__ == "NegSampleEvalDataLoader"


def test_registering_twice_changes_nothing(registered):
    before = (Config._load_internal_config_dict, list(sys.meta_path), get_model("NIFDIN"))
    recbole_nif.register()
    assert (Config._load_internal_config_dict, list(sys.meta_path), get_model("NIFDIN")) == before


def test_a_stock_config_of_our_model_has_our_defaults_under_the_users_values(registered, tmp_path):
    path = write(tmp_path, "mine.yaml", "learning_rate: 0.5\n")
    config = Config("NIFDIN", "ml-100k", config_file_list=[path], config_dict={"train_batch_size": 7})
    assert config["eval_args"]["order"] == "TO"
    assert config["eval_args"]["mode"] == {"valid": "labeled", "test": "labeled"}
    assert config["metrics"] == ["AUC", "LogLoss", "UserAUC"]
    assert config["val_interval"] == {"rating": "[0,3);(3,inf)"}
    assert config["attention_mlp_hidden_size"] == [80, 40]
    assert (config["learning_rate"], config["train_batch_size"]) == (0.5, 7)
    assert isinstance(config["device"], torch.device)


def test_a_stock_config_understands_split_presets(registered):
    config = Config("NIFDIN", "ml-100k", config_dict={"split_preset": "leave_one_out"})
    assert config["eval_args"]["split"] == {"LS": "valid_and_test"}


def test_what_a_stock_config_resolves_to_is_the_same_run_for_our_config(registered):
    stock = Config(
        "NIFDIN", "ml-100k", config_dict={"epochs": 3, "eval_args": {"order": "RO", "mode": "labeled"}}
    )
    ours = recbole_nif.NIFConfig(config_dict=stock.resolved())
    for key in (
        "epochs",
        "eval_args",
        "metrics",
        "embedding_size",
        "data_path",
        "load_col",
        "model",
        "history",
    ):
        assert ours[key] == stock[key], key


def test_recboles_own_models_are_configured_as_before():
    code = (
        "import sys\n"
        "from recbole.config import Config\n"
        "before = [Config(name, 'ml-100k').final_config_dict for name in ('DeepFM', 'DIN', 'BPR')]\n"
        "import recbole_nif\n"
        "recbole_nif.register()\n"
        "after = [Config(name, 'ml-100k').final_config_dict for name in ('DeepFM', 'DIN', 'BPR')]\n"
        "assert before == after\n"
        "from recbole.utils import get_trainer\n"
        "assert get_trainer(after[0]['MODEL_TYPE'], 'DeepFM').__name__ == 'Trainer'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("order", ["register first", "recbole first"])
def test_load_data_and_model_is_extended_whenever_quick_start_is_imported(order):
    lines = ["recbole_nif.register()", "import recbole.quick_start"]
    code = "\n".join(
        [
            "import recbole_nif",
            *(lines if order == "register first" else reversed(lines)),
            "from recbole.quick_start import load_data_and_model as outer",
            "from recbole.quick_start.quick_start import load_data_and_model as inner",
            "assert outer is inner",
            "assert outer.__wrapped__.__module__ == 'recbole.quick_start.quick_start'",
            "assert recbole_nif.registry.QUICK_START == outer.__module__",
        ]
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- the metric


def test_user_auc_is_a_value_metric_beside_recboles_ranking_gauc(registered):
    config = {"metric_decimal_place": 4, "gauc_weight": "impressions"}
    data = DataStruct()
    # user 1: one click above one non-click and below another (AUC .5, weight 3); user 2: AUC 1, weight 2;
    # user 3 has one class. (3 * .5 + 2 * 1) / 5 = .7
    data.set("data.user", torch.tensor([1, 1, 1, 2, 2, 3]))
    data.set("data.label", torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0]))
    data.set("rec.score", torch.tensor([0.5, 0.4, 0.6, 0.1, 0.2, 0.3]))
    assert metrics_dict["userauc"](config).calculate_metric(data) == {"userauc": 0.7}
    assert metrics_dict["gauc"].__module__ == "recbole.evaluator.metrics"


def test_user_auc_says_what_it_lacks_in_recboles_own_trainers(registered):
    metric = metrics_dict["userauc"]({"metric_decimal_place": 4, "gauc_weight": None})
    with pytest.raises(UserError, match="needs user ids"):
        metric.calculate_metric(DataStruct())
