"""What was found by `python -m torture readers`: hostile files are refused in one sentence, at once."""

import base64
import dataclasses
import io
import json
import os
import pickle
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import memory_below

from igr.cloud.frame import Frame
from igr.cloud.pointcloud import read_points
from igr.config import FAST, FAST_SPACE, PAPER, Config, FeatureConfig, LatentConfig, MLPConfig
from igr.errors import InputError
from igr.field.features import parameter_shapes
from igr.field.field import make_field
from igr.formats.arrays import read_arrays
from igr.scans.folders import read_split
from igr.settings import parse_json
from igr.store.atomic import check_file, read_small_text
from igr.store.tensors import read_tensors
from igr.surface.file import surface_file
from igr.surface.opening import load_model, load_shape
from igr.surface.surface import Surface

SHARED_FOLDER = HealthCheck.function_scoped_fixture
FEATURES = FeatureConfig(levels=3, coarsest=4, finest=12, log2_rows=10, width=32, start_levels=1)
POINTS = np.random.default_rng(0).normal(size=(50, 3))


def refused(call, *args, match=None):
    """The sentence that a file is refused with, before much of it is in memory."""
    with memory_below(100), pytest.raises(InputError, match=match) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def npy(values, **options):
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def header(shape, kind="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue()


# What is no file


STAND_INS = {
    "a pipe": os.mkfifo if hasattr(os, "mkfifo") else None,
    "endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("gone")),
    "a folder": lambda path: path.mkdir(),
    "nothing": lambda path: path.write_bytes(b""),
}


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices are no files there")
@pytest.mark.parametrize("what", STAND_INS)
@pytest.mark.parametrize("suffix", [".xyz", ".npy", ".ply", ".glb", ".igr", ".conf", ".json", ".npz"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path, what, suffix):
    path = tmp_path / f"a{suffix}"
    STAND_INS[what](path)
    refused(check_file, path)
    readers = {".igr": load_model, ".json": read_split, ".conf": read_small_text, ".glb": load_shape}
    if not (what == "a folder" and suffix in (".igr", ".glb")):
        refused(readers.get(suffix, read_points), path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_a_folder_of_scans_does_not_stop_it(tmp_path):
    from igr.scans.preprocess import Preprocessing, preprocess

    scans = tmp_path / "scans"
    scans.mkdir()
    np.savetxt(scans / "good.xyz", POINTS)
    os.mkfifo(scans / "pipe.ply")
    (scans / "gone.xyz").symlink_to("nowhere")
    report = preprocess(tmp_path, tmp_path / "out", Preprocessing(samples=20), workers=1)
    assert [path.stem for path in report.done] == ["good"]
    assert len(report.failed) == 2


def test_the_history_of_a_run_may_be_anything(tmp_path):
    from igr.store.run import RunFolder

    for content in ("step\n1,2,3\n", "a,b\nx,y\n", "\0", '"', "step,loss\n1,nan\n"):
        (tmp_path / "history.csv").write_text(content)
        assert all(isinstance(value, float) for row in RunFolder(tmp_path).history() for value in row.values())


# Numbers that lie


def test_counts_of_thousands_of_digits_are_no_counts(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"9" * 5000 + b"\n1 2 3\n")
    refused(read_points, tmp_path / "a.xyz")
    count = b"9" * 1000
    (tmp_path / "a.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex " + count + b"\nend_header\n")
    refused(read_points, tmp_path / "a.ply", match="not understood")


@pytest.mark.parametrize("shape", [(10**18, 3), (10**18, 0), (0, 10**18, 10**18), (-1, 3), (10**30, 6)])
def test_an_array_cannot_announce_more_than_it_holds(tmp_path, shape):
    from igr.scans.batches import open_table

    (tmp_path / "a.npy").write_bytes(header(shape, "<f4") + bytes(100))
    refused(read_points, tmp_path / "a.npy", match="cut short|shape|damaged")
    refused(open_table, tmp_path / "a.npy", match="cut short|expected|damaged")


def test_samples_in_an_archive_are_no_samples(tmp_path):
    from igr.scans.batches import open_table

    np.savez(tmp_path / "a.npz", POINTS)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    refused(open_table, tmp_path / "a.npy", match="damaged or no NumPy array")


def test_signalling_nans_are_nans(tmp_path):
    from igr.scans.batches import read_rows

    table = np.zeros((20, 6), np.float32)
    table.view(np.uint32)[:] = 0x7F800001
    np.save(tmp_path / "a.npy", table)
    assert np.isnan(read_rows(tmp_path / "a.npy", 5, np.random.default_rng(0))).all()
    refused(read_points, tmp_path / "a.npy", match="0 usable points")


def bomb(name, start, megabytes, said=None):
    """An archive of zeros, made without making the zeros; `said` is its packed size in its directory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += megabytes * block + packer.flush()
    sizes = struct.pack("<HHHHIII", 0, 8, 0, 0, 0, said or len(packed), len(start) + (megabytes << 20))
    local = b"PK\3\4\x14\0" + sizes + struct.pack("<HH", len(name), 0) + name
    central = b"PK\1\2\x14\0\x14\0" + sizes + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    return local + packed + central + end


BOMBS = {
    "more than it is worth": bomb(b"points.npy", header((43_000_000, 3)), 1000),
    "with a false size": bomb(b"points.npy", header((43_000_000, 3)), 1000, said=0xFFFFFFF0),
    "of bytes that become numbers": bomb(b"points.npy", header((40_000_000, 3), "|u1"), 120),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_archive_unpacks_to_no_more_than_it_is_worth(tmp_path, name):
    (tmp_path / "a.npz").write_bytes(BOMBS[name])
    refused(read_points, tmp_path / "a.npz", match="far too")
    (tmp_path / "b.npz").write_bytes(BOMBS[name].replace(b"points.npy", b"values.npy"))
    refused(read_arrays, tmp_path / "b.npz", ["values"], match="far too")


# Scenes


def gltf(**changes):
    """A triangle; `changes` of its tree."""
    data = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes() + np.array([0, 1, 2], "<u4").tobytes()
    tree = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": 3,
                "type": "VEC3",
                "min": [0, 0, 0],
                "max": [1, 1, 0],
            },
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 12}],
        "buffers": [{"byteLength": 48, "uri": "data:;base64," + base64.b64encode(data).decode()}],
    }
    return json.dumps(tree | changes).encode()


def test_a_sound_scene_is_read(tmp_path):
    (tmp_path / "a.gltf").write_bytes(gltf())
    assert load_shape(tmp_path / "a.gltf")[1].tolist() == [[0, 1, 2]]


SCENES = {
    "zeros that are not there": {"accessors": [{"componentType": 5126, "count": 10**9, "type": "VEC3"}] * 2},
    "shown too often": {"nodes": [{"mesh": 0}] * 100_000, "scenes": [{"nodes": list(range(100_000))}]},
    "a file outside": {"buffers": [{"byteLength": 48, "uri": "../secret.bin"}]},
    "a device": {"buffers": [{"byteLength": 48, "uri": "/dev/zero"}]},
    "an address": {"buffers": [{"byteLength": 48, "uri": "http://127.0.0.1:9/x"}]},
    "a folder": {"buffers": [{"byteLength": 48, "uri": "."}]},
}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_leads_nowhere_and_grows_no_further_than_its_file(tmp_path, name):
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / "a.gltf").write_bytes(gltf(**SCENES[name]))
    refused(load_shape, folder / "a.gltf", match="damaged or no mesh file")
    refused(read_points, folder / "a.gltf", match="damaged or of another kind")


def test_a_mesh_cannot_announce_more_than_it_holds(tmp_path):
    head = b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    head += (
        b"property float z\nelement face 99999999999999999\nproperty list uchar int vertex_indices\nend_header\n"
    )
    (tmp_path / "a.ply").write_bytes(head + bytes(12))
    refused(load_shape, tmp_path / "a.ply")
    (tmp_path / "a.stl").write_bytes(bytes(80) + b"\xff" * 4 + bytes(100))
    refused(load_shape, tmp_path / "a.stl")


@pytest.mark.parametrize("suffix", [".zip", ".3mf", ".dae", ".svg", ".json", ".tar.gz", ".stl_ascii"])
def test_archives_and_xml_are_no_meshes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"PK\3\4" + bytes(50))
    refused(load_shape, path)
    refused(read_points, path, match="unknown format")


# Models


def model(network=FEATURES):
    config = dataclasses.replace(FAST if isinstance(network, FeatureConfig) else PAPER, network=network)
    return Surface(
        make_field(config, 3), Frame(np.zeros(3), 1.0), config, samples=0.1 * POINTS, details={"name": "a"}
    )


def changed(content, change, *, sealed=True):
    """A saved model with other texts, under a right checksum."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    texts = head["__metadata__"]
    change(texts)
    if sealed:
        texts.pop("checksum")
        told = json.dumps(texts, sort_keys=True).encode()
        texts["checksum"] = f"{zlib.crc32(content[start:], zlib.crc32(told)):08x}"
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + content[start:]


def config_with(**network):
    def change(texts):
        values = json.loads(texts["config"])
        values["network"] |= network
        texts["config"] = json.dumps(values)

    return change


LIES = {
    "a network of 10^18 weights": config_with(width=10**9),
    "a grid of 10^15 corners": config_with(finest=10**5, log2_rows=60),
    "10^9 levels": config_with(levels=10**9),
    "no levels": config_with(levels=0),
    "rows without end": config_with(log2_rows=10**12),
    "an integer of 400 digits": config_with(beta=10**400),
    "a negative width": config_with(width=-32),
    "another dimension": lambda texts: texts.update(dimension="7"),
    "details that are no object": lambda texts: texts.update(details="[1]"),
    "details of great depth": lambda texts: texts.update(details='{"a":' * 900 + "1" + "}" * 900),
    "a configuration of great depth": lambda texts: texts.update(config="[" * 100_000),
    "another format": lambda texts: texts.update(format="9" * 100_000),
    "no configuration": lambda texts: texts.pop("config"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_model_cannot_ask_for_more_than_it_holds(tmp_path, lie):
    path = tmp_path / "a.igr"
    path.write_bytes(changed(model().to_bytes(), LIES[lie]))
    refused(load_model, path, match=r"a\.igr")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("name", ["field.weight2", "frame.scale", "frame.center", "samples"])
def test_a_model_holds_only_numbers_that_make_sense(tmp_path, name, value):
    from igr.store.tensors import write_tensors

    surface = model()
    arrays, entries = surface_file(surface)
    tensors = {key: array.copy() for key, array in arrays.items()}
    tensors[name].flat[0] = value
    write_tensors(tmp_path / "a.igr", tensors, entries)
    if value == 1e30 and name in ("frame.scale", "frame.center"):
        assert load_model(tmp_path / "a.igr")
    else:
        refused(load_model, tmp_path / "a.igr")


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_model_with_one_changed_bit_is_refused(tmp_path_factory, place, bit):
    """Not read as another surface: nobody would notice."""
    path = tmp_path_factory.mktemp("model") / "a.igr"
    content = bytearray(SAVED)
    content[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_model(path)


SAVED = model().to_bytes()


def test_models_of_before_had_no_checksum(tmp_path):
    (tmp_path / "a.igr").write_bytes(changed(SAVED, lambda texts: texts.pop("checksum"), sealed=False))
    assert load_model(tmp_path / "a.igr").details == {"name": "a"}
    assert "checksum" not in read_tensors(tmp_path / "a.igr")[1]


SPACE = MLPConfig(width=16, layers=3, skip=(2,))


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(FAST, network=FEATURES),
        dataclasses.replace(PAPER, network=SPACE),
        dataclasses.replace(FAST_SPACE, network=SPACE, latents=LatentConfig(size=5, enters="weights")),
        dataclasses.replace(FAST_SPACE, network=SPACE, latents=LatentConfig(size=5, enters="input")),
    ],
)
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_shapes_that_a_file_is_compared_with_are_those_of_the_network(config, dimension):
    pytest.importorskip("torch")
    import torch

    from igr.space.network import SpaceField, SpaceNetwork, make_network

    if config.latents is None:
        state = make_field(config, dimension).state()
    else:
        state = SpaceField(SpaceNetwork(make_network(config, dimension), torch.zeros(2, 5))).state()
        assert state.pop("latents").shape == (2, 5)
    assert {name: value.shape for name, value in state.items()} == parameter_shapes(config, dimension)


# Settings and names


def test_json_is_no_deeper_than_makes_sense():
    assert parse_json('{"a": [1, {"b": null}]}', "it") == {"a": [1, {"b": None}]}
    for text in ("[" * 100_000, "[" * 900 + "]" * 900, "", "nan?", "9" * 5000):
        refused(parse_json, text, "it", match="it is n")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_changed_configuration_is_valid_or_refused(data):
    values = Config().to_json()
    start = data.draw(st.integers(0, len(values)))
    middle = data.draw(
        st.one_of(st.text('{}[]",:.-1e', max_size=5), st.sampled_from(["1e999", "9" * 400, "NaN", "-1"]))
    )
    try:
        config = Config.from_json(values[:start] + middle + values[start + data.draw(st.integers(0, 20)) :])
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert Config.from_json(config.to_json()) == config


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=60), st.text('{}[]",:a./\\1', max_size=60).map(str.encode)))
def test_any_split_gives_names_below_a_folder_or_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content or b" ")
    with pytest.raises(InputError):
        read_split(path)
    path.write_bytes(json.dumps({"scans": {"a": {"b": [content.decode("latin-1")]}}}).encode())
    try:
        assert all(".." not in name.split("/") and not name.startswith("/") for name in read_split(path))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


HOCON = {
    "a file": 'train { include "/etc/passwd" }',
    "a file, in words": 'train { include required(file("/etc/passwd")) }',
    "an address": 'train { a = 1, include url("http://127.0.0.1:9/x") }',
    "the environment": "train { expname = ${HOME} }",
    "a billion laughs": "a0 = [1, 1]\na1 = ${a0} ${a0}\na2 = ${a1} ${a1}",
    "great depth": "a = " + "[" * 5000,
    "great length": "# " + "a" * 100_000,
}


@pytest.mark.parametrize("name", HOCON)
def test_a_configuration_of_the_original_leads_nowhere(tmp_path, name):
    pytest.importorskip("pyhocon")
    from igr.original_conf import read_conf

    (tmp_path / "a.conf").write_text(HOCON[name])
    refused(read_conf, tmp_path / "a.conf")


# Checkpoints of the original


LONG_NAME = b"\x80\x02ctorch\n" + b"a" * 300_000 + b"\n."


class Trap:
    def __reduce__(self):
        return os.mkdir, ("igr-ran-this",)


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name.replace('_', '.')}", content)
    return stream.getvalue()


def saved(content, **options):
    import torch

    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def checkpoints():
    import torch

    one = torch.zeros(1)
    wide = {f"lin{i}.weight": one.expand(10**6, 10**6) for i in range(9)}
    return {
        "code": saved({"model_state_dict": Trap()}),
        "code, as torch 1.5 wrote it": saved({"model_state_dict": Trap()}, _use_new_zipfile_serialization=False),
        "a pickle": pickle.dumps(Trap()),
        "a pickle in an archive": zipped(data_pkl=pickle.dumps({"a": Trap()}), version="3"),
        "a name that torch thinks about for minutes": zipped(
            data_pkl=b"\x80\x02ctorch\n" + b"a" * 300_000 + b"\n."
        ),
        "one number as 10^12": saved({"model_state_dict": wide}),
        "gigabytes of zeros": bomb(b"archive/data.pkl", b"", 500),
        "not finite": saved({"model_state_dict": {"lin0.weight": torch.full((8, 8), float("nan"))}}),
        "sparse": saved({"model_state_dict": {"lin0.weight": torch.eye(3).to_sparse()}}),
        "whole numbers": saved({"model_state_dict": {"lin0.weight": torch.ones(8, 8, dtype=torch.int64)}}),
    }


def test_a_checkpoint_holds_tensors_of_its_own_size_and_no_code(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from igr.space.files import load_original

    monkeypatch.chdir(tmp_path)
    for name, content in checkpoints().items():
        path = tmp_path / "a.pth"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            refused(load_original, path, match=r"a\.pth")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth"], name
