"""The loop: resuming, stopping, stepping back, budgets."""

import dataclasses
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from igr.cloud.neighbors import Neighbors
from igr.config import FeatureConfig, ObjectiveConfig, OptimizerConfig, SamplingConfig
from igr.errors import FitError, OutputError
from igr.fit.loop import Schedule, fit
from igr.fit.objective import objective
from igr.fit.sampling import CloudSampler

torch = pytest.importorskip("torch")

from igr.config import Config  # noqa: E402
from igr.field.torch_field import torch_field  # noqa: E402

CONFIG = Config(network=FeatureConfig(levels=4, coarsest=4, finest=32, width=16))
SAMPLING = SamplingConfig(surface=64, neighbor=8)
ADAM = OptimizerConfig(schedule="cosine", final=1e-4)


def circle(n=300):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, n)
    normals = np.c_[np.cos(angle), np.sin(angle)]
    return 0.6 * normals, normals


def run(steps=40, *, field=None, state=None, stop_at=None, loss=None, budget_seconds=None, **options):
    points, normals = circle()
    field = field or torch_field(CONFIG, 2)
    weights = ObjectiveConfig()
    state = fit(
        field,
        CloudSampler(points, SAMPLING, seed=0, normals=normals),
        loss or (lambda f, g, batch, share: objective(f, g, batch, weights, share)),
        Schedule(ADAM, steps, budget_seconds),
        state=state,
        on_step=lambda progress: progress.step == stop_at,
        **options,
    )
    return field, state


def test_a_circle_is_a_circle():
    field, _ = run(400)
    x = np.random.default_rng(1).uniform(-0.9, 0.9, (500, 2))
    found = field.distance(field.array(x)).numpy()
    assert abs(found - (np.linalg.norm(x, axis=1) - 0.6)).mean() < 0.03


def test_two_halves_are_the_whole_bit_for_bit():
    whole, _ = run()
    saved = {}

    def save(state):
        saved["field"], saved["state"] = field.state(optimizer=True), dataclasses.replace(state)

    field = torch_field(CONFIG, 2)
    with pytest.raises(KeyboardInterrupt):
        run(field=field, stop_at=20, save=save)
    second = torch_field(dataclasses.replace(CONFIG, seed=5), 2)
    second.load_state(saved["field"])
    run(field=second, state=saved["state"])
    for name, value in whole.state(optimizer=True).items():
        np.testing.assert_array_equal(value, second.state(optimizer=True)[name], err_msg=name)


def test_same_seed_same_result():
    first, second = run()[0].state(), run()[0].state()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_a_passing_divergence_is_stepped_back_from():
    broken = [25]

    def loss(f, g, batch, share):
        value = objective(f, g, batch, ObjectiveConfig(), share)
        if broken and share >= broken[0] / 40:
            broken.pop()
            return dataclasses.replace(value, total=math.nan)
        return value

    field, state = run(loss=loss)
    assert (state.step, state.recoveries) == (40, 1)
    assert all(np.isfinite(value).all() for value in field.state().values())


def test_a_lasting_divergence_is_a_clear_error_and_keeps_the_last_good_state():
    field = torch_field(CONFIG, 2)

    def loss(f, g, batch, share):
        value = objective(f, g, batch, ObjectiveConfig(), share)
        return dataclasses.replace(value, total=math.inf) if share > 0.5 else value

    with pytest.raises(FitError, match=r"not finite at step 21.*state of step 20 is kept"):
        run(field=field, loss=loss)
    assert all(np.isfinite(value).all() for value in field.state().values())


class Overflowing:
    """A field whose parameters overflow in the update of step `at`, unseen by the loss of the next steps."""

    def __init__(self, at, times=1):
        self.field, self.at, self.times, self.updates = torch_field(CONFIG, 2), at, times, 0

    def __getattr__(self, name):
        return getattr(self.field, name)

    def update(self, rate):
        self.field.update(rate)
        self.updates += 1
        if self.updates >= self.at and self.times:
            self.times -= 1
            with torch.no_grad():
                next(self.field.network.parameters())[0, 0] = math.nan  # a corner that no batch comes near


@pytest.mark.parametrize("at", [5, 20, 40])
def test_parameters_that_overflow_unseen_are_stepped_back_from(at):
    field, state = run(field=Overflowing(at))
    assert (state.step, state.recoveries) == (40, 1)
    assert all(np.isfinite(value).all() for value in field.state(optimizer=True).values())


def test_a_fit_that_is_given_up_is_saved_in_its_last_good_state():
    field, saved = Overflowing(25, times=99), []
    with pytest.raises(FitError, match=r"state of step 20 is kept"):
        run(field=field, save=lambda state: saved.append((state.step, field.state(optimizer=True))))
    assert [step for step, _ in saved] == [20]
    assert all(np.isfinite(value).all() for value in saved[0][1].values())


def test_stepping_back_takes_the_rows_of_the_lost_steps_out_of_the_history():
    _, state = run(field=Overflowing(30))
    assert [row["step"] for row in state.history] == list(range(1, 41))


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_fit(caplog):
    def save(state):
        raise OutputError("run cannot be written (No space left on device)")

    _, state = run(save=save, save_seconds=0.0)
    assert state.step == 40
    assert "is not saved: run cannot be written" in caplog.text


def test_a_budget_in_seconds_is_kept(monkeypatch):
    looks = itertools.count()
    monkeypatch.setattr("igr.fit.loop.time", SimpleNamespace(monotonic=lambda: 0.01 * next(looks)))
    _, state = run(10**6, budget_seconds=0.3)
    assert 0.3 <= state.seconds < 0.35
    assert state.step > 3


def test_the_last_step_is_told_as_the_end():
    points, normals = circle()
    shares = []
    fit(
        torch_field(CONFIG, 2),
        CloudSampler(points, SAMPLING, seed=0, normals=normals),
        lambda f, g, batch, share: objective(f, g, batch, ObjectiveConfig(), share),
        Schedule(ADAM, 4),
        on_step=lambda progress: shares.append(progress.share),
    )
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_history_has_every_term_and_grows_with_the_run():
    _, state = run(30)
    assert [row["step"] for row in state.history] == list(range(1, 31))
    assert {"seconds", "learning_rate", "loss", "surface", "normals", "eikonal"} <= set(state.history[0])
    assert state.history[-1]["loss"] < state.history[0]["loss"]


def test_spacing_is_the_distance_to_the_neighbor_or_the_farthest():
    points = np.c_[np.arange(10.0), np.zeros(10)]
    assert Neighbors(points).spacing(1).tolist() == [1.0] * 10
    assert Neighbors(points).spacing(3)[0] == 3.0
    assert Neighbors(points).spacing(50)[0] == 9.0


def test_a_batch_depends_on_seed_and_step_only():
    points, normals = circle()
    first, second = (CloudSampler(points, SAMPLING, seed=3, normals=normals) for _ in range(2))
    second(0)
    np.testing.assert_array_equal(first(7).points, second(7).points)
    assert not np.array_equal(first(7).points, CloudSampler(points, SAMPLING, seed=4)(7).points)


def test_every_point_is_visited_equally_often():
    points, _ = circle(130)
    sampler = CloudSampler(points, SAMPLING, seed=0)
    seen = np.concatenate([sampler(step).points[:64] for step in range(65)])
    assert len(np.unique(seen, axis=0, return_counts=True)[1]) == 130
    assert set(np.unique(seen, axis=0, return_counts=True)[1]) == {32}


def test_a_cloud_smaller_than_the_batch_is_taken_whole():
    points, _ = circle(30)
    batch = CloudSampler(points, SAMPLING, seed=0)(0)
    assert batch.surface == 30
    assert len(batch.points) == 30 + 30 + 3


def test_without_memory_for_a_step_the_last_one_is_kept():
    field, saved, last = torch_field(CONFIG, 2), [], {}

    def loss(f, g, batch, share):
        if field.state(optimizer=True)["adam.step"] == 25:
            last.update(field.state(optimizer=True))
            raise MemoryError
        return objective(f, g, batch, ObjectiveConfig(), share)

    with pytest.raises(FitError, match="memory ran out at step 25, whose state is kept"):
        run(field=field, loss=loss, save=lambda state: saved.append((state.step, field.state(optimizer=True))))
    step, kept = saved[-1]
    assert step == 25
    assert all((kept[name] == last[name]).all() for name in last)
