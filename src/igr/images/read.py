"""Folders of photographs: those of IDR and NeuS (cameras.npz), of NeRF (transforms.json), and of COLMAP."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..errors import InputError, readable
from ..store.atomic import check_file
from .colmap import find_model, model_cameras
from .views import MASKS, View, check_views, decomposed, resized, undistorted

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Pictures, by their names."""
IMAGES = ("image", "images", "rgb")
"""Names that a folder of photographs has."""
MASKED = ("mask", "masks")
"""Names that a folder of masks has."""
OPENGL = np.diag([1.0, -1.0, -1.0])
"""From the axes of NeRF's cameras, y up and z towards the viewer, to those of a photograph."""
MOST_PIXELS = 1 << 28
"""Of one picture: larger ones are taken for damage."""


def read_views(
    folder: str | os.PathLike[str], *, cameras: str = "cameras.npz", longest: int | None = None
) -> list[View]:
    """The photographs of a folder, with masks and cameras.

    Args:
        folder: holds `cameras.npz` (`world_mat_i`, as IDR and NeuS have them; pictures in `image`, masks in
            `mask`, in the order of their names), or `transforms.json` (NeRF, nerfstudio, instant-ngp; alpha, or a
            folder `mask`, says what is the object), or the model that COLMAP wrote, in it or in `sparse/0`.
        cameras: name of the first.
        longest: pictures are reduced to so many pixels along their longer side.

    Returns:
        The views; cameras in their own frame and units.

    Raises:
        InputError: no such folder, or what is in it cannot be used; the message says what to do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds photographs, masks and cameras")

    def ready(view: View) -> View:
        return view if longest is None else view.reduced(longest)

    if (folder / cameras).is_file():
        return check_views(_idr(folder, folder / cameras, ready))
    if (folder / "transforms.json").is_file():
        return check_views(_nerf(folder, folder / "transforms.json", ready))
    if (model := find_model(folder)) is not None:
        return check_views(_colmap(folder, model, ready))
    raise InputError(
        f"{folder} holds no cameras: neither {cameras} (IDR, NeuS), nor transforms.json (NeRF), nor a model of "
        "COLMAP (cameras.bin, images.bin, there or in sparse/0). COLMAP finds cameras from photographs: "
        "`colmap automatic_reconstructor --image_path FOLDER/images --workspace_path FOLDER`"
    )


def _idr(folder: Path, file: Path, ready: Callable[[View], View]) -> list[View]:
    """Pictures in the order of their names, the i-th seen by `world_mat_i`."""
    try:
        check_file(file)
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as read:
            arrays = {name: read[name] for name in read.files if name.startswith("world_mat_")}
            arrays = {name: array for name, array in arrays.items() if "inv" not in name}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as problem:
        raise InputError(f"{file} cannot be read: {readable(str(problem))}") from None
    pictures = _pictures(folder, IMAGES)
    if len(pictures) != len(arrays):
        raise InputError(
            f"{file} has {len(arrays)} matrices world_mat_i, and {pictures[0].parent} has {len(pictures)} "
            "pictures; there must be one for each"
        )
    masks = _pictures(folder, MASKED, of=len(pictures))
    views = []
    for index, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
        matrix = arrays.get(f"world_mat_{index}")
        if matrix is None or matrix.shape not in ((4, 4), (3, 4)) or matrix.dtype.kind not in "fiu":
            what = "missing" if matrix is None else f"{matrix.dtype} {matrix.shape}"
            raise InputError(f"{file}: world_mat_{index} is {what}; expected numbers (4, 4) or (3, 4)")
        try:
            camera = decomposed(matrix[:3].astype(np.float64))
        except (ValueError, np.linalg.LinAlgError):
            raise InputError(f"{file}: world_mat_{index} is no projection: its left part is singular") from None
        image, _ = _picture(picture)
        views.append(ready(View(picture.name, image, _mask(mask, image.shape), *camera)))
    return views


def _nerf(folder: Path, file: Path, ready: Callable[[View], View]) -> list[View]:
    """The frames of transforms.json: camera to world, y up and z towards the viewer."""
    try:
        told = json.loads(file.read_text("utf-8"))
        frames = told["frames"]
        paths = [folder / frame["file_path"] for frame in frames]
        matrices = [np.array(frame["transform_matrix"], np.float64) for frame in frames]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as problem:
        raise InputError(
            f"{file} is no list of cameras: {readable(repr(problem))}; expected `frames`, each with `file_path` "
            "and `transform_matrix`"
        ) from None
    views = []
    for frame, path, matrix in zip(frames, paths, matrices, strict=True):
        picture = next((p for p in (path, *map(path.with_suffix, SUFFIXES)) if p.is_file()), None)
        if picture is None:
            raise InputError(f"{file}: there is no picture {path}")
        if matrix.shape not in ((4, 4), (3, 4)):
            raise InputError(f"{file}: the transform_matrix of {path.name} is {matrix.shape}, expected (4, 4)")
        image, alpha = _picture(picture)
        mask = _mask_of(folder, picture, frame.get("mask_path"))
        if mask is None and alpha is None:
            raise InputError(
                f"{picture} has no transparency and no mask {folder / 'mask' / picture.name}. {MASKS}"
            )
        shown = _mask(mask, image.shape) if mask is not None else alpha
        assert shown is not None
        intrinsics, lens = _nerf_lens(told | frame, image.shape, file)
        view = View(picture.name, image, shown, intrinsics, OPENGL @ matrix[:3, :3].T, matrix[:3, 3])
        views.append(ready(undistorted(view, lens) if any(lens) else view))
    return views


def _nerf_lens(told: dict[str, Any], shape: tuple[int, ...], file: Path) -> tuple[np.ndarray, Any]:
    """Intrinsics and distortion of a frame, from what the file tells of all and of this one."""
    height, width = shape[:2]

    def number(name: str, default: float | None = None) -> float | None:
        value = told.get(name, default)
        if value is not None and not (isinstance(value, (int, float)) and np.isfinite(value)):
            raise InputError(f"{file}: {name} is {readable(repr(value))}, expected a number")
        return value

    if told.get("camera_model", "OPENCV") not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "OPENCV_FISHEYE"):
        raise InputError(
            f"{file}: cameras of the model {told['camera_model']} are not known; undistort the pictures"
        )
    if told.get("is_fisheye") or told.get("camera_model") == "OPENCV_FISHEYE":
        raise InputError(f"{file}: its cameras are fisheyes; undistort the pictures first")
    written = number("w", width) or width
    scale = width / written
    angle = number("camera_angle_x")
    focal = number("fl_x") or (None if not angle else 0.5 * written / np.tan(0.5 * angle))
    if focal is None:
        raise InputError(f"{file} tells no focal length: neither camera_angle_x nor fl_x")
    across = number("cx", written / 2) or 0.0
    down = number("cy", (number("h") or height / scale) / 2) or 0.0
    other = number("fl_y") or focal
    intrinsics = np.array(
        [[focal * scale, 0, across * scale - 0.5], [0, other * scale, down * scale - 0.5], [0, 0, 1.0]]
    )
    return intrinsics, tuple(number(name, 0.0) or 0.0 for name in ("k1", "k2", "p1", "p2"))


def _colmap(folder: Path, model: Path, ready: Callable[[View], View]) -> list[View]:
    """The images of a model of COLMAP that have masks, by their names."""
    home = next((folder / name for name in IMAGES if (folder / name).is_dir()), folder)
    views = []
    for camera in model_cameras(model):
        picture = home / camera.name
        if not picture.is_file():
            raise InputError(f"{model} names the image {camera.name}, and there is no {picture}")
        image, alpha = _picture(picture)
        mask = _mask_of(folder, picture, None)
        if mask is None and alpha is None:
            raise InputError(f"{picture} has no mask {folder / 'mask' / picture.name}. {MASKS}")
        shown = _mask(mask, image.shape) if mask is not None else alpha
        assert shown is not None
        across, down = image.shape[1] / camera.width, image.shape[0] / camera.height
        intrinsics = resized(camera.intrinsics, across, down)
        view = View(camera.name, image, shown, intrinsics, camera.rotation, camera.center)
        views.append(ready(undistorted(view, camera.lens) if any(camera.lens) else view))
    return views


def _pictures(folder: Path, names: tuple[str, ...], of: int | None = None) -> list[Path]:
    """The pictures in the first of some folders that is there, in the order of their names."""
    home = next((folder / name for name in names if (folder / name).is_dir()), None)
    if home is None:
        advice = f" {MASKS}" if names == MASKED else ""
        raise InputError(f"{folder} has no folder {' or '.join(names)}.{advice}")
    found = sorted(path for path in home.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found or (of is not None and len(found) != of):
        count = "none" if not found else f"{len(found)}"
        needed = (
            "; one is needed for each photograph" if of is None else f", expected {of}: one for each photograph"
        )
        raise InputError(f"{home} holds {count} of the pictures that are needed{needed}")
    return found


def _mask_of(folder: Path, picture: Path, named: Any) -> Path | None:
    """The mask of a picture: as named, or of its name or stem in a folder of masks."""
    if isinstance(named, str):
        return folder / named
    homes = [folder / name for name in MASKED if (folder / name).is_dir()]
    names = (picture.name, f"{picture.name}.png", *(picture.with_suffix(suffix).name for suffix in SUFFIXES))
    return next((home / name for home in homes for name in names if (home / name).is_file()), None)


def _picture(path: Path) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"] | None]:
    """A photograph and, where it is transparent anywhere, what of it is not; turned as it lies in the file, since
    that is what cameras are told for."""
    from PIL import Image, UnidentifiedImageError

    check_file(path)
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise InputError(f"{path} has {picture.width} x {picture.height} pixels; reduce it first")
            clear = "A" in picture.getbands() or "transparency" in picture.info
            pixels = np.array(picture.convert("RGBA" if clear else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise InputError(f"{path} is no picture that can be read: {readable(str(problem))}") from None
    return np.ascontiguousarray(pixels[..., :3]), pixels[..., 3] >= 128 if clear else None


def _mask(path: Path, shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    """A mask: where its picture is lighter than half."""
    pixels, alpha = _picture(path)
    if pixels.shape[:2] != shape[:2]:
        is_, was = (f"{s[1]} x {s[0]}" for s in (pixels.shape, shape))
        raise InputError(f"{path} has {is_} pixels, and its photograph {was}; they must be of one size")
    light: Float[np.ndarray, "h w"] = pixels.max(2)
    if alpha is not None and light[alpha].size and light[alpha].min() == light[alpha].max():
        return alpha
    return light >= 128
