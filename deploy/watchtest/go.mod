module shelfcast/deploy/watchtest

go 1.26.0
