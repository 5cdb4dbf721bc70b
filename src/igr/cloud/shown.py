"""What shows itself in a notebook. Its picture is made by a higher room, asked only then."""

from __future__ import annotations

import importlib


class Shown:
    """Has a card in notebooks: a picture, and beside it a few facts."""

    def _repr_html_(self) -> str:
        return importlib.import_module("igr.show.notebook").card(self)
