-- For the shop's pages: lists by price, and which vendors there are.

-- +goose Up
ALTER TABLE products ADD KEY products_price (price, id), ADD KEY products_shelf (archived_at, published, vendor);
