-- Merge :stage into :table by key; an older version of a row never overwrites a newer one.
BEGIN;
INSERT INTO :table AS t
SELECT * FROM :stage
ON CONFLICT (payment_id) DO UPDATE SET
    account_id = excluded.account_id,
    merchant_id = excluded.merchant_id,
    recorded_at = excluded.recorded_at,
    booked_on = excluded.booked_on,
    amount = excluded.amount,
    fee = excluded.fee,
    currency = excluded.currency,
    invoice = excluded.invoice,
    note = excluded.note
WHERE excluded.recorded_at >= t.recorded_at;
DROP TABLE :stage;
COMMIT;
