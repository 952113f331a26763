"""Publish a model on Hugging Face: its files with a model card, in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from breedclf.errors import ConfigError, PublishError
from breedclf.evaluation.metrics import Evaluation
from breedclf.evaluation.model_card import model_card
from breedclf.files.model_folder import README_FILE, model_directory_at
from breedclf.files.paths import StrPath
from breedclf.jobs.endpoints import artifact_of
from breedclf.model_store.folder import sha256_of
from breedclf.model_store.lineage import card_of, check_whole, files_of
from breedclf.runtime.extras import require_extra

_LOG_IN = "log in with `hf auth login`, set HF_TOKEN, or pass token="
_FORBIDDEN = (401, 403)


def push_to_hub(
    model: object,
    repository: str,
    *,
    evaluation: Evaluation | StrPath | None = None,
    readme: str | None = None,
    private: bool = True,
    token: str | None = None,
    message: str | None = None,
) -> str:
    """Upload a model to Hugging Face in one commit: its files, and a `README.md` with its accuracy.

    The repository is created if it doesn't exist. Files that didn't change aren't uploaded again. `breedclf.json`
    includes the training settings, and with them paths of the machine that trained the model.

    Args:
        model: a model directory, or a job, a `FitResult` or a classifier that has one.
        repository: such as `user/name`.
        evaluation: for the accuracy in the model card; see `model_card`.
        readme: a text in place of the model card.
        private: whether a repository that is created is only visible to its owner; an existing one stays as it is.
        token: a token that may write (default: `HF_TOKEN`, or that of `hf auth login`).
        message: of the commit.

    Returns:
        The URL of the repository.

    Raises:
        MissingExtraError: huggingface_hub isn't installed.
        ArtifactError: the model directory is incomplete or damaged.
        ConfigError: the name isn't valid, there is no token, or the evaluation is of another model.
        PublishError: Hugging Face refuses the token or the files, or can't be reached.

    Example:
        >>> push_to_hub("runs/dogs/model", "me/dogs")  # doctest: +SKIP
        'https://huggingface.co/me/dogs'
    """
    require_extra("huggingface_hub", purpose="publishing on Hugging Face", install='"breedclf[hub]"')
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if "/" not in repository:
        raise ConfigError(f"repository {repository!r} has no owner: give it as user/{repository or 'name'}")
    folder = model_directory_at(artifact_of(model))
    card = card_of(folder)
    files = files_of(folder, card)
    check_whole(folder, card, sha256_of(folder, files))
    text = readme if readme is not None else model_card(folder, evaluation, repository=repository)
    if not (token or get_token()):
        raise ConfigError(f"there is no token for Hugging Face: {_LOG_IN}")
    contents: dict[str, bytes | Path] = {**{name: folder / name for name in files}, README_FILE: text.encode()}
    api = HfApi(token=token, library_name="breedclf")
    with _reported(repository):
        page = api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(
            repository,
            [CommitOperationAdd(name, content) for name, content in contents.items()],
            commit_message=message or "Upload a model of breedclf",
        )
    return str(page)


@contextmanager
def _reported(repository: str) -> Iterator[None]:
    """Turn errors of Hugging Face's client into one sentence with a remedy."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except HFValidationError as error:
        raise ConfigError(f"repository {repository!r} isn't a name on Hugging Face: {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = error.server_message or f"HTTP {status}"
        if status in _FORBIDDEN:
            remedy = f"the token may not write there; {_LOG_IN}"
        elif status == 404:
            remedy = "check its name, and whether the token may write there"
        else:
            remedy = "try again later" if status >= 500 or status == 429 else "see its message"
        raise PublishError(f"Hugging Face refuses {repository!r} ({status}): {why}; {remedy}") from error
    except OfflineModeIsEnabled as error:
        raise PublishError(f"{repository!r} can't be uploaded: HF_HUB_OFFLINE is set; unset it") from error
    except Exception as error:  # those of its HTTP library and of its uploads
        cause = error.__cause__ or error
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
        raise PublishError(
            f"{repository!r} can't be uploaded to {constants.ENDPOINT}: {reason}; the same command goes on once it can "
            "be reached"
        ) from error
