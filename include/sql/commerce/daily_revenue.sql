-- Reads the published order lines of the slice only, so that it may be run again for any day at any time.
SELECT
    (invoiced_at AT TIME ZONE 'UTC')::date                                AS day,
    country,
    count(DISTINCT invoice) FILTER (WHERE invoice NOT LIKE 'C%%')         AS orders,
    count(*)                                                              AS lines,
    sum(quantity * unit_price)                                            AS revenue,
    -coalesce(sum(quantity * unit_price) FILTER (WHERE invoice LIKE 'C%%'), 0) AS cancelled
FROM commerce.order_lines
WHERE invoiced_at >= %(slice_start)s AND invoiced_at < %(slice_end)s
GROUP BY 1, 2
