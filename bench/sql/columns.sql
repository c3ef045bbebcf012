-- The columns of bench/payments.yaml.
CREATE TABLE :table (
    payment_id  bigint,
    account_id  integer,
    merchant_id integer,
    recorded_at timestamptz,
    booked_on   date,
    amount      numeric(12,2),
    fee         numeric(10,4),
    currency    text,
    invoice     text,
    note        text
);
