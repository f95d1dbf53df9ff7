-- One statement a migration: MySQL and MariaDB commit each DDL statement by
-- itself, so a migration of two could be left half done.

-- +goose Up
CREATE TABLE products (
    id               BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    version          BIGINT         NOT NULL DEFAULT 0,
    sku              VARCHAR(190)   NOT NULL,
    title            VARCHAR(255)   NOT NULL,
    description      MEDIUMTEXT     NOT NULL,
    vendor           VARCHAR(255)   NOT NULL,
    image_url        VARCHAR(2048)  NOT NULL,
    price            DECIMAL(15,4)  NOT NULL,
    compare_at_price DECIMAL(15,4)  NULL,
    currency         CHAR(3)        NOT NULL,
    stock            BIGINT         NOT NULL,
    published        BOOLEAN        NOT NULL,
    created_at       DATETIME(6)    NOT NULL,
    archived_at      DATETIME(6)    NULL,
    UNIQUE KEY products_sku (sku),
    KEY products_version (version, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
