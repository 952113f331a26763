"""Compare backbones on a folder of images, and train with the best: the fastest that is level with the most accurate.

python examples/12_choose_a_backbone.py --data cub100 --candidates resnet50,convnext_tiny --budget 1200
python examples/12_choose_a_backbone.py --data cub100 --candidates resnet50 --weights resnet50=resnet50.pth
python examples/12_choose_a_backbone.py                   # synthetic images, random weights, no download
"""

import argparse
import tempfile
from pathlib import Path

from breedclf import Trainer, TrainingConfig, compare_backbones, evaluate
from breedclf.testing.images import write_image_set


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="image folder or table (default: synthetic images)")
    parser.add_argument("--candidates", default="resnet18,shufflenet_v2_x0_5", help="networks, separated by commas")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="weights of a candidate")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="time for the comparison")
    parser.add_argument("--report", type=Path, help="where to write the HTML report")
    arguments = parser.parse_args(argv or None)
    weights = dict(pair.split("=", 1) for pair in arguments.weights)

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        if arguments.data:
            data = arguments.data
            config = TrainingConfig(data=data, output=output)
        else:
            data = write_image_set(Path(folder) / "images", classes=3, train=10, valid=5, test=5, size_px=96)
            config = TrainingConfig(data=data, output=output, weights="none", cache_dir=Path(folder) / "cache")

        comparison = compare_backbones(
            config, arguments.candidates.split(","), budget_seconds=arguments.budget, weights=weights
        )
        for each in comparison.candidates:
            low, high = each.accuracy_interval
            print(
                f"{each.name}: {each.accuracy:.1%} ({low:.1%} to {high:.1%}), p = {each.p_value:.3f}, "
                f"{each.images_per_second:.0f} images per second"
            )
        print(f"best: {comparison.best.name}")
        comparison.report(arguments.report or Path(folder) / "report.html")

        result = Trainer(comparison.best.config).fit()  # finds its features in the store
        accuracy = evaluate(result.artifact, data).accuracy
        print(f"trained in {result.seconds:.1f} s; test accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
