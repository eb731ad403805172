"""Jobs are used in pydantic models and FastAPI endpoints without any adapter."""

import json
from typing import Annotated, Any

import fastapi
import pydantic
import pytest
from fastapi.testclient import TestClient

from tests.job_answers import metadata
from up42_async import Job, JobStatus
from up42_async._jobs.job import read_job

jsonschema: Any = pytest.importorskip("jsonschema")  # it has no types


def made(**changes: Any) -> Job:
    return read_job(None, metadata(**changes))


def test_pydantic_reads_and_writes_jobs() -> None:
    adapter = pydantic.TypeAdapter(Job)
    job = made()
    assert adapter.validate_python(job) is job
    assert adapter.validate_python(metadata()) == adapter.validate_json(json.dumps(metadata())) == job
    assert json.loads(adapter.dump_json(job)) == adapter.dump_python(job) == job.to_metadata()
    with pytest.raises(pydantic.ValidationError, match="cannot be read"):
        adapter.validate_python({"jobID": "job-1"})
    schema = adapter.json_schema()
    assert set(schema["properties"]) == set(metadata())
    jsonschema.validate(job.to_metadata(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job.to_metadata(), "status": None}, schema)


def test_an_application_can_respond_with_a_job() -> None:
    application = fastapi.FastAPI()

    @application.get("/jobs/{job_id}")
    async def get(job_id: str) -> Job:
        return made(jobID=job_id)

    @application.get("/jobs")
    async def get_all() -> list[Job]:
        return [made()]

    @application.post("/jobs")
    async def post(job: Annotated[Job, fastapi.Body()]) -> JobStatus:
        return job.status

    with TestClient(application) as client:
        assert client.get("/jobs/a").json() == made(jobID="a").to_metadata()
        assert client.get("/jobs").json() == [made().to_metadata()]
        assert client.post("/jobs", json=metadata()).json() == "captured"
        assert client.post("/jobs", json={}).status_code == 422
        schema = client.get("/openapi.json").json()
    assert "jobID" in json.dumps(schema["paths"])
