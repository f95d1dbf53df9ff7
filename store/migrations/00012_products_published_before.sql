-- Products that are not published and were: their history says so, in which the
-- field is named only where it was true before or after.

-- +goose Up
UPDATE products SET published_once = TRUE
WHERE NOT published AND EXISTS (
    SELECT 1 FROM product_history
    WHERE product_id = products.id AND changes LIKE '%{"field":"published",%'
);
