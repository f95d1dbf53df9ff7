-- As product_history.author_key.

-- +goose Up
ALTER TABLE tokens ADD COLUMN created_by_key VARCHAR(300) COLLATE utf8mb4_bin NOT NULL DEFAULT '';
