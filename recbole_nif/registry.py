"""Model names, and the seams by which an existing RecBole pipeline finds our models."""

import importlib
import importlib.abc
import importlib.machinery
import inspect
import sys
import traceback
from functools import cache, wraps
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from recbole_nif import compat
from recbole_nif.config_keys import did_you_mean
from recbole_nif.config_parsing import as_text
from recbole_nif.errors import UserError
from recbole_nif.resources import props_dir, recbole_properties_dir

MODELS = {
    "AMEN": "recbole_nif.model.amen",
    "GenCI": "recbole_nif.model.genci",
    "NIFDIN": "recbole_nif.model.din",
    "NIFDIEN": "recbole_nif.model.dien",
}
SHORT_NAMES = {"DIN": "NIFDIN", "DIEN": "NIFDIEN"}  # RecBole's own are recbole.DIN and recbole.DIEN

CONTEXT_MODELS = "recbole.model.context_aware_recommender"
SEQUENTIAL_CTR_MODELS = {
    "DIN": "recbole.model.sequential_recommender.din",
    "DIEN": "recbole.model.sequential_recommender.dien",
}
QUICK_START = "recbole.quick_start.quick_start"


class ResolvedModel(NamedTuple):
    """A model's class, its name in reports and the YAML of its hyper-parameters (None if there is none)."""

    model_class: type
    full_name: str
    props: Path | None

    @property
    def file_name(self) -> str:
        """The name in file names such as ``props/tuned/<Model>-<dataset>.yaml``."""
        return self.full_name.rpartition(":")[2]


# --- names


def resolve_model(name: str | type) -> ResolvedModel:
    """Finds a model by any name that the command line takes, or takes a class as it is.

    ``AMEN``, ``DIN`` (short for NIFDIN), ``recbole.DIN``, ``DeepFM`` (any context-aware model of RecBole)
    or ``my_package.my_module:MyModel``.

    Raises:
        UserError: no such model, or one that cannot be trained on labelled rows.
    """
    if isinstance(name, type):
        return _user_model(name)
    if ":" in as_text("model", name):
        return _user_model(_import_class(name))
    ours = SHORT_NAMES.get(name, name)
    if ours in MODELS:
        model_class = getattr(importlib.import_module(MODELS[ours]), ours)
        return ResolvedModel(model_class, ours, props_dir() / "model" / f"{ours}.yaml")
    return _recbole_model(name)


def model_names() -> list[str]:
    """Every name that ``resolve_model`` knows, ours first."""
    return [*MODELS, *(f"recbole.{name}" for name in SEQUENTIAL_CTR_MODELS), *recbole_context_models()]


@cache
def recbole_context_models() -> tuple[str, ...]:
    """The names of RecBole's context-aware models."""
    package = importlib.import_module(CONTEXT_MODELS)
    classes = inspect.getmembers(package, inspect.isclass)
    return tuple(name for name, model in classes if model.__module__.startswith(CONTEXT_MODELS))


def _recbole_model(name: str) -> ResolvedModel:
    prefix, _, bare = name.rpartition(".")
    props = recbole_properties_dir() / "model" / f"{bare}.yaml"
    if prefix in ("", "recbole") and bare in recbole_context_models():
        return ResolvedModel(getattr(importlib.import_module(CONTEXT_MODELS), bare), bare, props)
    if prefix == "recbole" and bare in SEQUENTIAL_CTR_MODELS:
        return ResolvedModel(
            getattr(compat.import_recbole_model(SEQUENTIAL_CTR_MODELS[bare]), bare), name, props
        )
    if prefix in ("", "recbole") and props.is_file():
        raise UserError(f"RecBole's {bare} is not supported: its context-aware models, DIN and DIEN are.")
    known = [*model_names(), *SHORT_NAMES]
    raise UserError(f"Unknown model {name!r}{did_you_mean(name, known)} --list_models shows all names.")


def _import_class(name: str) -> type:
    module_name, _, class_name = name.partition(":")
    if not all(module_name.split(".")):
        raise UserError(f"The model {name!r} names no module: give it as my_package.my_module:MyModel.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script does not search the current folder
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise UserError(f"Cannot import {module_name!r} for --model={name}: {error}.") from error
    model_class = getattr(module, class_name, None)
    if not isinstance(model_class, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        hint = did_you_mean(class_name, classes)
        raise UserError(f"The module {module_name} has no class {class_name!r}{hint}")
    return model_class


def _user_model(model_class: type) -> ResolvedModel:
    """A user's class; ``<MyModel>.yaml`` beside its module holds its hyper-parameters."""
    from recbole.model.abstract_recommender import AbstractRecommender
    from recbole.utils import InputType, ModelType

    name = model_class.__name__
    if MODELS.get(name) and model_class.__module__.startswith(MODELS[name]):
        return resolve_model(name)
    if model_class.__module__.startswith("recbole."):
        return _recbole_model(f"recbole.{name}")
    if not issubclass(model_class, AbstractRecommender):
        raise UserError(f"{name} is no RecBole model: derive it from recbole_nif.model.base.CTRModel.")
    trainable = getattr(model_class, "type", None) in (ModelType.CONTEXT, ModelType.SEQUENTIAL)
    if not trainable or getattr(model_class, "input_type", InputType.POINTWISE) != InputType.POINTWISE:
        raise UserError(f"{name} must declare type = ModelType.CONTEXT and input_type = InputType.POINTWISE.")
    module_file = getattr(sys.modules.get(model_class.__module__), "__file__", None)  # a notebook has none
    props = Path(module_file).with_name(f"{name}.yaml") if module_file else Path()
    full_name = f"{model_class.__module__}:{name}"
    return ResolvedModel(model_class, full_name, props if props.is_file() else None)


# --- the seams of stock RecBole 1.2.1


def register(trust_recbole_pickles: bool = False) -> None:
    """Makes ``recbole.quick_start.run_recbole(model="AMEN", …)`` work; calling it again changes nothing.

    RecBole's own models, datasets and trainers behave as before.

    Args:
        trust_recbole_pickles: also let RecBole's code load its own pickled checkpoints on torch >= 2.6;
            a pickle runs the code it holds, so load only files that you trust.
    """
    compat.apply()
    if trust_recbole_pickles:
        compat.trust_recbole_pickles()
    register_metric()
    _alias_models()
    _name_datasets_and_trainers()
    _extend_config()
    _extend_load_data_and_model()


def register_metric() -> None:
    """Enters UserAUC, our value metric GAUC, into RecBole's tables of metrics (evaluator/register.py:79)."""
    from recbole.evaluator import register as tables

    from recbole_nif.evaluation.recbole_metric import UserAUC

    tables.metrics_dict["userauc"] = UserAUC
    tables.metric_types["userauc"] = UserAUC.metric_type
    tables.metric_information["userauc"] = UserAUC.metric_need


def _alias_models() -> None:
    """``get_model`` (utils/utils.py:55) asks find_spec, which answers from ``sys.modules``."""
    for name, target in MODELS.items():
        sys.modules.setdefault(f"{CONTEXT_MODELS}.{name.lower()}", _LazyModule(target))


class _LazyModule(ModuleType):
    """Stands for a module that is imported when something is first read from it."""

    def __init__(self, target: str):
        super().__init__(target)
        self.__spec__ = importlib.machinery.ModuleSpec(target, loader=None)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def _name_datasets_and_trainers() -> None:
    """create_dataset (data/utils.py:41) looks for <Model>Dataset, get_trainer (utils/utils.py:88) alike."""
    import recbole.data.dataset
    import recbole.trainer

    from recbole_nif.data.dataset import CTRDataset
    from recbole_nif.trainer.trainer import NIFTrainer

    for name in MODELS:
        setattr(recbole.data.dataset, f"{name}Dataset", CTRDataset)
        setattr(recbole.trainer, f"{name}Trainer", NIFTrainer)


def _extend_config() -> None:
    """Lays our defaults over RecBole's where Config loads them (config/configurator.py:238)."""
    from recbole.config import Config

    from recbole_nif.config_layers import extend_stock_defaults, stock_resolved

    original = Config._load_internal_config_dict
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def load_internal_config_dict(self, model, model_class, dataset):
        original(self, model, model_class, dataset)
        if model in MODELS:
            extend_stock_defaults(self, resolve_model(model), dataset)

    Config._load_internal_config_dict = load_internal_config_dict
    Config.resolved = stock_resolved  # our checkpoints hold it


def _extend_load_data_and_model() -> None:
    """Teaches ``load_data_and_model`` (quick_start/quick_start.py:231) our plain checkpoints.

    recbole.quick_start imports ray, so we never import it: it is extended now if it is there, else
    when somebody imports it.
    """
    if QUICK_START in sys.modules:
        _wrap_load_data_and_model(sys.modules[QUICK_START])
        sys.modules["recbole.quick_start"].load_data_and_model = sys.modules[QUICK_START].load_data_and_model
    elif not any(isinstance(finder, _QuickStartFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuickStartFinder())


class _QuickStartFinder(importlib.abc.MetaPathFinder):
    """Extends recbole.quick_start.quick_start right after its import."""

    def find_spec(self, fullname, path, target=None):
        if fullname != QUICK_START:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _wrap_load_data_and_model(module)

        spec.loader.exec_module = exec_module
        return spec


def _wrap_load_data_and_model(module: ModuleType) -> None:
    original = module.load_data_and_model
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def load_data_and_model(model_file):
        from recbole_nif.trainer import checkpoint

        if checkpoint.is_ours(model_file):
            return checkpoint.load_data_and_model(model_file)
        if not Path(model_file).is_file():
            raise UserError(f"Checkpoint {model_file} does not exist: check the path.")
        try:
            return original(model_file)
        except Exception as error:
            if not _comes_from_reading(error):
                raise
            raise UserError(
                f"{model_file} is not a checkpoint of recbole_nif, and nothing is unpickled unasked: for a "
                "RecBole checkpoint that you trust, call register(trust_recbole_pickles=True)."
            ) from None

    module.load_data_and_model = load_data_and_model


def _comes_from_reading(error: Exception) -> bool:
    """Whether torch could not read a file; what is no pickle fails in many ways."""
    from torch import serialization

    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename == serialization.__file__ for frame, _ in frames)
