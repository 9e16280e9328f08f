// Package api has the shapes of IAM's API, with their constraints. `make generate` writes its _gen.go file from AWS's model.
package api
