// Package api has the shapes of the API that package cloudwatch serves, with their constraints. `make generate` writes its _gen.go file
// from AWS's model.
package api
