// Package stsapi has the shapes of STS's API, with their constraints. `make generate` writes its _gen.go file from AWS's model.
package stsapi
