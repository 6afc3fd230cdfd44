"""A receiver that echoes what it was shown tells no secret to whoever reads its answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhooks.receivers import Answer, Request, receiving
from tests.webhooks.serving import serving
from waooaw.events.push import PushDefinition
from waooaw.events.push_state import REPLY_BYTES_KEPT
from waooaw.events.webhooks.redaction import Redaction

PUSH = PushDefinition(
    url="https://agent.example.com/",
    authorization="Bearer s3cr3t-token",
    headers={"X-Api-Key": "key-of-mine", "X-Region": "eu"},
    secret=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"you sent Bearer s3cr3t-token", b"you sent ***"),
        (b"bad token s3cr3t-token!", b"bad token ***!"),
        (b"key-of-mine key-of-mine", b"*** ***"),
        (b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b"***"),
        (b"europe is eu", b"europe is eu"),
    ],
)
def test_each_secret_is_masked_as_it_was_sent(said: bytes, shown: bytes) -> None:
    """The authorization with and without its scheme, header values, signing secrets; short values stay."""
    assert Redaction(PUSH).of(said) == shown


@given(before=st.binary(max_size=200), after=st.binary(max_size=200))
def test_wherever_it_stands_a_secret_is_found(before: bytes, after: bytes) -> None:
    """Whatever is around it."""
    assert b"s3cr3t-token" not in Redaction(PUSH).of(before + b"s3cr3t-token" + after)


async def test_a_receiver_that_echoes_its_request_tells_nobody_a_secret() -> None:
    """Neither the attempt, nor its error, nor the dead letter has the secret, also where it is cut off."""

    def echo(request: Request) -> Answer:
        filling = b"." * (REPLY_BYTES_KEPT - 10)
        said = request.headers["Authorization"].encode()
        return Answer(500, body=said + filling + said)

    async with receiving(echo) as receiver, serving() as (replica,):
        push: dict[str, object] = {"authorization": PUSH.authorization}
        await replica.put("a", receiver.url, push=push, retry={"max_attempts": 1})
        await replica.publish()
        await replica.counted("a", lambda counts: counts.dead == 1)
        attempt = (await replica.webhooks.attempts("a"))[0]
        assert attempt.reply.startswith("***.")
        assert "s3cr" not in attempt.reply
        assert "s3cr" not in str(attempt.error)
        assert len(attempt.reply) <= REPLY_BYTES_KEPT
