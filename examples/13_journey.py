"""From a folder of images to a deployed model in one call; then again with more trials: only what changed runs.

python examples/13_journey.py --data dogImages --weights resnet50.pth --output runs/dogs
python examples/13_journey.py                                  # synthetic images, random weights, no download
"""

import argparse
import tempfile
from pathlib import Path

from breedclf import Categorical, Journey, JourneySettings, ModelStore, TrainingConfig
from breedclf.testing.images import write_image_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="image folder or table (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    parser.add_argument("--output", type=Path, help="folder for everything (default: a temporary folder)")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        output = arguments.output or Path(folder) / "journey"
        if arguments.data:
            config = TrainingConfig(data=arguments.data, weights=arguments.weights)
        else:
            data = write_image_set(Path(folder) / "images", classes=3, train=16, valid=8, test=12, size_px=96)
            config = TrainingConfig(data=data, architecture="resnet18", weights="none", feature_bank=False)
        settings = JourneySettings(
            training=config, name="example", store=output / "models", output=output, verify=False
        )
        if not arguments.data:  # random weights learn more slowly
            settings = settings.replace(space={"learning_rate": Categorical(0.005, 0.01), "epochs": Categorical(20)})
        take(settings)
        print("\nwith a third learning rate:")
        take(settings.replace(space=settings.space | {"learning_rate": Categorical(0.005, 0.01, 0.02)}))

        record = ModelStore(output / "models").record("example")
        print("\nversions:", ", ".join(f"{each.version} {record.aliases_of(each.version)}" for each in record.versions))


def take(settings: JourneySettings) -> None:
    """Show what would run, run it, and show what every step found."""
    journey = Journey(settings)
    print("to do:", ", ".join(step.name for step in journey.plan().steps if step.runs))
    result = journey.run()
    for step in result.steps:
        print(f"{step.name:10} {step.outcome.headline}")
    print("best:", dict(result.best))
    print("page:", result.report)


if __name__ == "__main__":
    main()
