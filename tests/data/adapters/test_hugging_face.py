"""Real Hugging Face datasets as labeled images: files as they are stored, names of classes, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from breedclf.data.adapters.hugging_face import from_hugging_face
from breedclf.errors import ConfigError, DataError, ImageError


@pytest.fixture
def hf() -> Any:
    """The package, imported when the session's settings are in place: it reads them when it is imported."""
    import datasets

    return datasets


def png(shade: int) -> bytes:
    file = BytesIO()
    Image.new("L", (6, 4), shade).save(file, "PNG")
    return file.getvalue()


def dataset(hf: Any, labels: list[Any] | None = None, *, label: str = "") -> Any:
    """Four images with their bytes, and a label column: class labels, or values of the type `label`."""
    kind = hf.Value(label) if label else hf.ClassLabel(names=["bee", "ant"])
    images = [{"bytes": png(shade), "path": f"{shade}.png"} for shade in range(4)]
    labels = [0, 1, 1, 0] if labels is None else labels
    features = hf.Features({"image": hf.Image(), "label": kind})
    return hf.Dataset.from_dict({"image": images, "label": labels}, features=features)


def test_files_are_read_as_they_are_stored_whatever_the_format(hf: Any) -> None:
    plain = dataset(hf)
    for each in (plain, plain.with_format("torch"), plain.with_transform(lambda rows: {"nothing": rows})):
        source = from_hugging_face(each)
        assert [source.read(index) for index in range(4)] == [png(shade) for shade in range(4)]
        assert (source.labels, source.targets) == (("bee", "ant"), (0, 1, 1, 0))


def test_a_parquet_file_and_a_selection_read_the_same(hf: Any, tmp_path: Path) -> None:
    dataset(hf).to_parquet(tmp_path / "images.parquet")
    stored = hf.Dataset.from_parquet(str(tmp_path / "images.parquet"), cache_dir=str(tmp_path))
    source = from_hugging_face(stored.select([3, 1]))
    assert [source.read(index) for index in (0, 1)] == [png(3), png(1)]
    assert source.targets == (0, 1)


def test_files_of_an_image_folder_are_read_by_path(hf: Any, tmp_path: Path) -> None:
    for name in ("train/ant/0.png", "train/bee/1.png", "validation/ant/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(png(0))
    loaded = hf.load_dataset("imagefolder", data_dir=str(tmp_path / "photos"), cache_dir=str(tmp_path / "cache"))
    splits = from_hugging_face(loaded)
    assert {name: each.targets for name, each in splits.items()} == {"train": (0, 1), "validation": (0,)}
    assert splits["train"].labels == splits["validation"].labels == ("ant", "bee")
    assert splits["train"].read(1) == tmp_path / "photos" / "train" / "bee" / "1.png"


@pytest.mark.parametrize(
    ("labels", "feature", "names", "targets"),
    [
        (["ant", "bee", "ant", "bee"], "string", ("ant", "bee"), (0, 1, 0, 1)),
        ([7, 5, 5, 7], "int64", ("5", "7"), (1, 0, 0, 1)),
    ],
    ids=["names", "numbers"],
)
def test_a_label_column_without_class_names(hf: Any, labels: list[Any], feature: str, names: Any, targets: Any) -> None:
    source = from_hugging_face(dataset(hf, labels, label=feature))
    assert (source.labels, source.targets) == (names, targets)


def test_columns_of_paths_and_of_bytes(hf: Any) -> None:
    files = [png(shade) for shade in range(4)]
    both = dataset(hf).add_column("file", [f"/photos/{n}.png" for n in range(4)]).add_column("content", files)
    assert from_hugging_face(both, image="file").read(2) == Path("/photos/2.png")
    assert from_hugging_face(both, image="content").read(2) == files[2]


def test_several_label_columns_are_chosen_from(hf: Any) -> None:
    two = dataset(hf).add_column("coarse", [1, 1, 0, 0]).cast_column("coarse", hf.ClassLabel(names=["insect", "bird"]))
    assert from_hugging_face(two, label="coarse").labels == ("insect", "bird")
    with pytest.raises(ConfigError, match=r"2 columns are of the kind ClassLabel \('label', 'coarse'\): choose one"):
        from_hugging_face(two)


def test_threads_and_other_processes_can_read_it(hf: Any) -> None:
    source = from_hugging_face(dataset(hf))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, [*range(4)] * 50)) == [png(shade) for shade in range(4)] * 50
    assert pickle.loads(pickle.dumps(source)).read(3) == png(3)


def test_a_row_without_an_image_is_unreadable(hf: Any) -> None:
    features = hf.Features({"image": hf.Image(), "label": hf.Value("string")})
    source = from_hugging_face(hf.Dataset.from_dict({"image": [None], "label": ["ant"]}, features=features))
    with pytest.raises(ImageError, match="row 0 has no image"):
        source.read(0)


REFUSED: dict[str, tuple[Callable[[Any], Any], dict[str, str], type[Exception], str]] = {
    "streaming": (
        lambda hf: dataset(hf).to_iterable_dataset(),
        {},
        DataError,
        "a streaming dataset (IterableDataset) can't be read at any row, which shuffling and splitting need: load it "
        "without streaming=True",
    ),
    "streaming-splits": (
        lambda hf: hf.IterableDatasetDict({"train": dataset(hf).to_iterable_dataset()}),
        {},
        DataError,
        "split 'train': a streaming dataset",
    ),
    "array": (
        lambda _hf: np.zeros((2, 4, 4), np.uint8),
        {},
        DataError,
        "from_hugging_face takes a datasets.Dataset or DatasetDict, not ndarray",
    ),
    "empty": (lambda hf: dataset(hf).select([]), {}, DataError, "the dataset has no rows"),
    "unlabeled": (
        lambda hf: dataset(hf, [0, 1, -1, 0]),
        {},
        DataError,
        "column 'label': the label of image 2 is -1: classes are numbered",
    ),
    "null": (
        lambda hf: dataset(hf, [0, 1, None, 0]),
        {},
        DataError,
        "column 'label': the label of image 2 is None: labels are either",
    ),
    "no-column": (
        dataset,
        {"image": "photo"},
        ConfigError,
        "image='photo': the dataset has no such column; it has 'image', 'label'",
    ),
    "no-images": (dataset, {"image": "label"}, ConfigError, "image='label': the column holds ClassLabel(names=["),
    "no-image-column": (
        lambda hf: dataset(hf).remove_columns("image"),
        {},
        ConfigError,
        "no column is of the kind Image: choose one of the columns 'label' with image=",
    ),
    "no-label-column": (
        lambda hf: dataset(hf).remove_columns("label"),
        {},
        ConfigError,
        "no column is of the kind ClassLabel: choose one of the columns 'image' with label=",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_trained_on_is_refused_at_once(hf: Any, case: str) -> None:
    make, arguments, error, message = REFUSED[case]
    with pytest.raises(error) as caught:
        from_hugging_face(make(hf), **arguments)
    assert message in str(caught.value)
