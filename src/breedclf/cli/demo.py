"""`breedclf demo`: the journey on synthetic images, or on those of `--data`."""

from __future__ import annotations

import argparse

from breedclf.cli.flags import add_settings_flags, given_settings
from breedclf.cli.terminal import Terminal
from breedclf.demo import DemoConfig, DemoResult, run_demo
from breedclf.text.printable import visible_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_flags(parser, DemoConfig, {"demo": DemoConfig.model_fields})


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    config = DemoConfig(**given_settings(arguments, DemoConfig))
    result = run_demo(config, progress=lambda step, line: terminal.note(f"{step}: {line}"))
    terminal.result(result.to_dict(), _as_text(result))
    return 0


def _as_text(result: DemoResult) -> str:
    low, high = result.accuracy_interval
    first = result.shown["predictions"][0]
    ranked = ", ".join(
        f"{visible_name(guess['class_name'])} {guess['probability']:.1%}" for guess in result.shown["predictions"]
    )
    endpoint = result.endpoint
    ended = "in service; end it with breedclf endpoints delete" if endpoint["in_service"] else "deleted"
    return "\n".join(
        [
            f"test accuracy {result.accuracy:.1%} on {result.count} images of {result.classes} classes "
            f"(95% interval {low:.1%} to {high:.1%}; required {result.required_accuracy:.1%})",
            f"{result.shown['path']} shows {result.shown['label']}",
            f"  the endpoint predicted {'correctly' if first['label'] == result.shown['label'] else 'incorrectly'}: "
            f"{ranked}",
            f"endpoint: {endpoint['name']} at {endpoint['url']}: {ended}",
            f"model:    {result.artifact}",
            f"report:   {result.report}",
            f"page:     {result.page}",
            f"next:     breedclf predict {result.artifact} {result.shown['path']}",
            f"{result.seconds:.1f} s",
        ]
    )
