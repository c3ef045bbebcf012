-- The platform's own tables. The files of this folder are applied in order, each once, by penstock.core.ops.
CREATE SCHEMA IF NOT EXISTS ops;
CREATE SCHEMA IF NOT EXISTS staging;

CREATE TABLE IF NOT EXISTS ops.schema_version (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row per staged slice that is not published yet.
CREATE TABLE IF NOT EXISTS ops.stage (
    name             text PRIMARY KEY,
    dataset          text NOT NULL,
    slice_key        text NOT NULL,
    run_id           text NOT NULL,
    state            text NOT NULL CHECK (state IN ('staged', 'passed', 'refused')),
    extracted        bigint NOT NULL CHECK (extracted >= 0),
    filtered         bigint NOT NULL DEFAULT 0 CHECK (filtered >= 0),
    quarantined      bigint NOT NULL DEFAULT 0 CHECK (quarantined >= 0),
    contract_hash    text NOT NULL,
    detail           jsonb NOT NULL DEFAULT '{}',
    extract_seconds  double precision NOT NULL DEFAULT 0,
    validate_seconds double precision NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row per attempt that was published or refused. Every extracted row is in exactly one of the five outcomes.
CREATE TABLE IF NOT EXISTS ops.slice_ledger (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset          text NOT NULL,
    slice_key        text NOT NULL,
    attempt          integer NOT NULL,
    status           text NOT NULL CHECK (status IN ('published', 'refused')),
    run_id           text NOT NULL,
    dag_id           text,
    load_mode        text NOT NULL,
    extracted        bigint NOT NULL CHECK (extracted >= 0),
    loaded           bigint NOT NULL CHECK (loaded >= 0),
    quarantined      bigint NOT NULL CHECK (quarantined >= 0),
    deduplicated     bigint NOT NULL CHECK (deduplicated >= 0),
    filtered         bigint NOT NULL CHECK (filtered >= 0),
    withheld         bigint NOT NULL CHECK (withheld >= 0),
    extract_seconds  double precision NOT NULL,
    validate_seconds double precision NOT NULL,
    publish_seconds  double precision NOT NULL,
    contract_version text NOT NULL,
    contract_hash    text NOT NULL,
    detail           jsonb NOT NULL DEFAULT '{}',
    finished_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT every_row_is_accounted_for
        CHECK (extracted = loaded + quarantined + deduplicated + filtered + withheld),
    CONSTRAINT only_a_refused_slice_withholds_rows
        CHECK ((status = 'refused' AND loaded = 0) OR withheld = 0),
    UNIQUE (dataset, slice_key, attempt)
);
COMMENT ON TABLE ops.slice_ledger IS
    'One row per attempt at a slice: extracted = loaded + quarantined + deduplicated + filtered + withheld';
COMMENT ON COLUMN ops.slice_ledger.withheld IS
    'Rows of a refused slice that broke no rule: kept in the stage, not published';

CREATE OR REPLACE VIEW ops.slice_current AS
SELECT DISTINCT ON (dataset, slice_key) *
FROM ops.slice_ledger
WHERE status = 'published'
ORDER BY dataset, slice_key, attempt DESC;

-- Rows of published slices that broke the contract, as they were received.
CREATE TABLE IF NOT EXISTS ops.quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset     text NOT NULL,
    slice_key   text NOT NULL,
    run_id      text NOT NULL,
    rules       text[] NOT NULL CHECK (cardinality(rules) > 0),
    payload     jsonb NOT NULL,
    fingerprint text NOT NULL,
    occurrence  integer NOT NULL,
    first_seen  timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (dataset, slice_key, fingerprint, occurrence)
);
COMMENT ON COLUMN ops.quarantine.occurrence IS
    'Counts equal rows of one slice from 1, so that each of them is kept';

-- One row per rule and judged attempt.
CREATE TABLE IF NOT EXISTS ops.rule_result (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset     text NOT NULL,
    slice_key   text NOT NULL,
    run_id      text NOT NULL,
    rule        text NOT NULL,
    expectation text NOT NULL,
    severity    text NOT NULL,
    success     boolean NOT NULL,
    considered  bigint,
    unexpected  bigint,
    observed    text,
    judged_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS rule_result_by_slice ON ops.rule_result (dataset, slice_key, run_id);
