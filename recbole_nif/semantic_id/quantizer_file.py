"""A fitted quantizer with what it was fitted to, and its file, by which new items get IDs later.

The file lies beside that of the IDs and loads with ``weights_only=True``: opening it never runs code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recbole_nif.errors import UserError
from recbole_nif.files import written_whole
from recbole_nif.semantic_id.quantizer import QuantizerSettings, empty_quantizer

FORMAT = 1
IDS, QUANTIZER = ".sem_ids.json", ".quantizer.pt"


@dataclass(frozen=True)
class FittedQuantizer:
    """A quantizer that can go on encoding items.

    module: as ``quantizer.quantize`` fits it.
    vectors_of: what vectors it knows, such as {"text_encoder": …, "item_text": …}; others mean nothing to it.
    """

    settings: QuantizerSettings
    sizes: tuple[int, ...]
    vectors_of: dict[str, str]
    module: nn.Module

    @torch.no_grad()
    def encode(self, vectors: np.ndarray) -> Tensor:
        """[n, d] float32 -> all codes but the collision digit, [n, N-1] int64."""
        codes, _ = self.module(torch.from_numpy(vectors))
        return codes

    @classmethod
    def restored(cls, settings: QuantizerSettings, sizes, vectors_of: dict, state: dict) -> FittedQuantizer:
        """The quantizer of a stored state.

        Raises:
            KeyError, RuntimeError: the state is of another kind of quantizer.
        """
        module = empty_quantizer(settings, state)
        module.load_state_dict(state)
        return cls(settings, tuple(sizes), vectors_of, module)

    def write(self, path: Path) -> None:
        """Writes the file that :meth:`read` reads, whole or not at all."""
        payload = {
            "format": FORMAT,
            "settings": self.settings.key(),
            "sizes": self.sizes,
            "vectors_of": self.vectors_of,
            "state": self.module.state_dict(),
        }
        with written_whole(path) as temporary:
            torch.save(payload, temporary)

    @classmethod
    def read(cls, path: Path) -> FittedQuantizer:
        """
        Raises:
            UserError: the file cannot be read, or is damaged or something else.
        """
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            if stored["format"] != FORMAT:
                raise ValueError
            settings = QuantizerSettings.of(stored["settings"])
            return cls.restored(settings, stored["sizes"], stored["vectors_of"], stored["state"])
        except Exception:  # torch's reader raises whatever it stumbles over in what is not its own
            raise UserError(
                f"{path} is no whole quantizer of format {FORMAT}: copy it again from the run's folder, or "
                "remove it if no items are new."
            ) from None


def quantizer_beside(ids_file: Path) -> Path:
    """Where the quantizer of a file of IDs lies."""
    return ids_file.with_name(ids_file.name.removesuffix(IDS) + QUANTIZER)
