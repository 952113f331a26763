"""Where a training's time goes: recorder, profile, rules, report, and advice that is tried and measured."""
