"""Ask the endpoint for the class of some test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from breedclf.evaluation.images import origin_of
from breedclf.inference.model_directory import read_card
from breedclf.journey.figures import save_explanation
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.best import model_of
from breedclf.journey.steps.deploy import endpoint_of
from breedclf.journey.steps.shown import command


class Predict(Step):
    """Predict test images, spread evenly over the split."""

    name = "predict"
    title = "Predict"
    needs: ClassVar[tuple[str, ...]] = ("best", "deploy")
    this_run = True
    needs_images = True

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"images": context.settings.images}

    def run(self, context: JourneyContext) -> Outcome:
        endpoint = endpoint_of(context)
        shown = list[dict[str, Any]]()
        for path, label in _images(context):
            prediction = endpoint.predict(path)
            best = prediction.best
            shown.append(
                {
                    "path": str(path),
                    "label": label,
                    "predicted": None if best is None else best.label,
                    "known": prediction.known,
                    "predictions": [each.to_dict() for each in prediction.top(3)],
                    "explanation": save_explanation(
                        endpoint, path, context.folder, f"explanations/{len(shown) + 1}.jpg"
                    ),
                }
            )
        right = sum(each["predicted"] == each["label"] for each in shown)
        return Outcome(
            headline=f"{right} of {len(shown)} test images are predicted correctly by the endpoint.",
            values={"images": shown},
            figures=(Figure(label="Predictions", value=f"{right} of {len(shown)} correct"),),
        )

    def alone(self, context: JourneyContext) -> Alone:
        shown: Sequence[Mapping[str, Any]] = context.found("predict").get("images", [])
        image = str(shown[0]["path"]) if shown else "IMAGE"
        model = str(model_of(context))
        return Alone(f"Classifier({model!r}).predict({image!r})", command("breedclf", "predict", model, image))


def _images(context: JourneyContext) -> list[tuple[Path, str]]:
    settings = context.settings
    card = read_card(model_of(context))
    split = origin_of(settings.data, settings.training.labels).images("test", card, settings.training.on_bad_image)
    count = min(settings.images, len(split))
    chosen = [number * len(split) // count for number in range(count)]
    return [(Path(split.images.name(number)), card.labels[split.targets[number]]) for number in chosen]
