// Tests of the image and of the compose file, with the parsers that Docker itself
// has: none of their modules is to be among the product's.
module shelfcast/deploy/imagetest

go 1.26.8

replace shelfcast => ../..

require shelfcast v0.0.0-00010101000000-000000000000

require (
	github.com/compose-spec/compose-go/v2 v2.16.2 // indirect
	github.com/moby/buildkit v0.34.2 // indirect
	github.com/moby/patternmatcher v0.6.1 // indirect
)
