"""NIF-AMEN: moveline, interest flow generator and click model (a reconstruction, see ``model.py``)."""

from recbole_nif.model.amen.model import AMEN

__all__ = ["AMEN"]
