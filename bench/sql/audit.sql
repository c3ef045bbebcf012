-- The rules that bench/payments.yaml states, as one would write them by hand: one scan.
SELECT count(*),
       count(*) FILTER (WHERE payment_id IS NULL),
       count(*) FILTER (WHERE account_id IS NULL),
       count(*) FILTER (WHERE recorded_at IS NULL),
       count(*) FILTER (WHERE amount IS NULL),
       count(*) FILTER (WHERE currency IS NULL),
       count(*) FILTER (WHERE amount <= 0 OR amount > 100000),
       count(*) FILTER (WHERE currency NOT IN ('EUR', 'GBP', 'USD', 'CHF', 'SEK')),
       count(*) FILTER (WHERE invoice !~ '^[AC]?[0-9]{6}$')
FROM :table;
