// Package api has the shapes of DynamoDB's API as Go types, generated from AWS's own model (botocore's service-2.json):
// typed inputs and outputs, their JSON codecs and their constraint checks, and one descriptor an operation.
//
// Everything ending in _gen.go is written by `make generate`. Strings and items in an input are views of the request's
// body: they live until the request is answered.
package api
