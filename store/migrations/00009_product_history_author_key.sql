-- Who it was, beside what they are called: others may be called the same. An older
-- release leaves it empty.

-- +goose Up
ALTER TABLE product_history ADD COLUMN author_key VARCHAR(300) COLLATE utf8mb4_bin NOT NULL DEFAULT '';
