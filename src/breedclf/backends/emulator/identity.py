"""The operations of STS and IAM that SDKs call before they train; every action is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote
from xml.sax.saxutils import escape

from breedclf.backends.emulator.access.keys import DEFAULT_SESSION_SECONDS, Credentials, KeyRing, assumed_role_arn
from breedclf.backends.emulator.protocol import ACCOUNT, Answer, Call, ServiceError, form_of, not_emulated, xml_answer

_STS = "https://sts.amazonaws.com/doc/2011-06-15/"
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ROLE_ID = "AROAEMULATOR00000001"
_TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}]}'
)
_IAM = "https://iam.amazonaws.com/doc/2010-05-08/"


def answer_identity(call: Call, body: bytes, keys: KeyRing) -> Answer:
    """The answer to an operation of STS or IAM.

    Raises:
        ServiceError: the operation isn't emulated.
    """
    form = dict(form_of(body))
    if call.service == "sts" and call.operation == "GetCallerIdentity":
        arn = (keys.find(call.access_key) or keys.root).arn
        return xml_answer(
            call.operation, _STS, f"<Arn>{escape(arn)}</Arn><UserId>EMULATOR</UserId><Account>{ACCOUNT}</Account>"
        )
    if call.service == "sts" and call.operation in ("AssumeRole", "GetSessionToken"):
        return xml_answer(call.operation, _STS, _session(call, form, keys))
    if call.service == "iam" and call.operation == "GetRole":
        return xml_answer(call.operation, _IAM, f"<Role>{_role(form)}</Role>")
    if call.service == "iam" and call.operation == "SimulatePrincipalPolicy":
        return xml_answer(call.operation, _IAM, _decisions(form))
    raise not_emulated(call.service, call.operation)


def _session(call: Call, form: Mapping[str, str], keys: KeyRing) -> str:
    """Temporary credentials and their identity as XML."""
    text = form.get("DurationSeconds", str(DEFAULT_SESSION_SECONDS))
    if not text.isdecimal() or not 900 <= int(text[:9]) <= 129_600:
        raise ServiceError("ValidationError", f"DurationSeconds {text} must be between 900 and 129600")
    if call.operation == "GetSessionToken":
        issued = keys.issue((keys.find(call.access_key) or keys.root).arn, seconds=int(text))
        return _credentials(issued)
    role, name = form.get("RoleArn", ""), form.get("RoleSessionName", "")
    if not _ROLE.fullmatch(role) or not _SESSION.fullmatch(name):
        raise ServiceError("ValidationError", f"{role!r} isn't a role's ARN, or {name!r} isn't a RoleSessionName")
    issued = keys.issue(assumed_role_arn(role, name), seconds=int(text))
    user = f"<Arn>{escape(issued.arn)}</Arn><AssumedRoleId>{_ROLE_ID}:{escape(name)}</AssumedRoleId>"
    return f"{_credentials(issued)}<AssumedRoleUser>{user}</AssumedRoleUser><PackedPolicySize>0</PackedPolicySize>"


def _credentials(issued: Credentials) -> str:
    expires = datetime.fromtimestamp(issued.expires or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"<Credentials><AccessKeyId>{issued.access_key}</AccessKeyId><SecretAccessKey>{issued.secret_key}</SecretAccessKey>"
        f"<SessionToken>{issued.token}</SessionToken><Expiration>{expires}</Expiration></Credentials>"
    )


def _role(form: Mapping[str, str]) -> str:
    name = form.get("RoleName", "")
    if not name:
        raise ServiceError("ValidationError", "GetRole without a RoleName")
    name = escape(name)
    return (
        f"<Path>/</Path><RoleName>{name}</RoleName><RoleId>{_ROLE_ID}</RoleId>"
        f"<Arn>arn:aws:iam::{ACCOUNT}:role/{name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>"
        f"<AssumeRolePolicyDocument>{quote(_TRUST)}</AssumeRolePolicyDocument>"
        "<MaxSessionDuration>3600</MaxSessionDuration>"
    )


def _decisions(form: Mapping[str, str]) -> str:
    actions = [value for name, value in form.items() if name.startswith("ActionNames.member.")]
    members = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName><EvalResourceName>*</EvalResourceName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for action in actions
    )
    return f"<EvaluationResults>{members}</EvaluationResults><IsTruncated>false</IsTruncated>"
