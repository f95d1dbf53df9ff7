-- For lists by vendor and by title.

-- +goose Up
ALTER TABLE products ADD KEY products_vendor (vendor, id), ADD KEY products_title (title, id);
