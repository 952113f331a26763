"""Decoding JPEG bytes to the network's 224-pixel input on one core, compared with Pillow and with decoding alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from benchmarks.measuring import DATA, arguments, at_least, interleaved, ratios, report
from breedclf.data.decoding import decode_image
from breedclf.data.preprocessing import Preprocessing

TO, SMALLER = Preprocessing(), Preprocessing(dct_scaling=True)
USUAL, LARGE = (500, 400), (2000, 1500)
PICTURES = {USUAL: 120, LARGE: 24}


def main() -> int:
    given = arguments(__doc__)
    torch.set_num_threads(1)
    goals, details = [], {}
    for size, over_pillow, over_decoding in ((USUAL, 2.0, 0.65), (LARGE, 3.0, None)):
        files = jpegs(size, PICTURES[size])
        works: dict[str, Callable[[], object]] = {
            "pillow": partial(each, files, by_pillow),
            "breedclf": partial(each, files, by_breedclf),
            "decoding alone": partial(each, files, decode_image),
            **({"breedclf, dct_scaling": partial(each, files, by_breedclf_smaller)} if size == LARGE else {}),
        }
        for work in works.values():
            work()
        cpu = {name: seconds["cpu"] for name, seconds in interleaved(works, given.repeats).items()}
        name = f"{size[0]} x {size[1]}"
        faster, share = ratios(cpu["pillow"], cpu["breedclf"]), ratios(cpu["decoding alone"], cpu["breedclf"])
        goals.append(at_least(f"{name}: speed over Pillow", faster["median"], over_pillow))
        if over_decoding is not None:
            goals.append(at_least(f"{name}: speed over decoding alone", share["median"], over_decoding))
        if size == LARGE:
            scaled = ratios(cpu["pillow"], cpu["breedclf, dct_scaling"])
            goals.append(at_least(f"{name}, dct_scaling: speed over Pillow", scaled["median"], 4.4))
            details[name] = {"dct_scaling over pillow": scaled}
        rates = {work: len(files) / min(seconds) for work, seconds in cpu.items()}
        measured = {"over pillow": faster, "over decoding": share, "images per CPU second": rates, "cpu": cpu}
        details[name] = details.get(name, {}) | measured
    return report("decode", goals, details, given)


def jpegs(size: tuple[int, int], count: int) -> list[bytes]:
    """Photos resized to one size, encoded as JPEG with quality 90."""
    files = []
    for path in sorted(DATA.rglob("*.jpg"))[:count]:
        file = BytesIO()
        Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def each(files: list[bytes], work: Callable[[bytes], object]) -> None:
    for file in files:
        work(file)


def by_pillow(file: bytes) -> torch.Tensor:
    """Decode and preprocess with Pillow."""
    picture = Image.open(BytesIO(file)).convert("RGB")
    short = min(picture.size)
    width, height = (int(TO.resize_px * side / short) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - TO.crop_px) / 2), round((height - TO.crop_px) / 2)
    picture = picture.crop((left, top, left + TO.crop_px, top + TO.crop_px))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def by_breedclf(file: bytes) -> torch.Tensor:
    return TO.view(decode_image(file), 0)


def by_breedclf_smaller(file: bytes) -> torch.Tensor:
    return SMALLER.view(decode_image(file, enough_px=SMALLER.enough_px(0)), 0)


if __name__ == "__main__":
    sys.exit(main())
