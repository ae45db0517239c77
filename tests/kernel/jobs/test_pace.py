"""How fast a job goes, and when it will be done."""

from holdfast.kernel.jobs.pace import WINDOW_SECONDS, Pace


def paced(*measures: tuple[float, int]) -> Pace:
    pace = Pace()
    for moment, done in measures:
        pace.add(moment, done)
    return pace


def test_one_measure_says_nothing_about_a_rate() -> None:
    pace = paced((5.0, 100))
    assert pace.per_second is None
    assert pace.eta_seconds(1000) is None


def test_two_measures_give_rate_and_time_left() -> None:
    pace = paced((0.0, 100), (2.0, 300))
    assert pace.per_second == 100
    assert pace.eta_seconds(1300) == 10


def test_measures_close_to_each_other_give_no_rate() -> None:
    assert paced((0.0, 0), (0.1, 5000)).per_second is None


def test_only_the_last_seconds_count() -> None:
    slow_then_fast = [(float(s), s) for s in range(60)]
    slow_then_fast += [(60.0 + s, 60 + 50 * s) for s in range(int(WINDOW_SECONDS) + 2)]
    assert paced(*slow_then_fast).per_second == 50


def test_what_stands_still_has_no_end() -> None:
    pace = paced(*[(float(s), 70) for s in range(40)])
    assert pace.per_second == 0
    assert pace.eta_seconds(100) is None
    assert pace.eta_seconds(70) == 0


def test_a_count_that_begins_anew_is_measured_anew() -> None:
    pace = paced((0.0, 0), (10.0, 1000), (11.0, 0), (13.0, 20))
    assert pace.per_second == 10


def test_without_a_total_there_is_no_time_left() -> None:
    assert paced((0.0, 0), (2.0, 10)).eta_seconds(None) is None
