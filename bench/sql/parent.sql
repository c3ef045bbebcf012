-- The partitioned table that attach.sql publishes into.
CREATE TABLE :table (
    payment_id  bigint NOT NULL,
    account_id  integer NOT NULL,
    merchant_id integer,
    recorded_at timestamptz NOT NULL,
    booked_on   date,
    amount      numeric(12,2) NOT NULL,
    fee         numeric(10,4),
    currency    text NOT NULL,
    invoice     text,
    note        text
) PARTITION BY RANGE (recorded_at);
