"""Files to tables: every format gives the same numbers, and a broken file one sentence."""

import contextlib
import io
import logging
import os
import pickle
import struct
import threading
import zipfile

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from machine import memory_below

from igr.cloud import read
from igr.cloud.pointcloud import read_points
from igr.errors import InputError

POINTS = np.random.default_rng(7).normal(size=(40, 3)) + [5e5, 5e6, 100.0]
NORMALS = POINTS - POINTS.mean(axis=0)
NORMALS /= np.linalg.norm(NORMALS, axis=1, keepdims=True)
TURNED = NORMALS[:, :2] / np.linalg.norm(NORMALS[:, :2], axis=1, keepdims=True)
TABLES = {
    2: POINTS[:, :2],
    3: POINTS,
    4: np.hstack([POINTS[:, :2], TURNED]),
    6: np.hstack([POINTS, NORMALS]),
}
NAMES = {2: "x y", 3: "x y z", 4: "x y nx ny", 6: "x y z nx ny nz"}


def read_table(path):
    """Positions and normals of a file side by side."""
    table = read.read_table(path)
    return table.points if table.normals is None else np.hstack([table.points, table.normals])


def text(table, separator=" ", form="%.17g"):
    stream = io.StringIO()
    np.savetxt(stream, table, fmt=form, delimiter=separator)
    return stream.getvalue().encode()


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(*, compressed=False, **arrays):
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def ply_header(form, count, names, kind="double", before="", after=""):
    properties = "".join(f"property {kind} {name}\n" for name in names.split())
    lines = f"ply\nformat {form} 1.0\ncomment made by hand\n{before}element vertex {count}\n"
    return f"{lines}{properties}{after}end_header\n".encode()


def ply(table, form="ascii", **options):
    order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[form]
    body = text(table) if form == "ascii" else table.astype(f"{order}f8").tobytes()
    return ply_header(form, len(table), NAMES[table.shape[1]], **options) + body


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


WRITERS = {
    "blanks.xyz": text,
    "commas.csv": lambda table: text(table, ","),
    "commas and blanks.csv": lambda table: text(table, ", "),
    "semicolons.txt": lambda table: text(table, ";"),
    "tabs.txt": lambda table: text(table, "\t"),
    "decimal commas.csv": lambda table: text(table, ";").replace(b".", b","),
    "names.csv": lambda t: NAMES[t.shape[1]].replace(" ", ",").encode() + b"\n" + text(t, ","),
    "windows.txt": lambda table: b"\xef\xbb\xbf" + text(table).replace(b"\n", b"\r\n"),
    "utf-16.txt": lambda table: text(table).decode().encode("utf-16"),
    "comments.xyz": lambda t: b"# a\n// b\xe9\n\n" + text(t).replace(b"\n", b" # c\n", 3).replace(b"#", b"//", 1),
    "array.npy": npy,
    "fortran.npy": lambda table: npy(np.asfortranarray(table)),
    "big endian.npy": lambda table: npy(table.astype(">f8")),
    "points.npz": lambda table: npz(points=table),
    "compressed.npz": lambda table: npz(compressed=True, anything=table),
    "ascii.ply": ply,
    "little.ply": lambda table: ply(table, "binary_little_endian"),
    "big.ply": lambda table: ply(table, "binary_big_endian"),
}


@pytest.mark.parametrize("columns", [2, 3, 4, 6])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_keeps_every_digit(tmp_path, name, columns):
    """Meters of a national grid keep their millimeters, and more: float64 all the way."""
    path = written(tmp_path, name, WRITERS[name](TABLES[columns]))
    table = read_table(path)
    assert table.dtype == np.float64
    np.testing.assert_array_equal(table, TABLES[columns])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3), min_size=1, max_size=20),
    separator=st.sampled_from([" ", ",", ";", "\t", " , ", "  "]),
    end=st.sampled_from(["\n", "\r\n", "\n\n", " # note\n", " // note\n"]),
)
def test_written_numbers_are_read_back_exactly(tmp_path, rows, separator, end):
    content = "".join(separator.join(map(repr, row)) + end for row in rows)
    path = written(tmp_path, "a.txt", content.encode())
    np.testing.assert_array_equal(read_table(path), np.array(rows))


def test_columns_are_found_by_their_names(tmp_path):
    """An index, colors, and another order of the columns, as other programs write them."""
    table = np.hstack([np.arange(40)[:, None], POINTS[:, ::-1], np.random.default_rng(0).random((40, 1)), NORMALS])
    head = b'"","Z","Y","X","intensity","nx","ny","nz"\n'
    path = written(tmp_path, "a.csv", head + text(table, ","))
    np.testing.assert_array_equal(read_table(path), TABLES[6])


def test_other_names_leave_the_columns_in_order(tmp_path):
    path = written(tmp_path, "a.csv", b"easting;northing;height\n" + text(POINTS, ";"))
    np.testing.assert_array_equal(read_table(path), POINTS)


@pytest.mark.parametrize("extra", [0, 1, 4])
def test_scanner_files_announce_a_number_and_may_hold_intensity_and_color(tmp_path, extra):
    table = np.hstack([POINTS, np.random.default_rng(0).integers(0, 255, (40, extra))])
    path = written(tmp_path, "a.pts", b"40\n" + text(table))
    np.testing.assert_array_equal(read_table(path), POINTS)


@pytest.mark.parametrize("key", ["points", "vertices", "xyz", "pos"])
def test_npz_arrays_are_found_by_their_usual_names(tmp_path, key):
    path = written(tmp_path, "a.npz", npz(**{key: POINTS, "normals": NORMALS, "faces": np.zeros((5, 3), int)}))
    np.testing.assert_array_equal(read_table(path), TABLES[6])


@pytest.mark.parametrize("kind", ["f2", "f4", "i4", "u1"])
def test_smaller_types_become_float64(tmp_path, kind):
    values = (np.arange(60) % 50).reshape(20, 3).astype(kind)
    table = read_table(written(tmp_path, "a.npy", npy(values)))
    assert table.dtype == np.float64
    np.testing.assert_array_equal(table, values)


# ---------------------------------------------------------------------------------------------- PLY


def test_ply_faces_of_different_lengths_and_other_properties_are_left_alone(tmp_path):
    faces = struct.pack("<B3i", 3, 0, 1, 2) + struct.pack("<B4i", 4, 0, 1, 2, 3)
    header = ply_header(
        "binary_little_endian",
        40,
        "x confidence y z red nx ny nz",
        before="element camera 2\nproperty uchar id\nproperty double focus\n",
        after="element face 2\nproperty list uchar int vertex_indices\n",
    )
    rows = np.insert(np.insert(TABLES[6], 3, 9.0, axis=1), 1, 8.0, axis=1)
    path = written(tmp_path, "a.ply", header + bytes(18) + rows.astype("<f8").tobytes() + faces)
    np.testing.assert_array_equal(read_table(path), TABLES[6])


def test_ascii_ply_with_lists_before_its_vertices(tmp_path):
    header = ply_header("ascii", 40, "x y z", before="element strip 1\nproperty list uchar int v\n")
    path = written(tmp_path, "a.ply", header + b"3 0 1 2\n" + text(POINTS))
    np.testing.assert_array_equal(read_table(path), POINTS)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_ply_as_trimesh_writes_it(tmp_path, encoding):
    mesh = trimesh.creation.icosphere(2)
    content = trimesh.exchange.ply.export_ply(mesh, encoding=encoding, vertex_normal=True)
    table = read_table(written(tmp_path, "a.ply", content))
    np.testing.assert_allclose(table, np.hstack([mesh.vertices, mesh.vertex_normals]), atol=1e-6)


# ------------------------------------------------------------------------------------------- meshes


@pytest.mark.parametrize("suffix", ["obj", "off", "stl", "glb"])
def test_a_mesh_gives_its_vertices(tmp_path, suffix):
    mesh = trimesh.creation.icosphere(2)
    mesh.export(tmp_path / f"a.{suffix}")
    cloud = read_points(tmp_path / f"a.{suffix}")
    assert len(cloud) == len(mesh.vertices)
    assert np.linalg.norm(cloud.points, axis=1) == pytest.approx(np.ones(len(cloud)), abs=1e-6)


def test_a_scene_is_put_together_with_its_normals_turned(tmp_path):
    mesh = trimesh.creation.icosphere(2)
    content = trimesh.exchange.obj.export_obj(mesh, include_normals=True)
    table = read_table(written(tmp_path, "a.obj", content.encode()))
    np.testing.assert_allclose(table[:, 3:], table[:, :3], atol=0.01)

    turn = trimesh.transformations.rotation_matrix(1.0, [1, 2, 3], [4, 5, 6])
    scene = trimesh.Scene()
    scene.add_geometry(mesh, transform=turn)
    (tmp_path / "a.glb").write_bytes(trimesh.exchange.gltf.export_glb(scene, include_normals=True))
    table = read_table(tmp_path / "a.glb")
    center = turn[:3, 3]
    np.testing.assert_allclose(table[:, :3] - center, table[:, 3:], atol=0.01)
    assert len(table) == 162


def test_an_obj_without_faces_keeps_its_normals(tmp_path):
    lines = [f"v {x} {y} {z}\n" for x, y, z in POINTS] + [f"vn {x} {y} {z}\n" for x, y, z in NORMALS]
    path = written(tmp_path, "a.obj", "# gr\xf6\xdfe\n".encode("latin-1") + "".join(lines).encode())
    np.testing.assert_array_equal(read_table(path), TABLES[6])


def test_an_stl_whose_header_is_not_text(tmp_path):
    content = trimesh.creation.icosphere(2).export(file_type="stl")
    path = written(tmp_path, "a.stl", b"\xff" * 80 + content[80:])
    assert len(read_points(path)) == 162


# ------------------------------------------------------------------------------------------- errors

LINES = [" ".join(f"{x:.4f}" for x in row) for row in POINTS]
ROWS = "\n".join(LINES).encode()
HEAD = ply_header("binary_little_endian", 40, "x y z")


def with_line(number, line):
    return "\n".join([*LINES[: number - 1], line, *LINES[number:]]).encode()


BROKEN = {
    "empty.xyz": (b"", "empty.xyz is empty."),
    "empty.ply": (b"", "empty.ply is empty."),
    "comments.xyz": (b"# a\n\n// b\n", "comments.xyz holds no points."),
    "one.xyz": (b"1.5\n2.5\n", "one.xyz: line 1 has 1 number, expected 2 or more (x y, x y z, …)."),
    "many.xyz": (
        b"1 " * 13,
        "many.xyz has 13 columns; 2 to 12 (x y, x y z, and what belongs to them) can be told",
    ),
    "scan.xyz": (with_line(12, "1 2 3 4 5"), "scan.xyz: line 12 has 5 numbers, expected 3 like line 1."),
    "degrees.csv": (
        b"id,latitude,longitude,height\n1,48.1,11.5,520\n",
        "degrees.csv gives latitude and longitude, which are degrees and no lengths; project them first",
    ),
    "late.xyz": (b"# c\n\n" + with_line(12, "7"), "late.xyz: line 14 has 1 number, "),
    "mixed.xyz": (with_line(12, "1 2 3 4 5 6"), "mixed.xyz: line 12 has 6 numbers, expected 3 like line 1."),
    "planar.txt": (
        b"1 2\n3 4\n1 2 3 4 5\n",
        "planar.txt: line 3 has 5 numbers, expected 2 like line 1.",
    ),
    "word.csv": (
        with_line(9, "1 none 3").replace(b" ", b","),
        "word.csv: line 9 has 'none' where a number is expected.",
    ),
    "gap.csv": (b"x,y,z\n1,2,3\n4,,6\n", "gap.csv: line 3 has nothing in column 2 where a number is expected."),
    "names.csv": (b"x,y,z\n1,2,3,4\n", "names.csv: line 2 has 4 numbers, expected 3 like the names above."),
    "molecule.xyz": (b"2\nwater\nO 0 0 0\nH 0 0 1\n", "molecule.xyz has 2 usable points, at least 10 are needed"),
    "short.pts": (b"41\n" + ROWS, "short.pts is cut short: it announces 41 points and holds 40."),
    "binary.txt": (POINTS.tobytes(), "binary.txt is not text, as its name says: it holds zero bytes."),
    "objects.npy": (
        npy(np.array([{}, 1], object), allow_pickle=True),
        "objects.npy holds Python objects, which can run code when loaded; save plain numbers.",
    ),
    "objects.npz": (npz(points=np.array([{}, 1], object)), "objects.npz: points.npy holds Python objects, which"),
    "words.npy": (npy(np.array(["a"])), "words.npy holds values of type <U1; plain numbers are needed."),
    "complex.npy": (npy(POINTS + 1j), "complex.npy holds values of type complex128; plain numbers are needed."),
    "pickle.npy": (pickle.dumps(POINTS), "pickle.npy is damaged or no NumPy array."),
    "flat.npy": (npy(POINTS[0]), "flat.npy has shape (3,); one row a point is needed, (n, 2) or (n, 3)."),
    "cut.npy": (
        npy(POINTS)[:-1],
        "cut.npy is cut short: it announces an array of (40, 3) and is 1,087 bytes long.",
    ),
    "huge.npy": (
        npy(POINTS).replace(b"(40, 3), }          ", b"(9000000000000, 3),}"),
        "huge.npy is cut short: it announces an array of (9000000000000, 3)",
    ),
    "other.npz": (
        npz(a=POINTS, b=POINTS),
        "other.npz holds a, b; an array 'points' is needed, 'normals' may follow.",
    ),
    "uneven.npz": (
        npz(points=POINTS, normals=NORMALS[1:]),
        "uneven.npz: points (40, 3) and normals (39, 3) must have one shape.",
    ),
    "cut.npz": (npz(points=POINTS)[:-30], "cut.npz is damaged or no .npz archive: File is not a zip file."),
    "no.ply": (b"hello", "no.ply is no PLY file: it does not begin with 'ply'."),
    "cut.ply": (HEAD + bytes(959), "cut.ply is cut short: it announces 40 points and holds 39."),
    "huge.ply": (
        HEAD.replace(b"40", b"9" * 17),
        "huge.ply is cut short: it announces 99,999,999,999,999,999 points",
    ),
    "huge ascii.ply": (
        ply_header("ascii", 10**15, "x y z") + ROWS,
        "huge ascii.ply is cut short: it announces 1,000,000,000,000,000 points and is too small for them.",
    ),
    "short ascii.ply": (
        ply_header("ascii", 41, "x y z") + ROWS,
        "short ascii.ply is cut short: it announces 41 points and holds 40.",
    ),
    "many before.ply": (
        ply_header("ascii", 40, "x y z", before="element a 999999999999\n") + ROWS,
        "many before.ply is cut short: it announces 40 points and is too small for them.",
    ),
    "only a header.ply": (
        ply_header("ascii", 40, "x y z", before=f"comment {'long ' * 99}\n"),
        "only a header.ply is cut short: it announces 40 points and holds 0.",
    ),
    "faces for vertices.ply": (
        ply_header("ascii", 41, "x y z", after="element face 1\nproperty list uchar int v\n")
        + ROWS
        + b"\n3 0 1 2\n",
        "faces for vertices.ply: line 51 has 4 numbers, expected 3 (x y z).",
    ),
    "header.ply": (HEAD[:40], "header.ply is cut short: its PLY header does not end."),
    "strange.ply": (
        HEAD.replace(b"double x", b"quad x"),
        "strange.ply: line 5 of its PLY header is not understood: 'property quad x'.",
    ),
    "no vertices.ply": (HEAD.replace(b"40", b"0"), "no vertices.ply has no vertices."),
    "no position.ply": (HEAD.replace(b"double x", b"double u"), "no position.ply: its vertices have no x and y."),
    "broken.stl": (b"\0" * 100, "broken.stl cannot be read as .stl: it is damaged or of another kind."),
    "broken.glb": (b"glTF" + bytes(60), "broken.glb cannot be read as .glb: it is damaged or of another kind."),
    "nothing.obj": (b"# nothing\n", "nothing.obj"),
    "scan.fls": (b"FARO", "scan.fls: unknown format; these are read: text .npy .ptx .npz .ply .las"),
    "scan": (b"hello", "scan: unknown format; these are read: text .npy"),
    "scan.json": (b"[\n1, 2, 3\n]", "scan.json: unknown format; these are read: text .npy"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, name):
    content, message = BROKEN[name]
    with pytest.raises(InputError) as error:
        read_points(written(tmp_path, name, content))
    assert str(error.value).startswith(message)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_an_empty_scene_is_refused(tmp_path):
    trimesh.Scene().add_geometry(trimesh.creation.box())
    content = trimesh.exchange.gltf.export_glb(trimesh.Scene([trimesh.creation.box()]))
    path = written(tmp_path, "a.glb", content.replace(b'"mesh":0', b'"mash":0'))
    with pytest.raises(InputError, match=r"a\.glb has no vertices\."):
        read_points(path)


def test_folders_and_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="is a folder; a file is needed"):
        read_points(tmp_path)
    with pytest.raises(InputError, match=r"gone\.xyz: no such file\."):
        read_points(tmp_path / "gone.xyz")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_locked_file_is_named(tmp_path):
    path = written(tmp_path, "a.xyz", ROWS)
    path.chmod(0)
    with pytest.raises(InputError, match=r"a\.xyz cannot be read: Permission denied\."):
        read_points(path)


def test_a_pickle_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was loaded",))

    trapped = np.array([Trap(), 1], object)
    for name, content in {"a.npy": npy(trapped, allow_pickle=True), "a.npz": npz(points=trapped)}.items():
        with pytest.raises(InputError, match="Python objects"):
            read_points(written(tmp_path, name, content))


def test_an_archive_that_would_fill_the_memory_is_refused_at_once(tmp_path):
    path = tmp_path / "bomb.npz"
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (20_000_000, 3)}
    np.lib.format.write_array_header_1_0(header, shape)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("points.npy", "w") as stream,
    ):
        stream.write(header.getvalue())
        for _ in range(480):
            stream.write(bytes(1_000_000))
    with memory_below(10), pytest.raises(InputError, match="would unpack to 480,000,128 bytes, far too many"):
        read_points(path)


MESH = trimesh.creation.icosphere(1)
SOUND = {
    "a.xyz": text(TABLES[6], form="%.6f"),
    "a.csv": b"x,y,z\n" + text(POINTS, ",", "%.3f"),
    "a.pts": b"40\n" + text(POINTS, form="%.3f"),
    "a.npy": npy(TABLES[6]),
    "a.npz": npz(points=POINTS, normals=NORMALS),
    "c.npz": npz(compressed=True, points=POINTS),
    "a.ply": ply(TABLES[6]),
    "l.ply": ply(TABLES[6], "binary_little_endian"),
    "b.ply": ply(TABLES[6], "binary_big_endian"),
    "a.obj": MESH.export(file_type="obj").encode(),
    "a.off": MESH.export(file_type="off").encode(),
    "a.stl": MESH.export(file_type="stl"),
    "t.stl": MESH.export(file_type="stl_ascii").encode(),
    "a.glb": MESH.export(file_type="glb"),
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(SOUND)),
    place=st.floats(0, 1),
    near_start=st.booleans(),
    patch=st.one_of(st.binary(max_size=8), st.integers(-1, 10**12).map(lambda n: str(n).encode())),
    removed=st.integers(0, 12),
    kept=st.floats(0, 1),
)
@example(name="a.glb", place=0.5, near_start=False, patch=b"\xff\xfe", removed=1, kept=1.0)
@example(name="a.npy", place=0.2, near_start=True, patch=b"((((", removed=1, kept=1.0)
def test_a_mutated_file_is_read_or_refused(tmp_path, name, place, near_start, patch, removed, kept):
    """Whatever happens to a file: a valid cloud or an `InputError`, no other exception and no warning."""
    content = SOUND[name]
    at = int(place * min(len(content), 300 if near_start else len(content)))
    content = (content[:at] + patch + content[at + removed :])[: max(int(kept * 2 * len(content)), 1)]
    try:
        cloud = read_points(written(tmp_path, name, content))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert np.isfinite(cloud.points).all()


def test_two_reads_at_once_leave_the_log_of_trimesh_as_it_was(caplog):
    """Each is silent for its own thread alone; overlapping ones left the log cut off for ever."""
    from igr.formats.meshfile import _silent_trimesh

    log = logging.getLogger("trimesh")
    before = log.propagate, list(log.handlers), list(log.filters)
    first, second = _silent_trimesh(), _silent_trimesh()
    with contextlib.ExitStack() as stack:
        stack.callback(second.__exit__, None, None, None)
        stack.callback(first.__exit__, None, None, None)
        first.__enter__()
        second.__enter__()
        log.warning("of the reader")
        other = threading.Thread(target=log.warning, args=("of another thread",))
        other.start()
        other.join()
    assert (log.propagate, log.handlers, log.filters) == before
    log.warning("afterwards")
    assert [record.getMessage() for record in caplog.records] == ["of another thread", "afterwards"]


HEADERS = {
    "version 2": (b"\x02", POINTS, None),
    "Fortran's order": (b"\x01", np.asfortranarray(POINTS), None),
    "Python 2": (b"\x01", POINTS, (b"(40, 3), }  ", b"(40L, 3L), }")),
    "another order and quotes": (
        b"\x01",
        POINTS,
        (
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (40, 3), }",
            b'{"shape":(40,3),"descr":"<f8","fortran_order":False}        ',
        ),
    ),
    "big end first": (b"\x01", POINTS.astype(">f4"), None),
}


@pytest.mark.parametrize("name", HEADERS)
def test_arrays_of_every_writer_are_read_without_a_word(tmp_path, name):
    """NumPy warns of files of Python 2, and warnings can only be turned off for all threads at once."""
    version, table, change = HEADERS[name]
    stream = io.BytesIO()
    np.lib.format.write_array(stream, table, version=(version[0], 0))
    content = stream.getvalue() if change is None else stream.getvalue().replace(*change)
    np.testing.assert_array_equal(read_table(written(tmp_path, "a.npy", content)), table)


@pytest.mark.parametrize(
    "change",
    [
        (b"(40, 3)", b"(-4, 3)"),
        (b"(40, 3)", b"(4., 3)"),
        (b"(40, 3)", b"[40, 3]"),
        (b"(40, 3)", b"(x(), )"),
        (b"'shape'", b"'shade'"),
        (b"'<f8'", b"'<f7'"),
        (b"False", b"False"[::-1]),
        (b"NUMPY\x01", b"NUMPY\x03"),
        (b"NUMPY", b"NUMPI"),
        (b"v\x00{", b"\xff\xff{"),
    ],
)
def test_a_header_that_makes_no_sense_is_damage(tmp_path, change):
    content = npy(POINTS)
    assert change[0] in content
    with pytest.raises(InputError, match=r"a\.npy is damaged or no NumPy array"):
        read_table(written(tmp_path, "a.npy", content.replace(*change)))
