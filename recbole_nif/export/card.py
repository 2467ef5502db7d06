"""The model card of an export: what it is, what it was trained on, how good it is, and how to load it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from recbole_nif.inference.serving_data import ServingData
from recbole_nif.publish.names import INDIFFERENT, top
from recbole_nif.publish.runs import Run, tables_of
from recbole_nif.publish.tables import conditions, short_commit, sizes
from recbole_nif.publish.text import bullets, markdown, number
from recbole_nif.registry import MODELS
from recbole_nif.results import METRICS

LOADING = """\
```python
from recbole_nif import Scorer

scorer = Scorer.load("FOLDER")    # this folder; no dataset file is read
```

Over HTTP, after `pip install 'recbole-nif[serve]'`:

```bash
recbole-nif serve --run FOLDER
```"""


def model_card(
    data: ServingData,
    model_class: type,
    record: Mapping[str, Any] | None,
    *,
    with_log: bool,
    onnx: bool = False,
) -> str:
    """The card as markdown.

    Args:
        record: of the run's result.json; None: the run has none, and no metric is told.
        with_log: whether the events are in the export.
        onnx: whether the model's graphs are.
    """
    config = data.config
    sections = {
        f"# {config['model_name']} on {config['dataset']}": _origin(config["model_name"], model_class),
        "## Data": _data(data, record),
        "## Metrics": _metrics(record),
        "## Settings": _settings(config),
        "## Content": _content(data, with_log=with_log, onnx=onnx),
        "## Loading": LOADING,
    }
    return "\n\n".join(part for section in sections.items() for part in section) + "\n"


def _origin(name: str, model_class: type) -> str:
    """What the model is and what of it is reconstruction, in the words of its source."""
    if name in MODELS:
        told = inspect.getdoc(sys.modules[model_class.__module__])
        return (
            f"{told}\n\nWhat no paper gives is marked `reconstruction` in the source of recbole_nif, "
            "`recbole_nif/model/`."
        )
    if model_class.__module__.startswith("recbole."):
        return f"RecBole's {model_class.__name__}, trained and evaluated by recbole_nif. No reconstruction."
    return (
        f"The class `{name}`, which is not part of recbole_nif: it must be importable where this is loaded."
    )


def _data(data: ServingData, record: Mapping[str, Any] | None) -> str:
    config = data.config
    notes = []
    if record is None:
        notes.append(f"Users: {len(data.users[data.user_field]) - 1:,}, items: {data.n_items - 1:,}.")
    else:
        (table,) = tables_of([Run.of(record)])
        notes += [
            f"{conditions(table)}.",
            sizes(table),
            f"Clicks: {record['rows']['clicks_share']:.1%} of all rows.",
        ]
    threshold = data.rule.threshold
    rule = f"{threshold[0]} of at least {threshold[1]:g}" if threshold else f"{data.rule.label} 1"
    notes.append(f"A click is: {rule}.")
    homepage = (config["source"] or {}).get("homepage")
    if homepage:
        notes.append(f"Source: {homepage}; its terms hold for all that this folder has of the data.")
    return bullets(notes)


def _metrics(record: Mapping[str, Any] | None) -> str:
    if record is None or record["test"] is None:
        return "The run left no result on test rows."
    lines = [["this model", *(number(record["test"].get(metric)) for metric in METRICS)]]
    for name, values in record["baselines"].items():
        if values is not None:
            lines.append([name.replace("_", " "), *(number(values.get(metric)) for metric in METRICS)])
    origin = (
        f"{record['rows']['test']:,} test rows, seed {record['seed']}, {record['device']['name']}, "
        f"{record['date'][:10]}, recbole_nif {record['versions']['recbole_nif']} "
        f"({short_commit(record['git_commit'])}), torch {record['versions']['torch']}. One run; its spread "
        "over seeds is not known here."
    )
    return markdown(["", "AUC", "GAUC", "LogLoss"], lines) + "\n\n" + origin


def _settings(config) -> str:
    changed = [
        f"`{key}: {value}`" for key, value in sorted(config.changed.items()) if top(key) not in INDIFFERENT
    ]
    told = ", ".join(changed) or "none"
    return f"All are in `config.yaml`. Other than the defaults of the model and the data: {told}."


def _content(data: ServingData, *, with_log: bool, onnx: bool) -> str:
    notes = [
        "`model.safetensors`: the weights.",
        "`vocabulary.json`: tokens of users, items and features, by id.",
    ]
    notes.append("`tables.safetensors`, `columns.json`: features by id, and how requests are read.")
    if data.semantic_ids is not None:
        notes.append(
            "`semantic_ids.safetensors`, `semantic_ids.json`: codes of the items, and their quantizer."
        )
    if onnx:
        notes.append(
            "`onnx/user.onnx`, `onnx/candidates.onnx`: what is known of a user, and what a candidate makes "
            "of it, as graphs; `onnx/halves.json` names their inputs and outputs."
        )
    if with_log:
        notes.append(f"`events.safetensors`: the {len(data.log):,} events of all users.")
    else:
        notes.append(
            "No events. Requests must give the history of every user whom the vocabulary knows; what is left "
            "of the users here are their tokens, features and weights."
        )
    return bullets(notes)
