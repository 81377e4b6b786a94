"""The tables that a service has beside those of a batch's record, in the same database.

`batch.execution.store.migrations` makes them, also in the record of a batch, where they stay
empty. Moments are s since the epoch by the wall clock, and lists and limits are JSON texts.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from ..batch.execution.store.tables import ID, metadata

keys = Table(
    "keys",
    metadata,
    # the part of a key that is no secret, and what jobs and files have as their owner
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("limits", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    # to the minute
    Column("used_at", Float),
)

# What files consist of, each content once however many files have it. Whoever adds or removes a
# file holds the row of its content, so that none goes while another takes it up.
contents = Table(
    "contents",
    metadata,
    # "blake3:" and 64 hexadecimal digits
    Column("hash", String(71), primary_key=True),
    Column("size", BigInteger, nullable=False),
    # found by looking
    Column("content_type", Text, nullable=False),
    # when it was last taken up; a bucket's is left alone for a while after, see `assets`
    Column("touched_at", Float, nullable=False),
)

assets = Table(
    "assets",
    metadata,
    Column("id", String(36), primary_key=True),
    # id of a key; "" where the service asks for none
    Column("owner", String(64), nullable=False),
    Column("hash", String(71), nullable=False),
    Column("name", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    # of what a job made: the job, the node and the place among the job's files
    Column("job_id", String(64)),
    Column("node_id", Text),
    Column("place", Integer),
    Index("assets_by_hash", "hash", "owner"),
    Index("assets_by_job", "job_id", "place"),
    Index("assets_by_expiry", "expires_at"),
)

# messages to send, and those that were
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("url", Text, nullable=False),
    # as it is signed and sent, each time the same
    Column("body", Text, nullable=False),
    Column("state", String(12), nullable=False),
    Column("attempts", Integer, nullable=False),
    # when it is sent next; whoever sends it moves this ahead first
    Column("due_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    # HTTP status of the latest answer, and what went wrong
    Column("status", Integer),
    Column("error", Text, nullable=False),
    Index("webhooks_by_due", "state", "due_at"),
    Index("webhooks_by_job", "job_id"),
)

# what the webhooks of an owner are signed with; in clear, as a signature needs it
signing = Table(
    "signing",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

# One row for each row of `jobs` that a request made; `id` is its key.
requests = Table(
    "requests",
    metadata,
    Column("id", String(64), primary_key=True),
    # the id of the API key that posted it; "" without one
    Column("owner", String(64), nullable=False),
    # as in `jobs`, so that a page of requests is read from one index
    Column("place", Integer, nullable=False),
    # the graph as it was posted, references to assets included
    Column("graph", Text, nullable=False),
    # what pictures shall carry besides the graph, as JSON
    Column("extra_data", Text, nullable=False),
    # what the face that took it tells again, and what people should know, as JSON
    Column("notes", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    # URL that is told of its end; "" where none is
    Column("webhook", Text, nullable=False),
    # of the graph
    Column("nodes", Integer, nullable=False),
    # s since the epoch by the wall clock
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("expires_at", Float, nullable=False),
    # which made it, or runs it; "" before that
    Column("server", Text, nullable=False),
    # why it failed, as JSON; "" where it did not
    Column("error", Text, nullable=False),
    Index("requests_by_place", "owner", "place"),
    Index("requests_by_expiry", "expires_at"),
    Index("requests_by_end", "ended_at"),
)

labels = Table(
    "labels",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", String(512), nullable=False),
    Index("labels_by_value", "name", "value"),
)

# Idempotency keys: which request a key stands for, and the hash of the body that it came with.
idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("request", String(64), nullable=False),
    Column("made_at", Float, nullable=False),
    Index("idempotency_by_age", "made_at"),
    Index("idempotency_by_request", "request"),
)

# who has signed in on the page
sessions = Table(
    "sessions",
    metadata,
    # of what the browser's cookie says
    Column("token_sha256", String(64), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("sessions_by_expiry", "expires_at"),
)

# what people think of pictures
marks = Table(
    "marks",
    metadata,
    Column("asset", String(36), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("owner", String(64), nullable=False),
    # "pick" or "reject"
    Column("verdict", String(8), nullable=False),
    Column("marked_at", Float, nullable=False),
    Index("marks_by_job", "job_id", "verdict"),
    Index("marks_by_owner", "owner", "verdict", "marked_at"),
)

# The processes that make requests on servers of their own, beside the service; see `workers`.
workers = Table(
    "workers",
    metadata,
    Column("name", String(64), primary_key=True),
    # the name under which it claims attempts
    Column("owner", String(64), nullable=False),
    Column("host", Text, nullable=False),
    # the machine, the process and when that began, by which a dead one is known on its machine
    Column("machine", String(64), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("born", Float, nullable=False),
    # of Spriteworks, Python and the operating system
    Column("version", Text, nullable=False),
    Column("python", Text, nullable=False),
    Column("system", Text, nullable=False),
    # a `workers.registry.Stage`
    Column("stage", String(12), nullable=False),
    Column("started_at", Float, nullable=False),
    # its latest sign of life, by the database's clock
    Column("beat_at", Float, nullable=False),
    # how far its requests are, as JSON
    Column("progress", Text, nullable=False),
)

# the servers of workers
worker_servers = Table(
    "worker_servers",
    metadata,
    Column("worker", String(64), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("is_ours", Boolean, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("words", Text, nullable=False),
    Column("done", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    # what it last told of itself, as JSON, and the hash of its catalogue; "" before it has
    Column("stats", Text, nullable=False),
    Column("catalogue", String(64), nullable=False),
)

# Catalogues of servers, each once: servers of one kind have the same.
catalogues = Table(
    "catalogues",
    metadata,
    Column("sha256", String(64), primary_key=True),
    # the answer to GET /object_info, JSON packed by zlib
    Column("content", LargeBinary, nullable=False),
    Column("is_engine", Boolean, nullable=False),
)

# What workers did, for the service, which takes each row away when it has heard it.
news = Table(
    "news",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("request", String(64), nullable=False),
    # a `workers.outbox.Kind`, and what it says, as JSON
    Column("kind", String(12), nullable=False),
    Column("data", Text, nullable=False),
)

# Logins that came with requests which workers may make, until those have come to their end.
logins = Table(
    "logins",
    metadata,
    Column("request", String(64), primary_key=True),
    Column("content", Text, nullable=False),
)
