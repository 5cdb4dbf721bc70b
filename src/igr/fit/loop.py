"""The only training loop: schedule, budget, history, checkpoints, stepping back from a divergence."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..config import OptimizerConfig
from ..errors import FitError, InputError
from ..field.field import Array, Field
from ..settings import Checked, Count, Positive
from ..store.run import FitState
from .objective import Loss
from .sampling import Batch

logger = logging.getLogger(__name__)

SNAPSHOTS = 10
"""A run keeps its last good state in memory about so many times."""
MAX_RECOVERIES = 3
"""Steps back, each at half the learning rate, before a divergence is given up."""

KNOWN, STEPS = 0.01, 100
"""Share or steps of a run after which the time left can be told."""


@dataclass(frozen=True)
class Schedule(Checked):
    """How long a run is and how its learning rate falls."""

    optimizer: OptimizerConfig
    """Schedule of the learning rate."""
    steps: Count
    """Length of the run in steps."""
    budget_seconds: Positive | None = None
    """Length of the run in time instead: the schedule then follows the clock, so two runs differ as the
    machine's load does."""

    def share(self, step: int, seconds: float) -> float:
        """Share of the run that is done."""
        return step / self.steps if self.budget_seconds is None else seconds / self.budget_seconds


@dataclass(frozen=True)
class Progress:
    """What `on_step` is told after every step."""

    step: int
    share: float
    """Share of the run that is done, by steps or by time, in [0, 1]."""
    seconds: float
    loss: Loss

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the run; None in its first steps, which also start everything up."""
        if self.share < KNOWN and self.step < STEPS:
            return None
        return self.seconds * (1 / self.share - 1)


def fit(
    field: Field,
    sample: Callable[[int], Batch],
    loss: Callable[[Array, Array, Batch, float], Loss],
    schedule: Schedule,
    *,
    state: FitState | None = None,
    on_step: Callable[[Progress], bool | None] | None = None,
    save: Callable[[FitState], None] | None = None,
    save_seconds: float = 60.0,
) -> FitState:
    """Fit `field` to the batches of `sample`, in place.

    Args:
        field: what is fitted.
        sample: the batch of a step, in numpy; the same for the same step.
        loss: value and derivatives from f (n,), ∇f (n, d), the batch, and the share of the run that is done.
        schedule: length of the run and its learning rate.
        state: where an earlier session of this run stopped (the field must hold its parameters and moments).
            A resumed run of steps equals an uninterrupted one bit for bit on one machine and thread count.
        on_step: called after every step; the run stops, saved, when it returns True.
        save: called about every `save_seconds`, and when the run is stopped or given up; at the end the caller
            saves. What it raises between (an `InputError`: the disk is full) is logged, and the fit goes on.
        save_seconds: time between two checkpoints, so what a run can lose at most.

    Raises:
        FitError: loss or parameters stopped being finite, and stepping back did not help, or memory ran out; the
            field then holds its last good state, which is saved.
        KeyboardInterrupt: `on_step` returned True; everything is saved.
    """
    state = state or FitState()
    began = saved_at = time.monotonic() - state.seconds
    saved_at += state.seconds
    every = max(1, schedule.steps // 1000)
    snapshot_every = max(20, schedule.steps // SNAPSHOTS)
    good = (state.step, field.state(optimizer=True))
    stop = False
    while True:
        share = schedule.share(state.step, time.monotonic() - began)
        done = share >= 1 and state.step > 0
        if done or stop or state.step >= good[0] + snapshot_every:
            present = field.state(optimizer=True)
            if not _finite(present):  # a derivative was not, at places that no loss has looked at since
                _step_back(field, state, good, save)
                continue
            good = (state.step, present)
        if stop:
            if save is not None:
                save(state)
            raise KeyboardInterrupt
        if done:
            break
        due = time.monotonic() - saved_at > save_seconds
        if save is not None and due and _finite(field.state(optimizer=True)):
            _checkpoint(save, state)
            saved_at = time.monotonic()
        rate = schedule.optimizer.rate(state.step, share) * 0.5**state.recoveries
        try:
            value = _step(field, sample(state.step), loss, share, rate)
        except MemoryError:
            raise _out_of_memory(state, save) from None
        if not math.isfinite(value.total):
            _step_back(field, state, good, save)
            continue
        state.step += 1
        state.seconds = time.monotonic() - began
        if state.step % every == 0:
            state.history.append(_row(state, rate, value))
        progress = Progress(state.step, min(schedule.share(state.step, state.seconds), 1.0), state.seconds, value)
        stop = bool(on_step is not None and on_step(progress))
    field.set_detail(1.0)
    return state


def _step(
    field: Field,
    batch: Batch,
    loss: Callable[[Array, Array, Batch, float], Loss],
    share: float,
    rate: float,
) -> Loss:
    """One step of the fit; where the loss is not finite, or memory runs out, the field stays as it was."""
    field.set_detail(share)
    batch = _on_device(batch, field)
    f, g = field.distance_and_gradient(batch.points, training=True, shapes=batch.shapes)
    value = loss(f, g, batch, share)
    if math.isfinite(value.total):
        field.backward(value.df, value.dg)
        field.update(rate)
    return value


def _on_device(batch: Batch, field: Field) -> Batch:
    """The batch with its arrays as the field computes."""
    moved = {
        entry.name: field.array(value) if isinstance(value := getattr(batch, entry.name), np.ndarray) else value
        for entry in dataclasses.fields(batch)
    }
    return dataclasses.replace(batch, **moved)


def _row(state: FitState, rate: float, value: Loss) -> dict[str, float]:
    row = {"step": state.step, "seconds": round(state.seconds, 4), "learning_rate": rate, "loss": value.total}
    return row | value.terms


def _finite(arrays: dict[str, np.ndarray]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays.values())


def _checkpoint(save: Callable[[FitState], None], state: FitState) -> None:
    """Save, or say why that was not possible: the fit is worth more than one of its checkpoints."""
    try:
        save(state)
    except InputError as problem:
        logger.warning("step %d is not saved: %s; the fit goes on", state.step, problem)


def _out_of_memory(state: FitState, save: Callable[[FitState], None] | None) -> FitError:
    """What is said when there is no memory for a step; where there is enough to save the last one, it is saved."""
    with contextlib.suppress(MemoryError):
        if save is not None:
            _checkpoint(save, state)
    return FitError(
        f"memory ran out at step {state.step}, whose state is kept. Close other programs, or use a machine with "
        "more memory."
    )


def _step_back(
    field: Field,
    state: FitState,
    good: tuple[int, dict[str, np.ndarray]],
    save: Callable[[FitState], None] | None,
) -> None:
    """Return to the last good state at half the learning rate, or give up, that state saved."""
    at, state.step = state.step, good[0]
    field.load_state(good[1])
    state.recoveries += 1
    state.history = [row for row in state.history if row["step"] <= state.step]
    if state.recoveries <= MAX_RECOVERIES:
        logger.warning("step %d: the fit is not finite; back to step %d at half the rate", at, state.step)
        return
    if save is not None:
        _checkpoint(save, state)
    raise FitError(
        f"the fit was not finite at step {at}, and {MAX_RECOVERIES} returns to an earlier state at a lower "
        f"learning rate did not help; the state of step {state.step} is kept. Try a lower learning rate "
        "(optimizer.initial), and look at the cloud for extreme values."
    )
