"""GenCI: generated interest cohorts for click prediction (arXiv 2601.18251), see ``model.py``."""

from recbole_nif.model.genci.model import GenCI

__all__ = ["GenCI"]
