"""Interrupt a training run, as Ctrl-C or a lost machine would, and resume it to exactly the same model.

python examples/08_resume.py --data dogImages --weights resnet50.pth
python examples/08_resume.py                              # synthetic images, random weights, no download
"""

import argparse
import signal
import tempfile
from pathlib import Path

from breedclf import StepRecord, Trainer, TrainingConfig, TrainingHook
from breedclf.testing.images import write_image_set


class CtrlC(TrainingHook):
    """Sends Ctrl-C in the second step of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_step(self, step: StepRecord) -> None:
        if (step.epoch, step.step) == (self.epoch, 2):
            signal.raise_signal(signal.SIGINT)


def main(*argv: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/, valid/ and test/ (default: synthetic images)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="weights name, or file with a state dict")
    arguments = parser.parse_args(argv or None)

    with tempfile.TemporaryDirectory() as folder:
        if arguments.data:
            config = TrainingConfig(data=arguments.data, weights=arguments.weights, epochs=6)
        else:
            generated = write_image_set(Path(folder) / "images", classes=2, train=8, valid=4, test=0, size_px=96)
            config = TrainingConfig(data=generated, architecture="resnet18", weights="none", epochs=6)
        config = config.replace(deterministic=True, batch_size=4)

        whole = Trainer(config.replace(output=Path(folder) / "whole")).fit()

        interrupted = config.replace(output=Path(folder) / "interrupted")
        try:
            Trainer(interrupted).fit(hooks=[CtrlC(epoch=3)])
        except KeyboardInterrupt as interrupt:
            print(str(interrupt).replace(folder, "FOLDER"))
        result = Trainer(interrupted).fit(resume=True)

        files = [fit.artifact / "model.safetensors" for fit in (whole, result)]
        same = files[0].read_bytes() == files[1].read_bytes()
        print(f"{len(result.history)} epochs; model identical to the uninterrupted one: {same}")


if __name__ == "__main__":
    main()
