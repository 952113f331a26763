"""Published sets come whole and arranged, or not at all: interruptions, foreign answers, hostile archives."""

from __future__ import annotations

import hashlib
import io
import json
import random
import socket
import stat
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from breedclf.cli import main
from breedclf.data.image_folder import scan
from breedclf.data_check import check
from breedclf.downloads import PUBLISHED, Archive, Published, get
from breedclf.downloads.arrange import Arranged, arrange_lists, arrange_splits
from breedclf.downloads.fetch import MAX_TRIES, Web, fetch, is_archive
from breedclf.downloads.get import WORK_FOLDER
from breedclf.downloads.unpack import unpack
from breedclf.errors import ConfigError, DataError, DownloadError
from tests.archive_server import ArchiveServer, serving
from tests.hostile_images import photo

CONTENT = b"PK\x03\x04" + random.Random(0).randbytes(900_000)
LISTS = {
    "annotations/trainval.txt": "# Image CLASS-ID SPECIES BREED-ID\nAbyssinian_1 1 1 1\nAbyssinian_2 1 1 1\n"
    "great_pyrenees_10 2 2 1\ngreat_pyrenees_11 2 2 1\nAbyssinian_404 1 1 1\n",
    "annotations/test.txt": "Abyssinian_3 1 1 1\ngreat_pyrenees_12 2 2 1\n",
}
PETS = ("Abyssinian_1", "Abyssinian_2", "Abyssinian_3", "great_pyrenees_10", "great_pyrenees_11", "great_pyrenees_12")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        running.files["/a.zip"] = CONTENT
        yield running


@pytest.fixture
def web() -> tuple[Web, list[float]]:
    """The real network code, which notes its pauses instead of taking them."""
    pauses: list[float] = []
    return Web(pause=pauses.append), pauses


def archive(server: ArchiveServer, content: bytes = CONTENT, *, summed: bool = True, name: str = "a.zip") -> Archive:
    digest = hashlib.sha256(content).hexdigest() if summed else None
    return Archive(name, (f"{server.url}/{name}",), len(content), digest)


def tar_of(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as opened:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return made.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return made.getvalue()


def no_archive(files: dict[str, bytes]) -> bytes:
    return b"no archive of " + " ".join(files).encode()


def test_a_file_is_fetched_whole(server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]) -> None:
    target = fetch(archive(server), tmp_path, web[0])
    assert target == tmp_path / "a.zip"
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]
    assert fetch(archive(server), tmp_path, web[0]) == target
    assert server.asked == [("/a.zip", None)], "what is there isn't fetched again"


def test_a_cut_connection_goes_on_where_it_ended(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]
) -> None:
    server.cuts = [300_000, 0, 200_000]
    assert fetch(archive(server), tmp_path, web[0]).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=300000-", "bytes=500000-"]
    assert web[1] == [1, 2, 1]


def test_a_second_run_goes_on_where_the_first_was_killed(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]
) -> None:
    server.cuts = [400_000]

    def killed(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(archive(server), tmp_path, Web(pause=killed))
    assert (tmp_path / "a.zip.part").stat().st_size == 400_000
    assert fetch(archive(server), tmp_path, web[0]).read_bytes() == CONTENT
    assert server.asked[-1] == ("/a.zip", "bytes=400000-")


@pytest.mark.parametrize("change", ["another version", "no ranges", "no tag"])
def test_without_the_same_file_or_ranges_it_begins_anew(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]], change: str
) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"PK\x03\x04 of an older file")
    (tmp_path / "a.zip.part.version").write_text('"older"' if change == "another version" else '"first"')
    server.ranges = change != "no ranges"
    if change == "no tag":
        server.tag = None
        (tmp_path / "a.zip.part.version").write_text("")
    assert fetch(archive(server), tmp_path, web[0]).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_part_that_is_already_whole_needs_no_network(tmp_path: Path, server: ArchiveServer) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    assert fetch(archive(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == []
    (tmp_path / "a.zip").unlink()
    (tmp_path / "a.zip.part").write_bytes(CONTENT[::-1])
    assert fetch(archive(server), tmp_path).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]) -> None:
    server.states = [503, 429]
    assert fetch(archive(server), tmp_path, web[0]).read_bytes() == CONTENT
    assert len(web[1]) == 2


def test_a_server_that_stays_busy_is_given_up(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]
) -> None:
    server.states = [503] * 10
    with pytest.raises(DownloadError, match=r"a\.zip can't be downloaded: the server responded 503"):
        fetch(archive(server), tmp_path, web[0])
    assert len(server.asked) == MAX_TRIES


def test_another_place_is_tried(server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]) -> None:
    wanted = archive(server)
    places = Archive("a.zip", (f"{server.url}/gone.zip", *wanted.urls), wanted.size_bytes, wanted.sha256)
    assert fetch(places, tmp_path, web[0]).read_bytes() == CONTENT


def test_without_a_network_it_says_how_to_do_without(tmp_path: Path, web: tuple[Web, list[float]]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with pytest.raises(DownloadError) as caught:
            fetch(Archive("a.zip", (url,), 5), tmp_path, Web(direct.open, web[0].pause))
    assert f"{url} can't be downloaded: no connection" in str(caught.value)
    remedy = f"download {url} on another machine, save it as {tmp_path / 'a.zip'} and run the command again"
    assert remedy in str(caught.value)
    assert "proxy" in str(caught.value)


def test_a_missing_file_is_not_asked_for_again(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]
) -> None:
    with pytest.raises(DownloadError, match="the server responded 404"):
        fetch(Archive("b.zip", (f"{server.url}/b.zip",), 5), tmp_path, web[0])
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/zip"])
def test_a_web_page_is_no_archive(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]], kind: str
) -> None:
    page = b"<!doctype html><html><title>Anmelden f\xc3\xbcr WiFi</title>" + b" " * 900
    server.files["/a.zip"], server.kind, server.told_length = page, kind, False
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=r"sent a web page \('Anmelden für WiFi'\), not an archive; is there a"):
        fetch(archive(server), tmp_path, web[0])
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:1000], "what was fetched before isn't lost to it"


def test_something_else_is_no_archive_either(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]
) -> None:
    server.files["/a.zip"] = b"x" * len(CONTENT)
    with pytest.raises(DownloadError, match="sent a file that starts with b'xxxxxxxxxxxx', not an archive"):
        fetch(archive(server), tmp_path, web[0])


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("change", [1000, -1000])
def test_a_file_of_another_size_is_refused(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]], told: bool, change: int
) -> None:
    server.files["/a.zip"] = (CONTENT + bytes(1000))[: len(CONTENT) + change]
    server.told_length = told
    reason = {
        (True, 1000): r"has 901,004 bytes now, but 900,004 were published",
        (True, -1000): r"has 899,004 bytes now, but 900,004 were published",
        (False, 1000): r"sends more than the published 900,004 bytes",
        (False, -1000): r"the connection ended after 899,004 of 900,004 bytes|responded 416",
    }[told, change]
    with pytest.raises(DownloadError, match=reason):
        fetch(archive(server), tmp_path, web[0])
    assert not (tmp_path / "a.zip").exists()


def test_other_bytes_of_the_right_size_are_refused(
    server: ArchiveServer, tmp_path: Path, web: tuple[Web, list[float]]
) -> None:
    server.files["/a.zip"] = CONTENT[:-1] + b"\0"
    with pytest.raises(DownloadError, match="its SHA-256 is [0-9a-f]{64}, but [0-9a-f]{64} was published"):
        fetch(archive(server), tmp_path, web[0])
    assert list(tmp_path.iterdir()) == []
    assert fetch(archive(server, summed=False), tmp_path, web[0]).stat().st_size == len(CONTENT)


def test_a_file_put_there_by_hand_is_checked_too(tmp_path: Path, server: ArchiveServer) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(DownloadError, match=r"a\.zip \(delete it to download it again\): 4 bytes, but 900,004 were"):
        fetch(archive(server), tmp_path)
    assert (tmp_path / "a.zip").exists()


def test_archives_are_told_by_their_beginning() -> None:
    assert is_archive(tar_of({"a": b""}))
    assert is_archive(tar_of({"a": b""}, "w"))
    assert is_archive(zip_of({"a": b""}))
    assert not is_archive(b"<html>")


@pytest.mark.parametrize(
    "make", [tar_of, zip_of, lambda files: tar_of(files, "w"), lambda files: tar_of(files, "w:xz")]
)
def test_archives_are_unpacked(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes]) -> None:
    files = {"x/a.jpg": b"a", "./x/y/b c\n.jpg": b"b" * 300_000, "x/žluť.jpg": b"c"}
    junk = {"__MACOSX/x/a.jpg": b"", "x/._a.jpg": b"", "x/.DS_Store": b""}
    (tmp_path / "archive").write_bytes(make(files | junk))
    told: list[int] = []
    assert unpack(tmp_path / "archive", tmp_path / "out", on_files=told.append) == 3
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {name.removeprefix("./"): content for name, content in files.items()}
    assert told == [1, 1, 1]


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "a/../../evil", "C:/evil", "a\\..\\evil"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str, make: Callable[[dict[str, bytes]], bytes]) -> None:
    (tmp_path / "archive").write_bytes(make({name: b"evil"}))
    with pytest.raises(DataError, match="a name that may point outside of the folder; it is not unpacked"):
        unpack(tmp_path / "archive", tmp_path / "in" / "out")
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "archive", "w") as opened:
        member = tarfile.TarInfo("a.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        opened.addfile(member)
    with pytest.raises(DataError, match=r"contains a link or device, 'a\.jpg'; it is not unpacked"):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as opened:
        member = zipfile.ZipInfo("a.jpg")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match=r"contains a link or device, 'a\.jpg'"):
        unpack(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_an_endless_archive_is_stopped(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes]) -> None:
    (tmp_path / "archive").write_bytes(make({f"{n}.jpg": bytes(1_000_000) for n in range(5)}))
    with pytest.raises(DataError, match="unpacks to more than 2,500,000 bytes; unpacking is stopped"):
        unpack(tmp_path / "archive", tmp_path / "out", max_bytes=2_500_000)
    with pytest.raises(DataError, match="holds more than 3 files; unpacking is stopped"):
        unpack(tmp_path / "archive", tmp_path / "out", max_files=3)


@pytest.mark.parametrize("make", [tar_of, zip_of, lambda files: tar_of(files, "w:xz"), no_archive])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_archive_is_told(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes], damage: str) -> None:
    whole = bytearray(make({"a.jpg": random.Random(0).randbytes(50_000)}))
    if damage == "cut":
        del whole[len(whole) // 2 :]
    else:
        whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "archive").write_bytes(whole)
    with pytest.raises(DataError, match=r"archive (is damaged or not an archive|can't be unpacked)"):
        unpack(tmp_path / "archive", tmp_path / "out")


def pets(server: ArchiveServer) -> Published:
    """A small copy of the layout of the published archives, with the other files in them."""
    images = {f"images/{name}.jpg": photo() for name in PETS} | {"images/Abyssinian_1.mat": b"", "images/._a.jpg": b""}
    lists = {name: text.encode() for name, text in LISTS.items()} | {"annotations/trimaps/._Abyssinian_1.png": b""}
    server.files |= {"/images.tar.gz": tar_of(images), "/annotations.tar.gz": tar_of(lists, "w")}
    names = ("images.tar.gz", "annotations.tar.gz")
    archives = tuple(archive(server, server.files[f"/{name}"], name=name) for name in names)
    return Published("oxford-pets", "pets", "page", "licence", archives, arrange_lists)


def dogs(server: ArchiveServer) -> Published:
    files = {
        f"dogImages/{split}/{label}/{number}.jpg": photo()
        for split in ("train", "valid", "test")
        for label in ("001.Affenpinscher", "002.Afghan_hound")
        for number in range(2)
    }
    server.files["/dogImages.zip"] = zip_of(files | {"__MACOSX/dogImages/._train": b""})
    only = archive(server, server.files["/dogImages.zip"], summed=False, name="dogImages.zip")
    return Published("udacity-dogs", "dogs", "page", "licence", (only,), arrange_splits)


def test_pets_are_arranged_by_their_lists(server: ArchiveServer, tmp_path: Path) -> None:
    fetched = get(pets(server), tmp_path / "pets", quiet=True)
    assert (fetched.splits, fetched.classes, fetched.missing) == ({"train": 4, "test": 2}, 2, ["Abyssinian_404.jpg"])
    found = sorted(str(path.relative_to(tmp_path / "pets")) for path in (tmp_path / "pets").rglob("*.*"))
    assert found == [
        "SOURCE.txt",
        "test/Abyssinian/Abyssinian_3.jpg",
        "test/great_pyrenees/great_pyrenees_12.jpg",
        "train/Abyssinian/Abyssinian_1.jpg",
        "train/Abyssinian/Abyssinian_2.jpg",
        "train/great_pyrenees/great_pyrenees_10.jpg",
        "train/great_pyrenees/great_pyrenees_11.jpg",
    ]
    assert scan(tmp_path / "pets").class_names == ("Abyssinian", "great pyrenees")
    assert check(tmp_path / "pets", quiet=True).clean
    assert "License: licence" in (tmp_path / "pets/SOURCE.txt").read_text()


def test_dogs_keep_their_splits(server: ArchiveServer, tmp_path: Path) -> None:
    fetched = get(dogs(server), tmp_path / "dogs", quiet=True)
    assert (fetched.splits, fetched.classes) == ({"train": 4, "valid": 4, "test": 4}, 2)
    assert scan(tmp_path / "dogs").labels == ("001.Affenpinscher", "002.Afghan_hound")
    assert not (tmp_path / "dogs" / WORK_FOLDER).exists()


@pytest.mark.parametrize("moment", ["fetching", "arranging", "moving"])
def test_after_an_interruption_it_goes_on(server: ArchiveServer, tmp_path: Path, moment: str) -> None:
    whole = dogs(server)

    def interrupted(unpacked: Path, into: Path) -> Arranged:
        arranged = arrange_splits(unpacked, into)
        if moment == "arranging":
            raise KeyboardInterrupt
        return Arranged({"train": 4, "not there": 0}, arranged.classes, [])

    first = whole
    if moment == "fetching":
        server.cuts = [100, 0, 0, 0, 0]
    else:
        first = Published("d", "d", "p", "l", whole.archives, interrupted)
    with pytest.raises((KeyboardInterrupt, DownloadError, FileNotFoundError)):
        get(first, tmp_path / "dogs", web=Web(pause=bool), quiet=True)
    assert (tmp_path / "dogs/train").exists() == (moment == "moving")
    server.cuts = []
    before = len(server.asked)
    assert get(whole, tmp_path / "dogs", quiet=True).splits == {"train": 4, "valid": 4, "test": 4}
    assert len(server.asked) - before == (1 if moment == "fetching" else 0), "the archive isn't fetched twice"
    assert sorted(path.name for path in (tmp_path / "dogs").iterdir()) == ["SOURCE.txt", "test", "train", "valid"]


def test_a_folder_with_other_things_in_it_is_left_alone(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"already holds 'mine.txt'; give a new or an empty folder"):
        get(dogs(server), tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ConfigError, match=r"mine.txt can't be written"):
        get(dogs(server), tmp_path / "mine.txt", quiet=True)
    assert server.asked == []


def test_two_at_once_do_not_mix(server: ArchiveServer, tmp_path: Path) -> None:
    whole = dogs(server)

    def another(_: Path) -> int:
        with pytest.raises(ConfigError, match="another process is downloading images into it"):
            get(whole, tmp_path, quiet=True)
        return 1 << 40

    assert get(whole, tmp_path, free_bytes=another, quiet=True).classes == 2


def test_too_little_room_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    published = PUBLISHED["udacity-dogs"]
    with pytest.raises(DataError, match=r"needs 2\.4 GB while it is being unpacked, but only 1\.0 GB are free"):
        get(published, tmp_path, free_bytes=lambda _: 10**9, quiet=True)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"elsewhere/a.jpg": "x"}, r"unexpected layout of the archive: annotations/trainval.txt can't be read"),
        (
            {**LISTS, "annotations/test.txt": "../evil 1 1 1\n"},
            r"test.txt, line 1: '../evil' is not an image name",
        ),
        ({**LISTS, "annotations/test.txt": "pug 1 1 1\n"}, r"test.txt, line 1: 'pug' is not an image name"),
        (LISTS, r"none of the 7 listed images is in the archive"),
    ],
)
def test_pets_in_another_layout_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    with pytest.raises(DataError, match=message):
        arrange_lists(tmp_path / "in", tmp_path / "out")


def test_dogs_in_another_layout_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in/cats").mkdir(parents=True)
    with pytest.raises(DataError, match="unexpected layout of the archive: no train/ folder, but cats"):
        arrange_splits(tmp_path / "in", tmp_path / "out")


def test_the_catalogue_is_whole() -> None:
    for name, published in PUBLISHED.items():
        assert published.name == name
        assert published.license
        for one in published.archives:
            assert all(url.startswith("https://") and url.endswith(f"/{one.name}") for url in one.urls)
            assert one.sha256 is None or len(one.sha256) == 64


def test_the_command_fetches_and_says_what_next(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PUBLISHED, "udacity-dogs", dogs(server))
    output = tmp_path / "dogs"
    assert main(["data", "get", "udacity-dogs", "--output", str(output), "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["splits"] == {"train": 4, "valid": 4, "test": 4}
    assert "license: licence" in captured.err
    assert main(["data", "get", "udacity-dogs", "--output", str(output)]) == 2
    assert "already holds 'SOURCE.txt'" in capsys.readouterr().err
    assert main(["data", "get", "udacity-dogs", "--output", str(tmp_path / "again"), "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"next: breedclf data check {tmp_path / 'again'}"
    assert err == ""
    server.files.clear()
    assert main(["data", "get", "udacity-dogs", "--output", str(tmp_path / "third")]) == 3
    assert "the server responded 404" in capsys.readouterr().err


def test_an_unknown_set_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "get", "oxford-pet", "--output", str(tmp_path / "x")]) == 2
    assert "unknown dataset 'oxford-pet': did you mean 'oxford-pets'?" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
