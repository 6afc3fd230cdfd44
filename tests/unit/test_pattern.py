r"""Patterns: what is refused, and that what is accepted means what a real Redis says it means."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from waooaw.events.errors import InvalidPatternError
from waooaw.events.pattern import (
    PATTERN_CHARACTERS_MAX,
    PATTERN_STARS_MAX,
    PATTERNS_MAX,
    Pattern,
    PatternMemo,
    PatternSet,
    match_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOSTILE = "ab*?[]^-\\"

TABLE = [
    ("task.created", "task.created", True),
    ("task.created", "task.createdx", False),
    ("task.created", "Task.created", False),
    ("*", "a", True),
    ("***", "a.b", True),
    ("task.*", "task.a.b", True),
    ("task.*", "task.", True),
    ("task.*", "task", False),
    ("*.failed", "task.failed", True),
    ("*.failed", ".failed", True),
    ("*.failed", "task.failed.x", False),
    ("task.*.done", "task.a.b.done", True),
    ("task.*.done", "task.done", False),
    ("ab*ba", "aba", False),
    ("ab*ba", "abba", True),
    ("agent.??.done", "agent.07.done", True),
    ("agent.??.done", "agent.7.done", False),
    ("*a*b*a*", "xxabxxa", True),
    ("*a*b*a*", "xxabxxb", False),
    ("*ab?d", "ababcd", True),
    ("a*?", "a", False),
    ("a*?", "ab", True),
    ("[ab]x", "bx", True),
    ("[ab]x", "cx", False),
    ("[^ab]", "c", True),
    ("[^ab]", "a", False),
    ("[a-c]", "b", True),
    ("[c-a]", "b", True),
    ("[a-c]", "d", False),
    ("[a-c-e]", "-", True),
    ("[a-c-e]", "d", False),
    ("[-a]", "-", True),
    ("[]", "]", False),
    ("[]a]", "]a]", False),
    ("[^]", "]", True),
    ("[^]a]", "]a]", True),
    ("[^^]", "^", False),
    ("[a^]", "^", True),
    ("[a-]]", "]", True),
    ("[a-]]", "^", True),
    ("[a-]]", "-", False),
    (r"[a-\]", "^", True),
    (r"[a-\]", "\\", True),
    (r"[\]]", "]", True),
    (r"[\a-c]", "-", True),
    (r"[\a-c]", "b", False),
    (r"[\^a]", "^", True),
    (r"[^\]]", "]", False),
    ("[*]", "*", True),
    ("[*]", "a", False),
    (r"\*", "*", True),
    (r"\*", "a", False),
    (r"\a\b", "ab", True),
    (r"\\", "\\", True),
    ("a]", "a]", True),
    ("a-b^", "a-b^", True),
]


@pytest.fixture(scope="module")
def oracle() -> Iterator[redis.Redis]:
    """A real Redis on a socket of its own."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: what a pattern means cannot be asked")
    with tempfile.TemporaryDirectory() as folder:
        socket = str(Path(folder, "redis.sock"))
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                assert any("eady to accept connections" in line for line in server.stdout), "Redis did not start"
                with redis.Redis(unix_socket_path=socket, decode_responses=True) as connection:
                    yield connection
            finally:
                server.terminate()


def keys_matched(oracle: redis.Redis, patterns: Sequence[str], texts: Sequence[str]) -> list[set[str]]:
    """Which of ``texts`` each pattern matches: KEYS and PSUBSCRIBE share one matcher (util.c, stringmatchlen)."""
    oracle.flushdb()
    oracle.mset(dict.fromkeys(texts, ""))
    with oracle.pipeline(transaction=False) as pipeline:
        for pattern in patterns:
            pipeline.keys(pattern)
        return [set(found) for found in pipeline.execute()]


def accepted(text: str) -> bool:
    try:
        Pattern.parse(text)
    except InvalidPatternError:
        return False
    return True


@pytest.mark.parametrize(("pattern", "event_type", "expected"), TABLE)
def test_the_table_of_globs(pattern: str, event_type: str, expected: bool) -> None:  # noqa: FBT001 - a row of a table
    """Every form of the glob, and every way Redis differs from other globs, matches as the table says."""
    assert expected is Pattern.parse(pattern).matches(event_type)


def test_the_table_is_what_psubscribe_delivers(oracle: redis.Redis) -> None:
    """Each row of the table is what a subscriber of a real Redis receives."""
    delivered = []
    for pattern, event_type, _ in TABLE:
        with oracle.pubsub() as listener:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            listener.psubscribe(pattern)
            confirmed = listener.get_message(timeout=10)
            assert confirmed is not None
            assert confirmed["type"] == "psubscribe"
            delivered.append((pattern, event_type, oracle.publish(event_type, "") > 0))
    assert delivered == TABLE


def test_random_hostile_pairs_mean_what_redis_says(oracle: redis.Redis) -> None:
    """Over 200,000 pairs of pattern and text from the characters that globs are made of match as in Redis."""
    chance = random.Random(20_261_124)
    made = {"".join(chance.choices(HOSTILE, k=chance.randint(1, 9))) for _ in range(6_000)}
    patterns = sorted(filter(accepted, made))
    texts = sorted({"".join(chance.choices(HOSTILE, k=chance.randint(1, 6))) for _ in range(120)})
    assert len(patterns) * len(texts) > 200_000
    parsed = [Pattern.parse(pattern) for pattern in patterns]
    ours = [{text for text in texts if pattern.matches(text)} for pattern in parsed]
    differing = [
        (pattern, theirs ^ mine)
        for pattern, theirs, mine in zip(patterns, keys_matched(oracle, patterns, texts), ours, strict=True)
        if theirs != mine
    ]
    assert differing == []


@settings(max_examples=300, deadline=None)
@given(
    pattern=st.one_of(
        st.text(HOSTILE, min_size=1, max_size=12),
        st.lists(st.sampled_from(["*", "?", "a", "b", "[ab]", "[^a]", "[a-b]", "[b-]]", "\\*"]), max_size=8).map(
            "".join
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12),
    ).filter(accepted),
    texts=st.lists(st.text(HOSTILE + "cz.", min_size=1, max_size=10), min_size=1, max_size=20, unique=True),
)
def test_any_accepted_pattern_means_what_redis_says(oracle: redis.Redis, pattern: str, texts: list[str]) -> None:
    """For any pattern that is accepted and any texts, the texts that match are those that Redis finds."""
    parsed = Pattern.parse(pattern)
    assert keys_matched(oracle, [pattern], texts) == [{text for text in texts if parsed.matches(text)}]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("", "pattern_empty", "is empty"),
        ("a" * (PATTERN_CHARACTERS_MAX + 1), "pattern_length", "256 characters"),
        ("*a" * (PATTERN_STARS_MAX + 1), "pattern_stars", "17 stars"),
        ("*" * (PATTERN_STARS_MAX + 1), "pattern_stars", "17 stars"),
        ("ab\x00", "pattern_character", "character 3"),
        ("a\nb", "pattern_character", "character 2"),
        ("\x7f", "pattern_character", "character 1"),
        ("tâche.*", "pattern_character", "character 2"),
        ("task.[ab", "pattern_class", "character 6"),
        ("[", "pattern_class", "character 1"),
        ("[^", "pattern_class", "character 1"),
        ("[a-]", "pattern_class", "character 1"),
        ("[ab\\", "pattern_class", "character 1"),
        ("[ab\\]", "pattern_class", "character 1"),
        ("ab\\", "pattern_quote", "character 3"),
        ("a\\\\\\", "pattern_quote", "character 4"),
    ],
)
def test_refusals_say_where(text: str, code: str, place: str) -> None:
    """What is outside the grammar or the limits is refused with a code, the pointer given, and the place."""
    with pytest.raises(InvalidPatternError) as caught:
        Pattern.parse(text, pointer="#/patterns/3")
    (violation,) = caught.value.errors
    assert ("#/patterns/3", code) == (violation.pointer, violation.code)
    assert place in violation.detail


@pytest.mark.parametrize(
    "text",
    ["a" * PATTERN_CHARACTERS_MAX, "*a" * PATTERN_STARS_MAX, "\\*" * 100, "[*]" * 80, "[" + "*" * 200 + "]", "a b~!"],
)
def test_the_limits_themselves_are_accepted(text: str) -> None:
    """A pattern of the greatest length or number of stars is accepted; quoted stars and those in classes are free."""
    assert text == str(Pattern.parse(text))


def test_patterns_are_values() -> None:
    """Patterns of one text are equal and hash alike, whatever else they hold."""
    assert {Pattern.parse("task.[ab]*")} == {Pattern.parse("task.[ab]*"), Pattern.parse("task.[ab]*")}
    assert Pattern.parse("a*") != Pattern.parse("a**")


class CountedCharacter(str):
    """One allowed character that counts how often it is compared."""

    __slots__ = ()
    steps = 0

    def __contains__(self, character: object) -> bool:
        CountedCharacter.steps += 1
        return super().__contains__(str(character))


def steps_of_the_worst_match(characters: int) -> int:
    """Steps to find that sixteen stars with an ``a`` after each and a ``b`` at the end do not match only ``a``."""
    CountedCharacter.steps = 0
    tokens = [token for _ in range(PATTERN_STARS_MAX) for token in (None, CountedCharacter("a"))]
    assert not match_tokens([*tokens, CountedCharacter("b")], "a" * characters)
    return CountedCharacter.steps


def test_the_worst_pattern_takes_linear_steps() -> None:
    """Sixteen stars on the longest type take no more steps than pattern times type, and grow as the type does."""
    half, full = steps_of_the_worst_match(127), steps_of_the_worst_match(254)
    assert 0 < full <= (2 * PATTERN_STARS_MAX + 1) * 254
    assert full <= 2.2 * half


@given(run=st.integers(1, 200), characters=st.integers(1, 255))
@example(run=127, characters=255)
def test_a_long_run_after_a_star_stays_within_the_product(run: int, characters: int) -> None:
    """Where a star is followed by a long run that nearly fits everywhere, the steps stay within the product."""
    CountedCharacter.steps = 0
    tokens = [None, *[CountedCharacter("a")] * run, CountedCharacter("b")]
    assert not match_tokens(tokens, "a" * characters)
    assert CountedCharacter.steps <= len(tokens) * characters


def test_a_set_matches_when_one_pattern_does() -> None:
    """One match of several is enough, and patterns given twice are kept once."""
    patterns = PatternSet.parse(["task.*", "agent.?", "task.*"])
    assert [str(pattern) for pattern in patterns.patterns] == ["task.*", "agent.?"]
    assert [patterns.matches(text) for text in ("task.a", "agent.1", "agent.10")] == [True, True, False]


@pytest.mark.parametrize("texts", [[], ["a"] * (PATTERNS_MAX + 1)])
def test_a_set_has_one_pattern_or_more_and_a_limit(texts: list[str]) -> None:
    """A set without patterns or with too many is refused."""
    with pytest.raises(InvalidPatternError) as caught:
        PatternSet.parse(texts)
    assert [violation.code for violation in caught.value.errors] == ["pattern_count"]


def test_a_set_says_which_pattern_is_wrong() -> None:
    """The pointer of a bad pattern in a list has its index."""
    with pytest.raises(InvalidPatternError) as caught:
        PatternSet.parse(["a", "b", "["], pointer="#/subscription/patterns")
    assert [violation.pointer for violation in caught.value.errors] == ["#/subscription/patterns/2"]


def test_a_memo_asks_once_until_cleared() -> None:
    """What a type matched is asked for once, falsehood included, and anew after the set has changed."""
    asked: list[str] = []

    def match(event_type: str) -> bool:
        asked.append(event_type)
        return event_type == "a"

    memo = PatternMemo(match)
    assert [memo(text) for text in "abab"] == [True, False, True, False]
    memo.clear()
    assert memo("a")
    assert asked == ["a", "b", "a"]


@given(types=st.lists(st.text("abc", max_size=3), max_size=60), limit=st.integers(1, 5))
def test_a_memo_is_bounded_and_right(types: list[str], limit: int) -> None:
    """Whatever types come, the memo answers as the function does and never keeps more than its limit."""
    memo = PatternMemo(len, limit=limit)
    for text in types:
        assert len(text) == memo(text)
        assert len(memo) <= limit
