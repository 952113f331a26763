"""From an `EndpointSpec` to the requests that create or update an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.endpoints.memory import check_memory
from breedclf.backends.sagemaker.endpoints.request import (
    Generation,
    check_servable,
    check_spec,
    create_request,
    generation_for,
)
from breedclf.backends.sagemaker.endpoints.served_model import ServedModel
from breedclf.backends.sagemaker.endpoints.serving_images import serving_image
from breedclf.backends.sagemaker.endpoints.state import expires_tag
from breedclf.jobs.endpoints import EndpointSpec
from breedclf.jobs.plan import ApiCall


class EndpointRequests:
    """Builds the requests of endpoints with the settings of a context."""

    def __init__(self, context: AwsContext) -> None:
        self._context = context

    def planned(self, spec: EndpointSpec) -> list[ApiCall]:
        """The calls that create an endpoint; nothing is uploaded or sent.

        Raises:
            ConfigError: SageMaker doesn't support the settings.
            ArtifactError: the folder contains no model.
        """
        check_spec(spec)
        check_memory(spec.artifact, self._context.settings)
        with ServedModel.packed(spec.artifact, self._context.uri("models")) as served:
            generation, request = self.endpoint(spec, self.image(), served.uri, self.expiry(spec))
        return validated_calls(generation, "CreateEndpoint", request, self._context.region)

    def expiry(self, spec: EndpointSpec) -> float | None:
        """When an endpoint created now expires, in seconds since 1970; None if never."""
        return None if spec.ttl_seconds is None else self._context.clock.time() + spec.ttl_seconds

    def image(self) -> str:
        """The URI of the serving image.

        Raises:
            ConfigError: there is none for these settings, or it conflicts with them.
        """
        settings, region = self._context.settings, self._context.region
        image = serving_image(region, settings.endpoint_instance_type, settings.serving_image)
        check_servable(settings, image, region=region)
        return image

    def endpoint(
        self, spec: EndpointSpec, image: str, model_uri: str, expires: float | None, *, owned: bool = False
    ) -> tuple[Generation, dict[str, Any]]:
        """The first generation of an endpoint, and the parameters of CreateEndpoint."""
        end = {} if expires is None else expires_tag(expires)
        generation = self.generation(spec.name, 1, image, model_uri, owned=owned)
        tags = self._context.tags("endpoint", end, owned=owned)
        return generation, create_request(spec.name, generation.name, tags)

    def generation(self, name: str, number: int, image: str, model_uri: str, *, owned: bool) -> Generation:
        """The model and the configuration of one generation of an endpoint."""
        return generation_for(
            name,
            number,
            settings=self._context.settings,
            image=image,
            model_uri=model_uri,
            role=self._context.role,
            tags=self._context.tags("endpoint", owned=owned),
        )


def validated_calls(generation: Generation, operation: str, request: Mapping[str, Any], region: str) -> list[ApiCall]:
    """The three calls that make a generation serve.

    Raises:
        ConfigError: one of them is invalid.
    """
    return [
        validate_call(ApiCall("CreateModel", generation.model), region),
        validate_call(ApiCall("CreateEndpointConfig", generation.config), region),
        validate_call(ApiCall(operation, request), region),
    ]
