"""Who asks and what a role may do, as far as SDKs ask STS and IAM before they train; everything is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from breedclf.backends.emulator.protocol import ACCOUNT, Answer, Call, ServiceError, form_of, not_emulated, xml_answer

_STS = "https://sts.amazonaws.com/doc/2011-06-15/"
_IAM = "https://iam.amazonaws.com/doc/2010-05-08/"


def answer_identity(call: Call, body: bytes) -> Answer:
    """The answer to an operation of STS or IAM.

    Raises:
        ServiceError: it isn't emulated.
    """
    form = dict(form_of(body))
    if call.service == "sts" and call.operation == "GetCallerIdentity":
        arn = f"arn:aws:iam::{ACCOUNT}:user/emulator"
        return xml_answer(
            call.operation, _STS, f"<Arn>{arn}</Arn><UserId>EMULATOR</UserId><Account>{ACCOUNT}</Account>"
        )
    if call.service == "iam" and call.operation == "GetRole":
        return xml_answer(call.operation, _IAM, f"<Role>{_role(form)}</Role>")
    if call.service == "iam" and call.operation == "SimulatePrincipalPolicy":
        return xml_answer(call.operation, _IAM, _decisions(form))
    raise not_emulated(call.service, call.operation)


def _role(form: Mapping[str, str]) -> str:
    name = form.get("RoleName", "")
    if not name:
        raise ServiceError("ValidationError", "GetRole without a RoleName")
    name = escape(name)
    return (
        f"<Path>/</Path><RoleName>{name}</RoleName><RoleId>AROAEMULATOR</RoleId>"
        f"<Arn>arn:aws:iam::{ACCOUNT}:role/{name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>"
    )


def _decisions(form: Mapping[str, str]) -> str:
    actions = [value for name, value in form.items() if name.startswith("ActionNames.member.")]
    members = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName><EvalResourceName>*</EvalResourceName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for action in actions
    )
    return f"<EvaluationResults>{members}</EvaluationResults><IsTruncated>false</IsTruncated>"
