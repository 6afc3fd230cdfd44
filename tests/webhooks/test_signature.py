"""What is sent is signed so that the reference library of Standard Webhooks verifies it."""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from waooaw.events.push import SECRET_BYTES
from waooaw.events.webhooks.signature import sign

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET: Final = "whsec_" + b64encode(bytes(range(64))).decode()
BODY: Final = b'{"test": 2432232314}'

keys: Final = st.binary(min_size=SECRET_BYTES[0], max_size=SECRET_BYTES[1])
ids: Final = st.from_regex(r"[a-zA-Z0-9.-]{1,64}", fullmatch=True)


def verify(secret: str, body: bytes, headers: dict[str, str]) -> None:
    """Let the reference library verify a body; raises what it raises."""
    Webhook(secret).verify(body, headers, json_parse=False)


def now() -> int:
    """Return the time in seconds, with which the reference library compares."""
    return int(time.time())


def spelled(key: bytes) -> str:
    """Return a key as a signing secret."""
    return "whsec_" + b64encode(key).decode()


def test_the_example_of_the_specification_has_its_signature() -> None:
    """Id, time and body that Standard Webhooks gives as an example have the signature that stands there."""
    assert sign([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(key=keys, message_id=ids, body=st.text())
def test_the_reference_library_verifies_any_text(key: bytes, message_id: str, body: str) -> None:
    """For each key of a lawful length, each id and each text the reference library takes the signature."""
    secret = spelled(key)
    verify(secret, body.encode(), sign([secret], message_id, now(), body.encode()))


@given(key=keys, message_id=ids, seconds=st.integers(0, 2**40), body=st.binary(max_size=2000))
def test_any_body_is_signed_to_the_byte(key: bytes, message_id: str, seconds: int, body: bytes) -> None:
    """Bodies that are no text, which the reference library does not take, are signed by the same rule."""
    signed = b".".join([message_id.encode(), str(seconds).encode(), body])
    signature = sign([spelled(key)], message_id, seconds, body)["webhook-signature"]
    assert b64decode(signature.removeprefix("v1,"), validate=True) == hmac.digest(key, signed, "sha256")


@pytest.mark.parametrize("known", [SECRET, OLD_SECRET])
def test_both_secrets_in_rotation_verify(known: str) -> None:
    """A receiver that has the present secret, or the one before it, verifies the same request."""
    headers = sign([SECRET, OLD_SECRET], "in.1", now(), BODY)
    verify(known, BODY, headers)
    assert headers["webhook-signature"].count("v1,") == 2


def test_the_present_secret_comes_first() -> None:
    """The order of the signatures is that of the secrets: some receivers look at the first alone."""
    both = sign([SECRET, OLD_SECRET], "in.1", 1, BODY)["webhook-signature"]
    assert both.split(" ") == [sign([each], "in.1", 1, BODY)["webhook-signature"] for each in (SECRET, OLD_SECRET)]


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (BODY + b" ", {}),
        (b"", {}),
        (BODY, {"webhook-id": "in.2"}),
        (BODY, {"webhook-timestamp": str(now() - 1)}),
        (BODY, {"webhook-timestamp": str(now() + 100)}),
        (BODY, {"webhook-signature": "v1,"}),
    ],
)
def test_tampering_is_refused(body: bytes, changed: dict[str, str]) -> None:
    """With another body, id or time the reference library refuses the signature."""
    headers = sign([SECRET], "in.1", now(), BODY)
    verify(SECRET, BODY, headers)
    with pytest.raises(WebhookVerificationError):
        verify(SECRET, body, headers | changed)


def test_another_secret_is_refused() -> None:
    """Whoever has another secret makes no signature that the receiver takes."""
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verify(SECRET, BODY, sign([OLD_SECRET], "in.1", now(), BODY))


def test_without_a_secret_there_is_an_id_and_a_time_but_no_signature() -> None:
    """A receiver without a secret can still tell repeats, and nothing looks like a signature."""
    assert sign([], "in.1", 5, BODY) == {"webhook-id": "in.1", "webhook-timestamp": "5"}


def test_what_is_no_secret_is_an_error() -> None:
    """Nothing is ever sent with a signature that was made with half a key."""
    with pytest.raises(ValueError, match="base64"):
        sign(["whsec_!"], "in.1", 5, BODY)
