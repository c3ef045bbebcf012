-- Deletes, dropped slices, expired stages, and what reconciliation finds.
ALTER TABLE ops.slice_ledger
    DROP CONSTRAINT slice_ledger_kind_check,
    ADD CONSTRAINT slice_ledger_kind_check CHECK (kind IN ('load', 'redrive', 'discard', 'drop', 'expire'));
COMMENT ON COLUMN ops.slice_ledger.kind IS
    'load: the source gave the rows; redrive, discard: rows left the quarantine; drop: the slice was removed on purpose;'
    ' expire: a stage that nobody came back for was removed. But for a load the counts are the slice''s new ones';

-- The last load of each slice: what was asked of the source, and what it gave.
CREATE OR REPLACE VIEW ops.slice_loaded AS
SELECT DISTINCT ON (dataset, slice_key) *
FROM ops.slice_ledger
WHERE (status, kind) = ('published', 'load')
ORDER BY dataset, slice_key, attempt DESC;

-- Rows that the source deleted, for tables that they leave: an older version that comes later must not come back.
CREATE TABLE IF NOT EXISTS ops.tombstone (
    dataset   text NOT NULL,
    key       text[] NOT NULL,
    moment    text NOT NULL,
    slice_key text NOT NULL,
    PRIMARY KEY (dataset, key, moment, slice_key)
);
COMMENT ON COLUMN ops.tombstone.key IS 'The values of the contract''s primary key as text, in order';
COMMENT ON COLUMN ops.tombstone.moment IS 'The value of the contract''s cursor, as text';
CREATE INDEX IF NOT EXISTS tombstone_by_slice ON ops.tombstone (dataset, slice_key);

-- Where source, ledger and table differ; closed by the reconciliation that finds them equal again.
CREATE TABLE IF NOT EXISTS ops.finding (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset   text NOT NULL,
    slice_key text NOT NULL,
    kind      text NOT NULL,
    detail    jsonb NOT NULL DEFAULT '{}',
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS finding_open ON ops.finding (dataset, slice_key, kind) WHERE closed_at IS NULL;

-- By this the janitor tells the stages that nobody will come back for.
ALTER TABLE ops.stage ADD COLUMN IF NOT EXISTS changed_at timestamptz NOT NULL DEFAULT clock_timestamp();
