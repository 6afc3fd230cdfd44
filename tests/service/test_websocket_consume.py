"""Consuming over ``wowevent.v1``: deliveries and outcomes on the wire, credit, and what becomes of what is held."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.service.frames import Socket, opened
from tests.service.subscribed import claim, counts, look, outcome, path, publish, put, send, until
from tests.service.watched_service import WatchedService

OK: Final = {"status": "ok"}

Members = dict[str, Any]


async def consume(socket: Socket, name: str, credit: int = 100, **more: Any) -> Members:  # noqa: ANN401 - whatever JSON has
    """Become a member; return the result."""
    message = await socket.ask(op="consume", id=f"c-{name}", subscription=name, credit=credit, **more)
    assert message["op"] == "result", message
    result: Members = message["result"]
    return result


async def receive(socket: Socket, count: int) -> list[Members]:
    """Read some deliveries, past everything else."""
    return [await socket.receive_op("delivery") for _ in range(count)]


async def settle(socket: Socket, name: str, outcomes: Iterable[Members]) -> list[Members]:
    """Settle; return the results."""
    message = await socket.ask(op="settle", id="s", subscription=name, outcomes=[*outcomes])
    assert message["op"] == "result", message
    results: list[Members] = message["result"]["results"]
    return results


async def nothing_more(socket: Socket) -> bool:
    """Whether no delivery comes before the answer to a ping, sent once the service was asked over another way."""
    await socket.send({"op": "ping", "id": "p"})
    return bool((await socket.receive_op("delivery", "result"))["op"] == "result")


async def test_a_delivery(service: WatchedService) -> None:
    """It has what a member needs, and the event as the log has it; what says nothing is left out."""
    await put(service, "socket")
    async with opened(service.port) as socket:
        result = await consume(socket, "socket", member="w1")
        assert result == {"subscription": "socket", "credit": 100, "member": "w1"}
        (position,) = await publish(service, "socket")
        (delivery,) = await receive(socket, 1)
        assert delivery.keys() == {
            *("op", "subscription", "token", "position", "attempt", "first_delivery", "lease_seconds", "event")
        }
        assert (delivery["subscription"], delivery["position"], delivery["attempt"]) == ("socket", position, 1)
        stored = (await service.call("GET", f"/v1/events/{position}")).json()
        assert delivery["event"] == stored["event"]
        (member,) = (await look(service, "socket", "?details=true"))["members"]
        assert (member["member"], member["kind"], member["credit"], member["held"]) == ("w1", "consume", 100, 1)
        assert await settle(socket, "socket", [outcome(delivery, "nack", delay_seconds=0, reason='a "bad" day')]) == [
            OK
        ]
        (again,) = await receive(socket, 1)
        assert (again["attempt"], again["last_error"]) == (2, 'a "bad" day')
        assert again["first_delivery"] == delivery["first_delivery"]
        assert await settle(socket, "socket", [outcome(again), outcome(again)]) != [OK, OK]
    assert await counts(service, "socket") == {"matched": 1, "acked": 1}


async def test_history_is_marked(service: WatchedService) -> None:
    """An event out of the history is a replay; its bytes are those of the log."""
    await publish(service, "replayed", 3, subject="é\u2028")
    await put(service, "replayed", **{"from": "earliest"})
    async with opened(service.port) as socket:
        await consume(socket, "replayed")
        deliveries = await receive(socket, 3)
        assert [(delivery["replay"], delivery["event"]["data"]) for delivery in deliveries] == [
            (True, number) for number in range(3)
        ]
        assert await settle(socket, "replayed", map(outcome, deliveries)) == [OK] * 3


async def test_credit(service: WatchedService) -> None:
    """So many are unsettled at most; each that is settled lets one more come; consume again changes it, 0 stops."""
    await put(service, "credit")
    await publish(service, "credit", 10)
    async with opened(service.port) as socket:
        await consume(socket, "credit", 3)
        held = await receive(socket, 3)
        assert (await counts(service, "credit"))["leased"] == 3
        assert await nothing_more(socket)
        assert await settle(socket, "credit", [outcome(held.pop())]) == [OK]
        held += await receive(socket, 1)
        await consume(socket, "credit", 5)
        held += await receive(socket, 2)
        await consume(socket, "credit", 0)
        assert await settle(socket, "credit", map(outcome, held)) == [OK] * 5
        assert await counts(service, "credit") == {"matched": 10, "acked": 6, "waiting": 4}
        assert await nothing_more(socket)
        await consume(socket, "credit", 100)
        assert len(await receive(socket, 4)) == 4


async def test_several_subscriptions_on_one_socket(service: WatchedService) -> None:
    """Each has its own credit; a stream on the same socket goes on beside them."""
    for name in ("one", "two"):
        await put(service, name)
    async with opened(service.port) as socket:
        await socket.ask(op="stream", id="st", patterns=["one.*"])
        await consume(socket, "one", 1)
        await consume(socket, "two", 2)
        await publish(service, "one", 2)
        await publish(service, "two", 2)
        messages = [await socket.receive_op("delivery", "event") for _ in range(5)]
        kinds = sorted(message.get("subscription", "stream") for message in messages)
        assert kinds == ["one", "stream", "stream", "two", "two"]
        for name in ("one", "two"):
            held = [outcome(message) for message in messages if message.get("subscription") == name]
            await socket.send({"op": "settle", "id": name, "subscription": name, "outcomes": held})
        answers = [await socket.receive_op("delivery", "result") for _ in range(3)]
        results = {answer["id"]: answer["result"]["results"] for answer in answers if answer["op"] == "result"}
        assert results == {"one": [OK], "two": [OK, OK]}


async def test_what_another_way_claimed_is_settled_on_a_socket(service: WatchedService) -> None:
    """A token is good wherever it came from."""
    await put(service, "elsewhere")
    await publish(service, "elsewhere")
    (delivery,) = await claim(service, "elsewhere")
    async with opened(service.port) as socket:
        assert await settle(socket, "elsewhere", [outcome(delivery)]) == [OK]


async def test_pipelined_settles(service: WatchedService) -> None:
    """Outcomes sent one by one without waiting are answered under their ids, each once, and the credit flows."""
    await put(service, "piped")
    count = 1000
    async with opened(service.port) as socket:
        await consume(socket, "piped", 50)
        await publish(service, "piped", count)
        acked = answered = 0
        while answered < count:
            message = await socket.receive_op("delivery", "result", "error")
            if message["op"] == "delivery":
                acked += 1
                await socket.send(
                    {"op": "settle", "id": str(acked), "subscription": "piped", "outcomes": [outcome(message)]}
                )
            else:
                assert message["result"] == {"results": [OK]}, message
                answered += 1
    assert await counts(service, "piped") == {"matched": count, "acked": count}


# The end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_what_a_socket_held_goes_back_at_once(service: WatchedService, end: str) -> None:
    """When it ends, however it does, others get what it held, with no failure counted; what it settled stays so."""
    name = f"back-{end}"
    await put(service, name, lease_seconds=3600)
    async with opened(service.port) as socket:
        await consume(socket, name)
        await publish(service, name, 3)
        deliveries = await receive(socket, 3)
        assert await settle(socket, name, [outcome(deliveries[0])]) == [OK]
        await socket.wire.close() if end == "close" else socket.wire.reset()
        again: list[Members] = []
        while len(again) < 2:
            again += await claim(service, name, wait_seconds=10)
    assert [delivery["attempt"] for delivery in again] == [1, 1]
    assert await counts(service, name) == {"matched": 3, "acked": 1, "leased": 2}


async def test_a_member_that_takes_nothing(service: WatchedService) -> None:
    """It is sent so much and no more, whatever its credit; another member gets the rest."""
    await put(service, "stuffed", lease_seconds=3600)
    async with opened(service.port, receive_bytes=4096) as socket:
        await consume(socket, "stuffed", 1000, member="stuffed")
        for _ in range(4):
            await publish(service, "stuffed", 40, subject="s" * 200_000)

        async def is_held_back() -> bool:
            (member,) = (await look(service, "stuffed", "?details=true"))["members"]
            return bool(member["credit"] == 0 and member["held"] > 0)

        await until(is_held_back)
        found = await counts(service, "stuffed")
        assert found["leased"] < 160
        assert len(await claim(service, "stuffed", max=1)) == 1
        deliveries = await receive(socket, found["leased"])
        assert len({delivery["position"] for delivery in deliveries}) == found["leased"]


async def test_a_subscription_that_is_deleted(service: WatchedService) -> None:
    """Its members are told under the id of their consume; the socket goes on, and may consume it when it is there."""
    await put(service, "deleted")
    async with opened(service.port) as socket:
        await consume(socket, "deleted")
        await service.call("DELETE", path("deleted"))
        message = await socket.receive_op("error")
        assert (message["id"], message["error"]["code"]) == ("c-deleted", "not_found")
        await put(service, "deleted")
        await consume(socket, "deleted")
        await publish(service, "deleted")
        assert len(await receive(socket, 1)) == 1


async def test_a_drain(tmp_path: Path) -> None:
    """A member is told, gets nothing more, and can settle what it holds until the socket closes; the rest goes back."""
    with WatchedService(tmp_path) as service:
        await put(service, "drained", lease_seconds=3600)
        async with opened(service.port) as socket:
            await consume(socket, "drained", 2)
            await publish(service, "drained", 4)
            first, _ = await receive(socket, 2)
            service.signal(signal.SIGTERM)
            closing = await socket.receive_op("closing")
            assert closing["retry_after_seconds"] > 0
            assert await settle(socket, "drained", [outcome(first)]) == [OK]
            assert (await socket.closed()).code == 1012
        assert await asyncio.to_thread(service.wait, 20) == 0
        service.start()
        assert await counts(service, "drained") == {"matched": 4, "acked": 1, "waiting": 3}
        assert {delivery["attempt"] for delivery in await claim(service, "drained")} == {1}
        service.check_log_lines()


async def test_a_drain_with_nothing_held(tmp_path: Path) -> None:
    """A member that has settled all is closed at once; one that settles its last is not waited for longer."""
    with WatchedService(tmp_path) as service:
        await put(service, "free")
        async with opened(service.port) as idle, opened(service.port) as busy:
            await consume(idle, "free", 0)
            await consume(busy, "free", 10)
            await publish(service, "free", 2)
            held = await receive(busy, 2)
            service.signal(signal.SIGTERM)
            assert (await idle.closed()).code == 1012
            await busy.receive_op("closing")
            assert await settle(busy, "free", map(outcome, held)) == [OK, OK]
            assert (await busy.closed()).code == 1012
        assert await asyncio.to_thread(service.wait, 20) == 0
        service.start()
        assert await counts(service, "free") == {"matched": 2, "acked": 2}


# Bad input ------------------------------------------------------------------------------------------------------------


def message(op: str, **members: Any) -> bytes:  # noqa: ANN401 - whatever JSON has
    """A message that may be wrong."""
    return json.dumps({"op": op, "id": "x", "subscription": "sockets", **members}).encode()


TOKEN: Final = "0123456789abcdef.1-0.0123456789abcdef"
GOOD: Final = {"token": TOKEN, "outcome": "ack"}

BAD: Final[list[tuple[str, bytes, str, str | None]]] = [
    ("no subscription", b'{"op":"consume","id":"x"}', "invalid_parameter", "#/subscription"),
    ("a number", b'{"op":"consume","id":"x","subscription":1}', "invalid_parameter", "#/subscription"),
    ("no name", b'{"op":"consume","id":"x","subscription":"a b"}', "invalid_parameter", "#/subscription"),
    ("nobody's", b'{"op":"consume","id":"x","subscription":"nobody"}', "not_found", None),
    ("credit", message("consume", credit=1001), "invalid_parameter", "#/credit"),
    ("credit -1", message("consume", credit=-1), "invalid_parameter", "#/credit"),
    ("credit text", message("consume", credit="1"), "invalid_parameter", "#/credit"),
    ("credit half", message("consume", credit=0.5), "invalid_parameter", "#/credit"),
    ("member", message("consume", member=1), "invalid_parameter", "#/member"),
    ("long member", message("consume", member="m" * 129), "invalid_parameter", "#/member"),
    ("unknown field", message("consume", speed=1), "unknown_parameter", "#/speed"),
    ("settle nothing", message("settle"), "invalid_parameter", "#/outcomes"),
    ("settle no list", message("settle", outcomes={}), "invalid_parameter", "#/outcomes"),
    ("settle a number", message("settle", outcomes=[GOOD, 1]), "invalid_parameter", "#/outcomes/1"),
    ("settle word", message("settle", outcomes=[GOOD | {"outcome": "x"}]), "invalid_parameter", "#/outcomes/0/outcome"),
    ("settle field", message("settle", outcomes=[GOOD | {"a": 1}]), "unknown_parameter", "#/outcomes/0/a"),
    ("settle 1,001", message("settle", outcomes=[GOOD] * 1001), "invalid_parameter", "#/outcomes"),
    ("settle no name", b'{"op":"settle","id":"x","outcomes":[]}', "invalid_parameter", "#/subscription"),
    ("settle nobody's", b'{"op":"settle","id":"x","subscription":"nobody","outcomes":[]}', "not_found", None),
    ("member changed", message("consume", member="w2"), "invalid_parameter", "#/member"),
]


async def test_bad_operations(service: WatchedService) -> None:
    """Each is refused under its id with its code and its place, and the socket goes on."""
    await put(service, "sockets")
    async with opened(service.port) as socket:
        await consume(socket, "sockets", 1, member="w1")
        for label, text, code, pointer in BAD:
            await socket.send(text)
            refused = await socket.receive_op("error", "result", "delivery")
            assert (refused["op"], refused["id"]) == ("error", "x"), label
            assert refused["error"]["code"] == code, (label, refused)
            if pointer is not None:
                assert pointer in [item["pointer"] for item in refused["error"]["errors"]], (label, refused)
        await publish(service, "sockets")
        (delivery,) = await receive(socket, 1)
        assert await settle(socket, "sockets", [GOOD, outcome(delivery)]) != [OK, OK]
        await send(service, "POST", path("sockets", "/claim"), {})


async def test_too_many_subscriptions_on_one_socket(service: WatchedService) -> None:
    """A socket consumes a hundred at most."""
    names = [f"many-{number}" for number in range(101)]
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(put(service, name))
    async with opened(service.port) as socket:
        for name in names[:100]:
            await consume(socket, name, 1)
        refused = await socket.ask(op="consume", id="x", subscription=names[100])
        assert (refused["op"], refused["error"]["code"]) == ("error", "invalid_request")
