-- Bearer tokens of the admin API. A token itself is kept nowhere: hash is its
-- SHA-256, in hexadecimal.

-- +goose Up
CREATE TABLE tokens (
    id           BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name         VARCHAR(100) NOT NULL,
    hash         CHAR(64)     NOT NULL,
    scopes       VARCHAR(190) NOT NULL,
    created_by   VARCHAR(190) NOT NULL,
    created_at   DATETIME(6)  NOT NULL,
    expires_at   DATETIME(6)  NULL,
    revoked_at   DATETIME(6)  NULL,
    last_used_at DATETIME(6)  NULL,
    UNIQUE KEY tokens_hash (hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
