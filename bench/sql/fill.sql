-- Fill :table with :rows payments of the UTC day :day whose keys are multiples of :step.
INSERT INTO :table
SELECT i * :step,
       1 + (i * 7919) % 50000,
       CASE WHEN i % 20 <> 0 THEN (i * 104729 % 9000)::integer END,
       :'day'::timestamptz + interval '1 day' * ((i - 1)::float8 / :rows),
       :'day'::date - (i % 3)::integer,
       1 + (i * 15485863 % 9999900)::numeric / 100,
       CASE WHEN i % 10 <> 0 THEN (i * 32452843 % 9999999)::numeric / 10000 END,
       (ARRAY['EUR', 'GBP', 'USD', 'CHF', 'SEK'])[1 + i % 5],
       (ARRAY['', '', '', 'A', 'C'])[1 + i % 5] || lpad((i % 1000000)::text, 6, '0'),
       CASE WHEN i % 5 <> 0 THEN 'settled in batch ' || md5(i::text) || substr(md5((-i)::text), 1, 10) END
FROM generate_series(1::bigint, :rows) AS i;
VACUUM (FREEZE, ANALYZE) :table;
