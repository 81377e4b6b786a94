"""How long a server may be silent, learnt from its own jobs."""

from __future__ import annotations

from orchestrator.batch.logic.pace import Pace, PaceBounds

PATIENCE = PaceBounds(first=900.0, least=60.0, factor=4.0)


def test_before_the_first_job_has_ended_it_may_load_a_model() -> None:
    pace = Pace(PATIENCE)
    pace.began(100.0, "m")
    assert not pace.is_overdue(1000.0)
    assert pace.is_overdue(1001.0)


def test_the_longest_job_sets_the_bound() -> None:
    pace = Pace(PATIENCE)
    pace.began(0.0, "m")
    pace.ended(30.0)
    pace.ended(20.0)
    assert pace.bound == 120.0
    pace.began(200.0, "m")
    pace.sign(300.0)
    assert not pace.is_overdue(420.0)
    assert pace.is_overdue(421.0)
    assert pace.silence(421.0) == 121.0


def test_fast_jobs_do_not_make_it_impatient() -> None:
    pace = Pace(PATIENCE)
    pace.began(0.0, "m")
    pace.ended(0.05)
    assert pace.bound == 60.0


def test_another_model_has_to_be_loaded_first() -> None:
    pace = Pace(PATIENCE)
    pace.began(0.0, "m")
    pace.ended(1.0)
    pace.began(10.0, "n")
    assert pace.bound == 900.0


def test_news_of_a_job_may_be_late_by_a_small_part_of_what_jobs_take() -> None:
    pace = Pace(PATIENCE)
    assert pace.gather == 0.0
    assert not pace.is_brisk
    pace.ended(0.04)
    assert pace.gather == 0.04 * 0.05
    assert pace.is_brisk
    pace.ended(0.2)
    assert not pace.is_brisk
    pace.ended(60.0)
    assert pace.gather == 0.05
    assert not pace.is_brisk
