"""Normals that came with a cloud: used as they are, turned, trusted less, or left out, as they themselves show.

They are evidence, the strongest there is: what is found for bare points overrules them only where they contradict
each other and it explains the cloud far better. Five figures decide, measured at a sample of the points:

- *angle*: median angle between a normal, whatever its sign, and the normal of the plane through its neighbors;
- *roughness*: median angle between a normal and the main direction of its neighbors' normals;
- *opposed*: share of neighbors whose normals point to opposite sides;
- *outwardness*: 1 where they make the cloud the border of a body, -1 where that is inside out; see `outwardness`;
- *excess*: length of the sum of all normals by their areas, over the area: 0 around a body, 1 for a plane sheet.

Noise of the points alone disturbs the first and not the second, strong curvature mostly the second: only where
both are large are the normals themselves at fault. Outwardness, whatever its sign, less what is opposed is how
well normals explain a cloud. A share p turned by mistake, scattered or as a patch, takes 2p from it and more.
Layers closer than the spacing have neighbors that are opposed by right: they lie behind each other, and do not
count.

Where that leaves doubt, and many neighbors are opposed, the normals of each smooth patch (`patches.py`) first take
the side of most of them; only then, and where whole patches of a body may be turned, bare points are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors
from .directions import PARTNERS, neighborhood, smallest_direction
from .estimate import orient
from .outwardness import INWARD, flux
from .patches import patch_signs
from .views import View, told

SAMPLE = 3000
"""Points whose sides are found first, to see whether those of all can be worth it."""
CENTERS = 1000
"""Points whose angle, roughness and neighbors are looked at."""
NEIGHBORS = 8
"""Neighbors that a normal is compared with."""
USELESS = 45.0
"""Degrees of angle from which on normals are left out: random ones are at 60 in space."""
NOISY = 18.0
"""Degrees of both angle and roughness from which on normals are trusted less."""
EXPLAINED = 0.7
"""What normals explain from which on their sides are not doubted. Exact ones of bodies have .77 to 1 (thin ones
with 1 % noise .72), with a tenth turned at random at most .63, with a patch of a fifth turned .61."""
BETTER = 0.25
"""How much more sides found for bare points have to explain. On bodies a patch of a fifth gains .35; where exact
normals are doubted, on wavy sheets and thin sparse parts, other sides gain up to .2."""
CLOSED = 0.5
"""Outwardness, over the share that is not opposed, from which on there is a body: normals 30° off have .65."""
OPEN = 0.15
"""Excess from which on a surface is open: a room without its ceiling has .2 to .3, a scan with holes up to .04."""
MAJORITY = 0.6
"""Share of the normals that says which side of a patch, or of an open surface, is meant."""
MIXED = 0.1
"""Share of neighbors on opposite sides from which on patches are asked for the side of most; they have to explain
as much more. Thin walls have up to 7 %, a twentieth turned at random 10 %."""
LOST = 0.05
"""Outwardness that better signs may cost: more is lost where layers closer than the spacing are taken for one."""
FEW = 60
"""Of fewer points the neighborhoods are no planes: it is only asked whether all normals point inward."""

Use = Literal["given", "turned", "re-oriented", "down-weighted", "ignored"]


@dataclass(frozen=True)
class Judgement:
    """What is done with given normals, and why."""

    use: Use
    """given: as they are; turned: all to the other side; re-oriented: each to the side of its patch;
    down-weighted: each trusted by how well it agrees with its neighbors'; ignored: left out."""
    sentence: str
    """The same for the user, with its reason."""
    normals: Float[np.ndarray, "n d"] | None
    """What to use, None when ignored."""
    trust: Float[np.ndarray, " n"] | None
    """How far each is trusted in [0, 1], None for entirely."""
    angle: float
    """See the module's text, in degrees."""
    roughness: float
    """The same."""
    opposed: float
    """Share of neighbors on opposite sides."""
    outwardness: float
    """See `outwardness`, of the normals as they were given."""


def judge_normals(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    near: Neighbors | None = None,
    sight: Float[np.ndarray, "n d"] | None = None,
    *,
    seed: int = 0,
) -> Judgement:
    """Decide what to do with the unit normals of a cloud (unit frame, strays left out). `sight`: unit vectors from
    its points to where they were seen from, if that is known."""
    near = near or Neighbors(points)
    if len(points) < FEW:
        return _judged_as_a_whole(near, normals, seed)
    seen = None if sight is None else told(sight)
    angle, roughness, opposed = _local_figures(near, normals, seed)
    outward, excess = flux(near, normals, seed)
    figures = angle, roughness, opposed, outward
    if angle > USELESS and abs(outward) < CLOSED:
        sentence = f"left out the normals: they are {angle:.0f}° off the planes of their neighborhoods"
        return Judgement("ignored", sentence, None, None, *figures)
    use, trust, notes = "given", None, []
    signs, confidence = None, None
    contradicting = _opposed(near, normals, seed, layers=False)
    if contradicting > MIXED or abs(outward) - contradicting < EXPLAINED:
        signs, confidence = _doubted(near, normals, contradicting, seed, seen)
    if signs is not None:
        cause = f"{opposed:.0%} of neighbors" if contradicting > MIXED else f"{(signs < 0).mean():.0%} of them"
        notes.append(f"found the sides of the normals anew: {cause} point to opposite sides")
        use, trust, normals = "re-oriented", confidence, normals * signs[:, None]
        (outward, excess), opposed = flux(near, normals, seed), _opposed(near, normals, seed)
    facing = seen is not None and bool(seen.votes(normals).sum() > 0)
    if -outward > CLOSED * (1 - opposed) and not facing:
        certain = f"the normals point inward, {min(-outward / (1 - opposed), 1):.0%} sure"
        if excess < OPEN:
            use, normals = "turned" if use == "given" else use, -normals
        notes.append(
            f"{certain}; turned them around" if excess < OPEN else f"{certain}, but of an open surface: kept"
        )
    elif seen is not None and not facing:
        notes.append("the normals face away from where they were seen from: kept")
    if min(angle, roughness) > NOISY:
        own = _agreement(near, normals)
        trust = own if trust is None else own * trust
        use = "down-weighted" if use == "given" else use
        notes.append(f"trust the normals less: neighbors differ by {roughness:.0f}°")
    return Judgement(use, "; ".join(notes), normals, trust, *figures)


def _judged_as_a_whole(near: Neighbors, normals: np.ndarray, seed: int) -> Judgement:
    outward = flux(near, normals, seed)[0]
    if outward >= INWARD:
        return Judgement("given", "", normals, None, 0.0, 0.0, 0.0, outward)
    sentence = f"the normals point inward, {-outward:.0%} sure; turned them around"
    return Judgement("turned", sentence, -normals, None, 0.0, 0.0, 0.0, outward)


def _doubted(
    near: Neighbors, normals: np.ndarray, opposed: float, seed: int, seen: View | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Signs for normals whose sides are doubted, None where no others are better; and the trust in them.

    Normals that agree with their neighbors are overruled only by sides that leave no doubt: those of a body, or
    where they were seen from.
    """
    signs = None
    if seen is not None:
        return _facing_view(near, normals, seen), None
    if opposed > MIXED:
        neighbors = near.table(PARTNERS[normals.shape[1]])[1][:, 1:]
        own = patch_signs(near.points, normals, np.ones(len(normals)), neighbors, links_tell=False).sign
        if (own < 0).mean() < 1 - MAJORITY and _better(near, normals, own, MIXED, seed):
            signs = own
    mended = normals if signs is None else normals * signs[:, None]
    if _explained(near, mended, seed)[0] > EXPLAINED:
        return signs, None
    bare = _bare(near, mended, seed)
    if bare is None or (opposed <= MIXED and _explained(near, mended * bare[0][:, None], seed)[0] < EXPLAINED):
        return signs, None
    return bare[0] if signs is None else bare[0] * signs, bare[1]


def _facing_view(near: Neighbors, normals: np.ndarray, seen: View) -> np.ndarray | None:
    """Signs by which the normals of each patch face where it was seen from; None where they agree already, all
    facing there or all away from it."""
    neighbors = near.table(PARTNERS[normals.shape[1]])[1][:, 1:]
    signs = patch_signs(near.points, normals, seen.votes(normals), neighbors).sign
    return signs if MIXED / 2 < (signs < 0).mean() < 1 - MIXED / 2 else None


def _bare(near: Neighbors, normals: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Signs by which normals point to the sides of bare points, and the trust in those; None where they do not
    explain the cloud better by `BETTER`.

    A sample is asked first, and half of that will do: its layers may be closer than its points. An open surface
    has no outside, so its sides are those that most of the normals point to, if most do.
    """
    if len(near.points) > 2 * SAMPLE:
        chosen = np.random.default_rng([seed, 9]).choice(len(near.points), SAMPLE, replace=False)
        sample = Neighbors(near.points[chosen])
        signs = _facing(normals[chosen], orient(sample.points, sample).normals)
        if not _better(sample, normals[chosen], signs, BETTER / 2, seed, at_most=1.0):
            return None
    found = orient(near.points, near)
    signs = _facing(normals, found.normals)
    if not _better(near, normals, signs, BETTER, seed):
        return None
    if (signs < 0).mean() > MAJORITY and flux(near, normals * signs[:, None], seed)[1] > OPEN:
        signs = -signs
    return signs, found.confidence


def _better(
    near: Neighbors, normals: np.ndarray, signs: np.ndarray, by: float, seed: int, *, at_most: float = LOST
) -> bool:
    """Whether normals with other signs explain more, and not at the cost of outwardness."""
    (before, outward), (after, other) = (
        _explained(near, sides, seed) for sides in (normals, normals * signs[:, None])
    )
    return after > before + by and other > outward - at_most


def _facing(normals: np.ndarray, others: np.ndarray) -> Float[np.ndarray, " n"]:
    """1 where normals point to the side of others, else -1."""
    return np.where((normals * others).sum(1) < 0, -1.0, 1.0)


def _explained(near: Neighbors, normals: np.ndarray, seed: int) -> tuple[float, float]:
    """How well normals explain a cloud, see the module's text, and the size of their outwardness."""
    outward = abs(flux(near, normals, seed)[0])
    return outward - _opposed(near, normals, seed, layers=False), outward


def _local_figures(near: Neighbors, normals: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Angle and roughness in degrees, and the share of neighbors on opposite sides."""
    centers = _centers(near, seed)
    own, size = normals[centers], max(neighborhood(near, CENTERS)[0], NEIGHBORS)
    index = near.of(centers, size)[1]
    planes = smallest_direction(near.points, index)[0]
    angle = np.degrees(np.arccos(np.clip(np.abs((planes * own).sum(1)), 0, 1)))
    around = normals[index[:, 1 : NEIGHBORS + 1]]
    main = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))[1][:, :, -1]
    rough = np.degrees(np.arccos(np.clip(np.abs((main * own).sum(1)), 0, 1)))
    return float(np.median(angle)), float(np.median(rough)), _opposed(near, normals, seed)


def _opposed(near: Neighbors, normals: np.ndarray, seed: int, *, layers: bool = True) -> float:
    """The share of neighbors on opposite sides; without layers, which lie behind each other again and again, while
    neighbors of one sheet lie as often before each other."""
    centers = _centers(near, seed)
    index = near.of(centers, NEIGHBORS // 2)[1][:, 1:]
    step = near.points[index] - near.points[centers, None]
    alike = np.einsum("nkd,nd->nk", normals[index], normals[centers])
    apart = np.sign((step * (normals[index] - normals[centers, None])).sum(2))
    opposed, clear = alike < -0.5, max(int((np.abs(alike) > 0.5).sum()), 1)
    return float((opposed.sum() - (0 if layers else abs(apart[opposed].sum()))) / clear)


def _centers(near: Neighbors, seed: int) -> np.ndarray:
    n = len(near.points)
    return np.random.default_rng([seed, 8]).choice(n, min(CENTERS, n), replace=False)


def _agreement(near: Neighbors, normals: np.ndarray) -> Float[np.ndarray, " n"]:
    """Trust in each normal from its angle to the mean of its neighbors': 1 at 0°, 0.05 from 60° on."""
    mean = normals[near.table(2 * NEIGHBORS)[1]].sum(1)
    cosine = (mean * normals).sum(1) / np.maximum(np.linalg.norm(mean, axis=1), 1e-12)
    return np.clip(1 - np.degrees(np.arccos(np.clip(cosine, -1, 1))) / 60, 0.05, 1)
