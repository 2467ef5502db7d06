"""Models, items and tables that the tests of the scorer ask with."""

import numpy as np
import pandas

from tests.toy import ROWS

MODELS = [
    "NIFDIN",
    "NIFDIEN",
    "AMEN",
    "GenCI",
    "DeepFM",
    "recbole.DIN",
    "recbole.DIEN",
    "tests.unit.inner_product:InnerProduct",
]
READ_HISTORY = MODELS[:4] + ["recbole.DIN", "recbole.DIEN"]
NAMES = ["user_id", "item_id", "rating", "timestamp"]
ITEMS = [f"m{number}" for number in range(1, 11)]
LAST = 1000000700  # of user a
PAIRS = pandas.DataFrame(ROWS, columns=NAMES).drop(columns="rating")


def events(*rows):
    return pandas.DataFrame(rows, columns=["item_id", "rating", "timestamp"])


def of_user(user):
    return pandas.DataFrame(ROWS, columns=NAMES).query("user_id == @user")


def close(first, second):
    return np.abs(np.asarray(first) - np.asarray(second)).max() < 1e-6
