-- What becomes of quarantined rows, which versions of a contract there were, what changed in a table.
ALTER TABLE ops.slice_ledger
    ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT 'load' CHECK (kind IN ('load', 'redrive', 'discard'));
COMMENT ON COLUMN ops.slice_ledger.kind IS
    'load: the source gave the rows; redrive, discard: rows left the quarantine, and the counts are the slice''s new ones';

CREATE OR REPLACE VIEW ops.slice_current AS
SELECT DISTINCT ON (dataset, slice_key) *
FROM ops.slice_ledger
WHERE status = 'published'
ORDER BY dataset, slice_key, attempt DESC;

-- A mend and a discard outlive a repeated load of the slice: the row is known by its fingerprint.
ALTER TABLE ops.quarantine
    ADD COLUMN IF NOT EXISTS state text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'redriven', 'discarded')),
    ADD COLUMN IF NOT EXISTS details jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN IF NOT EXISTS mended jsonb,
    ADD COLUMN IF NOT EXISTS mended_by text,
    ADD COLUMN IF NOT EXISTS mended_at timestamptz,
    ADD COLUMN IF NOT EXISTS closed_by text,
    ADD COLUMN IF NOT EXISTS closed_reason text,
    ADD COLUMN IF NOT EXISTS closed_at timestamptz;
ALTER TABLE ops.quarantine
    ADD CONSTRAINT mended_by_somebody CHECK ((mended IS NULL) = (mended_by IS NULL)),
    ADD CONSTRAINT closed_by_somebody CHECK ((state = 'open') = (closed_by IS NULL)),
    ADD CONSTRAINT discarded_for_a_reason CHECK (state <> 'discarded' OR coalesce(closed_reason, '') <> '');
COMMENT ON COLUMN ops.quarantine.payload IS 'The row as received: the text of each field, or null';
COMMENT ON COLUMN ops.quarantine.details IS
    'For values that do not cast: [{"column", "value_class", "target"}]';
CREATE INDEX IF NOT EXISTS quarantine_open ON ops.quarantine (dataset, slice_key) WHERE state = 'open';

ALTER TABLE ops.rule_result
    ADD COLUMN IF NOT EXISTS kwargs jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS judged bigint,
    ADD COLUMN IF NOT EXISTS samples jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN IF NOT EXISTS contract_version text,
    ADD COLUMN IF NOT EXISTS contract_hash text;
COMMENT ON COLUMN ops.rule_result.judged IS 'Rows of the slice that the rule was held against';
COMMENT ON COLUMN ops.rule_result.samples IS 'Some of the unexpected values, masked by the contract';

CREATE TABLE IF NOT EXISTS ops.contract_version (
    dataset    text NOT NULL,
    hash       text NOT NULL,
    version    text NOT NULL,
    document   jsonb NOT NULL,
    first_used timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, hash)
);

-- Every change to a published table's structure, whoever made it: a first publish, an evolving slice, `penstock apply`.
CREATE TABLE IF NOT EXISTS ops.schema_change (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset       text NOT NULL,
    slice_key     text,
    made_by       text NOT NULL,
    change        text NOT NULL,
    statement     text NOT NULL,
    destructive   boolean NOT NULL DEFAULT false,
    contract_hash text NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS schema_change_by_dataset ON ops.schema_change (dataset, id);

-- Columns that a source sent and a contract with `schemaPolicy: evolve` took in without naming them.
CREATE TABLE IF NOT EXISTS ops.evolved_column (
    dataset     text NOT NULL,
    name        text NOT NULL,
    source_name text NOT NULL,
    type        text NOT NULL,
    slice_key   text NOT NULL,
    run_id      text NOT NULL,
    added_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, name),
    UNIQUE (dataset, source_name)
);
