"""What a training's recipe is made of: step sizes and their course, losses, blends, averages, views, stages."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.features.extraction import StoredFeatures
from breedclf.features.memory_budget import MemoryBudget
from breedclf.features.views import ViewSchedule
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.head import new_head
from breedclf.models.tail import Tail, tail_input_shape, trunk
from breedclf.runtime.device import Compute
from breedclf.training.distributed import DistributedContext
from breedclf.training.ema import MovingAverage
from breedclf.training.loop import Callbacks, Trained, train
from breedclf.training.losses import Blend, Loss, class_weights
from breedclf.training.lr_schedule import LearningRateSchedule
from breedclf.training.optimizers import new_optimizer, rate_warning, stage_rates
from breedclf.training.task import TrainingTask

CPU = Compute(torch.device("cpu"), "fp32")


def config(**settings: object) -> TrainingConfig:
    return TrainingConfig(data="x", **settings)  # type: ignore[arg-type]


def schedule(**settings: object) -> LearningRateSchedule:
    return LearningRateSchedule.of(config(**settings))


# ---- the course of the step size


def test_the_head_alone_trains_at_a_constant_rate_and_more_of_the_network_along_a_cosine() -> None:
    assert schedule().kind == "constant"
    assert schedule(freeze="none").kind == "cosine"
    assert schedule().warmup_epochs == 0
    assert {schedule().factor(step, 10) for step in range(30)} == {1.0}


@pytest.mark.parametrize("kind", ["cosine", "one_cycle"])
def test_a_rate_rises_to_its_peak_and_falls_to_almost_nothing(kind: str) -> None:
    settings = config(schedule=kind, epochs=10)
    factors = [LearningRateSchedule.of(settings).factor(step, 10) for step in range(100)]
    peak = factors.index(max(factors))
    assert max(factors) == pytest.approx(1.0)
    assert peak in ((9, 10) if kind == "cosine" else (30,))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert 0 < factors[0] <= 0.1
    assert factors[-1] < 1e-3
    assert all(0 < factor <= 1 for factor in factors)


@pytest.mark.parametrize("kind", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize(("epochs", "steps", "warmup"), [(1, 1, 0), (1, 1, 5), (3, 1, 1), (2, 7, 2), (1, 2, 0.5)])
def test_no_short_training_breaks_a_schedule(kind: str, epochs: int, steps: int, warmup: float) -> None:
    settings = config(schedule=kind, epochs=epochs, warmup_epochs=warmup)
    factors = [LearningRateSchedule.of(settings).factor(step, steps) for step in range(epochs * steps)]
    assert all(math.isfinite(factor) and 0 < factor <= 1 for factor in factors)


# ---- learning rates of the stages


def test_each_stage_has_its_rate() -> None:
    rates = stage_rates(config(freeze="none", learning_rate=0.01, backbone_learning_rate=1e-3, layer_decay=0.5))
    assert rates == {"head": 0.01, "layer4": 1e-3, "layer3": 5e-4, "layer2": 2.5e-4, "layer1": 1.25e-4, "stem": 6.25e-5}


def test_every_weight_is_in_one_group() -> None:
    settings = config(freeze="none", architecture="resnet18")
    tail = tail_of(settings)
    groups = new_optimizer(tail, settings).param_groups
    assert len(groups) == 6
    grouped = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in tail.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"freeze": "head", "learning_rate": 0.1}, None),
        ({"freeze": "layer4", "learning_rate": 0.001}, None),
        ({"freeze": "layer4", "learning_rate": 0.01, "backbone_learning_rate": 1e-4}, None),
        (
            {"freeze": "layer4", "learning_rate": 0.01},
            ["0.01 is above 0.001", "0.0002", "89.6%", "77.8%"],
        ),
        (
            {"freeze": "none", "backbone_learning_rate": 0.002},
            ["rate of 0.002, above 0.001", "89.6%", "1e-05"],
        ),
    ],
)
def test_a_rate_that_suits_a_head_only_is_warned_of(settings: dict[str, object], words: list[str] | None) -> None:
    told = rate_warning(config(**settings))
    if words is None:
        assert told is None
    else:
        assert told is not None
        assert [word for word in words if word not in told] == []


# ---- losses


def test_parts_of_a_batch_add_up_to_its_mean() -> None:
    torch.manual_seed(0)
    scores, targets = torch.randn(10, 3), torch.arange(10) % 3
    for loss in (Loss(), Loss(torch.tensor([1.0, 3.0, 0.5]), 0.1)):
        parts = [loss.part(scores[s], targets[s], targets) for s in (slice(0, 4), slice(4, 8), slice(8, 10))]
        assert torch.allclose(sum(parts, torch.zeros(())), loss.mean(scores, targets), atol=1e-6)
        assert loss.part(scores[:1], targets[:0], targets) == 0


def test_balanced_classes_weigh_the_same_in_sum() -> None:
    weights = class_weights("balanced", [8, 2, 0])
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.625, 2.5, 0.0])
    assert class_weights("none", [8, 2]) is None


def test_a_blend_is_drawn_by_its_place_alone() -> None:
    one, again = (Blend.draw(0.4, 6, seed=1, epoch=2, step=3) for _ in range(2))
    other = Blend.draw(0.4, 6, seed=1, epoch=2, step=4)
    assert one.share == again.share
    assert torch.equal(one.partner, again.partner)
    assert one.share != other.share
    inputs = torch.arange(6.0)
    assert torch.allclose(one.inputs(inputs), one.share * inputs + (1 - one.share) * inputs[one.partner])


def test_the_average_follows_and_gives_its_place_back() -> None:
    module = nn.Linear(2, 1)
    average = MovingAverage(module, decay=0.5)
    start = module.weight.detach().clone()
    with torch.no_grad():
        module.weight += 1.0
    average.follow(module)
    decay = min(0.5, 2 / 11)
    assert torch.allclose(average.state["weight"], start + (1 - decay))
    own = module.weight.detach().clone()
    with average.in_place_of(module):
        assert torch.allclose(module.weight, average.state["weight"])
    assert torch.equal(module.weight, own)


# ---- the loop with a recipe


def task(seed: int = 0, loss: Loss | None = None) -> TrainingTask:
    def source(draw: int) -> StoredFeatures:
        random = torch.Generator().manual_seed(draw)
        targets = torch.arange(60) % 3
        values = torch.randn(60, 12, generator=random)
        values[:, :3] += nn.functional.one_hot(targets, 3)
        return StoredFeatures(values, targets)

    return TrainingTask(new_head(12, 3, config(seed=seed)), lambda _epoch: source(0), source(1), loss or Loss())


def trained(**settings: object) -> Trained:
    made = config(**{"learning_rate": 0.05, "batch_size": 8, **settings})
    return train(task(loss=Loss(None, made.label_smoothing)), made, callbacks=Callbacks())


def test_a_batch_in_parts_is_the_same_batch() -> None:
    whole, parts = trained(epochs=3), trained(epochs=3, gradient_accumulation_steps=4)
    assert torch.allclose(whole.state["weight"], parts.state["weight"], atol=1e-6)
    assert [r.train_loss for r in whole.history] == pytest.approx([r.train_loss for r in parts.history], rel=1e-5)


def test_parts_that_do_not_divide_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match="gradient_accumulation_steps=3 must divide batch_size=32"):
        config(gradient_accumulation_steps=3)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw"},
        {"schedule": "cosine"},
        {"label_smoothing": 0.1},
        {"mixup": 0.4},
        {"ema": 0.9},
        {"clip_norm": 0.01},
        {"weight_decay": 0.1},
    ],
    ids=str,
)
def test_each_ingredient_changes_the_outcome_and_still_learns(settings: dict[str, object]) -> None:
    plain, changed = trained(epochs=4), trained(epochs=4, **settings)
    assert not torch.equal(plain.state["weight"], changed.state["weight"])
    assert min(record.valid_loss for record in changed.history) < math.log(3)


def test_the_norm_of_gradients_is_bounded() -> None:
    steps = task()
    before = {name: value.clone() for name, value in steps.module.state_dict().items()}
    settings = config(learning_rate=1.0, momentum=0.0, batch_size=60, epochs=1, clip_norm=0.01)
    after = train(steps, settings).state
    moved = sum(float((after[name] - before[name]).square().sum()) for name in ("weight", "bias"))
    assert math.sqrt(moved) == pytest.approx(0.01, rel=1e-3)


def test_it_stops_when_nothing_better_comes() -> None:
    stopped = train(task(), config(learning_rate=5.0, batch_size=8, epochs=100, patience=3))
    assert len(stopped.history) == stopped.best_epoch + 3 < 100


# ---- views and the memory budget


def test_views_of_each_policy() -> None:
    assert ViewSchedule.of(config(epochs=3)).counts == {0: 3}
    assert ViewSchedule.of(config(epochs=3, freeze="layer4")).counts == {1: 1, 2: 1, 3: 1}
    assert ViewSchedule.of(config(epochs=4, freeze="layer4", views=2)).counts == {1: 2, 2: 2}
    assert ViewSchedule.of(config(epochs=3, freeze="layer4", augment="none")).counts == {0: 3}
    assert ViewSchedule.of(config(epochs=2, augment="crop")).counts == {1: 1, 2: 1}
    assert ViewSchedule.of(config(views=3)).of_epoch(4) == 0
    assert ViewSchedule.of(config(epochs=3, augment="flip")).counts == {0: 2, -1: 1}
    assert ViewSchedule.of(config(epochs=4, augment="flip", views=2, freeze="layer4")).counts == {0: 2, -1: 1, 1: 1}


def test_memory_is_taken_until_the_budget_is_used_up() -> None:
    budget = MemoryBudget(100)
    assert budget.take(60)
    assert not budget.take(60)
    assert budget.take(40)
    assert MemoryBudget.of_this_machine().left > 0


# ---- where the network is cut


def tail_of(settings: TrainingConfig, *, fixed: bool = True) -> Tail:
    state = {
        k: v for k, v in find_backbone("resnet18").new_network(seed=0).state_dict().items() if not k.startswith("fc.")
    }
    head = new_head(512, 5, settings)
    return Tail.of(find_backbone("resnet18"), state, settings.freeze, head, fixed_statistics=fixed, compute=CPU)


@pytest.mark.parametrize("freeze", ["layer4", "none"])
def test_trunk_and_tail_together_are_the_network(freeze: str) -> None:
    settings = config(freeze=freeze, head="linear")
    whole = find_backbone("resnet18").new_network(seed=0).state_dict()
    state = {name: value for name, value in whole.items() if not name.startswith("fc.")}
    tail = tail_of(settings).eval()
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        between = trunk(find_backbone("resnet18"), state, settings.freeze, CPU)(pictures)
        assert between.shape[1:] == tail_input_shape(find_backbone("resnet18"), settings.freeze, 64)
        scores = tail(between)
        head = {"fc.weight": tail.head.weight, "fc.bias": tail.head.bias}
        expected = find_backbone("resnet18").network_from(state | {k: v.detach() for k, v in head.items()})(pictures)
    assert torch.allclose(scores, expected, rtol=1e-3, atol=1e-4)


def test_fixed_statistics_stay_and_trained_ones_move() -> None:
    for fixed in (True, False):
        tail = tail_of(config(freeze="layer4"), fixed=fixed)
        before = tail.state_dict()["body.layer4.0.bn1.running_mean"].clone()
        tail.train()
        tail(torch.randn(4, 256, 4, 4))
        assert torch.equal(before, tail.state_dict()["body.layer4.0.bn1.running_mean"]) is fixed


def test_the_tail_has_a_copy_of_the_weights() -> None:
    state = {
        k: v for k, v in find_backbone("resnet18").new_network(seed=0).state_dict().items() if not k.startswith("fc.")
    }
    before = state["layer4.0.conv1.weight"].clone()
    tail = Tail.of(
        find_backbone("resnet18"), state, "layer4", new_head(512, 5, config()), fixed_statistics=True, compute=CPU
    )
    with torch.no_grad():
        for weight in tail.parameters():
            weight += 1
    assert torch.equal(state["layer4.0.conv1.weight"], before)


# ---- shares of several processes


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 5, 12, 13])
def test_shares_cover_every_row_once(count: int, rows: int) -> None:
    part_size = 6
    every = torch.arange(rows)
    seen: list[int] = []
    for rank in range(count):
        distributed = DistributedContext(rank, count)
        batches = torch.split(distributed.shard(every, part_size), part_size // count)
        for part, batch in zip(torch.split(every, part_size), batches, strict=True):
            seen += batch[: distributed.owned(len(part))].tolist()
    assert sorted(seen) == every.tolist()


def test_a_batch_that_processes_can_not_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size=10: 4 processes share each batch.*choose a multiple of 4"):
        DistributedContext(0, 4).check_batch(10, 1)
