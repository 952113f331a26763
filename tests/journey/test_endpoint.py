"""The endpoint of a journey: deleted, kept, updated, deployed again, and never a second one."""

from __future__ import annotations

import pytest

from breedclf import Categorical, Deployment, LocalBackend, ModelStore
from breedclf.errors import ConfigError
from breedclf.journey.steps.deploy import endpoint_name
from tests.journey.conftest import MakeJourney
from tests.journey.lines import Lines


@pytest.mark.slow
def test_an_endpoint_is_kept_updated_and_deployed_again(
    journey: MakeJourney, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path_factory.mktemp("home")))
    backend = LocalBackend()
    first = journey(keep=True, space={"learning_rate": Categorical(0.01)})
    second = journey(keep=True, space={"learning_rate": Categorical(0.02)})
    store, name = ModelStore(first.settings.store), endpoint_name(first.settings)
    try:
        first.run()
        record = store.record("images")
        assert (record.endpoint.name if record.endpoint else None, record.aliases) == (name, {"live": 1})

        lines = Lines()
        first.run(only="deploy", progress=lines)
        assert "It served this version already." in lines.lines[-1]

        lines = Lines()
        second.run(progress=lines)
        assert any("It was updated without a failed request." in line for line in lines.lines)
        assert store.record("images").aliases == {"live": 2, "previous": 1}
        assert [each.name for each in backend.list_endpoints()] == [name]

        Deployment.attach(name, backend).delete()
        with pytest.raises(ConfigError, match=r"isn't in service: repeat the command with --from deploy"):
            second.run(only="predict")
        lines = Lines()
        second.run(only="deploy", progress=lines)
        assert f"The store's endpoint {name} is gone, so one was deployed again." in lines.lines[-1]
        assert [each.name for each in backend.list_endpoints()] == [name]
    finally:
        for endpoint in backend.list_endpoints():
            Deployment.attach(endpoint.name, backend).delete()
