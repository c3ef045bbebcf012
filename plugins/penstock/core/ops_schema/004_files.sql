-- The files that published slices were loaded from: kept in the detail of the slice's own row, so that they are recorded
-- when and only when their rows are published.
CREATE VIEW ops.source_file AS
SELECT l.dataset, l.slice_key, f ->> 'path' AS path, (f ->> 'bytes')::bigint AS bytes, f ->> 'modified' AS modified,
       f ->> 'sha256' AS sha256, l.finished_at AS loaded_at
FROM ops.slice_loaded AS l
JOIN ops.slice_current AS c USING (dataset, slice_key)
CROSS JOIN jsonb_array_elements(l.detail -> 'files') AS f
WHERE c.kind <> 'drop' AND jsonb_typeof(l.detail -> 'files') = 'array';
COMMENT ON VIEW ops.source_file IS 'The files that published slices were loaded from';
