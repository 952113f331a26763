"""The dataset check finds what is wrong, reads the files that training reads, and leaves the folder untouched."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from breedclf.data.image_folder import scan
from breedclf.data_check import DatasetCheck, check
from breedclf.data_check.cache import CACHE_NAME, MAX_FOLDERS
from breedclf.data_check.inspection import is_animated
from breedclf.data_check.listing import list_images
from breedclf.data_check.result import Kind
from breedclf.data_check.text import MEANINGS, as_text
from breedclf.errors import DataError
from tests.hostile_images import bomb, encoded, photo, write


def problems(found: DatasetCheck) -> dict[str, list[str]]:
    """Paths by kind."""
    by_kind: dict[str, list[str]] = {}
    for problem in found.problems:
        by_kind.setdefault(problem.kind, []).append(problem.path)
    return by_kind


def detail(found: DatasetCheck, path: str) -> str:
    return next(problem.detail for problem in found.problems if problem.path == path)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Two classes in three splits, without problems."""
    root = tmp_path / "images"
    for split, count in (("train", 5), ("valid", 2), ("test", 2)):
        for label in ("001.Lying", "002.Standing"):
            for number in range(count):
                write(root / split / label / f"{number}.jpg")
    return root


def test_a_clean_folder_is_described(clean: Path) -> None:
    write(clean / "train/001.Lying/turned.png", size=(80, 48), mode="L", form="PNG", orientation=6)
    found = check(clean)
    assert found.problems == []
    assert found.clean
    assert found.splits == {"train": 11, "valid": 4, "test": 4}
    assert found.classes == {
        "001.Lying": {"train": 6, "valid": 2, "test": 2},
        "002.Standing": {"train": 5, "valid": 2, "test": 2},
    }
    assert (found.images, found.readable, found.cached) == (19, 19, 0)
    assert found.formats == {"JPEG": 18, "PNG": 1}
    assert found.modes == {"RGB": 18, "L": 1}
    assert found.orientations == {"1": 18, "6": 1}
    assert found.width_px is not None
    assert (found.width_px.smallest, found.width_px.median, found.width_px.largest) == (64, 64, 80)
    assert "19 images of 2 classes" in as_text(found)


def test_photos_are_clean(shared_data: Path) -> None:
    found = check(shared_data / "dog-breeds-tiny")
    assert found.problems == []
    assert found.splits == {"train": 13, "valid": 8, "test": 8}


@pytest.mark.parametrize(
    ("name", "content", "kind", "says"),
    [
        ("head.jpg", photo((400, 300))[:150], "truncated", "it can't be decoded as JPEG"),
        ("half.jpg", photo((400, 300))[:-900], "truncated", "it can't be decoded as JPEG"),
        ("half.png", photo((400, 300), form="PNG")[:-200], "truncated", "it can't be decoded as PNG"),
        ("half.webp", photo((400, 300), form="WEBP")[:-20], "truncated", "it can't be decoded as WebP"),
        ("half.gif", photo((400, 300), form="GIF")[:-300], "truncated", "it can't be decoded as GIF"),
        ("half.bmp", photo(form="BMP")[:-300], "truncated", "it can't be decoded as BMP"),
        ("half.tif", photo(form="TIFF")[:-300], "truncated", "it can't be decoded as TIFF"),
        ("text.jpg", b"this is not an image\n", "unreadable", "it starts with b'this is not '"),
        ("empty.jpg", b"", "unreadable", "it is empty (0 bytes)"),
        ("float.tif", encoded(Image.new("F", (64, 64), 0.5), "TIFF"), "unreadable", "32-bit floating-point pixels"),
        ("bomb.png", bomb(), "too_large", "30,000 x 30,000 is more than 89,478,485 pixels"),
        ("tiny.png", photo((31, 200), form="PNG"), "tiny", "31 x 200 pixels"),
        ("really_png.jpg", photo(form="PNG"), "mislabelled_type", "its name says JPEG, but its content is PNG"),
        ("really_jpeg.tif", photo(), "mislabelled_type", "its name says TIFF, but its content is JPEG"),
        ("camera.heic", b"\0\0\0\x18ftypheic", "overlooked", ".heic files are not read"),
        ("download", photo(), "overlooked", "its content is JPEG, but its suffix says otherwise"),
    ],
)
def test_a_bad_file_is_named_with_its_kind(clean: Path, name: str, content: bytes, kind: str, says: str) -> None:
    (clean / "train/001.Lying" / name).write_bytes(content)
    found = check(clean)
    path = f"train/001.Lying/{name}"
    assert problems(found) == {kind: [path]}
    assert says in detail(found, path)
    assert path in as_text(found)
    assert MEANINGS[found.problems[0].kind].advice in as_text(found)


def test_frames_of_a_gif_are_counted_with_and_without_an_extension_block() -> None:
    for seed in range(20):
        values = np.random.default_rng(seed).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
        first, *others = (Image.fromarray(each).resize((64, 64)) for each in values)
        for count, more in ((1, []), (3, others)):
            file = BytesIO()
            first.save(file, "GIF", save_all=True, append_images=more)
            assert is_animated(file.getvalue(), "GIF") is (count > 1), seed


def test_unusual_but_valid_images_are_no_problem(clean: Path) -> None:
    folder = clean / "train/002.Standing"
    frames = [Image.open(BytesIO(photo(form="PNG"))) for _ in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    whole = photo()
    (folder / "wrong exif.jpg").write_bytes(whole[:2] + b"\xff\xe1\x00\x10Exif\0\0MM\0*\0\0\xff\xff" + whole[2:])
    for name in ("žluťoučký pes.jpg", "a b  c.jpg", "two\nlines.jpg", "犬.jpg", "-rf.jpg", "'quoted\".jpg"):
        write(folder / name)
    (folder / "notes.txt").write_text("nothing to see")
    (folder / ".hidden.jpg").write_text("hidden")
    found = check(clean)
    assert found.problems == []
    assert found.animated == 3
    assert found.readable == 18 + 3 + 1 + 6


def test_a_name_that_is_not_text_is_reported(clean: Path) -> None:
    try:
        (clean / "train/001.Lying" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
        (clean / "train/001.Lying/two\nlines.jpg").write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such names")
    found = check(clean)
    assert problems(found) == {"unreadable": [f"train/001.Lying/{n}" for n in ("caf\udce9.jpg", "two\nlines.jpg")]}
    text = as_text(found)
    assert r"train/001.Lying/caf\udce9.jpg: it can't" in text
    assert r"train/001.Lying/two\nlines.jpg: it can't" in text
    assert text.encode("utf-8")


def test_the_same_image_twice(clean: Path) -> None:
    original = clean / "train/001.Lying/0.jpg"
    for copy in ("train/001.Lying/copy.jpg", "train/002.Standing/copy.jpg", "test/001.Lying/copy.jpg"):
        (clean / copy).write_bytes(original.read_bytes())
    same_size = bytearray(original.read_bytes())
    same_size[-40] ^= 1
    (clean / "valid/001.Lying/same size.jpg").write_bytes(same_size)
    found = check(clean)
    assert problems(found) == {
        "duplicate_across_splits": ["test/001.Lying/copy.jpg"],
        "duplicate_across_classes": ["train/002.Standing/copy.jpg"],
        "duplicate": ["train/001.Lying/copy.jpg"],
    }
    assert detail(found, "test/001.Lying/copy.jpg") == "the same bytes as train/001.Lying/0.jpg"


def test_classes_that_are_empty_or_missing(clean: Path) -> None:
    (clean / "train/000.Empty").mkdir()
    write(clean / "train/003.Only_trained/0.jpg")
    write(clean / "valid/004.Only_valid/0.jpg")
    (clean / "test/002.Standing/0.jpg").unlink()
    (clean / "test/002.Standing/1.jpg").unlink()
    (clean / "valid/002.Standing/0.jpg").write_bytes(b"")
    (clean / "valid/002.Standing/1.jpg").write_bytes(b"x")
    found = check(clean)
    assert problems(found) == {
        "class_missing_in_train": ["valid/004.Only_valid"],
        "unreadable": ["valid/002.Standing/0.jpg", "valid/002.Standing/1.jpg"],
        "empty_class": ["test/002.Standing", "train/000.Empty", "valid/002.Standing"],
        "class_missing_in_split": ["train/003.Only_trained"],
    }
    assert detail(found, "train/003.Only_trained") == "it has no folder in valid and test, so it isn't evaluated there"
    assert detail(found, "valid/002.Standing") == "none of its 2 images can be read"
    with pytest.raises(DataError, match=r"the valid split .* '004.Only_valid'"):
        scan(clean)


def test_imbalance_comes_with_its_numbers(clean: Path) -> None:
    for number in range(5, 50):
        write(clean / f"train/002.Standing/{number}.jpg", size=(32, 32))
    found = check(clean)
    assert problems(found) == {"imbalance": ["train/001.Lying"]}
    assert detail(found, "train/001.Lying").startswith(
        "5 images, while '002.Standing' has 50, 10 times as many; 1 of 2"
    )


def test_names_that_differ_only_in_case_or_accents(clean: Path) -> None:
    write(clean / "train/001.Lying/DOG.jpg")
    write(clean / "train/001.Lying/dog.jpg")
    write(clean / "train/001.Lying/caf\u00e9.jpg")
    write(clean / "train/001.Lying/cafe\u0301.jpg")
    if len(list((clean / "train/001.Lying").iterdir())) < 9:
        pytest.skip("this file system treats such names as the same")
    for number in (0, 1):
        (clean / f"valid/001.LYING/{number}.jpg").parent.mkdir(exist_ok=True)
        (clean / f"valid/001.Lying/{number}.jpg").rename(clean / f"valid/001.LYING/{number}.jpg")
    (clean / "valid/001.Lying").rmdir()
    found = problems(check(clean))
    files = ["train/001.Lying/caf\u00e9.jpg", "train/001.Lying/dog.jpg"]
    assert found["case_conflict"] == [*files, "valid/001.LYING"]
    assert found["class_missing_in_train"] == ["valid/001.LYING"]


def test_links_pipes_and_sockets(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clean / "train/001.Lying"
    monkeypatch.chdir(folder)
    (folder / "round").symlink_to(folder)
    (clean / "train/up").symlink_to("..")
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")  # by its short name: long ones are refused
    write(tmp_path / "elsewhere/deep/linked.jpg")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    found = check(clean)
    assert problems(found) == {
        "not_a_file": ["train/001.Lying/pipe.jpg", "train/001.Lying/socket.jpg"],
        "broken_link": ["train/001.Lying/gone.jpg"],
        "link_loop": ["train/001.Lying/round", "train/001.Lying/self.jpg", "train/up"],
    }
    assert found.images == 19
    assert detail(found, "train/001.Lying/pipe.jpg") == "it is a pipe (FIFO); it is not read"


def test_files_and_folders_that_may_not_be_read(clean: Path) -> None:
    secret = clean / "train/001.Lying/0.jpg"
    check(clean)
    secret.chmod(0)
    (clean / "train/001.Lying/closed").mkdir(mode=0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user may read every file")
    for _ in range(2):
        found = check(clean)
        assert problems(found) == {"unreadable": ["train/001.Lying/0.jpg", "train/001.Lying/closed"]}
        assert "Permission denied" in detail(found, "train/001.Lying/0.jpg")
    secret.chmod(0o644)
    (clean / "train/001.Lying/closed").chmod(0o755)
    assert check(clean).clean, "a file is read again once permission is granted"


def test_images_in_places_that_are_not_read(clean: Path) -> None:
    write(clean / "train/stray.jpg")
    write(clean / "val/001.Lying/0.jpg")
    found = check(clean)
    assert problems(found) == {"stray_picture": ["train"], "ignored_folder": ["val"]}
    assert detail(found, "val") == "valid/ is the valid split; val/ is not read"


@pytest.mark.parametrize(
    ("files", "kind", "path", "says"),
    [
        ([], "no_pictures", ".", "no readable images in class folders"),
        (["notes.txt"], "no_pictures", ".", "no readable images"),
        (["train/a/0.txt"], "no_pictures", "train", "no readable images"),
        (["a/0.jpg", "a/1.jpg"], "one_class", ".", "only 'a' has readable images"),
        (["train/a/0.jpg", "train/b/0.txt"], "one_class", "train", "only 'a' has readable images"),
        (["pets/train/a/0.jpg", "pets/train/b/0.jpg"], "one_class", ".", "pets/ holds a train/ folder: give pets/"),
        (["a/0.jpg", "b/0.jpg"], "no_validation", ".", "every class has a single image"),
        (["train/a/0.jpg", "train/b/0.jpg"], "no_validation", "train", "every class has a single image"),
        (["train/a/0.jpg", "train/b/0.jpg", "valid/a/0.txt"], "no_validation", "valid", "no readable images"),
    ],
)
def test_folders_that_training_can_not_use(tmp_path: Path, files: list[str], kind: Kind, path: str, says: str) -> None:
    for name in files:
        if name.endswith(".jpg"):
            write(tmp_path / name)
        else:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("text")
    found = check(tmp_path)
    worst = next(problem for problem in found.problems if problem.kind == kind)
    assert worst.path == path
    assert says in worst.detail
    with pytest.raises(DataError):
        scan(tmp_path).split("valid")


def test_one_image_a_class_with_a_validation_split_is_a_note(tmp_path: Path) -> None:
    for path in ("train/a/0.jpg", "train/b/0.jpg", "valid/a/0.jpg", "valid/b/0.jpg"):
        write(tmp_path / path)
    found = check(tmp_path)
    assert found.problems == []
    assert found.notes == ["fewer than 5 training images in 2 classes: 'a', 'b'"]
    assert len(scan(tmp_path).split("valid")) == 2


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give the folder that holds train/"):
        check(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        check(tmp_path / "file")


def test_it_finds_the_images_that_a_training_finds(clean: Path, tmp_path: Path) -> None:
    messy = clean / "train/001.Lying"
    for name in ("deep/er/0.JPG", ".hidden/0.jpg", "x.jpg/0.webp", "0.jpeg", "1.TIFF", "no.heic", "..two.jpg", ".jpg"):
        write(messy / name)
    os.mkfifo(messy / "pipe.png")
    (messy / "round").symlink_to("..")
    (clean / "train/up").symlink_to(clean)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/back").symlink_to(clean / "train")
    write(tmp_path / "elsewhere/0.jpg")
    (messy / "linked").symlink_to(tmp_path / "elsewhere")
    (messy / "linked.jpg").symlink_to(tmp_path / "elsewhere/0.jpg")
    flat = clean / "train"
    for root in (clean, flat):
        expected = {str(path.relative_to(root)) for split in scan(root).splits.values() for path in split.images.paths}
        assert {image.path for image in list_images(root).images} == expected
    assert set(list_images(clean).labels["train"]) == set(scan(clean).labels)


def _snapshot(root: Path) -> dict[str, Any]:
    paths = [root, *root.rglob("*")]
    return {str(path): (path.lstat()[:7], path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in paths}


def test_nothing_is_written_into_the_folder(clean: Path) -> None:
    (clean / "train/001.Lying/head.jpg").write_bytes(photo()[:150])
    (clean / "train/001.Lying/really_png.jpg").write_bytes(photo(form="PNG"))
    before = _snapshot(clean)
    for fresh in (False, False, True):
        assert not check(clean, fresh=fresh).clean
    assert _snapshot(clean) == before


def test_a_folder_that_may_not_be_written_is_checked(clean: Path) -> None:
    folders = [clean, *(path for path in clean.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert check(clean).clean
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_unchanged_files_are_not_read_again(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean / "valid/001.Lying/broken.jpg").write_bytes(b"x")
    first = check(clean)
    again = check(clean)
    assert (first.cached, again.cached) == (0, 19)
    assert again.model_dump(exclude={"seconds", "cached"}) == first.model_dump(exclude={"seconds", "cached"})
    (clean / "valid/001.Lying/broken.jpg").write_bytes(b"y")
    write(clean / "train/001.Lying/new.jpg")
    (clean / "train/001.Lying/0.jpg").touch()
    assert check(clean).cached == 17
    assert check(clean, fresh=True).cached == 0
    monkeypatch.chdir(clean.parent)
    assert check("images").cached == 20, "another spelling of the same folder"


def test_a_copy_of_a_cached_image_is_found(clean: Path) -> None:
    assert check(clean).clean
    (clean / "test/001.Lying/copy.jpg").write_bytes((clean / "train/001.Lying/3.jpg").read_bytes())
    assert problems(check(clean)) == {"duplicate_across_splits": ["test/001.Lying/copy.jpg"]}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 0, "root": "", "files": []}', "\xff"])
def test_a_damaged_cache_is_ignored(clean: Path, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    assert check(clean, cache_dir=cache).cached == 0
    (cache_file,) = (cache / CACHE_NAME).iterdir()
    cache_file.write_text(damage, encoding="latin-1")
    assert check(clean, cache_dir=cache).cached == 0
    assert check(clean, cache_dir=cache).cached == 18


def test_the_cache_keeps_the_latest_folders_only(clean: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / CACHE_NAME
    cache.mkdir(parents=True)
    for number in range(MAX_FOLDERS + 5):
        (cache / f"{number}.json").touch()
        os.utime(cache / f"{number}.json", (number, number))
    check(clean, cache_dir=tmp_path / "cache")
    assert len(list(cache.iterdir())) == MAX_FOLDERS
    assert check(clean, cache_dir=tmp_path / "cache").cached == 18


def test_without_a_writable_cache_it_still_works(clean: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert check(clean, cache_dir=tmp_path / "file").clean
    assert "the results of the dataset check can't be cached at" in caplog.text


def test_an_interrupted_check_continues_where_it_stopped(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from breedclf.data_check import check as check_function

    module = sys.modules[check_function.__module__]
    whole = module._inspect_all

    def interrupted(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for number, found in enumerate(whole(*args, **kwargs)):
            if number == 5:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(module, "_inspect_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            check(clean)
    assert check(clean).cached == 5


def test_ten_thousand_classes_are_quick(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    header = encoded(Image.new("L", (32, 32)), "BMP")[:-1024]
    for number in range(10_000):
        folder = tmp_path / f"{number:05}"
        folder.mkdir()
        if number % 50 == 0:
            (folder / "0.bmp").write_bytes(header + draw.bytes(1024))
            (folder / "1.bmp").write_bytes(header + draw.bytes(1024))
    started = time.process_time()
    found = check(tmp_path)
    assert (len(found.classes), found.readable) == (10_000, 400)
    assert set(problems(found)) == {"empty_class"}
    assert len(found.problems) == 9_800
    assert "empty_class): 9,800" in as_text(found)
    assert len(as_text(found).splitlines()) < 30
    assert time.process_time() - started < 10


def test_every_kind_has_a_title_and_advice() -> None:
    assert tuple(MEANINGS) == get_args(Kind)


def test_it_loads_no_torch() -> None:
    code = (
        "import sys, breedclf.cli.data, breedclf.data_check, breedclf.data_check.text\n"
        "print([name for name in ('torch', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_no_file_stays_open(clean: Path) -> None:
    """Images in bytes are closed at once, so that a large folder needs few file handles."""
    code = (
        "import resource, sys; from breedclf.data_check import check\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "print(check(sys.argv[1], fresh=True).readable)"
    )
    done = subprocess.run([sys.executable, "-c", code, clean], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("18\n", "")


def test_the_drawn_photos_differ() -> None:
    assert len({photo() for _ in range(20)}) == 20
    assert Image.open(BytesIO(photo((40, 30), form="PNG"))).size == (40, 30)
