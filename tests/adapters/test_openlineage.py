"""What OpenLineage is told holds together, and arrives in a file and at a real server."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.generated.column_lineage_dataset import ColumnLineageDatasetFacet
from openlineage.client.generated.schema_dataset import SchemaDatasetFacet

from bidloop.adapters.openlineage.jobs import design
from bidloop.adapters.openlineage.runs import emit_run
from bidloop.adapters.openlineage.sender import LineageSender
from bidloop.core.errors import ConfigurationError, InsufficientData, Unavailable
from bidloop.features.lineage import lineage, upstream
from bidloop.features.signal_sets import campaign_signals, user_signals, with_signals
from bidloop.features.views import campaign_view

VIEW = with_signals(campaign_view(), campaign_signals(), user_signals())
NOW = datetime(2026, 3, 1, tzinfo=UTC)
READS = ("ctr_7d", "device", "user_propensity")


class Server:
    """An HTTP server that keeps what it is sent, or refuses it."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any], str | None]] = []
        self.status = 201
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.received.append((self.path, json.loads(body), self.headers.get("Authorization")))
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    it = Server()
    thread = threading.Thread(target=it.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield it
    it.http.shutdown()
    thread.join()
    it.http.server_close()


def told(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def columns(dataset: InputDataset | OutputDataset) -> set[str]:
    schema = (dataset.facets or {}).get("schema")
    return {field.name for field in schema.fields or ()} if isinstance(schema, SchemaDatasetFacet) else set()


def test_every_column_comes_from_a_column_of_an_input() -> None:
    events = design(VIEW, "shop", NOW, model="v1", reads=READS)
    assert [event.job.name for event in events] == ["bidloop.features", "bidloop.train", "bidloop.decide"]
    for event in events:
        known = {(one.namespace, one.name, column) for one in event.inputs or () for column in columns(one)}
        [output] = event.outputs or ()
        facet = (output.facets or {})["columnLineage"]
        assert isinstance(facet, ColumnLineageDatasetFacet)
        assert set(facet.fields) == columns(output)
        for field in facet.fields.values():
            assert field.inputFields
            for source in field.inputFields:
                assert (source.namespace, source.name, source.field) in known
                assert source.transformations


def test_the_columns_of_features_are_those_of_the_lineage() -> None:
    [features, *_] = design(VIEW, "shop", NOW)
    [output] = features.outputs or ()
    facet = (output.facets or {})["columnLineage"]
    assert isinstance(facet, ColumnLineageDatasetFacet)
    edges = lineage(VIEW)
    for name, field in facet.fields.items():
        sources = {edge.source for edge in upstream(edges, name) if edge.source.kind != "amount"}
        assert len(field.inputFields) == len(sources)
    [clicks] = [one for one in facet.fields["ctr_7d"].inputFields if one.name == "events.click_received"]
    assert [(one.type, one.subtype) for one in clicks.transformations or ()] == [("DIRECT", "AGGREGATION")]
    [user] = [one for one in facet.fields["user_propensity"].inputFields if one.field == "user_id"]
    assert [(one.type, one.subtype) for one in user.transformations or ()] == [("INDIRECT", "GROUP_BY")]


def test_before_the_first_training_there_is_no_job_but_that_of_the_features() -> None:
    assert [event.job.name for event in design(VIEW, "shop", NOW)] == ["bidloop.features"]


def test_a_training_run_is_told_from_start_to_end(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "lineage.jsonl"
    with emit_run(str(file), "shop", VIEW) as run:
        assert [event["eventType"] for event in told(file)] == ["START"]
        run.trained("v0123456789ab", READS)
    start, complete = told(file)
    assert complete["eventType"] == "COMPLETE"
    assert start["run"]["runId"] == complete["run"]["runId"] == run.run_id
    assert start["job"] == complete["job"]
    assert start["job"]["name"] == "bidloop.train"
    assert {one["name"] for one in start["inputs"]} >= {"features.campaign", "events.click_received"}
    assert start["inputs"][0]["facets"]["version"]["datasetVersion"] == VIEW.version
    [model] = complete["outputs"]
    assert model["facets"]["version"]["datasetVersion"] == "v0123456789ab"
    assert {one["field"] for one in model["facets"]["columnLineage"]["fields"]["ctr"]["inputFields"]} == set(READS)


def test_a_run_that_fails_is_told_with_its_error_which_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "lineage.jsonl"
    with pytest.raises(InsufficientData), emit_run(str(file), "shop", VIEW):
        raise InsufficientData("no rows")
    with pytest.raises(KeyError), emit_run(str(file), "shop", VIEW):
        raise KeyError("anna@example.org")
    start, fail, _, other = told(file)
    assert (start["eventType"], fail["eventType"]) == ("START", "FAIL")
    assert fail["run"]["facets"]["errorMessage"]["message"] == "InsufficientData: no rows"
    assert other["run"]["facets"]["errorMessage"]["message"] == "KeyError"  # whose text may say anything


def test_a_server_gets_every_event_at_the_address_that_clients_use(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    with emit_run(server.url, "shop", VIEW) as run:
        run.trained("v1", READS)
    assert [path for path, _, _ in server.received] == ["/api/v1/lineage"] * 2
    assert [body["eventType"] for _, body, _ in server.received] == ["START", "COMPLETE"]
    assert {key for _, _, key in server.received} == {"Bearer secret"}
    sender = LineageSender(f"{server.url}/elsewhere")
    for event in design(VIEW, "shop", NOW):
        sender.send(event)
    sender.close()
    assert server.received[-1][0] == "/elsewhere"


def test_a_server_that_refuses_is_unavailable_and_keeps_no_training_from_its_end(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.status = 400
    sender = LineageSender(server.url)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        sender.send(design(VIEW, "shop", NOW)[0])
    sender.close()
    with emit_run(server.url, "shop", VIEW):
        done = True
    assert done
    assert len([record for record in caplog.records if record.name == "bidloop.lineage"]) == 2


def test_a_server_that_is_not_there_is_unavailable_and_its_password_is_not_told() -> None:
    sender = LineageSender("http://me:geheim@127.0.0.1:9")
    with pytest.raises(Unavailable) as error:
        sender.send(design(VIEW, "shop", NOW)[0])
    sender.close()
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    "target",
    [
        "ftp://host/x", "kafka://host", "", "http://", "http:/marquez", "htp:/x", "http://[bad", "http://me:geheim@[bad",
        "http://me:geheim@host:99999", "http://me:geheim@host:port", "me:geheim@host", "://me:geheim@host", "host:0/x",
    ],
)  # fmt: skip
def test_a_target_that_is_neither_file_nor_server_is_refused_without_its_password(target: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a file, or") as error:
        LineageSender(target)
    assert "geheim" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("target", ["marquez:5000", "10.0.0.7:5000", "localhost:5000/api/v1/lineage"])
def test_a_server_without_its_scheme_is_no_file(target: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Did you mean 'http://{target}'"):
        LineageSender(target)


def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "lineage.jsonl"):
        sender = LineageSender(str(target))
        with pytest.raises(Unavailable):
            sender.send(design(VIEW, "shop", NOW)[0])
        sender.close()
        with emit_run(str(target), "shop", VIEW):
            done = True
        assert done


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    with pytest.raises(ConfigurationError, match=r"pip install bidloop\[lineage\]"):
        LineageSender("lineage.jsonl")
    with emit_run("", "shop", VIEW) as run:  # nobody to be told, nothing to be installed
        assert run.run_id == ""
