"""Blocks by the workers of Dask: the same bytes as by one process, also where a worker dies."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

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
            while len(list((scan / "shared").glob("block-*"))) < 2:  # both workers are at it
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


def ip(*arguments, check=True):
    return subprocess.run(["ip", *map(str, arguments)], check=check, capture_output=True, timeout=60)


@pytest.fixture
def hosts():
    """Two hosts as far as the network goes: two namespaces with a wire between them."""
    one, two = f"igr{os.getpid()}a", f"igr{os.getpid()}b"
    try:
        try:
            for name in (one, two):
                ip("netns", "add", name)
            ip("link", "add", "wire", "netns", one, "type", "veth", "peer", "name", "wire", "netns", two)
            for name, address in ((one, "10.213.7.1"), (two, "10.213.7.2")):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire")
                for device in ("lo", "wire"):
                    ip("-n", name, "link", "set", device, "up")
        except (OSError, subprocess.SubprocessError):
            pytest.skip("no network namespaces here")
        yield one, two
    finally:
        for name in (one, two):
            with contextlib.suppress(OSError):
                ip("netns", "del", name, check=False)


@pytest.mark.slow
def test_workers_on_another_host_write_the_bytes_of_one_process(scan, hosts):
    """Scheduler and command on one host, both workers on the other, one of them killed."""
    here, there = hosts
    running, dask = [], Path(sys.executable).with_name("dask")

    def start(host, *command):
        inside = ["ip", "netns", "exec", host, *map(str, command)]
        running.append(subprocess.Popen(inside, stderr=subprocess.DEVNULL, start_new_session=True))
        return running[-1]

    scheduler = "tcp://10.213.7.1:8786"
    command = [sys.executable, "-m", "igr", "reconstruct", "--tiles", scan / "scan.npy", "--block-points", 3500]
    alone = [*command, "-o", scan / "one.ply", "--run", scan / "here"]
    subprocess.run([*map(str, alone)], check=True, timeout=600)
    try:
        start(here, dask, "scheduler", "--host", "10.213.7.1", "--port", 8786, "--no-dashboard")
        worker = [dask, "worker", scheduler, "--nthreads", 1, "--memory-limit", 0, "--no-dashboard"]
        first = start(there, *worker, "--no-nanny")
        start(there, *worker)
        two = start(here, *command, "-o", scan / "two.ply", "--run", scan / "there", "--cluster", scheduler)
        while two.poll() is None and len(list((scan / "there").glob("block-*"))) < 2:  # both workers are at it
            time.sleep(0.05)
        assert two.poll() is None
        os.killpg(first.pid, signal.SIGKILL)
        assert two.wait(600) == 0
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert (scan / "two.ply").read_bytes() == (scan / "one.ply").read_bytes()


@pytest.mark.slow
def test_each_item_comes_back_by_its_name():
    assert dict(each("local:2", divmod, {"a": (7, 2), "b": (9, 4)})) == {"a": (3, 1), "b": (2, 1)}
