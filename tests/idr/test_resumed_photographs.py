"""A run on photographs can be stopped and goes on as if it had not been."""

import dataclasses

import numpy as np
import pytest
from photographed import ball

import igr
from igr.errors import InputError
from igr.idr.config import FAST_PHOTOS
from igr.idr.photographs import networks
from igr.store.run import RunFolder

SMALL = dataclasses.replace(
    FAST_PHOTOS,
    rays=512,
    start_share=0.3,
    field=dataclasses.replace(
        FAST_PHOTOS.field,
        steps=20,
        network=dataclasses.replace(FAST_PHOTOS.field.network, levels=4, finest=40, log2_rows=12),
    ),
)
VIEWS = ball(6, pixels=48, color=lambda x: 0.5 + 0.3 * np.sin(2 * x))


def stopped(step, **options):
    """A run that is stopped after a step."""
    with pytest.raises(KeyboardInterrupt):
        igr.reconstruct_images(
            VIEWS,
            config=SMALL,
            options=igr.PhotoOptions(**options),
            on_step=lambda progress, field: progress.step == step,
        )


@pytest.mark.parametrize("step", [3, 13])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, step):
    """Stopped while the start was fitted, and while colors were."""
    whole = igr.reconstruct_images(VIEWS, config=SMALL)
    stopped(step, run=tmp_path / "run")
    assert RunFolder(tmp_path / "run").checkpoint(str(step)).exists()
    options = igr.PhotoOptions(run=tmp_path / "run", resume=True)
    again = igr.reconstruct_images(VIEWS, config=SMALL, options=options)
    assert again.to_bytes() == whole.to_bytes()
    assert [row["loss"] for row in again.history] == [row["loss"] for row in whole.history]
    assert igr.Surface.load(RunFolder(tmp_path / "run").checkpoint()).details == again.details


def test_a_run_on_other_photographs_or_with_other_weights_is_not_resumed(tmp_path):
    stopped(2, run=tmp_path / "run")
    options = igr.PhotoOptions(run=tmp_path / "run", resume=True)
    for views, config in [(VIEWS[:-1], SMALL), (VIEWS, dataclasses.replace(SMALL, mask=50.0))]:
        with pytest.raises(InputError, match="holds a run on other data"):
            igr.reconstruct_images(views, config=config, options=options)
    with pytest.raises(InputError, match="holds a run already"):
        igr.reconstruct_images(VIEWS, config=SMALL, options=igr.PhotoOptions(run=tmp_path / "run"))


def test_what_is_not_asked_for_is_kept_only_when_it_is_stopped(tmp_path):
    igr.reconstruct_images(VIEWS, config=SMALL, options=igr.PhotoOptions(rescue=tmp_path / "whole"))
    assert not (tmp_path / "whole").exists()
    stopped(2, rescue=tmp_path / "cut")
    assert (tmp_path / "cut" / "state.safetensors").exists()


def test_field_and_colors_go_back_together():
    """To the last bit: parameters, moments, and how many steps they are of."""
    painted = networks(SMALL, "auto")
    rng = np.random.default_rng(0)
    x = painted.array(rng.uniform(-1, 1, (64, 3)))
    n = np.asarray(x) / np.linalg.norm(x, axis=1, keepdims=True)

    def step():
        painted.distance_and_gradient(x, training=True)
        painted.colors.loss(x, n, -n, lambda colors: (0.0, colors - 0.2))
        painted.backward(painted.array(np.ones(64)), painted.array(np.zeros((64, 3))))
        painted.update(1e-2)
        return painted.state(optimizer=True)

    before = step()
    after = step()
    painted.load_state(before)
    again = step()
    assert any((before[name] != after[name]).any() for name in before if name.startswith("color."))
    assert all((again[name] == after[name]).all() for name in after)
