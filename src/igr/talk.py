"""What the command line says: messages on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

from .errors import readable


def say(text: str) -> None:
    """One message to the user, on stderr."""
    print(readable(text), file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """One line of the result, on stdout."""
    print(readable(text), flush=True)


def report_result(result: dict[str, Any], *, as_json: bool) -> None:
    """What a surface was written to: one JSON object on stdout, or a line or two."""
    if as_json:
        print(json.dumps(result))
        return
    if recoveries := result.get("fit", {}).get("recoveries"):
        times = "once" if recoveries == 1 else f"{recoveries} times"
        say(f"fit   stepped back {times} from a state that was not finite, each at half the learning rate")
    if "curves" in result:
        pieces = f"{result['curves']} piece{'s' if result['curves'] != 1 else ''}"
        say(f"curve  {pieces}, {'closed' if result['closed'] else 'open'}")
    else:
        filled = 1 - result["supported"]
        shape = "watertight" if result["watertight"] else "not watertight"
        pieces = f"{result['components']} component{'s' if result['components'] != 1 else ''}"
        say(f"mesh  {result['resolution']}³, {result['triangles']:,} triangles, {shape}, {pieces}")
        if filled >= 0.001:
            say(f"      {filled:.1%} of the area is filled in, or fits its points badly (confidence below 0.5)")
    tell(f"wrote {result['output']} in {result['seconds']:.1f} s")
