"""Which scans are for training: nothing lost, nothing twice, the same for the same seed."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import DATA

from igr.errors import InputError
from igr.scans.folders import choose, divide, list_scans, read_split, split_folder, subject_of, write_split

SPLITS = DATA / "dfaust_splits"
NAMES = [f"{s}/{m}/{m}.{f:06d}" for s in ("a", "b", "c", "d") for m in ("hips", "knees") for f in range(8)]


PART = st.text("ab1.-é", min_size=1, max_size=4).filter(lambda part: set(part) != {"."})


@settings(deadline=None, max_examples=50)
@given(st.sets(st.lists(PART, min_size=1, max_size=4).map("/".join), min_size=1))
def test_what_is_written_is_read(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("split") / "split.json"
    write_split(path, names)
    assert set(read_split(path)) == names
    assert len(read_split(path)) == len(names)


@pytest.mark.skipif(not SPLITS.is_dir(), reason="the D-FAUST users' split files are not here")
def test_the_split_files_that_users_have_are_read():
    train, test = (set(read_split(SPLITS / f"{kind}_all.json")) for kind in ("train", "test"))
    assert "50002/punching/punching.004283" in train
    assert len(train) > 3 * len(test) * 0.9
    assert not train & test
    humans, unseen = (
        {subject_of(n) for n in read_split(SPLITS / f"{kind}_humans.json")} for kind in ("train", "test")
    )
    assert not humans & unseen
    assert len(read_split(SPLITS / "interpolate.json")) == 2


@pytest.mark.parametrize("by", ["scan", "subject"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_scan_is_on_one_side(by, seed):
    train, test = divide(NAMES, by=by, seed=seed)
    assert sorted(train + test) == sorted(NAMES)
    assert len(train) == pytest.approx(0.75 * len(NAMES), abs=1)
    assert divide(reversed(NAMES), by=by, seed=seed) == (train, test)


def test_seeds_differ():
    assert len({divide(NAMES, seed=seed) for seed in range(5)}) == 5


def test_every_motion_is_divided_alike():
    _, test = divide(NAMES)
    motions = {name.rpartition("/")[0] for name in NAMES}
    assert all(1 <= sum(name.startswith(motion) for name in test) <= 3 for motion in motions)


def test_subjects_stay_together():
    train, test = divide(NAMES, by="subject")
    assert not {subject_of(name) for name in train} & {subject_of(name) for name in test}


@pytest.mark.parametrize(("names", "share"), [(["a"], 0.75), (NAMES, 0.0), (NAMES, 1.5), ([], 0.75)])
def test_an_impossible_division_is_refused(names, share):
    with pytest.raises(InputError, match=r"empty|between 0 and 1"):
        divide(names, share=share)


def test_a_folder_is_divided_into_two_files(tmp_path):
    for name in NAMES:
        path = tmp_path / "scans" / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    train, test = split_folder(tmp_path, tmp_path / "splits", seed=3)
    assert (train.name, test.name) == ("train_all.json", "test_all.json")
    assert (read_split(train), read_split(test)) == divide(NAMES, seed=3)


def test_frames_are_found_with_and_without_their_motion():
    found = {"a/hips/hips.1": Path("1"), "a/hips/2": Path("2"), "3": Path("3")}
    chosen, missing = choose(found, ["a/hips/1", "a/hips/hips.2", "3", "a/hips/4"])
    assert list(chosen) == list(found)
    assert missing == ["a/hips/4"]


def test_scans_are_listed_by_name_without_hidden_files(tmp_path):
    for name in ("scans/b/hips/hips.2.ply", "scans/a/x.obj", "scans/a/._x.ply", "scans/readme.md", "other.ply"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(list_scans(tmp_path)) == ["a/x", "b/hips/hips.2"]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a").symlink_to(tmp_path / "scans/a")
    (tmp_path / "linked/a/again").symlink_to(tmp_path / "linked")
    assert list(list_scans(tmp_path / "linked")) == ["a/x"]


@pytest.mark.parametrize(
    ("files", "message"), [((), "no scans in it"), (("x.ply", "x.obj"), "one name"), (None, "no such folder")]
)
def test_folders_that_make_no_sense_are_refused(tmp_path, files, message):
    for name in files or ():
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        list_scans(tmp_path if files is not None else tmp_path / "none")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"scans": []}', '{"scans": {"a": []}}', '{"scans": {"a": {"b": [1]}}}',
     json.dumps({"scans": {"..": {"b": ["c"]}}}), json.dumps({"scans": {"a": {"/etc": ["c"]}}})],
)  # fmt: skip
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match=r"s\.json"):
        read_split(tmp_path / "s.json")
