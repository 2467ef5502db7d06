"""Click-through-rate models that look ahead (NIF-AMEN) as a plugin for RecBole 1.2.

``import recbole_nif`` is light and changes nothing; ``recbole_nif.register()`` makes our models known to
an existing RecBole pipeline.
"""

from importlib import import_module

from recbole_nif.errors import UserError

__version__ = "0.1.0"
__all__ = ["NIFConfig", "Scorer", "UserError", "__version__", "register", "run_recbole_nif"]

_HOME = {
    "NIFConfig": "recbole_nif.config",
    "Scorer": "recbole_nif.inference",
    "register": "recbole_nif.registry",
    "run_recbole_nif": "recbole_nif.quick_start",
}


def __getattr__(name: str):
    """Imports torch and RecBole only once one of the names above is used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
