"""The training loop of tutorials; with a given precision, the fastest plain loop."""

from __future__ import annotations

from benchmarks.peers.training import Judge, Task, Train, run


def prepare(task: Task) -> Train:
    loop, network = task.loop, task.network()

    def train() -> Judge:
        loop.train(task.learning_rate, task.batch, task.epochs, network=network)
        return lambda: task.judge(network)

    return train


if __name__ == "__main__":
    run(prepare)
