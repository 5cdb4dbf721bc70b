"""Blocks by the workers of Dask: the same bytes as by one process, also where a worker dies."""

import dataclasses
import os
import signal
import threading
import time

import numpy as np
import pytest
from shapes import QUICK, torus

import igr
from igr.large.cluster import check_address, each
from igr.large.whole import LargeOptions, reconstruct_large

distributed = pytest.importorskip("distributed")
CONFIG = dataclasses.replace(QUICK, steps=60)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    np.save(folder / "scan.npy", np.concatenate(torus(12_000), axis=1))
    return folder


def mesh(scan, name, cluster=""):
    options = LargeOptions(block_points=3500, cluster=cluster)
    reconstruct_large([scan / "scan.npy"], scan / f"{name}.ply", scan / name, config=CONFIG, options=options)
    return (scan / f"{name}.ply").read_bytes()


@pytest.mark.parametrize("address", ["nowhere", "local:", "local:0", "local:x", "local:1:2"])
def test_what_is_no_address_is_refused_before_any_work(address):
    with pytest.raises(igr.InputError, match=r"tcp://HOST:PORT of a Dask scheduler, or local:N"):
        check_address(address)


@pytest.mark.slow
def test_nobody_at_an_address_is_said(scan):
    with pytest.raises(igr.InputError, match="no Dask scheduler answers at tcp"):
        mesh(scan, "nobody", "tcp://127.0.0.1:1")


@pytest.mark.slow
def test_a_cluster_writes_the_bytes_of_one_process_though_a_worker_is_killed(scan):
    expected = mesh(scan, "alone")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
    ) as cluster:
        killed = []

        def kill():
            while not (scan / "shared").exists() or not list((scan / "shared").glob("block-*")):
                time.sleep(0.05)
            worker = next(iter(cluster.workers.values()))
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        found = mesh(scan, "shared", cluster.scheduler_address)
        thread.join()
    assert killed
    assert found == expected


@pytest.mark.slow
def test_each_item_comes_back_by_its_name():
    assert dict(each("local:2", divmod, {"a": (7, 2), "b": (9, 4)})) == {"a": (3, 1), "b": (2, 1)}
