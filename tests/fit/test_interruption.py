"""kill -9 at any moment: the next start continues, to the same result; nothing half is found."""

import subprocess
import sys

import numpy as np
import pytest

from torture.interruptions import PREPROCESS, RECONSTRUCT, TRAIN, prepared, random_kills
from torture.kills import HOLD_OFF, checksums, kill_in_writing, uninterrupted


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    return tmp_path_factory.mktemp("interruptions")


@pytest.mark.slow
@pytest.mark.parametrize("task", [RECONSTRUCT, TRAIN, PREPROCESS], ids=lambda task: task.arguments[0])
def test_killed_at_random_it_continues_to_the_same_result(top, task):
    row = random_kills("task", task, top, 2)
    assert row.good, row.note


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 7, 12])
def test_killed_between_the_halves_of_a_checkpoint_it_continues_to_the_same_result(top, step):
    expected, _ = uninterrupted(RECONSTRUCT, prepared(top, "whole"))
    outcome, found = kill_in_writing(RECONSTRUCT, prepared(top, "killed"), step)
    assert (outcome.kills, outcome.bad) == (1, [])
    assert found == expected


@pytest.mark.slow
def test_samples_are_never_found_beside_the_placement_of_others(tmp_path):
    """Killed between the two files of a scan that is sampled anew, it has no samples rather than wrong ones."""

    def igr(*arguments):
        subprocess.run([sys.executable, "-m", "igr", *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "scans").mkdir()
    igr("example", "sphere", "scans/a.ply")
    sample = ["dfaust", "preprocess", "--src-path", "scans", "--out-path", "out", "--workers", "1", "--samples"]
    igr(*sample, "500")
    before = checksums(tmp_path, ("out/**/a.*",))
    for step in range(6):
        command = [sys.executable, "-c", HOLD_OFF, str(step), *sample, "700"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        now = checksums(tmp_path, ("out/**/a.npy", "out/**/a.json"))
        unchanged = all(before.get(name) == value for name, value in now.items())
        samples = next((tmp_path / "out").rglob("a.npy"), None)
        assert samples is None or unchanged or len(np.load(samples)) == 700
        igr(*sample, "500")
