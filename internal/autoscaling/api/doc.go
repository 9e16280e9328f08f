// Package api has the shapes of the API that package autoscaling serves, with their constraints. `make generate` writes its _gen.go file
// from AWS's model.
package api
