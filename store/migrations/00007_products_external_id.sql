-- What another system calls a product, as odoo:product.template:42. Many have
-- none. Compared byte for byte.

-- +goose Up
ALTER TABLE products
    ADD COLUMN external_id VARCHAR(190) COLLATE utf8mb4_bin NULL AFTER sku,
    ADD UNIQUE KEY products_external_id (external_id);
