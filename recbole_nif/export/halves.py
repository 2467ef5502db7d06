"""A trained model as two graphs of torch.export: what is known of a user, and what a candidate makes of it.

    user half        fields of a batch, as ``CTRDataset.read`` gives them -> tensors of the user state
    candidate half   these tensors, the state of each candidate, items and contexts -> logit, probability

So a user is encoded once and then scored against any number of candidates. Open sizes: rows, windows,
distinct histories, the length of histories, candidates; moveline windows have the length of training.
Nothing is approximated: AMEN's flow and GenCI's beam search belong to the user half.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.attention import SDPBackend, sdpa_kernel

from recbole_nif.data import fields as names
from recbole_nif.errors import UserError
from recbole_nif.model.base import CTRModel, UserState

STATE_OF = "state_of"  # [N] int64, which user state each candidate is scored with
SIZES = {  # open sizes of the fields that do not have one entry per row
    **dict.fromkeys((names.HISTORY_ITEM, names.HISTORY_LABEL, names.HISTORY_SCENE), ("windows", "length")),
    **dict.fromkeys((names.HISTORY_WINDOW, names.HISTORY_CUT), ("histories",)),
    **dict.fromkeys(
        (names.MOVELINE_ITEM, names.MOVELINE_SCENE, names.MOVELINE_BEHAVIOR, names.MOVELINE_GAP), ("windows",)
    ),
}


@dataclass(frozen=True)
class Half:
    """One graph.

    Attributes:
        program: what torch.export made of it.
        inputs: an example of every input, in the graph's order.
        sizes: of each input its sizes, a name where they are open.
        outputs: names and sizes, in the graph's order.
    """

    program: ExportedProgram
    inputs: dict[str, Tensor]
    sizes: dict[str, tuple[str | int, ...]]
    outputs: dict[str, tuple[str | int, ...]]


def halves_of(model: CTRModel, batch) -> tuple[Half, Half]:
    """The user half and the candidate half of a model.

    Args:
        model: trained; it is copied, not changed.
        batch: rows of its data, at least one.

    Raises:
        UserError: the model has no halves, or torch.export cannot follow it.
    """
    if not isinstance(model, CTRModel):
        raise UserError(
            f"{type(model).__name__} scores user and item in one step: only models with encode_user and "
            f"score (AMEN, GenCI, NIFDIN, NIFDIEN or your own CTRModel) have halves to export."
        )
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    read = _Read({name: batch[name].cpu() for name in batch.columns if name != names.FLOW})
    with torch.no_grad():
        state = model.encode_user(read)
        of_user = list(read.asked)
        read.asked.clear()
        model.score(state, read)
    of_candidates = list(read.asked)

    features = {field.name for field in model.features.user.fields}
    sizes = {name: _open_sizes(name, read[name], name in features) for name in of_user}
    inputs = {name: _at_least_two(read[name], sizes[name]) for name in of_user}
    with torch.no_grad():
        state = model.encode_user(inputs)
    user = _export("user", UserHalf(model), (inputs,), sizes, tuple(tensors_of(state)))

    sizes = {**user.outputs, STATE_OF: ("candidates",)}
    candidates = {name: _at_least_two(read[name], ("candidates",)) for name in of_candidates}
    sizes |= {name: ("candidates", *column.shape[1:]) for name, column in candidates.items()}
    places = torch.zeros(len(candidates[model.item_field]), dtype=torch.long)
    arguments = (tensors_of(state), places, candidates)
    half = CandidateHalf(model, state)
    return user, _export("candidate", half, arguments, sizes, ("logit", "probability"))


class UserHalf(nn.Module):
    """``encode_user`` from plain tensors to plain tensors."""

    def __init__(self, model: CTRModel):
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(tensors_of(self.model.encode_user(batch)).values())


class CandidateHalf(nn.Module):
    """``score`` from plain tensors; ``state`` says how they are put together."""

    def __init__(self, model: CTRModel, state: UserState):
        super().__init__()
        self.model, self.state = model, state

    def forward(
        self, state: dict[str, Tensor], places: Tensor, candidates: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        logit = self.model.score(with_tensors(self.state, state), candidates, places).float()
        return logit, logit.sigmoid()


def tensors_of(state: UserState, prefix: str = "state") -> dict[str, Tensor]:
    """The tensors of a state by name, such as ``state.user``; parts of it are ``state.part.name``.

    Raises:
        UserError: it holds something else.
    """
    found = {}
    for name, value in _parts(state):
        if is_dataclass(value):
            found |= tensors_of(value, f"{prefix}.{name}")
        elif isinstance(value, Tensor):
            found[f"{prefix}.{name}"] = value
        elif value is not None:
            raise UserError(
                f"{prefix}.{name} of a user state is a {type(value).__name__}: a state that is exported "
                f"holds tensors, None and dataclasses of them."
            )
    return found


def with_tensors(state: UserState, tensors: Mapping[str, Tensor], prefix: str = "state") -> UserState:
    """A state like ``state`` of the ``tensors`` that :func:`tensors_of` names."""
    values = {}
    for name, value in _parts(state):
        if is_dataclass(value):
            values[name] = with_tensors(value, tensors, f"{prefix}.{name}")
        elif value is not None:
            values[name] = tensors[f"{prefix}.{name}"]
    return replace(state, **values)


def _parts(state) -> list[tuple[str, object]]:
    return [(field.name, getattr(state, field.name)) for field in fields(state)]


class _Read(dict):
    """A batch that remembers which fields were asked for, in order."""

    def __init__(self, columns: Mapping[str, Tensor]):
        super().__init__(columns)
        self.asked: dict[str, None] = {}

    def __getitem__(self, name: str) -> Tensor:
        self.asked[name] = None
        return super().__getitem__(name)


def _open_sizes(name: str, column: Tensor, is_feature: bool) -> tuple[str | int, ...]:
    """Of a field of the user half: features have fixed sizes behind the row, histories a length."""
    sizes = SIZES.get(name) or (("rows",) if is_feature else ("rows", "length"))[: column.dim()]
    return (*sizes, *column.shape[len(sizes) :])


def _at_least_two(column: Tensor, sizes: tuple[str | int, ...]) -> Tensor:
    """The field with its entries repeated where an open size is 1, which a graph would take for fixed."""
    for dim, size in enumerate(sizes):
        if isinstance(size, str) and column.shape[dim] == 1:
            repeated = column.repeat_interleave(2, dim)
            # a longer history is the same one with padding behind it
            column = repeated if size != "length" else F.pad(column, (0, 1))
    return column


def _export(
    half: str, module: nn.Module, arguments: tuple, sizes: Mapping[str, tuple], outputs: tuple[str, ...]
) -> Half:
    inputs: dict[str, Tensor] = {}
    for argument in arguments:
        inputs |= argument if isinstance(argument, dict) else {STATE_OF: argument}
    dynamic = {
        name: {dim: Dim.AUTO for dim, size in enumerate(sizes[name]) if isinstance(size, str)}
        for name in inputs
    }
    shapes = [
        {name: dynamic[name] for name in argument} if isinstance(argument, dict) else dynamic[STATE_OF]
        for argument in arguments
    ]
    try:
        # attention as products and a softmax: its fused forms have layouts that ONNX does not know
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            program = torch.export.export(module, arguments, dynamic_shapes=tuple(shapes))
            program = program.run_decompositions()
    except Exception as error:  # of many kinds; what cannot be followed is a matter of the model
        raise UserError(
            f"torch.export cannot follow the {half} half of {type(module.model).__name__}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    sizes = {name: sizes[name] for name in inputs}
    told = _symbols(program, sizes)
    made = [node.meta["val"].shape for node in program.graph.output_node().args[0]]
    made = [tuple(told.get(str(n), n if isinstance(n, int) else str(n)) for n in shape) for shape in made]
    return Half(program, inputs, sizes, dict(zip(outputs, made, strict=True)))


def _symbols(program: ExportedProgram, sizes: Mapping[str, tuple]) -> dict[str, str]:
    """torch's symbol of each open size -> its name.

    Raises:
        UserError: the model has fixed a size at that of the example.
    """
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    found = {}
    for node, (name, own) in zip(program.graph_signature.user_inputs, sizes.items(), strict=True):
        for size, told in zip(nodes[node].meta["val"].shape, own, strict=True):
            if isinstance(told, str) and isinstance(size, int):
                raise UserError(
                    f"The model cannot be exported: the number of {told} in {name} would always be {size}."
                )
            if isinstance(told, str):
                found[str(size)] = told
    return found
