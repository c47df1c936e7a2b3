"""What is said once, and what is said again."""

from datetime import UTC, datetime, timedelta

from node.news import REMEMBERED, once_every

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_the_same_is_news_once_a_period() -> None:
    is_news = once_every(MINUTE)

    said = [is_news("a", NOW + seconds * timedelta(seconds=1)) for seconds in (0, 1, 59, 60, 61)]

    assert said == [True, False, False, True, False]


def test_other_texts_are_news_by_themselves() -> None:
    is_news = once_every(MINUTE)

    assert is_news("a", NOW)
    assert is_news("b", NOW)


def test_a_clock_that_is_set_back_silences_nothing_for_long() -> None:
    is_news = once_every(MINUTE)
    is_news("a", NOW)

    assert is_news("a", NOW - timedelta(hours=1))


def test_no_more_is_remembered_than_the_limit() -> None:
    is_news = once_every(MINUTE)
    for number in range(REMEMBERED):
        is_news(str(number), NOW)

    assert is_news("one too many", NOW)
    assert is_news("0", NOW)
