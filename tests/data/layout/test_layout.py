"""What a listing is taken for: splits, classes, what is set aside; the same for training, evaluation, check, upload."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings, strategies as st

from breedclf.backends.sagemaker.s3.manifest import files_below
from breedclf.backends.sagemaker.training.inputs import set_aside_in
from breedclf.data.image_folder import scan
from breedclf.data.layout import UNDIVIDED, Folder, Layout, layout_of, set_aside_line
from breedclf.data.layout.disk import OUTPUT_MARKER, list_folder
from breedclf.data.layout.names import is_image_name, skip_reason
from breedclf.data_check.listing import list_images
from breedclf.errors import DataError
from breedclf.evaluation.images import images_to_evaluate

Tree = dict[str, Any]


def tree(*paths: str) -> Folder:
    """A listing with these images; a path that ends in / is an empty folder, one in ! an output of breedclf."""
    root = Folder()
    for path in paths:
        *folders, last = path.split("/")
        here = root
        for name in folders:
            here = here.folders.setdefault(name, Folder())
        if last == "!":
            here.is_output = True
        elif last.startswith("."):
            here.hidden_images += 1
        elif last:
            here.images = [*here.images, last]
    return root


def both(split: str, *labels: str) -> list[str]:
    return [f"{split}/{label}/1.jpg" for label in labels or ("a", "b")]


def counts(layout: Layout) -> dict[str, dict[str, int]]:
    return {
        split: {label: layout.count(split, label) for label in layout.labels_with_images(split)}
        for split in layout.splits
    }


def reasons(layout: Layout) -> dict[str, str]:
    return {each.path: each.reason for each in layout.set_aside}


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "valid", "test"),
        ("Train", "Val", "Test"),
        ("TRAIN", "VALIDATION", "TEST"),
        ("training", "validation", "testing"),
        ("training_set", "validation_set", "test_set"),
        ("trainset", "valset", "testset"),
        ("train-images", "val-images", "test-images"),
        ("Training Data", "Validation Data", "Test Data"),
        ("train", "dev", "test"),
        ("train", "eval", "test"),
        ("train", "dev", "eval"),
        ("train2017", "val2017", "test2017"),
        ("seg_train/seg_train", "seg_dev/seg_dev", "seg_test/seg_test"),
        ("pets_train", "pets_val", "pets_test"),
        ("01_train", "02_val", "03_test"),
    ],
)
def test_splits_by_their_usual_names(train: str, valid: str, test: str) -> None:
    layout = layout_of(tree(*both(train), *both(valid), *both(test, "b")))
    assert layout.splits == {"train": train, "valid": valid, "test": test}
    assert layout.classes == ("a", "b")
    assert counts(layout)["test"] == {"b": 1}
    assert layout.training_refusal() is None
    assert set_aside_line(layout) == ""


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["car", "bus", "train"], ()),
        (["control", "test"], ()),
        (["valid", "invalid"], ()),
        (["prod", "dev", "staging"], ()),
        (["a", "b", "Training"], ()),
        (["control", "test"], ("control", "test")),
        (["test", "train"], ("test", "train")),
    ],
)
def test_a_class_may_be_called_as_a_split(classes: list[str], labels: tuple[str, ...]) -> None:
    layout = layout_of(tree(*(f"{name}/1.jpg" for name in classes)), labels=labels)
    assert layout.splits == {UNDIVIDED: ""}
    assert layout.classes == tuple(sorted(classes))


def test_classes_called_as_splits_lie_in_splits() -> None:
    layout = layout_of(tree(*both("train", "train", "test"), *both("test", "train", "test")))
    assert layout.splits == {"train": "train", "test": "test"}
    assert layout.classes == ("test", "train")


def test_a_known_model_decides_where_the_names_do_not() -> None:
    only_test = tree(*both("test", "cat", "dog"), "extra/1.jpg", "more/1.jpg")
    assert layout_of(only_test).splits == {UNDIVIDED: ""}
    assert layout_of(only_test, labels=("cat", "dog")).splits == {"test": "test"}


def test_a_known_model_reads_what_it_was_trained_on_as_the_training_did() -> None:
    root = tree("a/1.jpg", "train/1.jpg", "train/a/2.jpg")
    trained = layout_of(root)
    assert trained.classes == ("a", "train")
    assert layout_of(root, labels=trained.classes).splits == trained.splits == {UNDIVIDED: ""}


@pytest.mark.parametrize(
    ("paths", "aside"),
    [
        (["runs/train/"], {"runs": "no_images"}),
        (["notes/"], {"notes": "no_images"}),
        (["demo/!", "demo/images/train/x/1.jpg"], {"demo": "output"}),
        (["a/@eaDir/1.jpg/THUMB.jpg"], {"a/@eaDir": "system"}),
        (["__MACOSX/a/._1.jpg"], {"__MACOSX": "system"}),
        (["$RECYCLE.BIN/1.jpg", "System Volume Information/1.jpg"], None),
        (["lost+found/", "a/deep/__pycache__/1.png"], {"lost+found": "system", "a/deep/__pycache__": "system"}),
        (["#recycle/1.jpg", "FOUND.000/1.jpg", "wandb/run/1.png"], None),
        ([".Trash-1000/files/1.jpg"], {".Trash-1000": "hidden"}),
        (["a/._1.jpg", "a/._2.jpg"], {"a": "hidden_image"}),
    ],
)
def test_what_is_no_class_is_set_aside_and_named(paths: list[str], aside: dict[str, str] | None) -> None:
    for prefix in ("", "train/"):
        layout = layout_of(tree(f"{prefix}a/1.jpg", f"{prefix}b/1.jpg", *(prefix + path for path in paths)))
        assert layout.classes == ("a", "b")
        assert sum(counts(layout)["train" if prefix else UNDIVIDED].values()) == 2
        assert layout.training_refusal() is None
        if aside is not None:
            expected = {prefix + path: reason for path, reason in aside.items()}
            assert expected.items() <= reasons(layout).items()
        line = set_aside_line(layout)
        assert line.startswith("set aside: ")
        assert "\n" not in line


def test_what_is_set_aside_is_one_short_line() -> None:
    layout = layout_of(tree("a/1.jpg", "b/1.jpg", *(f"a/{n}/@eaDir/1.jpg" for n in range(300)), "c/", "d/", "demo/!"))
    assert set_aside_line(layout) == (
        "set aside: 'demo' (made by breedclf); '@eaDir' in 300 places (created by a system or tool); "
        "'c', 'd' (without images)"
    )


@pytest.mark.parametrize(
    ("paths", "splits", "aside"),
    [
        ([*both("train"), "test/1.jpg", "test/2.jpg"], {"train": "train"}, {"test": "unlabeled"}),
        ([*both("Train", "x", "y"), *both("train"), *both("test")], None, {"Train": "second_spelling"}),
        ([*both("train"), *both("val"), *both("valid")], None, {"val": "second_spelling"}),
        ([*both("train"), *both("test"), "extra/1.jpg"], None, {"extra": "not_a_split"}),
        ([*both("train"), *both("holdout")], {"train": "train"}, {"holdout": "not_a_split"}),
        ([*both("train"), "train/1.jpg", "1.jpg"], {"train": "train"}, {"train": "stray", "": "stray"}),
        ([*both("train"), "train/c/"], {"train": "train"}, {"train/c": "no_images"}),
        ([*both("Train"), "train/", *both("test")], {"train": "Train", "test": "test"}, {"train": "no_images"}),
        ([*both("train"), *both("test"), "valid/!"], {"train": "train", "test": "test"}, {"valid": "output"}),
    ],
)
def test_what_a_divided_folder_holds_besides(
    paths: list[str], splits: dict[str, str] | None, aside: dict[str, str]
) -> None:
    layout = layout_of(tree(*paths))
    assert layout.training_refusal() is None
    assert layout.classes == ("a", "b")
    assert reasons(layout) == aside
    assert splits is None or layout.splits == splits


@pytest.mark.parametrize(
    ("paths", "kind", "says"),
    [
        (
            ["train/cat.0.jpg", "test/1.jpg"],
            "unclear_layout",
            "'test', 'train' contain images instead",
        ),
        (["train/cat.0.jpg", "test1/1.jpg"], "unclear_layout", "put them into one folder per class"),
        (["train/1.jpg", *both("test")], "unclear_layout", "'train' contain images instead of class folders"),
        (
            ["train/1.jpg", "test/1.jpg", "extra/1.jpg"],
            "unclear_layout",
            "'test', 'train' contain images instead",
        ),
        ([*both("train"), "car/1.jpg", "bus/1.jpg"], "unclear_layout", "train/ may be a split .* or a class next to"),
        ([*both("train", "a"), "car/1.jpg"], "unclear_layout", "rename the class"),
        (
            [f"{label}/{split}/1.jpg" for label in ("cat", "dog") for split in ("train", "test")],
            "unclear_layout",
            "'cat', 'dog' contain 'test', 'train': put the splits first",
        ),
        ([*both("dogs/train"), *both("dogs/test")], "one_class", "dogs/ holds a train/ folder: give dogs/ instead"),
        (both("x/dogs/Training"), "one_class", "x/dogs/ holds a Training/ folder: give x/dogs/ instead"),
        (both("flowers/flowers"), "one_class", "if 'a', 'b' in flowers/flowers/ are the classes, give flowers/flow"),
        ([*both("valid"), *both("test")], "no_pictures", "no train folder"),
        (both("test"), "no_pictures", "no train folder"),
        ([*both("train", "a"), *both("test", "a")], "one_class", "only one class, 'a'"),
        (["train/a/", *both("test", "a")], "no_pictures", "no training images"),
        ([*both("train"), "train/c/", *both("test", "c")], "class_missing_in_train", "'c'"),
        ([], "no_pictures", "no training images"),
        (["a/1.jpg", "caf\udce9/1.jpg"], "name_not_utf8", r"'caf\\udce9' isn't valid UTF-8.*rename"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_remedy(paths: list[str], kind: str, says: str) -> None:
    refusal = layout_of(tree(*paths)).training_refusal()
    assert refusal is not None
    assert refusal.kind == kind
    with pytest.raises(DataError, match=says):
        raise DataError(refusal.detail)


def test_classes_that_might_be_splits_are_doubted() -> None:
    layout = layout_of(tree(*both("north", "cat", "dog"), *both("south", "cat", "dog")))
    assert layout.classes == ("north", "south")
    assert "'cat', 'dog' and are read as classes; if they are splits, name them" in layout.doubt
    assert layout_of(tree(*both("north", "cat", "dog"), *both("south", "cat"))).doubt == ""


def test_a_folder_that_links_lead_to_is_read_once() -> None:
    root = tree("train/a/1.jpg", "train/b/1.jpg", "train/b/2.jpg", "valid/a/1.jpg")
    train = root.folders["train"]
    train.folders["alias"], train.folders["loop"] = train.folders["b"], train
    train.folders["b"].folders["up"] = root
    train.links = {"alias", "loop"}
    root.folders["test"] = root.folders["valid"]
    root.links = {"test"}
    layout = layout_of(root)
    assert counts(layout) == {"train": {"a": 1, "b": 2}, "valid": {"a": 1}, "test": {}}
    assert reasons(layout) == {
        "test/a": "read_elsewhere",
        "train/alias": "read_elsewhere",
        "train/b/up": "link_loop",
        "train/loop": "link_loop",
    }


def test_a_folder_that_cannot_be_listed_may_hold_a_class() -> None:
    root = tree("a/1.jpg", "b/1.jpg", "c/")
    root.folders["c"].unreadable = "Permission denied"
    refusal = layout_of(root).training_refusal()
    assert refusal is not None
    assert (refusal.kind, refusal.path) == ("unreadable", "c")


# Trees of every shape, of names that matter.

SPLIT_NAMES = ["train", "Train", "training", "val", "valid", "dev", "eval", "test", "TEST", "pets_train", "pets_test"]
NAMES = [*SPLIT_NAMES, "a", "b", "car", "runs", "@eaDir", "__MACOSX", ".hidden", "lost+found"]


def _folders(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    named = st.dictionaries(st.sampled_from(NAMES), children, max_size=5)
    return st.builds(lambda folders, images: {**folders, **images}, named, IMAGES)


IMAGES = st.sampled_from([{}, {}, {"1.jpg": None}, {"1.jpg": None, "2.png": None}, {"._1.jpg": None}, {"n.txt": None}])
TREES = _folders(_folders(_folders(_folders(st.just({})))))


def listed(content: Tree) -> Folder:
    folders = {name: listed(each) for name, each in content.items() if each is not None}
    images = [name for name, each in content.items() if each is None and is_image_name(name)]
    visible = [name for name in images if not name.startswith(".")]
    return Folder(folders, visible, len(images) - len(visible))


def image_paths(folder: Folder, prefix: str = "") -> Iterator[str]:
    yield from (prefix + name for name in folder.images)
    for name, deeper in folder.folders.items():
        yield from image_paths(deeper, f"{prefix}{name}/")


def read_paths(layout: Layout) -> list[str]:
    parts = [part for by_label in layout.parts.values() for found in by_label.values() for part in found]
    return [f"{part.path}/{name}" for part in parts for name in part.folder.images]


@settings(max_examples=150, deadline=None)
@example({"train": {"@eaDir": {"1.jpg": None}, "train": {"a": {"1.jpg": None}, "b": {"1.jpg": None}}}})
@example({"train": {"._1.jpg": None, "train": {"a": {"1.jpg": None}, "b": {"1.jpg": None}}}})
@example({"train": {"train": {"train": {"1.jpg": None}}, "Train": {"@eaDir": {"1.jpg": None}}}})
@given(TREES)
def test_every_class_has_a_training_image_and_every_image_counts_once(content: Tree) -> None:
    root = listed(content)
    layout = layout_of(root)
    read = read_paths(layout)
    assert len(set(read)) == len(read)
    assert not [path for path in read if any(map(skip_reason, path.split("/")))]
    if layout.training_refusal() is None:
        train = "train" if layout.divided else UNDIVIDED
        assert len(layout.classes) >= 2
        assert all(layout.count(train, label) for label in layout.classes)
        assert all(set(layout.labels_with_images(split)) <= set(layout.classes) for split in layout.splits)
    if layout.refusal is None:
        lost = {path for path in image_paths(root) if not _is_told(path, layout)} - set(read)
        assert not lost, "what isn't read is named"


def _is_told(path: str, layout: Layout) -> bool:
    folder = path.rpartition("/")[0]
    above = {"/".join(folder.split("/")[:count]) for count in range(1, len(folder.split("/")) + 1)}
    return layout.unread(path) or any(map(layout.unread, above))


@settings(max_examples=100, deadline=None)
@example(
    {"train": {"b": {"1.jpg": None}, "a": {"1.jpg": None}}, "test": {"TEST": {"a": {"1.jpg": None}}, "1.jpg": None}}
)
@given(TREES)
def test_what_stays_behind_changes_nothing(content: Tree) -> None:
    layout = layout_of(listed(content))
    if layout.training_refusal() is None:
        rest = layout_of(tree(*read_paths(layout)))
        here = {split: by_label for split, by_label in counts(layout).items() if by_label}
        assert (rest.classes, counts(rest)) == (layout.classes, here)


DIVIDED = st.fixed_dictionaries(
    {"train": _folders(st.just({"1.jpg": None}))},
    optional={"valid": _folders(st.just({"1.jpg": None})), "test": _folders(st.just({"1.jpg": None}))},
)
SPELLINGS = st.fixed_dictionaries(
    {
        "train": st.sampled_from(["train", "TRAIN", "Training", "train_set", "trainset", "training images"]),
        "valid": st.sampled_from(["valid", "Val", "VALIDATION", "dev", "valset", "val-data"]),
        "test": st.sampled_from(["test", "TEST", "Testing", "test_set", "testset", "test images"]),
    }
)


@settings(max_examples=100, deadline=None)
@given(DIVIDED, SPELLINGS)
def test_two_spellings_of_one_layout_give_one_result(content: Tree, spelling: dict[str, str]) -> None:
    usual = layout_of(listed(content))
    other = layout_of(listed({spelling[split]: each for split, each in content.items()}))
    assert counts(other) == counts(usual)
    assert other.classes == usual.classes
    one, another = usual.training_refusal(), other.training_refusal()
    assert (one and one.kind) == (another and another.kind)


def written(content: Tree, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, each in content.items():
        if each is None:
            (folder / name).touch()
        else:
            written(each, folder / name)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(TREES)
def test_training_check_evaluation_and_upload_read_the_same(content: Tree) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "data")
        try:
            written(content, root)
            found = scan(root)
        except FileExistsError:  # a disk that takes Train for train
            return
        except DataError:
            return
        trained = {str(path.relative_to(root)) for split in found.splits.values() for path in split.images.paths}
        assert {image.path for image in list_images(root).images} == trained, content
        measured = images_to_evaluate(root, "all", found.labels, {})
        assert {str(path.relative_to(root)) for path in measured.images.paths} == trained
        sent = {name for name in files_below(root, set_aside_in(root)) if is_image_name(name)}
        assert sent == trained


def test_a_listing_is_that_of_the_disk(tmp_path: Path) -> None:
    written(
        {"a": {"1.JPG": None, "notes.txt": None, "x.jpg": {"2.png": None}}, "runs": {OUTPUT_MARKER: None}}, tmp_path
    )
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "self").symlink_to("self")
    os.mkfifo(tmp_path / "a/pipe.jpg")
    root = list_folder(tmp_path)
    assert root.folders["a"].images == ["1.JPG"]
    assert list(root.folders["a"].folders) == ["x.jpg"]
    assert root.folders["link"] is root.folders["a"]
    assert (root.links, root.loops, root.images) == ({"link"}, {"up"}, [])
    assert root.folders["runs"].is_output
    assert not list_folder(tmp_path / "runs").is_output, "what the user names is meant"
