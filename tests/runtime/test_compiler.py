"""timm's methods stay out of compiled graphs though the compiler isn't imported with them."""

import torch

from breedclf.runtime import compiler


def doubled(value, *, plus=0):
    return 2 * value + plus


def test_decorating_defers_the_compiler(monkeypatch):
    monkeypatch.setattr(compiler, "_COMPILER", "no.such.module")
    before = torch.compiler.disable
    asked = []
    monkeypatch.setattr(torch.compiler, "disable", lambda _function=None, **options: asked.append(options) or doubled)
    with compiler.compiler_deferred():
        decorated = torch.compiler.disable(doubled)
        assert torch.compiler.disable(reason="has options") is doubled
    assert decorated(3, plus=1) == 7
    assert asked == [{"reason": "has options"}]
    monkeypatch.setattr(compiler, "_COMPILER", "sys")
    assert decorated(3, plus=1) == 7
    assert len(asked) == 2
    monkeypatch.undo()
    assert torch.compiler.disable is before


def test_compiled_code_does_not_enter_the_decorated_function(monkeypatch):
    monkeypatch.setattr(compiler, "_COMPILER", "no.such.module")
    with compiler.compiler_deferred():
        decorated = torch.compiler.disable(doubled)
    monkeypatch.undo()
    graphs = []

    def network(value):
        return decorated(value + 1) - 1

    torch.compile(network, backend=lambda graph, _inputs: graphs.append(graph.code) or graph)(torch.ones(2))
    assert len(graphs) == 2
    assert not any("mul" in code or "2 *" in code for code in graphs)


def test_nothing_changes_once_the_compiler_is_there(monkeypatch):
    monkeypatch.setattr(compiler, "_COMPILER", "sys")
    before = torch.compiler.disable
    with compiler.compiler_deferred():
        assert torch.compiler.disable is before
    assert torch.compiler.disable is before
