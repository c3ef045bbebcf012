"""A job is asked for once, waited for, and its result is found."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.api_job import Job
from penstock.core.errors import PagingError, SourceError
from penstock.core.paging import Answer

JOB = Job(status="/exports/{job}", result="/exports/{job}/rows")


@pytest.mark.parametrize("said", ["done", "COMPLETED", " Succeeded "])
def test_a_result_that_is_there_is_told(said: str) -> None:
    """In whatever case it is written."""
    assert JOB.stands(Answer({"status": said})) == "done"


@pytest.mark.parametrize("said", ["queued", "running", "0.4"])
def test_anything_else_is_waited_for(said: str) -> None:
    """A state that nobody named is no end."""
    assert JOB.stands(Answer({"status": said})) == "waiting"


@pytest.mark.parametrize("body", [{"status": "failed"}, {"status": None}, {}, {"status": {"code": "1"}}, []])
def test_a_job_that_will_have_no_result_is_an_error(body: Any) -> None:
    """It was given up, or nothing says how it stands; the next try submits it anew."""
    with pytest.raises(SourceError) as caught:
        JOB.stands(Answer(body))
    assert caught.value.retryable


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": ""}, {"id": {"a": "b"}}, {"id": "x" * 600}, {"id": "a\nb"}])
def test_a_submission_without_a_job_is_an_error(body: Any) -> None:
    """There must be an id to ask by."""
    with pytest.raises(SourceError, match="no job at 'id'"):
        JOB.number(Answer(body))


def test_an_id_goes_into_the_path_whatever_it_holds() -> None:
    """It cannot lead elsewhere."""
    assert JOB.number(Answer({"id": "a/../b?c"})) == "a/../b?c"
    assert JOB.question("a/../b?c").url == "/exports/a%2F..%2Fb%3Fc"
    assert JOB.result_of("7", Answer({})).url == "/exports/7/rows"


def test_a_result_may_be_linked_to() -> None:
    """From the answer that says that it is there; at the same host."""
    job = Job(status="/exports/{job}", result="result.url")
    answer = Answer({"result": {"url": "/files/7.json"}}, "http://api.test/exports/7")
    assert job.result_of("7", answer).url == "http://api.test/files/7.json"
    with pytest.raises(PagingError, match="another host"):
        job.result_of("7", Answer({"result": {"url": "http://evil.test/x"}}, "http://api.test/exports/7"))
    with pytest.raises(SourceError, match="where its result is"):
        job.result_of("7", Answer({}, "http://api.test/exports/7"))
