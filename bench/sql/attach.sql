-- Publish :stage as the partition of :day, with a unique index on the key.
BEGIN;
CREATE UNIQUE INDEX ON :stage (payment_id);
ALTER TABLE :stage
    ALTER payment_id SET NOT NULL,
    ALTER account_id SET NOT NULL,
    ALTER recorded_at SET NOT NULL,
    ALTER amount SET NOT NULL,
    ALTER currency SET NOT NULL,
    ADD CONSTRAINT in_slice CHECK (recorded_at >= :'day' AND recorded_at < :'next_day');
ALTER TABLE :table ATTACH PARTITION :stage FOR VALUES FROM (:'day') TO (:'next_day');
ALTER TABLE :stage DROP CONSTRAINT in_slice;
COMMIT;
