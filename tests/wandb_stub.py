"""A W&B server on loopback: keeps what it is sent, and can be slow, broken or deaf.

It answers what `wandb sync` and `Workspace.save` ask, and nothing else.
"""

import json
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

KEY = "0" * 40
ENTITY = "someone"


@dataclass
class StoredRun:
    """What the server knows of a run.

    Attributes:
        fields: as given when it was made: displayName, groupName, tags, config, ...
        lines: of each streamed file, by their offset.
        files: uploaded files by name.
        exit_code: None as long as the run goes on.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def config(self) -> dict[str, Any]:
        return {key: item["value"] for key, item in json.loads(self.fields["config"]).items()}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for _, line in sorted(self.lines["wandb-history.jsonl"].items())]

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads(self.lines["wandb-summary.json"][0]))


class Stub:
    """The server; `mode` is ok, slow (every answer after `delay` seconds), error (500) or hang."""

    def __init__(self, mode: str = "ok", delay: float = 30.0) -> None:
        self.mode, self.delay = mode, delay
        self.requests: list[str] = []
        self.runs: dict[str, StoredRun] = defaultdict(StoredRun)
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.views: list[dict[str, Any]] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def respond(self, method: str, path: str, sent: bytes) -> tuple[int, dict[str, Any]]:
        """Status and body, as the mode asks."""
        if self.mode in ("slow", "hang"):
            self._closing.wait(self.delay if self.mode == "slow" else None)
        if self.mode in ("error", "hang"):
            self.requests.append(f"refused {path}")
            return 500, {}
        if path == "/graphql":
            asked = json.loads(sent)
            return 200, {"data": self._graphql(asked["query"], asked.get("variables") or {})}
        self.requests.append(f"{method} {path}")
        self._take(path.strip("/").split("/"), sent)
        return 200, {}

    def _take(self, path: list[str], sent: bytes) -> None:
        match path:
            case [*_, run, "file_stream"]:
                news, stored = json.loads(sent), self.runs[run]
                for name, part in news.get("files", {}).items():
                    stored.lines[name].update(enumerate(part["content"], part["offset"]))
                if news.get("complete"):
                    stored.exit_code = news["exitcode"]
            case ["run", run, *name]:
                self.runs[run].files["/".join(name)] = sent
            case ["artifact", artifact, *name]:
                self.artifacts[artifact]["/".join(name)] = sent

    def _graphql(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        operation = re.split(r"\W+", query.strip())[1]
        self.requests.append(operation)
        asked = given.get("input", {})
        match operation:
            case "__typename":
                return {"__typename": "Query"}
            case "Viewer":
                teams = {"edges": []}
                return _made("viewer", id=ENTITY, entity=ENTITY, username=ENTITY, teams=teams)
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
            case "UpsertBucket":
                fields = self.runs[given["name"]].fields
                fields |= {key: value for key, value in given.items() if value is not None}
                owner = {"id": ENTITY, "name": ENTITY}
                return _made(
                    "upsertBucket.bucket",
                    id=given["name"],
                    name=given["name"],
                    displayName=fields.get("displayName"),
                    project={"id": given["project"], "name": given["project"], "entity": owner},
                    historyLineCount=0,
                )
            case "CreateRunFiles":
                place = f"{self.url}/run/{given['run']}"
                files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in given["files"]]
                return _made("createRunFiles", runID=given["run"], uploadHeaders=[], files=files)
            case "CreateArtifact":
                name = asked["artifactCollectionName"]
                self.artifacts[name] = {}
                sequence = {"latestArtifact": None}
                return _made(
                    "createArtifact.artifact", id=name, state="PENDING", artifactSequence=sequence
                )
            case "CreateArtifactManifest":
                place = f"{self.url}/artifact/{given['artifactID']}/{given['name']}"
                file = {"id": "file", "uploadUrl": place, "uploadHeaders": []}
                return _made("createArtifactManifest.artifactManifest", id="manifest", file=file)
            case "CreateArtifactFiles":
                nodes = [
                    {
                        "storagePath": file["name"],
                        "uploadUrl": f"{self.url}/artifact/{file['artifactID']}/{file['name']}",
                        "uploadHeaders": [],
                        "uploadMultipartUrls": None,
                        "artifact": {"id": file["artifactID"]},
                    }
                    for file in asked["artifactFiles"]
                ]
                edges = [{"node": node} for node in nodes]
                return _made("createArtifactFiles.files", edges=edges)
            case "CommitArtifact":
                return _made("commitArtifact.artifact", id=given["artifactID"], digest="")
            case "ProjectInternalId":
                return {"project": {"id": given["projectName"], "internalId": "UHJvamVjdDox"}}
            case "UpsertView2":
                self.views.append(given)
                view = {"id": "view", "name": given["name"]}
                return {"upsertView": {"view": view, "inserted": True}}
        raise NotImplementedError(f"{operation}: {query}")


def _made(path: str, **values: object) -> dict[str, Any]:
    """An answer nested as the path says."""
    outer, _, inner = path.partition(".")
    return {outer: {inner: values} if inner else values}


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = stub.respond(self.command, self.path, sent)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 (the names that the library calls)

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # the client left, as it may
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler
