"""Networks that are trained but not yet in an output: kept in its journal."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from fm2s_stack.fm2s.fit import Fitted
from fm2s_stack.store.journal import Journal

Place = tuple[int, int]  #: channel of the source, first plane of the window


@dataclass(frozen=True)
class KeptFits:
    """The finished fits of a run that has others still to do."""

    journal: Journal  #: under the token of the terms alone

    def load(self) -> Mapping[Place, Fitted]:
        """What earlier runs trained."""
        found: dict[Place, Fitted] = {}
        for body in self.journal.read("fit"):
            with suppress(KeyError, TypeError, ValueError):
                weights = np.frombuffer(base64.b64decode(body["weights"]), "<f4")
                loss = math.nan if body["loss"] is None else float(body["loss"])
                if weights.size == body["size"]:
                    found[int(body["c"]), int(body["start"])] = Fitted(weights, loss)
        return found

    def save(self, place: Place, fitted: Fitted) -> None:
        """Keep one, flushed to the disk."""
        weights = base64.b64encode(np.ascontiguousarray(fitted.weights, "<f4").tobytes())
        self.journal.append(
            "fit",
            {
                "c": place[0],
                "start": place[1],
                "weights": weights.decode(),
                "size": fitted.weights.size,
                "loss": fitted.loss if math.isfinite(fitted.loss) else None,
            },
        )
