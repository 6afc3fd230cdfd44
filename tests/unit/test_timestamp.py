"""Times and durations as text: what is read, what is refused, and that reading undoes writing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.errors import InvalidParameterError
from waooaw.events.timestamp import format_timestamp, is_rfc3339, parse_duration, parse_timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-24T05:28:22Z", 1_795_498_102_000),
        ("2026-11-24T05:28:22.123Z", 1_795_498_102_123),
        ("2026-11-24t05:28:22.123z", 1_795_498_102_123),
        ("2026-11-24T07:28:22.1239999999999999999999+02:00", 1_795_498_102_123),
        ("2026-11-23T23:58:22.1-05:30", 1_795_498_102_100),
        ("2026-11-24T05:28:22-00:00", 1_795_498_102_000),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2016-12-31T23:59:60Z", 1_483_228_799_999),
        ("2017-01-01T01:59:60.5+02:00", 1_483_228_799_999),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2000-02-29T00:00:00Z", 951_782_400_000),
        ("0001-01-01T00:00:00Z", FIRST_MS),
        ("9999-12-31T23:59:59.999Z", LAST_MS),
        ("0000-01-01T00:00:00Z", FIRST_MS - 366 * 86_400_000),
    ],
)
def test_times_are_read(text: str, expected: int) -> None:
    """Every form of RFC 3339 is read as Unix milliseconds, floored."""
    assert expected == parse_timestamp(text)
    assert is_rfc3339(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-24",
        "2026-11-24T05:28:22",
        "2026-11-24T05:28Z",
        "2026-11-24 05:28:22Z",
        "2026-11-24T05:28:22.Z",
        "2026-11-24T05:28:22,5Z",
        "2026-11-24T05:28:22+0200",
        "2026-11-24T05:28:22+2:00",
        "2026-11-24T05:28:22 02:00",
        "2026-11-24T05:28:22+24:00",
        "2026-11-24T05:28:22+02:60",
        "2026-11-24T24:00:00Z",
        "2026-11-24T05:60:00Z",
        "2026-11-24T05:28:61Z",
        "2026-11-24T05:28:60Z",
        "2016-12-31T23:59:60+01:00",
        "2026-00-24T05:28:22Z",
        "2026-13-24T05:28:22Z",
        "2026-11-00T05:28:22Z",
        "2026-11-31T05:28:22Z",
        "2026-01-32T05:28:22Z",
        "2026-02-29T05:28:22Z",
        "1900-02-29T05:28:22Z",
        "2024-02-30T05:28:22Z",
        "26-11-24T05:28:22Z",
        "12026-11-24T05:28:22Z",
        "+2026-11-24T05:28:22Z",
        " 2026-11-24T05:28:22Z",
        "2026-11-24T05:28:22Z\n",
        "2026-11-24T05:28:22ZZ",
        "٢٠٢٦-11-24T05:28:22Z",
        "1764019200123",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """What RFC 3339 or the calendar does not allow is refused, and the error names the parameter."""
    assert not is_rfc3339(text)
    with pytest.raises(InvalidParameterError) as caught:
        parse_timestamp(text, pointer="#/from")
    assert [violation.pointer for violation in caught.value.errors] == ["#/from"]


def test_a_space_for_the_plus_is_read_only_when_asked() -> None:
    """A space where ``+`` belongs is a ``+`` when leniency is asked for, and a space anywhere else stays wrong."""
    assert parse_timestamp("2026-11-24T07:28:22+02:00") == parse_timestamp(
        "2026-11-24T07:28:22 02:00", lenient_plus=True
    )
    for text in ("2026-11-24 07:28:22 02:00", "2026-11-24 07:28:22Z", "2026-11-24T07:28:22  02:00"):
        with pytest.raises(InvalidParameterError):
            parse_timestamp(text, lenient_plus=True)


def test_an_error_repeats_little_of_a_long_text() -> None:
    """A text of a megabyte does not come back in the error."""
    with pytest.raises(InvalidParameterError) as caught:
        parse_timestamp("9" * 1_000_000)
    assert len(str(caught.value)) < 200


@given(
    moment=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 - zone is next
    offset=st.integers(-1439, 1439),
)
def test_reading_agrees_with_datetime(moment: datetime, offset: int) -> None:
    """Whatever the date and offset, the milliseconds are those of the standard library."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert (aware - EPOCH) // timedelta(milliseconds=1) == parse_timestamp(aware.isoformat())


@given(st.integers(FIRST_MS, LAST_MS))
def test_reading_undoes_writing(unix_ms: int) -> None:
    """Every millisecond of the years 1 to 9999 is written so that it is read back, always 24 characters long."""
    text = format_timestamp(unix_ms)
    assert unix_ms == parse_timestamp(text)
    assert len(text) == 24


@given(st.text("0123456789-:.TtZz+ ", max_size=30))
def test_the_check_and_the_reader_agree(text: str) -> None:
    """What the check lets through can be read, and nothing else."""
    try:
        parse_timestamp(text)
    except InvalidParameterError:
        assert not is_rfc3339(text)
    else:
        assert is_rfc3339(text)


@pytest.mark.parametrize(
    ("unix_ms", "expected"),
    [
        (1_795_498_102_123, "2026-11-24T05:28:22.123Z"),
        (1_795_498_102_007, "2026-11-24T05:28:22.007Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_written(unix_ms: int, expected: str) -> None:
    """Times are written in UTC with three places."""
    assert expected == format_timestamp(unix_ms)


@pytest.mark.parametrize("unix_ms", [FIRST_MS - 1, LAST_MS + 1, 10**30])
def test_times_beyond_the_calendar_are_not_written(unix_ms: int) -> None:
    """A time that four digits of year cannot hold is refused."""
    with pytest.raises(InvalidParameterError):
        format_timestamp(unix_ms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30_000), ("15m", 900_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0s", 0), ("007m", 420_000)],
)
def test_durations_are_read(text: str, expected: int) -> None:
    """A count and a unit are read as milliseconds."""
    assert expected == parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "15", "m", "-1m", "+1m", "1.5h", "1 h", "1h30m", "1H", "1ms", "٣m", "1m\n", "1" * 10 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Signs, fractions, spaces, sums, other units and counts of over nine digits are refused."""
    with pytest.raises(InvalidParameterError):
        parse_duration(text)
