"""Folders of photographs in the layouts of IDR, NeRF and COLMAP: one camera, whatever it is written as."""

import json
import struct

import numpy as np
import pytest
from photographed import ball
from PIL import Image

from igr.errors import InputError
from igr.examples import write_photographs
from igr.images.read import read_views

WIDTH = 96


@pytest.fixture(scope="module")
def views():
    return ball(6, pixels=WIDTH, color=lambda x: 0.5 + 0.5 * np.sin(x))


def alike(found, expected):
    """The same cameras, whatever they were read from: places are seen at the same pixels."""
    x = np.random.default_rng(0).normal([5, 0, -2], 1, (50, 3))
    assert [view.name for view in found] == [view.name for view in expected]
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.seen_at(x)[0] - other.seen_at(x)[0]).max() < 1e-6
        assert np.allclose(one.center, other.center)
        assert (one.mask == other.mask).all()
        assert (one.image == other.image).all()


def test_the_layout_of_idr(tmp_path, views):
    write_photographs(tmp_path, views)
    alike(read_views(tmp_path), views)


def test_the_layout_of_nerf(tmp_path, views):
    frames = []
    for view in views:
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = view.rotation.T @ np.diag([1, -1, -1]), view.center
        frames.append({"file_path": f"./rgba/{view.name[:-4]}", "transform_matrix": pose.tolist()})
        (tmp_path / "rgba").mkdir(exist_ok=True)
        alpha = np.uint8(255) * view.mask[..., None]
        Image.fromarray(np.concatenate([view.image, alpha], 2)).save(tmp_path / "rgba" / view.name)
    angle = 2 * np.arctan(0.5 / 1.4)
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    alike(read_views(tmp_path), views)


def quaternion(rotation):
    w = np.sqrt(max(1 + np.trace(rotation), 0)) / 2
    x, y, z = (rotation[i, j] - rotation[j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    return np.array([w, x / (4 * w), y / (4 * w), z / (4 * w)])


@pytest.mark.parametrize("binary", [True, False])
def test_the_layout_of_colmap(tmp_path, views, binary):
    for folder in ("images", "masks", "sparse/0"):
        (tmp_path / folder).mkdir(parents=True)
    numbers = [1.4 * WIDTH, 1.4 * WIDTH, WIDTH / 2, WIDTH / 2]
    model = tmp_path / "sparse" / "0"
    lines, data = ["# images", ""][:1], struct.pack("<Q", len(views))
    for index, view in enumerate(reversed(views)):  # in another order than that of their names
        Image.fromarray(view.image).save(tmp_path / "images" / view.name)
        Image.fromarray(np.uint8(255) * view.mask).save(tmp_path / "masks" / f"{view.name}.png")
        pose = [*quaternion(view.rotation), *(-view.rotation @ view.center)]
        lines += [" ".join(map(repr, map(float, pose))).join([f"{index + 1} ", f" 1 {view.name}"]), "1.0 2.0 -1"]
        data += struct.pack("<I7dI", index + 1, *pose, 1) + view.name.encode() + b"\0"
        data += struct.pack("<Qddq", 1, 1.0, 2.0, -1)
    if binary:
        (model / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 1, 1, WIDTH, WIDTH, *numbers))
        (model / "images.bin").write_bytes(data)
    else:
        (model / "cameras.txt").write_text(f"# cameras\n1 PINHOLE {WIDTH} {WIDTH} {' '.join(map(str, numbers))}\n")
        (model / "images.txt").write_text("\n".join(lines) + "\n")
    alike(read_views(tmp_path), views)


def test_reduced_photographs_see_places_where_they_are(views):
    """A place at the middle of a block of pixels is at the pixel that stands for the block."""
    view = views[0]
    small = view.reduced(WIDTH // 4)
    x = view.center + 8 * view.directions(np.array([[1.5, 1.5], [41.5, 21.5]]))
    assert np.allclose(small.seen_at(x)[0], [[0, 0], [10, 5]])


def test_what_is_missing_is_said(tmp_path, views):
    with pytest.raises(InputError, match="holds no cameras"):
        read_views(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        read_views(tmp_path / "nothing")
    write_photographs(tmp_path, views)
    (tmp_path / "mask" / "003.png").unlink()
    with pytest.raises(InputError, match="holds 5 of the pictures that are needed, expected 6"):
        read_views(tmp_path)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "mask" / "003.png")
    with pytest.raises(InputError, match="has 9 x 9 pixels, and its photograph 96 x 96"):
        read_views(tmp_path)
    Image.fromarray(np.zeros((WIDTH, WIDTH), np.uint8)).save(tmp_path / "mask" / "003.png")
    with pytest.raises(InputError, match=r"mask is empty.*rembg"):
        read_views(tmp_path)
    (tmp_path / "mask" / "003.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture that can be read"):
        read_views(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"frames": 3}', '{"frames": [{"file_path": "a"}]}', "{" * 5000])
def test_no_list_of_cameras_is_said(tmp_path, text):
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(InputError, match=r"transforms\.json"):
        read_views(tmp_path)


@pytest.mark.parametrize("kind", ["pickle", "cut", "strings"])
def test_damaged_cameras_are_refused(tmp_path, views, kind):
    write_photographs(tmp_path, views)
    file = tmp_path / "cameras.npz"
    if kind == "pickle":
        np.savez(file, world_mat_0=np.array([{"a": 1}], object), allow_pickle=True)
    elif kind == "strings":
        np.savez(file, **{f"world_mat_{k}": np.full((4, 4), "x") for k in range(6)})
    else:
        file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(InputError, match=r"cameras\.npz"):
        read_views(tmp_path)
